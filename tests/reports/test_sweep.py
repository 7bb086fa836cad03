"""The command that a sweep names for what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from chandler.reports.sweep import next_command


def test_the_next_command_is_one_that_a_shell_takes() -> None:
    split = {"train": 0.8, "val": 0.1}
    data = {"path": "a b.csv", "lookback": 64, "horizon": 5, "split": split}
    settings = {"data": data, "predictor": {"start": "chandler-nano"}}
    book = {"trials": [{"number": 0, "state": "finished"}], "verdict": {"best": 0}, "settings": settings}
    assert shlex.split(next_command(Path("my sweeps/one"), book)) == [
        "chandler", "evaluate", "a b.csv", "--models", "before=chandler-nano,after=my sweeps/one/000",
        "--out", "my sweeps/one-evaluation", "--set", "lookback=64", "--set", "horizon=5",
    ]  # fmt: skip
    split["val"] = 0.2  # to the end of the bars, where an evaluation is refused
    assert " evaluate LATER-BARS " in next_command(Path("my sweeps/one"), book)
