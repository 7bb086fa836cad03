"""Batches worked out ahead: those of each step, whatever step is asked for; and the thread that does it."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.datasets.test_mixture import windows

from chandler.training.datasets import BatchPlan, Feeder, TrainingSet

CPU = torch.device("cpu")
STEPS = 8


def feeder(ahead: bool) -> Feeder:
    train = TrainingSet(windows(25), windows(22), share=0.4)
    return Feeder(train, BatchPlan(train.drawn, train.length, 5, 2, 1, seed=3, noise=True), 0, CPU, ahead=ahead)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("chandler-batches")]


@pytest.mark.parametrize("steps", [[1, 2, 3, 4, 5, 6, 7, 8], [4, 5, 2, 8]])
def test_batches_are_those_of_their_step(steps: list[int]) -> None:
    with closing(feeder(ahead=False)) as plain, closing(feeder(ahead=True)) as ahead:
        assert plain.plan.steps_per_epoch == 4
        for step in steps:
            for a, b in zip(plain.take(step, STEPS), ahead.take(step, STEPS), strict=True):
                assert (a.micro.indices == b.micro.indices).all()
                mine, others = a.batch(), b.batch()
                for name in ("values", "stamps", "uniforms", "noise", "chances"):
                    assert torch.equal(getattr(mine, name), getattr(others, name))
        assert len(threads()) == 1
    assert threads() == []


def test_what_goes_wrong_ahead_is_raised_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    order = TrainingSet.order

    def broken(self: Any, seed: int, epoch: int) -> np.ndarray:
        if epoch == 2:
            raise OSError("the disk is gone")
        return order(self, seed, epoch)

    monkeypatch.setattr(TrainingSet, "order", broken)
    with closing(feeder(ahead=True)) as ahead:
        for step in (1, 2, 3, 4):
            ahead.take(step, STEPS)
        with pytest.raises(OSError, match="the disk is gone"):
            ahead.take(5, STEPS)
    assert threads() == []
