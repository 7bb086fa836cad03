"""A run folder: the old goes only when the new is known to be possible and to start from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.shell import chandler
from tests.training.conftest import ASSET

from chandler.demo import run_demo
from chandler.errors import ChandlerError, CheckpointError, ConfigError
from chandler.training.run import finetune

GOLDEN = Path(__file__).parents[2] / "golden"
Config = dict[str, Any]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def refused(config: Config, match: str, error: type[ChandlerError] = ConfigError, **how: bool) -> None:
    """The run is refused with this message, and what is in its folder stays to the byte."""
    folder = Path(config["out"])
    before = snapshot(folder)
    with pytest.raises(error, match=match):
        finetune(config, **how)
    assert snapshot(folder) == before


@pytest.fixture
def config(config: Config) -> Config:
    config["tokenizer"]["epochs"] = config["predictor"]["epochs"] = 1
    config["data"] |= {"windows_per_epoch": 16, "validation_stride": 60}
    return config


@pytest.fixture
def mine(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in the folder of the settings."""
    done = finetune(config).folder
    assert (done / "predictor" / "model.safetensors").is_file()
    return done


def started(config: Config, folder: Path) -> Config:
    """The same run, started from the models of a folder."""
    for stage in ("tokenizer", "predictor"):
        config[stage] = {"start": str(folder / stage), "epochs": 1, "batch_size": 16}
    return config


