"""Evaluations and backtests below the folder of runs, those begun in a shell as well: found by their files, changed by nobody here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chandler.serving.errors import Refusal
from chandler.serving.workspace import folder_id, folders, mapping, name_below, read_json

DEPTH = 4
SCAN_SECONDS = 2.0
STATE, SUMMARY, TASK, REPORT = "evaluation.json", "summary.json", "generation.json", "report.html"
Kind = Literal["evaluation", "backtest"]


@dataclass(frozen=True)
class Evaluation:
    """One of them, as its files say."""

    id: str
    name: str
    kind: Kind
    folder: Path
    made: int
    """When its last file of these was written."""
    finished: bool
    models: tuple[str, ...]
    has_report: bool
    revision: str
    """Another text where its numbers may be others."""


class EvaluationList:
    """All of them; where they lie is looked for anew every few seconds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.verdicts: dict[str, tuple[str, dict[str, Any]]] = {}
        """id -> the revision that was read, and what it came to."""
        self._folders: dict[str, Path] = {}
        self._at = -SCAN_SECONDS

    def all(self) -> list[Evaluation]:
        """The newest first."""
        self._scan()
        found = [_read(id, folder, self.root) for id, folder in self._folders.items()]
        return sorted((one for one in found if one is not None), key=lambda one: (-one.made, one.name))

    def get(self, id: str) -> Evaluation:
        """One; Refusal 404."""
        if id not in self._folders:
            self._at = -SCAN_SECONDS
            self._scan()
        found = _read(id, self._folders[id], self.root) if id in self._folders else None
        if found is None:
            raise Refusal(404, "There is no such evaluation.")
        return found

    def report(self, id: str) -> Path | None:
        """Its page; None where none was written."""
        one = self.get(id)
        return one.folder / REPORT if one.has_report else None

    def _scan(self) -> None:
        if time.monotonic() - self._at > SCAN_SECONDS:
            self._folders = {
                folder_id("ev", folder): folder
                for folder in folders(self.root, DEPTH, lambda one: _kind(one) is not None)
            }
            self._at = time.monotonic()


def _kind(folder: Path) -> Kind | None:
    if (folder / STATE).is_file() or (folder / TASK).is_file():
        return "evaluation"
    # A run has a summary.json as well; what a backtest traded it has not.
    return "backtest" if (folder / SUMMARY).is_file() and (folder / "curve.parquet").is_file() else None


def _read(id: str, folder: Path, root: Path) -> Evaluation | None:
    """None where it is gone, or cannot be looked at."""
    try:
        kind = _kind(folder)
        return None if kind is None else _facts(id, kind, folder, root)
    except OSError:
        return None


def _facts(id: str, kind: Kind, folder: Path, root: Path) -> Evaluation:
    state = read_json(folder / STATE)
    asked = mapping(state.get("settings"))
    whole = kind == "backtest" or (folder / TASK).is_file() or bool(state.get("finished"))
    stats = [path.stat() for name in (STATE, SUMMARY, TASK, "scores.parquet") if (path := folder / name).is_file()]
    report = folder / REPORT
    return Evaluation(
        id, name_below(folder, root), kind, folder, int(max((one.st_mtime for one in stats), default=0)), whole,
        tuple(mapping(asked.get("models"))),
        report.is_file() and not report.is_symlink(), " ".join(f"{one.st_mtime_ns} {one.st_size}" for one in stats),
    )  # fmt: skip
