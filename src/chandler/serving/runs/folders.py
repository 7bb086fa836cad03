"""Which runs there are below a folder, and what each one's files say of it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

from chandler.errors import ConfigError
from chandler.measures import gain, higher_is_better
from chandler.serving.errors import Refusal
from chandler.serving.runs.metrics import MetricsReader
from chandler.serving.runs.settings import without_places
from chandler.serving.workspace import folder_id, name_below
from chandler.training.runs import (
    STAGES,
    RunHistory,
    StageHistory,
    StageLine,
    flattened,
    run_folders,
    run_size,
    stage_lines,
)

log = logging.getLogger("chandler.serving")
SCAN_SECONDS = 2.0
READERS = 8
"""Runs whose metrics are followed at a time."""
FILES = 200
"""Files of a run that are named."""
REPORT, CALIBRATION = "report.html", "calibration.json"
WATCHED = (
    "config.yaml",
    "metrics.jsonl",
    "summary.json",
    REPORT,
    CALIBRATION,
    "checkpoints",
    *(f"checkpoints/{one}" for one in STAGES),
)
"""What changes when anything does that is told of a run."""
QUIET, LONGEST = 120.0, 3600.0
"""Seconds without a change after which a run that nobody here started is held to have stopped; three times its longest pause so far
where that is more, an hour at most."""
State = Literal["running", "finished", "unfinished"]


@dataclass(frozen=True)
class RunFacts:
    """What is told of a run, as far as it takes no looking at many files."""

    id: str
    name: str
    state: State
    began: int | None
    changed: int
    bytes: int | None
    """None until they were counted."""
    stages: tuple[dict[str, Any], ...]
    verdict: tuple[str, ...]
    has_report: bool
    calibrated: bool
    quiet_after: float
    """When it counts as stopped unless it changes, in seconds since 1970."""


class RunList:
    """The runs below a folder. Nothing is remembered but what files said when they last changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._folders: dict[str, Path] = {}
        self._at = -SCAN_SECONDS
        self._read: dict[str, tuple[object, RunFacts | None]] = {}
        """id -> what marked its files, and what they say; None: nothing that a run would."""
        self._sizes: dict[str, tuple[object, int]] = {}
        self._counting: set[str] = set()
        self._readers: OrderedDict[str, MetricsReader] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "runs")
        self._closed = False

    def open(self) -> None:
        """Look at all of them beside what else begins: the first look reads hundreds of files, later ones what has changed."""
        self._pool.submit(self._warm)

    def all(self) -> list[RunFacts]:
        """All of them, the one that changed last first."""
        found = [self._facts(id, folder) for id, folder in self._scan().items()]
        return sorted((one for one in found if one is not None), key=lambda one: (-one.changed, one.name))

    def get(self, id: str) -> RunFacts:
        """One run; Refusal 404."""
        found = self._facts(id, self.folder(id))
        if found is None:
            raise Refusal(404, "There is no such run.")
        return found

    def folder(self, id: str) -> Path:
        """Where a run lies; Refusal 404."""
        found = self._folders.get(id) or self._scan(again=True).get(id)
        if found is None or not (found / "config.yaml").is_file():
            raise Refusal(404, "There is no such run.")
        return found

    def metrics(self, id: str) -> MetricsReader:
        """Who follows the metrics of a run."""
        folder = self.folder(id)
        with self._lock:
            reader = self._readers.pop(id, None) or MetricsReader(folder)
            self._readers[id] = reader
            while len(self._readers) > READERS:
                self._readers.popitem(last=False)
        return reader

    def settings(self, id: str) -> dict[str, Any]:
        """config.yaml of a run, places cut to names."""
        found: dict[str, Any] = without_places(_history(self.folder(id)).config, self.root)
        found.pop("out", None)
        return found

    def differences(self, ids: list[str]) -> list[dict[str, Any]]:
        """The settings that are not the same in all of some runs: key and a value each."""
        flat = [flattened(self.settings(id)) for id in ids]
        keys = list(dict.fromkeys(key for one in flat for key in one))
        rows = [{"key": key, "values": [one.get(key) for one in flat]} for key in keys]
        return [row for row in rows if any(value != row["values"][0] for value in row["values"][1:])]

    def files(self, id: str) -> list[dict[str, Any]]:
        """Names and sizes of a run's own files, but those of its saved states; so many of them."""
        found = islice(_files(self.folder(id)), FILES)
        return sorted(found, key=lambda one: ("/" in one["name"], one["name"]))

    def report(self, id: str) -> Path | None:
        """The page of a run; None where none was written."""
        path = self.folder(id) / REPORT
        return path if path.is_file() and not path.is_symlink() else None

    def command(self, id: str) -> str:
        """What goes on with a run in a shell, or does it again."""
        facts, folder = self.get(id), self.folder(id)
        base = self.root if not self.root.is_absolute() and ".." not in self.root.parts else Path(self.root.name)
        there = base if folder == self.root else base / facts.name
        if facts.state == "finished":
            return f"chandler finetune {there / 'config.yaml'} --out {there}-2"
        return f"chandler finetune {there / 'config.yaml'} --out {there} --resume"

    def close(self) -> None:
        """Look and count no more."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _warm(self) -> None:
        for id, folder in self._scan().items():
            if self._closed:
                return
            self._facts(id, folder)

    def _scan(self, again: bool = False) -> dict[str, Path]:
        with self._lock:
            if again or time.monotonic() - self._at > SCAN_SECONDS:
                self._folders = {folder_id("run", one): one for one in run_folders(self.root)}
                self._at = time.monotonic()
            return dict(self._folders)

    def _facts(self, id: str, folder: Path) -> RunFacts | None:
        """What its files say, read anew where one of them changed."""
        marks = [(name, status.st_mtime, status.st_size) for name in WATCHED if (status := _status(folder / name))]
        if not marks:
            return None
        known, facts = self._read.get(id, (None, None))
        if known != marks:
            try:
                facts = self._look(id, folder, max(time for _, time, _ in marks))
            except ConfigError:
                return None  # it went
            except Exception as error:  # files that say what no run does: it takes no other with it
                log.warning("%s: cannot be read as a run", folder, exc_info=error)
                facts = None
            self._read[id] = marks, facts
        if facts is None:
            return None
        size = self._size(id, folder, marks)
        quiet = facts.state == "running" and time.time() > facts.quiet_after
        return replace(facts, state="unfinished" if quiet else facts.state, bytes=size)

    def _look(self, id: str, folder: Path, changed: float) -> RunFacts:
        history = _history(folder)
        lines = {line.stage: line for line in stage_lines(history.stages)}
        signal = history.summary.get("signal")
        wants_signal = (history.config.get("signal") or {}).get("enabled") and not signal
        finished = set(STAGES) <= set(history.summary.get("stages", {})) and not wants_signal
        verdict = [one for stage in history.stages for one in _verdict(stage)]
        if isinstance(signal, Mapping) and signal.get("verdict"):
            verdict.append(f"signal: {signal['verdict']}")
        return RunFacts(
            id, name_below(folder, self.root),
            "finished" if finished else "running", None if history.began is None else int(history.began), int(changed), None,
            tuple(_stage(stage, lines.get(stage.name)) for stage in history.stages), tuple(verdict),
            (folder / REPORT).is_file(), (folder / CALIBRATION).is_file(), changed + _patience(history),
        )  # fmt: skip

    def _size(self, id: str, folder: Path, marks: object) -> int | None:
        """Bytes on disk as they were counted last; counted anew, beside the requests, after a change."""
        known, size = self._sizes.get(id, (None, None))
        if known != marks and id not in self._counting:
            self._counting.add(id)
            self._pool.submit(self._count, id, folder, marks)
        return size

    def _count(self, id: str, folder: Path, marks: object) -> None:
        try:
            self._sizes[id] = marks, run_size(folder)[0]
        except OSError:
            pass  # a state was removed while it was counted: the next change counts anew
        finally:
            self._counting.discard(id)


def _history(folder: Path) -> RunHistory:
    return RunHistory.read(folder, strict=False)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _patience(history: RunHistory) -> float:
    """Seconds that this run may be silent for."""
    times = sorted(
        record["time"] for stage in history.stages for record in (*stage.train, *stage.validation) if "time" in record
    )
    longest = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    return min(LONGEST, max(QUIET, 3 * longest))


def _stage(stage: StageHistory, line: StageLine | None) -> dict[str, Any]:
    """One stage as it is told: how far it is, and what it gained."""
    done = stage.outcome
    begin = stage.begin
    last = max((record["step"] for record in (*stage.train, *stage.validation)), default=None)
    start, best, score = (line.start, line.best, line.measure) if line else (None, None, None)
    better = None if start is None or best is None or score is None or best == start else gain(score, start, best)
    best_step = done.get(
        "best_step", next((one["step"] for one in reversed(stage.validation) if one.get("best")), None)
    )
    return {
        "name": stage.name, "status": stage.status, "start": start, "best": best, "score": score, "gain": better,
        "rises": score is not None and higher_is_better(score), "best_step": best_step,
        "epochs": line.epochs if line else 0, "planned": stage.settings.get("epochs"),
        "step": done.get("steps", last), "steps": begin.get("steps", done.get("steps")),
    }  # fmt: skip


def _verdict(stage: StageHistory) -> Iterator[str]:
    """What the command line said of a stage."""
    if stage.outcome.get("verdict"):
        yield str(stage.outcome["verdict"])
    elif stage.status == "off":
        yield f"{stage.name}: switched off."
    elif stage.status == "unknown":
        yield f"{stage.name}: kept the result of an earlier run."
    if stage.outcome.get("warning"):
        yield f"warning: {stage.name}: {stage.outcome['warning']}."


def _files(folder: Path, within: str = "") -> Iterator[dict[str, Any]]:
    """Files of a folder and of those in it, which hold a model each; not what other commands wrote there."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_file():
                yield {"name": within + entry.name, "bytes": entry.stat().st_size}
            elif entry.is_dir() and not within and entry.name in (*STAGES, "signal"):
                yield from _files(Path(entry.path), f"{entry.name}/")
