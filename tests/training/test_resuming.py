"""A run that goes on must be the one that began: its bars, and of its settings those that what was saved stands on."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.training.engine import Interrupted
from chandler.training.logging import RunProgress
from chandler.training.run import finetune
from tests.training.conftest import ASSET
from tests.training.killing import outcome

GOLDEN = Path(__file__).parents[1] / "golden"
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


def rates(config: Config) -> list[float]:
    records = map(json.loads, Path(config["out"], "metrics.jsonl").read_text().splitlines())
    return [one["lr"] for one in records if one["stage"] == "predictor" and one["kind"] == "train"]


def state(config: Config) -> dict[str, Any]:
    newest = max(Path(config["out"], "checkpoints", "predictor").glob("step-*"))
    return dict(json.loads((newest / "state.json").read_text()))


def test_accepted_settings_count_from_there_on(config: Config) -> None:
    config["predictor"] |= {"learning_rate": 1e-3, "schedule": "cosine", "warmup": 0.0}
    stopped(config)
    config["predictor"] |= {"learning_rate": 2e-3, "betas": [0.8, 0.9], "weight_decay": 0.3, "epochs": 6}
    with pytest.raises(Interrupted):
        finetune(config, resume=True, force=True, progress=StoppedAt(16))
    (group,) = state(config)["groups"]
    assert (group["betas"], group["weight_decay"], group["initial_lr"]) == ([0.8, 0.9], 0.3, 2e-3)
    run = finetune(config, resume=True)
    assert run.summary["stages"]["predictor"]["steps"] == 24
    half = [(1 + math.cos(math.pi * step / 24)) / 2 for step in range(24)]
    assert rates(config)[8:] == pytest.approx([2e-3 * one for one in half[8:]])
    assert rates(config)[1] == pytest.approx(1e-3 * (1 + math.cos(math.pi / 16)) / 2)


@pytest.mark.parametrize(("key", "value", "steps"), [("epochs", 6, 24), ("batch_size", 8, 32), ("epochs", 2, 8)])
def test_another_number_of_steps_is_taken_to_its_end(config: Config, key: str, value: int, steps: int) -> None:
    stopped(config)
    config["predictor"][key] = value
    outcome = finetune(config, resume=True, force=True).summary["stages"]["predictor"]
    assert outcome["steps"] == len(rates(config)) == steps
    if steps > 8:
        assert rates(config)[-1] < 1e-6  # down with the last step, as a whole run


def test_fewer_steps_than_were_done_are_refused(config: Config) -> None:
    stopped(config)
    config["predictor"]["epochs"] = 1
    refused(config, r"predictor has done 8 steps, and there are 4 in all .* Raise predictor\.epochs, or", force=True)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "head"},
        {"mode": "lora"},
        {"train": ["head"]},
        {"freeze": ["norm"]},
        {"revision": "main"},
        {"loss": "horizon"},
    ],
    ids=str,
)
def test_what_states_stand_on_cannot_change(config: Config, change: Config) -> None:
    started(config)
    config["predictor"] |= change
    [key] = change
    for force in (False, True):
        refused(
            config, rf"predictor\.{key} .* cannot be taken over by a run that goes on.*Undo the change", force=force
        )


def started(config: Config) -> None:
    """Begin from the models of the golden runs, and stop."""
    config["tokenizer"] = {"start": str(GOLDEN / "tokenizer"), "enabled": False}
    config["predictor"] = {"start": str(GOLDEN / "predictor"), "epochs": 4, "batch_size": 16}
    stopped(config, 0)


def test_a_start_may_have_moved_but_not_changed(config: Config, tmp_path: Path) -> None:
    started(config)
    moved = shutil.copytree(GOLDEN / "predictor", tmp_path / "moved")
    config["predictor"]["start"] = str(moved)
    weights = (moved / WEIGHTS_NAME).read_bytes()
    (moved / WEIGHTS_NAME).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    refused(
        config, r"predictor began from .*golden.predictor and goes on from what was saved, not from .*moved", force=True
    )
    (moved / WEIGHTS_NAME).write_bytes(weights)
    finetune(config, resume=True, force=True)


def test_changed_settings_of_a_finished_stage_are_told(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    stopped(config)
    config["tokenizer"]["clip"] = 1.5
    finetune(config, resume=True, force=True)
    assert "warning: tokenizer.clip 2.0 -> 1.5: without effect, for the stage is finished" in capsys.readouterr().out
