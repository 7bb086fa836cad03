"""Lists the runs below a folder: stages, epochs, what training gained, size and date. Reads, never changes."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chandler.errors import ConfigError
from chandler.measures import higher_is_better, is_better

_DEPTH = 4
"""How many folders below the given one a run may lie."""


@dataclass(frozen=True)
class StageLine:
    """One stage of a run."""

    stage: str
    status: str
    """"improved", "kept_start", "off", or "unfinished" while no result was published."""
    epochs: int
    """Epochs begun."""
    planned: int | None
    """Epochs that the settings ask for."""
    measure: str | None
    """Which validation score; lower is better, except of rank_ic."""
    start: float | None
    best: float | None


@dataclass(frozen=True)
class RunLine:
    """One run folder."""

    folder: str
    stages: tuple[StageLine, ...]
    bytes: int
    """Size on disk."""
    changed: float
    """Seconds since 1970: when it was last written to."""


def list_runs(folder: str | Path) -> list[RunLine]:
    """All runs in and below a folder, the oldest first. ConfigError if there is no such folder."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder. Give the one that holds your runs, for example runs/.")
    return sorted((_read(path, root) for path in _folders(root, _DEPTH)), key=lambda run: (run.changed, run.folder))


def runs_json(folder: str | Path) -> str:
    """The list as JSON."""
    return json.dumps([asdict(run) for run in list_runs(folder)], indent=2)


def runs_table(folder: str | Path, width: int | None = None) -> str:
    """The list as text of at most `width` characters a line (None: the terminal's), a line for each stage.

    The newest run comes last, next to the prompt.
    """
    runs = list_runs(folder)
    if not runs:
        return f"No runs in {folder}. Start one with: chandler finetune configs/csv.yaml --set data.path=YOUR.csv"
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("run", overflow="fold", min_width=8)
    table.add_column("stage", no_wrap=True)
    table.add_column("epochs", no_wrap=True)
    table.add_column("start -> best", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("date", no_wrap=True)
    for run in runs:
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed))
        head = [run.folder, _size(run.bytes), date]
        for stage in run.stages or (StageLine("-", "unfinished", 0, None, None, None, None),):
            table.add_row(head[0], stage.stage, _epochs(stage), _score(stage), *head[1:])
            head = ["", "", ""]
    total = f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {_size(sum(run.bytes for run in runs))}"
    text = io.StringIO()
    console = Console(file=text, width=width or Console().width, highlight=False, color_system=None)
    console.print(table)
    if any(stage.status == "unfinished" for run in runs for stage in run.stages):
        total += "; * unfinished, chandler finetune ... --resume goes on"
    console.print(total)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Run folders in and below `folder`; there are none within a run."""
    if (folder / "config.yaml").is_file() and any((folder / n).exists() for n in ("metrics.jsonl", "summary.json")):
        yield folder
    elif depth:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield from _folders(path, depth - 1)


def _read(folder: Path, root: Path) -> RunLine:
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = [path.stat() for path in files if os.path.exists(path)]
    name = folder.resolve().name if folder == root else str(folder.relative_to(root))
    return RunLine(
        name,
        tuple(_stages(folder)),
        sum(stat.st_size for stat in sizes),
        max((stat.st_mtime for stat in sizes), default=folder.stat().st_mtime),
    )


def _stages(folder: Path) -> Iterator[StageLine]:
    finished = _json(folder / "summary.json").get("stages", {})
    planned = _planned(folder / "config.yaml")
    running = _progress(folder / "metrics.jsonl")
    for stage in ("tokenizer", "predictor"):
        found = finished.get(stage)
        if found is not None:
            yield StageLine(
                stage,
                found.get("status", "unknown"),
                found.get("epochs", 0),
                planned.get(stage),
                found.get("measure"),
                found.get("start_score"),
                found.get("best"),
            )
        elif stage in running:
            yield StageLine(stage, "unfinished", planned=planned.get(stage), **running[stage])


def _progress(path: Path) -> dict[str, dict[str, Any]]:
    """Of each stage with a record: epochs begun, measure, start and best so far."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            stage = found.setdefault(record["stage"], {"epochs": 0, "measure": None, "start": None, "best": None})
            stage["epochs"] = max(stage["epochs"], record["epoch"])
            if record["kind"] == "validation":
                # The first score of a record is the one that selects.
                measure = stage["measure"] or next(k for k in record if k not in ("stage", "kind", "step", "epoch"))
                score = record[measure]
                start = score if stage["start"] is None else stage["start"]
                best = score if stage["best"] is None or is_better(measure, score, stage["best"]) else stage["best"]
                stage |= {"measure": measure, "start": start, "best": best}
        except (ValueError, KeyError, TypeError, StopIteration):
            continue  # half a line, written as the process died
    return found


def _planned(path: Path) -> dict[str, int]:
    import yaml

    try:
        raw = yaml.safe_load(path.read_text())
        return {stage: raw[stage]["epochs"] for stage in ("tokenizer", "predictor") if stage in raw}
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _epochs(stage: StageLine) -> str:
    if stage.status == "off":
        return "off"
    mark = " *" if stage.status == "unfinished" else ""
    return f"{stage.epochs}/{stage.planned}{mark}" if stage.planned else f"{stage.epochs}{mark}"


def _score(stage: StageLine) -> str:
    if stage.start is None or stage.best is None:
        return ""
    if stage.best == stage.start:
        return f"{stage.measure} {stage.start:.4g} (start kept)"
    ratio = stage.start and not higher_is_better(stage.measure)
    gain = f" ({stage.best / stage.start - 1:+.1%})" if ratio else ""
    return f"{stage.measure} {stage.start:.4g} -> {stage.best:.4g}{gain}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
