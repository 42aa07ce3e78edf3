"""Run a model on images, folders or videos, and write pictures and predictions.json.

WEIGHTS is a checkpoint folder or a weights file; the word none predicts with random weights. A model that
sees one object at a time, such as a top-down pose model, looks at the boxes of a detector or of a file where
it is given any, and takes whole images for one object otherwise. A model of actions says what is done in each
stretch of a video; one that looks at skeletons needs a pose model before it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omma.errors import SetupError

if TYPE_CHECKING:
    import numpy as np

    from omma.inference import BoxFeed, Chain, Doing, Frame, Predictor, Result, Stage
    from omma.inference.chain import Opening


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma predict``."""
    parser.add_argument("config", help="name of a config, or a path to a YAML file")
    parser.add_argument("weights", help="checkpoint folder or weights file, or none")
    parser.add_argument("source", help="image, video, folder, or a quoted pattern such as 'shots/*.jpg'")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default: predictions)")
    parser.add_argument("--batch-size", type=int, default=1, help="images per forward pass (default: 1)")
    parser.add_argument(
        "--score", type=float, help="smallest score to keep (default: 0.3, or that of --box-threshold)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="merge predictions on several views, see test_augmentation"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--on-error", choices=("raise", "skip"), default="raise", help="what to do about broken files"
    )
    parser.add_argument("--no-pictures", action="store_true", help="write predictions.json only")
    _box_arguments(parser.add_argument_group("boxes, for models that see one object at a time"))
    _keypoint_arguments(parser.add_argument_group("key points"))
    _clip_arguments(parser.add_argument_group("videos, for models that look at clips or skeletons"))


def _box_arguments(group: argparse._ArgumentGroup) -> None:
    whose = group.add_mutually_exclusive_group()
    whose.add_argument(
        "--boxes-from", nargs=2, metavar=("CONFIG", "WEIGHTS"), help="detector whose boxes are looked at"
    )
    whose.add_argument(
        "--boxes-file",
        type=Path,
        metavar="FILE",
        help="in its place a detector's predictions.json, or annotations in COCO's form",
    )
    group.add_argument(
        "--boxes-of",
        action="append",
        metavar="NAME",
        help="class whose boxes are looked at; may stand several times (default: the classes of the model)",
    )
    group.add_argument(
        "--box-threshold", type=float, default=0.3, help="smallest score of a box (default: 0.3)"
    )
    group.add_argument(
        "--box-nms", type=float, metavar="IOU", help="of boxes that overlap more only the best is looked at"
    )
    group.add_argument(
        "--max-objects", type=int, default=32, help="objects per forward pass, at most (default: 32)"
    )


def _keypoint_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--keypoint-nms", type=float, metavar="OKS", help="of objects that are more alike only the best stays"
    )
    group.add_argument(
        "--smooth", action="store_true", help="take the jitter out of key points in videos (one-euro filter)"
    )
    group.add_argument(
        "--min-cutoff", type=float, default=1.0, help="of --smooth, hertz: lower is steadier (default: 1)"
    )
    group.add_argument(
        "--beta", type=float, default=10.0, help="of --smooth: higher follows movements closer (default: 10)"
    )


