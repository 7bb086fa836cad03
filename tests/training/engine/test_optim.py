"""Learning rates of each schedule at steps worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chandler.errors import ConfigError
from chandler.training.engine.optim import make_optimizer, make_schedule
from chandler.training.settings import load_settings


def make(kind: Any, steps: int = 10, warmup: float = 0.2, done: int = 0) -> tuple[Any, Any]:
    optimizer = make_optimizer(torch.nn.Linear(2, 2), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)
    return optimizer, make_schedule(optimizer, lr=1.0, steps=steps, warmup=warmup, div_factor=10, kind=kind, done=done)


def rates(kind: Any, **how: Any) -> list[float]:
    optimizer, schedule = make(kind, **how)
    found = []
    for _ in range(10):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_constant_rises_linearly_and_stays() -> None:
    assert rates("constant") == pytest.approx([0.1, 0.55] + [1.0] * 8)
    assert rates("constant", warmup=0.0) == [1.0] * 10


def test_cosine_rises_linearly_and_falls_along_half_a_cosine() -> None:
    found = rates("cosine")
    assert found[:3] == pytest.approx([0.1, 0.55, 1.0])
    assert found[6] == pytest.approx(0.5)  # halfway between step 2 and step 10
    assert found[2:] == sorted(found[2:], reverse=True)
    assert 0 < found[9] < 0.05


def test_onecycle_is_the_released_recipe() -> None:
    optimizer, schedule = make("onecycle")
    other = make_optimizer(torch.nn.Linear(2, 2), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)
    expected = torch.optim.lr_scheduler.OneCycleLR(
        other, max_lr=1.0, total_steps=10, pct_start=0.2, div_factor=10,
    )  # fmt: skip
    for _ in range(10):
        assert schedule.get_last_lr() == expected.get_last_lr()
        optimizer.step()
        schedule.step()
        other.step()
        expected.step()


def test_a_rise_of_one_step_begins_at_its_foot() -> None:
    found = rates("onecycle", warmup=0.1)
    assert found[0] == pytest.approx(0.1)
    assert found[1:] == sorted(found[1:], reverse=True)
    assert found[1] > 0.9


@pytest.mark.parametrize("kind", ["onecycle", "cosine", "constant"])
def test_a_schedule_that_is_under_way_stands_where_it_would_to_the_bit(kind: Any) -> None:
    optimizer, schedule = make(kind)
    for done in range(11):
        again, resumed = make(kind, done=done)
        for key in ("lr", "betas", "weight_decay"):
            assert again.param_groups[0][key] == optimizer.param_groups[0][key]
        assert resumed.get_last_lr() == schedule.get_last_lr()
        if done < 10:
            optimizer.step()
            schedule.step()
            again.step()
            resumed.step()
            assert again.param_groups[0] | {"params": []} == optimizer.param_groups[0] | {"params": []}


def test_onecycle_needs_a_warm_up() -> None:
    minimal = {"out": "runs/x", "data": {"path": "bars.csv"}}
    with pytest.raises(ConfigError, match=r"tokenizer\.warmup must be above 0 for schedule onecycle"):
        load_settings(minimal, ["tokenizer.warmup=0"])
    s = load_settings(minimal, ["tokenizer.warmup=0", "tokenizer.schedule=cosine"])
    assert s.tokenizer.schedule == "cosine"