@pytest.mark.parametrize("how", ["overwrite", "resume", "skip", "link", "relative", "linked stage"])
def test_a_run_is_not_written_over_what_it_starts_from(
    how: str, config: Config, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(mine)
    started(config, mine)["tokenizer"]["enabled"] = False
    flags = {"overwrite": True}
    if how == "resume":
        flags = {"resume": True, "force": True}
        (mine / "summary.json").write_text(json.dumps({"stages": {}}))  # as if it had not finished
        before = snapshot(mine)
    elif how == "skip":
        flags = {}
        config["tokenizer"]["skip_existing"] = True
    elif how == "link":
        (tmp_path / "link").symlink_to(mine)
        config["out"] = str(tmp_path / "link")
    elif how == "relative":
        monkeypatch.chdir(mine)
        config["out"] = "."
    elif how == "linked stage":
        flags = {"resume": True, "force": True}
        shutil.move(mine / "predictor", tmp_path / "good")
        (mine / "predictor").symlink_to(tmp_path / "good")
        (mine / "summary.json").write_text(json.dumps({"stages": {}}))
        config["tokenizer"]["start"], config["predictor"]["start"] = str(GOLDEN / "tokenizer"), str(tmp_path / "good")
        config["tokenizer"]["start"] = str(shutil.copytree(mine / "tokenizer", tmp_path / "t"))
        before = snapshot(mine)
    match = "predictor.start" if how == "linked stage" else r"(tokenizer|predictor)\.start"
    told = "has a result of its predictor" if how == "skip" else rf"(contains|is) .*which is read \({match}\)"
    refused(config, told, **flags)
    assert snapshot(mine) == before


def test_what_cannot_start_leaves_the_earlier_run_whole(config: Config, mine: Path, tmp_path: Path) -> None:
    fresh = {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}
    refused(fresh | {"predictor": {"start": str(tmp_path / "typo")}}, "there is no such folder", CheckpointError,
            overwrite=True)  # fmt: skip
    other = {"start": str(GOLDEN / "predictor")}
    refused(
        fresh | {"predictor": other}, "the tokenizer has 4 \\+ 4 bits but the predictor reads 6 \\+ 6", overwrite=True
    )
    no_such = {**fresh["predictor"], "train": ["no.such.weight"]}
    refused(fresh | {"predictor": no_such}, "fits no parameter", overwrite=True)
    refused(fresh | {"data": {**fresh["data"], "symbols": ["NONE"]}}, "no such symbol", ChandlerError, overwrite=True)
    assert finetune(config, overwrite=True).folder == mine


def test_data_within_the_folder_are_refused(config: Config, mine: Path) -> None:
    pd.read_csv(ASSET).query("symbol == 'IBM'").to_csv(mine / "bars.csv", index=False)
    for path in (str(mine / "bars.csv"), str(mine / "*.csv"), [str(ASSET), str(mine / "bars.csv")]):
        changed = config | {"data": {**config["data"], "path": path, "symbols": None, "join": True}}
        if isinstance(path, list):
            changed["data"]["symbols"] = ["AAPL"]
            changed["data"]["path"] = [str(ASSET), str(mine / "other.csv")]
            pd.read_csv(ASSET).query("symbol == 'IBM'").assign(symbol="X").to_csv(mine / "other.csv", index=False)
        refused(changed, r"contains .*csv, which is read \(data\.path\)", overwrite=True)
    replayed = {**config["data"], "replay": {"path": str(mine / "bars.csv")}}
    refused(config | {"data": replayed}, r"bars\.csv, which is read \(data\.replay\.path\)", overwrite=True)
    sources = {key: value for key, value in config["data"].items() if key not in ("path", "symbols")}
    sources |= {"folder": str(mine), "sources": [{"path": "bars.csv"}], "split": {"train": 0.8, "val": 0.2}}
    refused(config | {"data": sources}, r"bars\.csv, which is read \(data\.sources: bars\.csv\)", overwrite=True)


@pytest.mark.parametrize(
    "place", ["predictor/notes.txt", "checkpoints/mine.txt", "trackers/diary.md", "adapters/a.bin"]
)
def test_what_is_not_of_the_run_is_named_and_stays(place: str, config: Config, mine: Path) -> None:
    (mine / place).parent.mkdir(exist_ok=True)
    (mine / place).write_text("years of work")
    (mine / "notes.txt").write_text("beside it")
    refused(config, rf"{place} is not of a run that chandler wrote: it is not removed", overwrite=True)
    (mine / place).unlink()
    finetune(config, overwrite=True)
    assert (mine / "notes.txt").read_text() == "beside it"


def test_a_folder_of_something_else_is_no_run(config: Config, tmp_path: Path) -> None:
    out = Path(config["out"])
    shutil.copytree(GOLDEN / "predictor", out / "predictor")  # a model that somebody put there
    for how in ({}, {"overwrite": True}, {"resume": True}):
        refused(config, "holds predictor, and no sign that chandler wrote a run there", **how)
    shutil.rmtree(out / "predictor")
    (out / "config.yaml").write_text("# written by hand\npredictor: {}\n")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        refused(config, r"config\.yaml was not written by chandler", **how)


def test_a_backtest_is_not_removed_by_a_run(config: Config) -> None:
    out = Path(config["out"])
    out.mkdir()
    (out / "config.yaml").write_text("out: x\nportfolio:\n  k: 3\n")
    (out / "summary.json").write_text('{"formulas": {}, "results": {}}')
    refused(config, "holds config.yaml, summary.json, and no sign that chandler wrote a run", overwrite=True)


def test_overwriting_takes_everything_of_the_old_run_with_it(config: Config, mine: Path) -> None:
    """A calibration was fitted for the old weights; killed processes leave what they were writing."""
    (mine / "calibration.json").write_text("{}")
    (mine / ".summary.json.0a1b2c3d").write_text("{")
    (mine / "checkpoints" / "predictor" / ".step-0000004.0a1b2c3d").mkdir(parents=True)
    (mine / "checkpoints" / "predictor" / ".step-0000004.0a1b2c3d" / "state.json").write_text("{")
    (mine / "adapters" / "predictor").mkdir(parents=True)
    (mine / "adapters" / "predictor" / "adapter.json").write_text("{}")
    finetune(config, overwrite=True)
    assert {path.name for path in mine.iterdir()} == {
        "config.yaml", "metrics.jsonl", "summary.json", "checkpoints", "tokenizer", "predictor",
    }  # fmt: skip
    assert not list((mine / "checkpoints").iterdir())


def test_the_settings_of_a_run_are_known_again_in_any_script(config: Config, tmp_path: Path) -> None:
    bars = tmp_path / "行情 数据" / "平安银行 [日线] 'x' - 前复权.csv"
    bars.parent.mkdir()
    pd.read_csv(ASSET).query("symbol == 'IBM'").to_csv(bars, index=False)
    config["out"] = str(tmp_path / "微调 结果")
    config["data"] |= {"path": str(bars), "symbols": None}
    finetune(config)
    finetune(config, resume=True)
    finetune(config, overwrite=True)
    refused(config, "already holds a run")


def test_notes_among_the_states_of_a_stage_stay(config: Config) -> None:
    notes = Path(config["out"]) / "checkpoints" / "predictor" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    refused(config, "holds checkpoints, and no sign")
    config["tokenizer"]["epochs"] = 1
    shutil.move(notes.parents[1], notes.parents[2].with_name("aside"))
    finetune(config)
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    (notes.parents[2] / "summary.json").write_text(json.dumps({"stages": {}}))
    finetune(config, resume=True)
    assert os.listdir(notes.parent) == ["notes.txt"]


def test_no_room_for_the_new_leaves_the_old(config: Config, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chandler.atomic._sync", full)
    monkeypatch.setattr(Path, "write_text", full)
    refused(config, r"cannot write there \(No space left on device\)", overwrite=True)


def test_the_demo_replaces_no_other_run(config: Config, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(mine)
    assert chandler("demo", "--out", mine) == 2
    assert "holds another run than this demo (data." in capsys.readouterr().err
    with pytest.raises(ConfigError, match="holds another run"):
        run_demo(mine)
    assert snapshot(mine) == before


def test_settings_are_not_saved_over_bars(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = tmp_path / "bars.csv"
    pd.read_csv(ASSET).query("symbol == 'IBM'").to_csv(bars, index=False)
    before = bars.read_bytes()
    asked = ["finetune", "configs/csv.yaml", "--set", f"data.path={bars}", "--out", tmp_path / "o"]
    assert chandler(*asked, "--save-as", bars, "--overwrite") == 2
    assert "which is read (data.path)" in capsys.readouterr().err
    assert bars.read_bytes() == before
