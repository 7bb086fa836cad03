"""Bars live where `data.device` says, if there is room; the windows are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chandler.errors import ConfigError
from chandler.training.config import load_settings
from chandler.training.residence import footprint, place, resident, settle
from chandler.training.run import finetune
from chandler.training.sources import load_sources
from chandler.training.validation import to_device
from tests.training.conftest import ASSET

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)
GB = 10**9


def test_auto_asks_for_a_quarter_of_what_is_free_on_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert place("auto", CUDA, 1 * GB, free=4 * GB) == CUDA
    assert place("auto", CUDA, 2 * GB, free=4 * GB) is None
    assert place("auto", CPU, 1) is None
    assert place("cpu", CUDA, 1) is None
    assert place("cuda", CUDA, 3 * GB, free=4 * GB) == CUDA, "the device of this process"
    assert place("cuda:0", CUDA, 3 * GB, free=4 * GB) == torch.device("cuda", 0)
    with pytest.raises(ConfigError, match=r"take 3\.50 GB, and 4\.00 GB are free on cuda:1.*data\.device: cpu"):
        place("cuda", CUDA, 7 * GB // 2, free=4 * GB)
    with pytest.raises(ConfigError, match="cuda:2 was asked for, but there is no such device"):
        place("cuda:2", CUDA, 1, free=4 * GB)


def test_places_that_are_none(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'data\.device: give "cpu", "auto", "cuda" or .*found \'gpu\''):
        load_settings(config, ["data.device=gpu"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no such device"):
            finetune({**config, "data": {**config["data"], "device": "cuda"}})


def test_all_windows_of_a_run_come_from_the_device(config: dict[str, Any]) -> None:
    config["data"]["replay"] = {"path": str(ASSET), "symbols": ["GOOG"], "share": 0.25}
    plain = load_sources(load_settings(config))
    assert settle(plain, "auto", CPU) == (plain, None)
    moved = resident(plain, CPU)
    assert footprint(plain) == 29 * sum(s.rows for s in (plain.train.main.store, plain.train.replay.store))  # type: ignore[union-attr]
    assert moved.train.main.resident is moved.validation.resident, "a store is there once"  # type: ignore[attr-defined]
    order = plain.train.order(1, 1)
    assert np.array_equal(order, moved.train.order(1, 1))
    for a, b, indices in (
        (plain.train, moved.train, order[:40]),
        (plain.validation, moved.validation, np.arange(10)),
        (plain.replay_validation, moved.replay_validation, np.arange(3)),
    ):
        uniforms = torch.zeros(len(indices), a.length)  # type: ignore[union-attr]
        x, y = (to_device(windows, indices, uniforms, CPU) for windows in (a, b))  # type: ignore[arg-type]
        torch.testing.assert_close(x.values, y.values, rtol=0, atol=1e-6)
        assert torch.equal(x.stamps, y.stamps)
