"""Bars live where `data.device` says, if there is room; the windows are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.training.conftest import ASSET

from chandler.errors import ConfigError
from chandler.training.datasets.augment import to_device
from chandler.training.datasets.device_placement import nbytes, on_device, place_on_device
from chandler.training.datasets.sources import load_sources
from chandler.training.run import finetune
from chandler.training.settings import load_settings

CPU = torch.device("cpu")


def test_places_that_are_none(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'data\.device: give "auto", "cpu", "cuda" or .*found \'gpu\''):
        load_settings(config, ["data.device=gpu"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"data\.device: device 'cuda' cannot be used here"):
            finetune({**config, "data": {**config["data"], "device": "cuda"}})


def test_all_windows_of_a_run_come_from_the_device(config: dict[str, Any]) -> None:
    config["data"]["replay"] = {"path": str(ASSET), "symbols": ["GOOG"], "share": 0.25}
    plain = load_sources(load_settings(config))
    assert place_on_device(plain, "auto", CPU) == (plain, None)
    moved = on_device(plain, CPU)
    assert nbytes(plain) == 29 * sum(s.rows for s in (plain.train.main.store, plain.train.replay.store))  # type: ignore[union-attr]
    assert moved.train.main.device_rows is moved.validation.device_rows, "a store is there once"  # type: ignore[attr-defined]
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
