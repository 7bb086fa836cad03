"""Runs of both stages where the accelerator is: as on the CPU, down to the metrics and the weights."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import _disable_current_modes

from chandler.data.reading.load import load_bars
from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.datasets.device_placement import place
from chandler.training.engine.distributed import make_accelerator
from chandler.training.engine.interrupts import Interrupted
from chandler.training.logging.console import RunProgress
from chandler.training.run import finetune
from chandler.training.runs.folder import Run
from tests.conftest import GOLDEN
from tests.training.conftest import ASSET, NO_DROPOUT, TINY

CPU, SECOND = torch.device("cpu"), torch.device("standin", 1)
GB = 10**9


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    """Two optimiser steps of each stage, validated before and after."""
    config["data"]["windows_per_epoch"] = 32
    config["data"]["validation_stride"] = 60
    for stage in ("tokenizer", "predictor"):
        config[stage]["epochs"] = 1
    config["predictor"]["learning_rate"] = 1e-3
    return config


BY_FORECASTS = {"promote_on": "crps", "scoring": {"windows": 4, "paths": 3}}
"""Settings of a predictor that forecasts choose: they take longer here than all the rest of a small run."""


@pytest.fixture
def golden_starts(config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The same from trained weights; without dropout, whose random numbers differ between devices."""
    for name in ("tokenizer", "predictor"):
        kind: Any = KronosTokenizer if name == "tokenizer" else Kronos
        folder = kind.from_pretrained(GOLDEN / name).save_pretrained(tmp_path / f"golden-{name}")
        content = json.loads((folder / "config.json").read_text())
        content |= {key: 0.0 for key in NO_DROPOUT if key in content}
        (folder / "config.json").write_text(json.dumps(content))
        config[name] = {**config[name], "start": str(folder), "architecture": None}
    return config


def both(config: dict[str, Any]) -> tuple[Run, Run]:
    """The run on the CPU and on the stand-in; their metrics and weights are found to be equal to rounding."""
    # Without the mode that watches the stand-in: none of its tensors is there, and each operation would go through it.
    with _disable_current_modes():
        here = finetune({**config, "device": "cpu", "out": config["out"] + "-cpu"})
    there = finetune({**config, "device": "standin"})
    a, b = ([r for r in run.metrics() if r["kind"] != "begin"] for run in (here, there))
    assert [(r["stage"], r["kind"], r["step"]) for r in a] == [(r["stage"], r["kind"], r["step"]) for r in b]
    for x, y in zip(a, b, strict=True):
        numbers = {k for k, v in x.items() if isinstance(v, float)} - {"time", "windows_per_second"}
        assert numbers
        for name in numbers:
            assert y[name] == pytest.approx(x[name], rel=1e-3, abs=1e-5), (x["stage"], x["kind"], x["step"], name)
    for stage in ("tokenizer", "predictor"):
        weights, others = (load_file(run.folder / stage / WEIGHTS_NAME) for run in (here, there))
        for name, weight in weights.items():
            torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-4, msg=f"{stage} {name}")
    return here, there


def test_both_stages_and_promotion_by_crps(config: dict[str, Any]) -> None:
    config["predictor"] |= BY_FORECASTS
    _, run = both(config)
    records = run.metrics()
    assert [(r["stage"], r["step"]) for r in records if r["kind"] == "validation"] == [
        ("tokenizer", 0), ("tokenizer", 2), ("predictor", 0), ("predictor", 2),
    ]  # fmt: skip
    assert all(np.isfinite(r["crps"]) for r in records if r["stage"] == "predictor" and r["kind"] == "validation")


@pytest.mark.parametrize("mode", ["full", "lora", "head"])
def test_what_is_trained_of_trained_weights(golden_starts: dict[str, Any], mode: str) -> None:
    for stage in ("tokenizer", "predictor"):
        golden_starts[stage] |= {"mode": mode, "lora": {"rank": 2, "alpha": 4, "targets": ["q_proj", "w2"]}}
    golden_starts["predictor"] |= BY_FORECASTS if mode == "lora" else {}
    _, run = both(golden_starts)
    assert (run.folder / "adapters" / "predictor" / "adapter.safetensors").is_file() == (mode == "lora")


def test_everything_that_makes_tensors_of_its_own(config: dict[str, Any]) -> None:
    config["data"] |= {
        "device": "auto", "drop_volume": 0.5, "replay": {"path": str(ASSET), "symbols": ["GOOG"], "share": 0.25},
    }  # fmt: skip
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"least_lookback": 8, "accumulation_steps": 2, "validate_every": 1, "schedule": "cosine"}
    config["predictor"] |= {"loss": "horizon", "condition": "true"}
    both(config)


def test_where_there_is_no_float64(without_float64: None, config: dict[str, Any]) -> None:
    config["data"]["device"] = "auto"
    config["predictor"] |= BY_FORECASTS
    both(config)
    with pytest.raises(ConfigError, match=r"windows are cut in float64, and standin:0 has none"):
        finetune({**config, "device": "standin", "data": {**config["data"], "device": "standin"}}, overwrite=True)


