"""Run a model on images, folders or videos, and write pictures and predictions.json.

WEIGHTS is a checkpoint folder or a weights file; the word none predicts with random weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omma.errors import SetupError

if TYPE_CHECKING:
    import numpy as np

    from omma.inference import Frame, Result


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma predict``."""
    parser.add_argument("config", help="name of a config, or a path to a YAML file")
    parser.add_argument("weights", help="checkpoint folder or weights file, or none")
    parser.add_argument("source", help="image, video, folder, or a quoted pattern such as 'shots/*.jpg'")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default: predictions)")
    parser.add_argument("--batch-size", type=int, default=1, help="images per forward pass (default: 1)")
    parser.add_argument("--score", type=float, default=0.3, help="smallest score to keep (default: 0.3)")
    parser.add_argument(
        "--tta", action="store_true", help="merge predictions on several views, see test_augmentation"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--on-error", choices=("raise", "skip"), default="raise", help="what to do about broken files"
    )
    parser.add_argument("--no-pictures", action="store_true", help="write predictions.json only")


def run(args: argparse.Namespace) -> int:
    """Predict; print what was written and where."""
    from omma.inference import Predictor, open_source

    if args.batch_size < 1 or not 0 <= args.score <= 1:
        raise SetupError(
            f"expected --batch-size from 1 on and --score in 0..1, got {args.batch_size} and {args.score}"
        )
    source = open_source(args.source, on_error=args.on_error)
    make_folder(args.out)
    predictor = Predictor(
        args.config,
        None if args.weights == "none" else args.weights,
        device=args.device,
        batch_size=args.batch_size,
        score_threshold=args.score,
        overrides=args.overrides,
        tta=args.tta,
    )
    pictures = None if args.no_pictures else Pictures(args.out, _root(args.source))
    entries: list[dict[str, Any]] = []
    try:
        for result in predictor(source):
            entries.append(result.to_json())
            if pictures:
                entries[-1]["picture"] = pictures.add(result)
    finally:
        # What was predicted before a broken file stays.
        if pictures:
            pictures.close()
        file = args.out / "predictions.json"
        text = {"config": predictor.config.name, "classes": predictor.info.classes, "images": entries}
        file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    left_out = f", {len(source.skipped)} broken files left out" if source.skipped else ""
    print(f"{len(entries)} images{left_out}")
    print(f"predictions  {file}")
    if pictures:
        print(f"pictures     {args.out}")
    return 0


class Pictures:
    """Writes results as pictures beside each other, and those of a video as a video.

    Args:
        out: folder to write into.
        root: folder of the sources; pictures lie in ``out`` as the images lie in it.
    """

    def __init__(self, out: Path, root: Path | None) -> None:
        self.out, self.root = out, root
        self._video: Any = None
        self._video_of = ""
        self._taken: set[Path] = set()

    def add(self, result: Result) -> str:
        """Write one result; returns the path relative to the folder."""
        from omma.visualization import write_rgb

        drawn = result.draw()
        if result.frame.number is not None:
            path = self._video_frame(result.frame, drawn)
        else:
            path = self._free(Path(result.path), ".jpg")
            write_rgb(path, drawn)
        return str(path.relative_to(self.out))

    def close(self) -> None:
        """Finish the video that is being written, if there is one."""
        if self._video is not None:
            self._video.release()
            self._video = None

    def _video_frame(self, frame: Frame, drawn: np.ndarray) -> Path:
        import cv2

        if frame.number == 0 or self._video_of != frame.path:
            self.close()
            self._video_of, self._video_path = frame.path, self._free(Path(frame.path), ".mp4")
            self._video_path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            size = (drawn.shape[1], drawn.shape[0])
            self._video = cv2.VideoWriter(str(self._video_path), codec, frame.fps or 25.0, size)
            if not self._video.isOpened():
                raise SetupError(f"{self._video_path}: OpenCV can't write this video; use --no-pictures")
        self._video.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        return self._video_path

    def _free(self, source: Path, suffix: str) -> Path:
        """A path in the folder that no other image of this run was written to."""
        inside = self.root is not None and source.is_relative_to(self.root)
        name = source.relative_to(self.root).with_suffix("") if inside and self.root else Path(source.stem)
        path, number = self.out / f"{name}{suffix}", 1
        while path in self._taken:
            number += 1
            path = self.out / f"{name}-{number}{suffix}"
        self._taken.add(path)
        return path


def _root(source: str) -> Path | None:
    return Path(source) if Path(source).is_dir() else None


def make_folder(folder: Path) -> None:
    """Make a folder for results and see that it can be written to.

    Raises:
        SetupError: it can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(f"can't write into {folder}: {error.strerror}; choose another --out") from error
