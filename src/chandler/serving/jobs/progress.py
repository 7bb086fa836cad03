"""How far a job is, from what its command writes: records of a training, parts of an evaluation, else the lines of its log."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import yaml

from chandler.places import CONFIG
from chandler.serving.jobs.folder import JobFolder, Order
from chandler.serving.runs import MetricsReader
from chandler.serving.workspace import read_json

LINE = re.compile(r"(?P<stage>.+): (?P<done>[\d,]+) of (?P<total>[\d,]+) \w+, about (?P<left>[\d,]+) s left")
"""What `chandler.progress` prints where there is no terminal."""
TAIL = 16 << 10


class Gauge:
    """Reads how far one job is since its last start; None as long as nothing is known."""

    def __init__(self, job: JobFolder, order: Order) -> None:
        self._job, self._order = job, order
        self._metrics = MetricsReader(Path(order.out)) if order.kind == "finetune" and order.out else None
        self._place: str | None = None
        self._begin: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._expected: list[str] | None = None

    def read(self) -> dict[str, Any] | None:
        """stage, done, total, epoch, epochs, rate (windows a second), seconds_left (of the stage)."""
        started = float(self._job.process().get("started", math.inf))
        if self._metrics is not None:
            return self._training(self._metrics, started)
        return (self._parts(started) if self._order.kind == "evaluate" else None) or self._lines()

    def _training(self, metrics: MetricsReader, started: float) -> dict[str, Any] | None:
        found = metrics.after(self._place, most=1)
        self._place = found.next
        if found.reset:
            self._begin, self._last = {}, {}
        for one in found.records:
            if one.get("time", 0) < started:  # of an attempt before
                continue
            if one["kind"] == "begin":
                self._begin, self._last = one, {}
            elif one["stage"] == self._begin.get("stage"):
                self._last = (
                    one if one["kind"] == "train" else {**self._last, "step": one["step"], "epoch": one["epoch"]}
                )
        begin, last = self._begin, self._last
        if not begin:
            return None
        done, total = int(last.get("step", begin["step"])), int(begin["steps"])
        took, steps = last.get("time", begin["time"]) - begin["time"], done - int(begin["step"])
        return _told(
            begin["stage"], done, total, epoch=int(last.get("epoch", begin["epoch"])), epochs=int(begin["epochs"]),
            rate=last.get("windows_per_second"), seconds_left=took / steps * (total - done) if steps > 0 else None,
        )  # fmt: skip

    def _parts(self, started: float) -> dict[str, Any] | None:
        """Windows that every contender has forecast, of those that all of them will; before, how far a calibration is."""
        folder = Path(self._order.out or "")
        about = read_json(folder / "evaluation.json")
        if not about or (folder / "evaluation.json").stat().st_mtime < started or not (folder / CONFIG).is_file():
            return None
        if (name := about.get("calibrating")) is not None:
            calibrating, lines = f"Calibrating {name} on the bars before", self._lines()
            return lines if lines is not None and lines["stage"] == calibrating else _told(calibrating, 0, None)
        if self._expected is None:
            settings = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
            self._expected = [*settings["baselines"], *settings["models"]]
        windows, chunk = int(about["windows"]), int(about["settings"]["chunk"])
        left_out = set(about.get("left_out", ()))
        contenders = [name for name in self._expected if name not in left_out]
        made = sorted(part.stat().st_mtime for part in folder.glob("parts/*/[0-9]*.parquet"))
        parts = math.ceil(windows / chunk) * len(contenders)
        done, total = min(len(made) * chunk, windows * len(contenders)), windows * len(contenders)
        new = [one for one in made if one >= started]
        rate = len(new) * chunk / max(time.time() - started, 1.0) if new else None
        stage = next(reversed(about.get("contenders") or {}), None)
        left = None if rate is None else (parts - len(made)) * chunk / rate
        return _told(stage, done, total, rate=rate, seconds_left=left)

    def _lines(self) -> dict[str, Any] | None:
        for line in reversed(self._job.tail(TAIL)):
            if found := LINE.fullmatch(line):
                done, total, left = (int(found[name].replace(",", "")) for name in ("done", "total", "left"))
                return _told(found["stage"], done, total, seconds_left=left)
        return None


def _told(stage: str | None, done: int, total: int | None, **rest: Any) -> dict[str, Any]:
    empty = {"epoch": None, "epochs": None, "rate": None, "seconds_left": None}
    return {"stage": stage, "done": done, "total": total, **empty, **rest}
