"""What the evaluation hook leaves in the run folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from omma.errors import DataError
from omma.hooks import EvaluationArtifacts
from omma.hooks.evaluation import worst_positions
from omma.metrics import MetricReport, Ranking
from omma.runner.evaluate import EvalResult
from omma.structures import DataInfo, Meta
from omma.task import Demo, Task
from omma.visualization import read_rgb, write_rgb


class Scenes:
    """Six grey pictures on disk."""

    info = DataInfo(("a",))

    def __init__(self, folder: Path) -> None:
        self.paths = [str(folder / f"{i}.png") for i in range(6)]
        for i, path in enumerate(self.paths):
            write_rgb(path, np.full((20, 30, 3), 40 * i, np.uint8))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        image = torch.from_numpy(read_rgb(self.paths[index])).permute(2, 0, 1)
        return {
            "image": image,
            "meta": Meta(index=index, id=index, path=self.paths[index], height=20, width=30),
        }

    def target(self, index: int) -> Any:
        return {"index": index, "path": self.paths[index]}


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def predict(self, batch: Any) -> Any:
        self.modes.append(self.training)
        torch.rand(3)
        return [{"scores": torch.tensor([0.9, 0.1])} for _ in batch.images]


def task(drawn: list) -> Task:
    return Task(
        name="test",
        draw=lambda image, prediction, info: drawn.append(prediction["scores"].tolist()) or image,
        draw_sample=lambda sample, info: sample["image"].permute(1, 2, 0).numpy(),
        to_json=lambda prediction, info: None,
        demo=Demo(config=""),
    )


def result(*rankings: list[int]) -> EvalResult:
    reports = [MetricReport(rankings=[Ranking("Worst", [(i, 1.0, "") for i in each])]) for each in rankings]
    return EvalResult(step=7, values={"a/b": 0.5}, reports=reports)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    drawn: list = []
    return SimpleNamespace(
        out=tmp_path / "run",
        val_loader=SimpleNamespace(dataset=Scenes(tmp_path)),
        model=Model(),
        ema=None,
        mode="none",
        device=torch.device("cpu"),
        settings=SimpleNamespace(precision="fp32"),
        task=task(drawn),
        drawn=drawn,
    )


def test_pictures_of_the_worst_and_of_samples_are_drawn(run: Any):
    EvaluationArtifacts(worst=2, samples=3).after_eval(run, result([4, 1, 3]))
    folder = run.out / "eval" / "step_000007"
    assert sorted(path.name for path in (folder / "worst").iterdir()) == ["00_000004.jpg", "01_000001.jpg"]
    assert sorted(path.stem[3:] for path in (folder / "samples").iterdir()) == ["000000", "000002", "000005"]
    assert read_rgb(folder / "worst" / "00_000004.jpg").shape[1] == 2 * 30 + 18


def test_low_scores_are_not_drawn(run: Any):
    EvaluationArtifacts(score_threshold=0.5).after_eval(run, result([0]))
    assert run.drawn
    assert all(scores == [pytest.approx(0.9)] for scores in run.drawn)


def test_the_run_goes_on_as_if_nothing_had_been_drawn(run: Any):
    run.model.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    EvaluationArtifacts().after_eval(run, result([0]))
    assert torch.equal(torch.get_rng_state(), before)
    assert run.model.training
    assert not any(run.model.modes)


def test_sharded_models_are_not_asked_again(run: Any):
    run.mode = "fsdp"
    EvaluationArtifacts().after_eval(run, result([0]))
    assert (run.out / "eval" / "step_000007" / "results.json").is_file()
    assert run.model.modes == []


def test_the_report_is_written_at_the_end(run: Any):
    hook = EvaluationArtifacts()
    hook.after_eval(run, result([0]))
    hook.on_end(run, None)
    assert "Evaluation at step 7" in (run.out / "report.html").read_text()


def test_a_report_that_fails_does_not_hide_what_ended_the_run(run: Any):
    hook = EvaluationArtifacts()
    hook.after_eval(run, result([0]))
    (run.out / "eval" / "step_000007" / "samples" / "00_000000.jpg").write_bytes(b"")
    hook.on_end(run, RuntimeError("the loss is not finite"))
    with pytest.raises(DataError):
        hook.on_end(run, None)


def test_the_worst_of_several_metrics_take_turns():
    assert worst_positions(result([4, 1, 3], [1, 9])) == [4, 1, 9, 3]


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        EvaluationArtifacts(score_threshold=2)
