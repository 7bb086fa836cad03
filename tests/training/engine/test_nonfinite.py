"""Numbers that go wrong: a run stops and says where, or leaves the step out and counts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import GOLDEN
from tests.training.conftest import ASSET

from chandler.data.reading.load import load_bars
from chandler.errors import TrainingError
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.run import finetune
from chandler.training.runs.folder import Run

BAD_ROW = 1000
"""Of AAPL: in the training part."""


@pytest.fixture
def config(config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A store that was damaged after its bars were checked: one price of AAPL is no number."""
    store = load_bars(ASSET, symbols=["AAPL", "IBM"], adjust="auto")
    store.save(tmp_path / "store")
    values = np.load(tmp_path / "store" / "values.npy", mmap_mode="r+")
    values[BAD_ROW, 2] = np.nan
    values.flush()
    # One window in eight has the bad bar: an epoch of all of them meets it.
    config["data"] = {
        "path": str(tmp_path / "store"), "symbols": None, "lookback": 20, "horizon": 4,
        "stride": 24, "windows_per_epoch": None, "validation_stride": 40,
    }  # fmt: skip
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"batch_size": 8, "accumulation_steps": 4, "epochs": 2}
    return config


def dates(text: str) -> tuple[str, str]:
    found = re.search(r"in windows AAPL (\S+) \S+ \.\. (\S+)", text)
    assert found, text
    return found[1], found[2]


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_the_run_stops_and_names_the_window(config: dict[str, Any], stage: str) -> None:
    if stage == "predictor":
        config["tokenizer"] = {"start": str(GOLDEN / "tokenizer"), "enabled": False}
        config["predictor"] = {**config["predictor"], "start": str(GOLDEN / "predictor"), "architecture": None}
    bad_day = str(load_bars(ASSET, symbols=["AAPL"], adjust="auto")["AAPL"].timestamps[BAD_ROW].date())
    with pytest.raises(
        TrainingError, match=rf"^{stage}: the loss or its gradient is not finite at step \d+ in"
    ) as error:
        finetune(config)
    text = str(error.value)
    first, last = dates(text)
    assert first <= bad_day <= last
    assert " and " not in text.split(". The last good")[0].split("in windows")[1], "one window, not all of the step"
    state = re.search(r"The last good state is (\S+)\. ", text)
    assert state
    assert (Path(state[1]) / "model.safetensors").is_file()
    assert f"{stage}.on_nonfinite: skip" in text


def test_steps_are_left_out_and_counted(config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("tokenizer", "predictor"):
        config[stage]["on_nonfinite"] = "skip"
    run = finetune(config)
    for stage, model in (("tokenizer", KronosTokenizer), ("predictor", Kronos)):
        summary = run.summary["stages"][stage]
        assert summary["skipped"] == 2, "the window comes once an epoch"
        assert "2 steps left out, not finite" in summary["verdict"]
        steps = [r["step"] for r in run.metrics() if r["stage"] == stage and r["kind"] == "train"]
        assert len(steps) == summary["steps"] - 2
        weights = model.from_pretrained(run.folder / stage).state_dict()
        assert all(torch.isfinite(t).all() for t in weights.values())
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("the step was left out (1 so far)") == text.count("the step was left out (2 so far)") == 2
    assert "in windows AAPL 2003" in text or "in windows AAPL 2004" in text


def test_a_validation_that_is_not_finite_names_the_window(config: dict[str, Any], tmp_path: Path) -> None:
    values = np.load(tmp_path / "store" / "values.npy", mmap_mode="r+")
    values[BAD_ROW, 2] = values[BAD_ROW - 1, 2]
    values[3200, 3] = np.inf
    values.flush()
    with pytest.raises(
        TrainingError, match=r"validation mse is nan at step 0 in windows AAPL \S+ \S+ \.\. .*\. No state"
    ):
        finetune(config)


def test_a_huge_learning_rate_is_told_from_bad_bars(config: dict[str, Any]) -> None:
    config["data"] = {**config["data"], "path": str(ASSET), "symbols": ["IBM"]}
    config["tokenizer"] |= {"learning_rate": 1e38, "clip": 1e38, "on_nonfinite": "skip", "schedule": "constant"}
    with pytest.raises(TrainingError, match=r"because weights of the model are no longer finite\. The last good state"):
        finetune(config)
    KronosTokenizer.from_pretrained(Path(config["out"]) / "checkpoints" / "tokenizer" / "best-0000000")
    assert Run(Path(config["out"])).summary == {}
