"""How far a job is, from the files that its command writes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from chandler.serving.jobs.folder import LOG, PROCESS, JobFolder, Order
from chandler.serving.jobs.progress import Gauge


def test_an_evaluation_that_calibrates_says_so_and_how_far_it_is(tmp_path: Path) -> None:
    job, out = JobFolder(tmp_path / "job"), tmp_path / "out"
    job.folder.mkdir()
    out.mkdir()
    log = job.folder / LOG
    log.write_text("Calibrating mine on the bars before: 640 of 700 windows, about 9 s left\n")
    (job.folder / PROCESS).write_text(json.dumps({"started": time.time() - 60, "log": log.stat().st_size}))
    (out / "config.yaml").write_text("baselines: [last_close]\nmodels: {mine: a, theirs: b}\n")
    state = {"windows": 10, "settings": {"chunk": 4}, "contenders": {}}
    (out / "evaluation.json").write_text(json.dumps(state | {"calibrating": "mine"}))
    gauge = Gauge(job, Order("job", "evaluate", "x", 0, "", [], [], out=str(out)))

    def told() -> tuple[object, ...]:
        found = gauge.read()
        assert found is not None
        return found["stage"], found["done"], found["total"], found["seconds_left"]

    mine, theirs = (f"Calibrating {name} on the bars before" for name in ("mine", "theirs"))
    # What the log says of the start before counts no more.
    assert told() == (mine, 0, None, None)
    with log.open("a") as file:
        file.write(
            f"{mine}: 64 of 1,423 windows, about 1,074 s left\n{mine}: fitting blend and bands to 1,400 windows\n"
        )
    assert told() == (mine, 64, 1423, 1074)
    (out / "evaluation.json").write_text(json.dumps(state | {"calibrating": "theirs"}))
    assert told() == (theirs, 0, None, None)
    (out / "evaluation.json").write_text(json.dumps(state | {"contenders": {"last_close": {}}}))
    assert told() == ("last_close", 0, 30, None)
    # An evaluation of before, which this one has not reached yet.
    os.utime(out / "evaluation.json", (0, 0))
    assert told() == (mine, 64, 1423, 1074)
