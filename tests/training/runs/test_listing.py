"""Runs as a table: finished, unfinished and broken ones, one or a hundred."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from chandler.errors import ConfigError
from chandler.training.runs.listing import list_runs, runs_json, runs_table

CONFIG = "tokenizer: {epochs: 30}\npredictor: {epochs: 20}\n"


def make_run(folder: Path, *, when: float, finished: bool = True) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    rows = [
        {"stage": "tokenizer", "kind": "validation", "step": 0, "epoch": 0, "mse": 0.5, "mse_s1": 0.6, "best": True},
        {"stage": "tokenizer", "kind": "train", "step": 1, "epoch": 1, "loss": 1.0},
        {"stage": "tokenizer", "kind": "validation", "step": 8, "epoch": 3, "mse": 0.25, "mse_s1": 0.3, "best": True},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"stage": "tok')
    (folder / "weights").write_bytes(bytes(2_500_000))
    if finished:
        stages = {
            "tokenizer": {"status": "improved", "epochs": 30, "measure": "mse", "start_score": 0.5, "best": 0.1},
            "predictor": {"status": "kept_start", "epochs": 7, "measure": "nll", "start_score": 4.0, "best": 4.0},
        }
        (folder / "summary.json").write_text(json.dumps({"stages": stages}))
    for path in folder.iterdir():
        os.utime(path, (when, when))


def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    make_run(tmp_path / "new", when=1.7e9 + 60, finished=False)
    make_run(tmp_path / "group" / "old", when=1.7e9)
    assert runs_table(tmp_path, width=100).splitlines() == [
        "run        stage      epochs  start -> best               size  date",
        "group/old  tokenizer  30/30   mse 0.5 -> 0.1 (-80.0%)   2.5 MB  2023-11-14 22:13",
        "           predictor  7/20    nll 4 (start kept)",
        "new        tokenizer  3/30 *  mse 0.5 -> 0.25 (-50.0%)  2.5 MB  2023-11-14 22:14",
        "2 runs, 5.0 MB; * unfinished, chandler finetune ... --resume goes on",
    ]


def test_names_are_told_as_they_are(tmp_path: Path) -> None:
    names = ["b[/b]", "c[bold]", "exp[lr]", "x:100:y"]
    for when, name in enumerate(names):
        make_run(tmp_path / name, when=1.7e9 + when)
    lines = runs_table(tmp_path, width=100).splitlines()
    assert [line.split()[0] for line in lines[1:-1:2]] == names


def test_a_hundred_runs_are_a_line_a_stage_within_the_width(tmp_path: Path) -> None:
    for number in range(100):
        make_run(tmp_path / f"run-{number:03d}", when=1.7e9 + number)
    lines = runs_table(tmp_path, width=80).splitlines()
    assert len(lines) == 1 + 2 * 100 + 1
    assert max(map(len, lines)) <= 80
    assert lines[-3].startswith("run-099")
    assert lines[-1].startswith("100 runs, ")


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_names_are_shown_at_every_width(width: int, tmp_path: Path) -> None:
    names = ["sweep/000", "a-name-that-says-what-was-tried-in-it", "第一次试验" * 4]
    for when, name in enumerate(names):
        make_run(tmp_path / name, when=1.7e9 + when, finished=False)
        rows = [
            {"stage": "predictor", "kind": "validation", "step": n, "epoch": n, "nll_horizon": 3.9 - n} for n in (0, 1)
        ]
        with (tmp_path / name / "metrics.jsonl").open("a") as stream:
            stream.write("\n" + "".join(json.dumps(row) + "\n" for row in rows))
    shown = runs_table(tmp_path, width=width)
    assert max(map(cell_len, shown.splitlines())) <= width
    whole = shown if width > 30 else shown.replace("\n", "")
    assert all(name in whole for name in names)
    assert whole.count("nll_horizon 3.9 -> 2.9 (-25.6%)") == (3 if width > 30 else 0)
    assert ("start -> best" in shown) is (width == 120)


def test_what_has_files_of_the_same_names_is_no_run(tmp_path: Path) -> None:
    for name, marks in {
        "backtest": {"summary.json": '{"chandler": "0.1.0", "task": null, "results": {}}'},
        "of-another-tool": {"metrics.jsonl": '{"loss": 1.0}\n', "summary.json": "[]"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in {"config.yaml": "model: chandler-nano\n", **marks}.items():
            (tmp_path / name / file).write_text(text)
    assert list_runs(tmp_path) == []
    make_run(tmp_path / "run", when=1.7e9)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert [run.folder for run in list_runs(tmp_path)] == ["run"], "its summary is that of a run"


def test_json_has_the_same(tmp_path: Path) -> None:
    make_run(tmp_path / "a", when=1.7e9)
    (run,) = json.loads(runs_json(tmp_path))
    assert run["folder"] == "a"
    assert run["changed"] == 1.7e9
    assert run["stages"][0] == {
        "stage": "tokenizer", "status": "improved", "epochs": 30, "planned": 30,
        "measure": "mse", "start": 0.5, "best": 0.1,
    }  # fmt: skip


def test_folders_without_runs(tmp_path: Path) -> None:
    assert "No runs in" in runs_table(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        list_runs(tmp_path / "none")


def test_a_run_folder_lists_itself_and_damage_hides_no_run(tmp_path: Path) -> None:
    make_run(tmp_path / "a", when=1.7e9)
    assert list_runs(tmp_path / "a")[0].folder == "a"
    (tmp_path / "a" / "summary.json").write_text("{")
    (tmp_path / "a" / "config.yaml").write_text("[")
    (run,) = list_runs(tmp_path)
    assert (run.stages[0].status, run.stages[0].epochs, run.stages[0].best) == ("unfinished", 3, 0.25)
