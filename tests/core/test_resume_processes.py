"""Several processes: stopped and resumed runs, changes of their number, and what they make together."""

from __future__ import annotations

import pytest
import torch

from omma.checkpoint.readers import read_weights
from omma.checkpoint.store import CheckpointStore
from omma.optim import SGD, Adam, AdamW, EMASettings

from .parallel_cases import judge, refusal, train
from .resume_cases import resumed_differences

MATRIX = {
    "ddp": {"parallel": "ddp"},
    "ddp bf16, accumulation, average, two workers": {
        "parallel": "ddp",
        "precision": "bf16",
        "accumulate": 2,
        "workers": 2,
        "recipe": AdamW(lr=0.01),
        "ema": EMASettings(decay=0.9, warmup=3),
    },
    "ddp fp16, synchronised norms, clipping": {
        "parallel": "ddp",
        "precision": "fp16",
        "sync_bn": True,
        "clip_norm": 0.5,
        "recipe": Adam(lr=0.01),
    },
    "fsdp": {"parallel": "fsdp"},
    "fsdp bf16, accumulation, average, two workers": {
        "parallel": "fsdp",
        "precision": "bf16",
        "accumulate": 2,
        "workers": 2,
        "recipe": AdamW(lr=0.01),
        "ema": EMASettings(decay=0.9, warmup=3),
    },
    "fsdp in shards, average": {
        "parallel": "fsdp",
        "checkpoint": "sharded",
        "recipe": AdamW(lr=0.01),
        "ema": EMASettings(decay=0.9, warmup=3),
    },
    "fsdp fp16, synchronised norms, clipping": {
        "parallel": "fsdp",
        "precision": "fp16",
        "sync_bn": True,
        "clip_norm": 0.5,
        "recipe": Adam(lr=0.01),
    },
}


@pytest.mark.parametrize("name", MATRIX)
def test_interrupted_and_resumed_equals_straight(name, two_processes, tmp_path):
    assert two_processes.run(resumed_differences, tmp_path, batch=2, **MATRIX[name]) == [[], []]


def close(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_with_half_the_batch_train_the_same_model(mode, two_processes, tmp_path):
    # The plain model: its dropout would fall differently in another process.
    words = {"steps": 7, "plain": True, "eval_every": 7, "recipe": SGD(lr=0.05)}
    weights, logged, judged = train(tmp_path / "one", batch=4, **words)
    for found, seen, scores in two_processes.run(train, tmp_path / mode, batch=2, parallel=mode, **words):
        close(weights, found)
        for (step, ours), (same, theirs) in zip(logged, seen):
            assert step == same
            assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-6)
        assert scores[0][1] == pytest.approx(judged[0][1], rel=1e-4)


def test_synchronised_norms_see_the_batches_of_all_processes(two_processes, tmp_path):
    words = {"steps": 5, "val": False, "recipe": SGD(lr=0.05), "drop": 0.0}
    weights, _, _ = train(tmp_path / "one", batch=4, **words)
    for found, _, _ in two_processes.run(train, tmp_path / "two", batch=2, sync_bn=True, **words):
        close(weights, found)


def test_metrics_over_two_processes_count_each_image_once(two_processes, tmp_path):
    alone = judge(tmp_path / "one")
    assert alone["images"] == 7
    assert two_processes.run(judge, tmp_path / "two") == [alone, alone]


@pytest.mark.parametrize(("mode", "form"), [("ddp", "whole"), ("fsdp", "whole"), ("fsdp", "sharded")])
def test_a_checkpoint_of_two_processes_goes_on_in_one_and_back(mode, form, two_processes, tmp_path):
    words = {"steps": 12, "plain": True, "save_every": 4, "val": False, "keep": 9}
    words["ema"] = EMASettings(decay=0.9)
    straight, _, _ = train(tmp_path / "straight", batch=4, **words)
    two_processes.run(train, tmp_path / "a", batch=2, parallel=mode, checkpoint=form, **words)
    train(tmp_path / "b", tmp_path / "a" / "checkpoints" / "step_000004", batch=4, **words)
    last = tmp_path / "b" / "checkpoints" / "step_000008"
    for found, _, _ in two_processes.run(train, tmp_path / "c", last, batch=2, parallel=mode, **words):
        close(straight, found)


def test_processes_that_do_not_divide_the_samples_seen_are_told(two_processes, tmp_path):
    train(tmp_path / "a", batch=2, steps=3, val=False)
    path = tmp_path / "a" / "checkpoints" / "step_000003"
    for said in two_processes.run(refusal, tmp_path / "b", path, batch=2, steps=9):
        assert "6 samples, which is no whole number of steps of 4 samples" in said


def test_weights_are_read_from_shards_and_a_damaged_shard_is_found(two_processes, tmp_path):
    weights, _, _ = two_processes.run(
        train, tmp_path, batch=2, steps=4, save_every=2, parallel="fsdp", checkpoint="sharded", val=False
    )[0]
    read = read_weights(tmp_path)
    assert all(torch.equal(read.state[name], value) for name, value in weights.items())
    assert read.metadata["classes"] == ("patch",)
    store = CheckpointStore(tmp_path / "checkpoints", keep=3)
    newest = tmp_path / "checkpoints" / "step_000004"
    assert store.latest() == newest
    shard = next(newest.glob("shard-00002-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert store.latest() == tmp_path / "checkpoints" / "step_000002"


def test_shards_want_a_sharded_model(two_processes, tmp_path):
    said = two_processes.run(refusal, tmp_path, tmp_path, steps=2, parallel="ddp", checkpoint="sharded")
    assert all("use fsdp or whole" in each for each in said)
