"""Runs of seconds, made by the real trainer, for whoever looks at run folders."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.training.conftest import tiny_run

from chandler.reports import write_run_report
from chandler.training import finetune


def make_runs(root: Path) -> None:
    """a: both stages gained; group/b: from a's result with another rate and seed, its tokenizer off, its start kept; half: a run that was
    stopped within its second stage, an hour ago."""
    first = tiny_run(root / "a")
    first["data"]["windows_per_epoch"] = 32
    write_run_report(finetune(first).folder)
    second = tiny_run(root / "group" / "b")
    second["data"]["windows_per_epoch"] = 32
    second |= {"seed": 7, "tokenizer": {"start": str(root / "a" / "tokenizer"), "enabled": False}}
    second["predictor"] = {
        "start": str(root / "a" / "predictor"), "epochs": 2, "batch_size": 16, "learning_rate": 5.0, "clip": 1e9,
    }  # fmt: skip
    write_run_report(finetune(second).folder)
    half = root / "half"
    shutil.copytree(root / "a", half, ignore=shutil.ignore_patterns("report.html", "predictor"))
    summary = json.loads((half / "summary.json").read_text())
    del summary["stages"]["predictor"]
    (half / "summary.json").write_text(json.dumps(summary))
    lines = (half / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text("".join(lines[:-2]))
    age(half, 3600)


def age(folder: Path, seconds: float) -> None:
    """Files as if they had been written so long ago."""
    for path in (folder, *folder.rglob("*")):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))
