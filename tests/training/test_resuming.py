"""A run that goes on must be the one that began: its bars, and of its settings those that what was saved stands on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chandler.errors import ConfigError
from chandler.training.engine import Interrupted
from chandler.training.logging import RunProgress
from chandler.training.run import finetune
from tests.training.conftest import ASSET
from tests.training.killing import outcome

Config = dict[str, Any]


class StoppedAt(RunProgress):
    """Sends this process a SIGTERM after the validation of a step of a stage."""

    def __init__(self, step: int, stage: str = "predictor") -> None:
        super().__init__()
        self.at = (stage, step)

    def on_validation(self, record: dict[str, Any]) -> None:
        super().on_validation(record)
        if (record["stage"], record["step"]) == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def write(path: str, rows: slice) -> pd.DataFrame:
    bars = pd.read_csv(ASSET).query("symbol == 'IBM'").iloc[rows]
    bars.to_csv(path, index=False)
    return bars


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """Of 600 bars, predictor only: 4 epochs of 4 steps."""
    config["data"] |= {"path": str(tmp_path / "bars.csv"), "symbols": None}
    config["tokenizer"] |= {"epochs": 1}
    config["predictor"] |= {"epochs": 4}
    write(config["data"]["path"], slice(100, 700))
    return config


def stopped(config: Config, step: int = 8, stage: str = "predictor") -> None:
    with pytest.raises(Interrupted):
        finetune(config, progress=StoppedAt(step, stage))


def refused(config: Config, match: str, *, force: bool = False) -> None:
    """Going on is refused, and what is there stays to the byte."""
    files = [path for path in Path(config["out"]).rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(ConfigError, match=match):
        finetune(config, resume=True, force=force)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_a_run_does_not_go_on_with_other_bars(config: Config, stage: str) -> None:
    path = config["data"]["path"]
    whole = finetune({**config, "out": config["out"] + "-whole"})
    stopped(config, 0 if stage == "tokenizer" else 8, stage)
    for rows, force in ((slice(100, 720), False), (slice(100, 500), True)):
        write(path, rows)
        refused(config, "the data have changed .*: training .* windows, .*Restore files and settings", force=force)
    bars = write(path, slice(100, 700))
    bars.assign(volume=bars["volume"].where(bars.index != bars.index[590], 1.0)).to_csv(path, index=False)
    refused(config, r"started: validation 2 windows, 2002-\S+ .. 2002-\S+, with other values\. Restore", force=True)
    write(path, slice(100, 700))  # another file of the same bars
    assert outcome(finetune(config, resume=True).folder) == outcome(whole.folder)


def test_bars_behind_a_dated_split_have_no_say(config: Config) -> None:
    config["data"]["split"] = {"train_end": "2002-03-28", "val_end": "2002-06-28"}
    stopped(config)
    write(config["data"]["path"], slice(100, 720))
    finetune(config, resume=True)


def test_other_bars_to_train_on_may_be_accepted(config: Config) -> None:
    config["data"]["split"] = {"train_end": "2002-03-28"}
    stopped(config)
    write(config["data"]["path"], slice(110, 700))
    refused(config, r"training \d+ windows.* -> \d+ windows.*, or go on all the same with resume=True, force=True")
    finetune(config, resume=True, force=True)
    finetune(config, resume=True)
    config["data"]["horizon"] = 5
    refused(config, r"the data have changed .*; validation .*with other values", force=True)


def test_a_run_without_a_record_of_its_bars_goes_on(config: Config) -> None:
    stopped(config)
    starts, summary = Path(config["out"], "checkpoints/starts.json"), Path(config["out"], "summary.json")
    assert "data" in json.loads(summary.read_text())
    old = json.loads(summary.read_text())
    del old["data"]["windows"]
    summary.write_text(json.dumps(old))
    starts.unlink(missing_ok=True)
    write(config["data"]["path"], slice(90, 700))
    finetune(config, resume=True)