def test_bfloat16_and_gradient_checkpointing(config: dict[str, Any]) -> None:
    for stage in ("tokenizer", "predictor"):
        config[stage]["gradient_checkpointing"] = True
    config["predictor"] |= BY_FORECASTS
    run = finetune({**config, "device": "standin", "precision": "bfloat16"})
    assert all(np.isfinite(r["loss"]) for r in run.metrics() if r["kind"] == "train")


@pytest.fixture
def default_device(device: torch.device) -> Iterator[None]:
    """As a script has it after `torch.set_default_device("cuda")`."""
    torch.set_default_device(device)
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_torch_s_default_device_changes_nothing(
    golden_starts: dict[str, Any], mode: str, request: pytest.FixtureRequest
) -> None:
    golden_starts["predictor"] |= {"mode": mode, "lora": {"rank": 2, "dropout": 0.1, "targets": ["q_proj"]}}
    golden_starts["tokenizer"] |= {"start": "random", "architecture": {**TINY, "s1_bits": 6, "s2_bits": 6}}
    golden_starts["predictor"] |= BY_FORECASTS if mode == "lora" else {}
    plain = finetune({**golden_starts, "device": "cpu", "out": golden_starts["out"] + "-plain"})
    request.getfixturevalue("default_device")
    run = finetune({**golden_starts, "device": "cpu"})
    for stage in ("tokenizer", "predictor"):
        a, b = (load_file(run.folder / stage / WEIGHTS_NAME, device="cpu") for run in (plain, run))
        assert all(torch.equal(a[name], b[name]) for name in a)


class StoppedAt(RunProgress):
    """Sends this process a SIGTERM once a validation of the predictor has been shown."""

    def on_validation(self, record: dict[str, Any]) -> None:
        super().on_validation(record)
        if (record["stage"], record["step"]) == ("predictor", 1):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_resumed_it_ends_as_never_stopped(golden_starts: dict[str, Any], mode: str) -> None:
    config = {**golden_starts, "device": "standin"}
    config["predictor"] |= {"mode": mode, "validate_every": 1, "lora": {"rank": 2, "targets": ["q_proj"]}}
    whole = finetune({**config, "out": config["out"] + "-whole"})
    with pytest.raises(Interrupted, match="stopped at step 1 of 2"):
        finetune(config, progress=StoppedAt())
    again = finetune(config, resume=True)
    for stage in ("tokenizer", "predictor"):
        a, b = (load_file(run.folder / stage / WEIGHTS_NAME) for run in (whole, again))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_damaged_bar_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    store = load_bars(ASSET, symbols=["AAPL", "IBM"], adjust="auto")
    store.save(tmp_path / "store")
    values = np.load(tmp_path / "store" / "values.npy", mmap_mode="r+")
    values[1000, 2] = np.nan
    values.flush()
    config["data"] |= {"path": str(tmp_path / "store"), "symbols": None, "stride": 24, "windows_per_epoch": None}
    config["tokenizer"] |= {"on_nonfinite": "skip", "batch_size": 64}
    config["predictor"] |= {"enabled": False}
    run = finetune({**config, "device": "standin"})
    assert run.summary["stages"]["tokenizer"]["skipped"] == 1


def test_accelerate_is_told_the_device(device: torch.device) -> None:
    assert make_accelerator("standin").device == device
    assert make_accelerator("standin:1").device == SECOND
    assert make_accelerator("cpu").device == CPU
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_where_bars_live(device: torch.device, without_float64: None) -> None:
    assert place("auto", device, 1, free=4 * GB) is None, "no float64"


def test_auto_asks_for_a_quarter_of_what_is_free_on_the_accelerator(device: torch.device) -> None:
    assert place("auto", SECOND, 1 * GB, free=4 * GB) == SECOND
    assert place("auto", SECOND, 2 * GB, free=4 * GB) is None
    assert place("auto", CPU, 1) is None
    assert place("cpu", SECOND, 1) is None
    assert place("standin", SECOND, 3 * GB, free=4 * GB) == SECOND, "the device of this process"
    assert place("standin:0", SECOND, 3 * GB, free=4 * GB) == device
    with pytest.raises(ConfigError, match=r"take 3\.50 GB, and 4\.00 GB are free on standin:1.*data\.device: cpu"):
        place("standin", SECOND, 7 * GB // 2, free=4 * GB)
    with pytest.raises(
        ConfigError, match=r"data\.device: device 'standin:2' cannot be used here: invalid device ordinal"
    ):
        place("standin:2", SECOND, 1, free=4 * GB)
    assert place("standin", device, GB // 2) == device, "what is free is asked of the device"
    with pytest.raises(ConfigError, match=r"1\.07 GB are free"):
        place("standin", device, GB)
