"""The command that a sweep names for what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from chandler.reports.sweep import next_command


def test_the_next_command_is_one_that_a_shell_takes() -> None:
    settings = {"data": {"path": "a b.csv", "lookback": 64, "horizon": 5}, "predictor": {"start": "chandler-nano"}}
    book = {"trials": [{"number": 0, "state": "finished"}], "verdict": {"best": 0}, "settings": settings}
    assert shlex.split(next_command(Path("my sweeps/one"), book)) == [
        "chandler", "evaluate", "a b.csv", "--models", "before=chandler-nano,after=my sweeps/one/000",
        "--out", "my sweeps/one-evaluation", "--set", "lookback=64", "--set", "horizon=5",
    ]  # fmt: skip