def _clip_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--poses-from", nargs=2, metavar=("CONFIG", "WEIGHTS"), help="model that finds the skeletons"
    )
    group.add_argument(
        "--every", type=float, default=2.0, metavar="SECONDS", help="length of what gets a label (default: 2)"
    )
    group.add_argument(
        "--around",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="looked at before and behind (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict; print what was written and where."""
    from omma.inference import open_source, timeline
    from omma.inference.timeline import write_timeline

    source = open_source(args.source, on_error=args.on_error)
    make_folder(args.out)
    predictor = _predictor(args)
    pictures = None if args.no_pictures else Pictures(args.out, _root(args.source))
    entries: list[dict[str, Any]] = []
    doings: list[Doing] = []
    place = None
    try:
        for result in predictor(source):
            if result.span is None or place != (result.path, result.span):
                entries.append(result.to_json())
                doings += timeline([result])
            place = (result.path, result.span)
            if pictures:
                entries[-1]["picture"] = pictures.add(result)
    finally:
        # What was predicted before a broken file stays.
        if pictures:
            pictures.close()
        file = args.out / "predictions.json"
        text: dict[str, Any] = {"config": predictor.config.name, "classes": predictor.info.classes}
        text |= {"boxes_from": boxes} if (boxes := _boxes_from(args)) else {}
        text["images"] = entries
        file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        timelines = write_timeline(args.out, doings) if predictor.of_stretches else []
    left_out = f", {len(source.skipped)} broken files left out" if source.skipped else ""
    print(f"{len(entries)} {'stretches of videos' if predictor.of_stretches else 'images'}{left_out}")
    print(f"predictions  {file}")
    for path in timelines:
        print(f"timeline     {path}")
    if pictures:
        print(f"pictures     {args.out}")
    return 0


def _predictor(args: argparse.Namespace) -> Predictor | Chain:
    """What the options ask for: a model, or a chain around it.

    Raises:
        SetupError: a number is out of its range, or options don't go together.
    """
    from omma.inference import BoxFeed, Chain, ClipFeed, Predictor

    boxes = _boxes_from(args)
    score = (args.box_threshold if boxes else 0.3) if args.score is None else args.score
    if args.batch_size < 1 or not 0 <= score <= 1 or not 0 <= args.box_threshold <= 1:
        raise SetupError(
            "expected --batch-size from 1 on, --score in 0..1 and --box-threshold in 0..1, "
            f"got {args.batch_size}, {score} and {args.box_threshold}"
        )
    if not boxes and (args.boxes_of or args.box_nms is not None):
        raise SetupError("--boxes-of and --box-nms choose among boxes; --boxes-from CONFIG WEIGHTS finds any")
    try:
        of = tuple(args.boxes_of) if args.boxes_of else None
        feed = BoxFeed(of=of, nms=args.box_nms, at_once=args.max_objects)
        after = _after(args)
        clips = ClipFeed(every=args.every, around=args.around)
    except ValueError as error:
        raise SetupError(
            f"--box-nms, --max-objects, --keypoint-nms, --min-cutoff, --beta, --every or --around: {error}"
        ) from None
    before: list[Opening | Stage] = [*_opening(args)]
    if args.poses_from:
        before += [_other(args, args.poses_from, args.box_threshold, feed), *after]
        after = []
    predictor = Predictor(
        args.config,
        _weights(args.weights),
        device=args.device,
        batch_size=args.batch_size,
        score_threshold=score,
        overrides=args.overrides,
        tta=args.tta,
        boxes=feed,
        clips=clips,
    )
    if not before and predictor.model.sees == "object":
        print("each image is taken for one object; --boxes-from CONFIG WEIGHTS looks at those that it finds")
    return Chain([*before, predictor, *after]) if before or after else predictor


def _opening(args: argparse.Namespace) -> list[Opening]:
    """What finds the boxes, if anything does."""
    from omma.inference import BoxFile

    if args.boxes_file:
        return [BoxFile(args.boxes_file, score_threshold=args.box_threshold)]
    if not args.boxes_from:
        return []
    return [_other(args, args.boxes_from, args.box_threshold)]


def _other(
    args: argparse.Namespace, named: Sequence[str], threshold: float, boxes: BoxFeed | None = None
) -> Predictor:
    """A model before the last one of a chain."""
    from omma.inference import Predictor

    return Predictor(
        named[0],
        _weights(named[1]),
        device=args.device,
        batch_size=args.batch_size,
        score_threshold=threshold,
        boxes=boxes,
    )


def _after(args: argparse.Namespace) -> list[Stage]:
    """What comes after the model."""
    from omma.inference import KeypointNMS, Smoothing

    stages: list[Stage] = [] if args.keypoint_nms is None else [KeypointNMS(threshold=args.keypoint_nms)]
    return [*stages, Smoothing(min_cutoff=args.min_cutoff, beta=args.beta)] if args.smooth else stages


def _weights(name: str) -> str | None:
    return None if name == "none" else name


def _boxes_from(args: argparse.Namespace) -> str | None:
    """Whose boxes are looked at, for the record."""
    return args.boxes_from[0] if args.boxes_from else str(args.boxes_file) if args.boxes_file else None


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
