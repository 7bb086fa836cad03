"""Lists the runs below a folder: stages, epochs, what training gained, size and date. Reads, never changes."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path

from rich.cells import cell_len
from rich.table import Table

from chandler.errors import ConfigError
from chandler.measures import higher_is_better, is_better
from chandler.progress import plain_console
from chandler.training.runs.history import RunHistory, StageHistory, read_mapping

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


_NONE = StageLine("-", "unfinished", 0, None, None, None, None)
"""Of a run without a score."""


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
    return sorted((_read(path, root) for path in run_folders(root)), key=lambda run: (run.changed, run.folder))


def runs_json(folder: str | Path) -> str:
    """The list as JSON."""
    return json.dumps([asdict(run) for run in list_runs(folder)], indent=2)


def runs_table(folder: str | Path, width: int | None = None) -> str:
    """The list as text of at most `width` characters a line (None: the terminal's), a line for each stage.

    The newest run comes last, next to the prompt. Where a table is wider than that, each run has a line of its own above those
    of its stages.
    """
    runs = list_runs(folder)
    if not runs:
        return f"No runs in {folder}. Start one with: chandler finetune configs/csv.yaml --set data.path=YOUR.csv"
    total = f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {_size(sum(run.bytes for run in runs))}"
    if any(stage.status == "unfinished" for run in runs for stage in run.stages):
        total += "; * unfinished, chandler finetune ... --resume goes on"
    text = io.StringIO()
    console = plain_console(file=text, width=width, color_system=None)
    table = _table(runs)
    lines = [*table, total] if max(map(cell_len, table)) <= console.width else [*_narrow(runs), total]
    for line in lines:
        console.print(line, overflow="fold")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _table(runs: Iterable[RunLine]) -> list[str]:
    """As wide as it comes."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("run", "stage", "epochs", "start -> best", "size", "date"):
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=True)
    for run in runs:
        head = [run.folder, _size(run.bytes), _date(run)]
        for stage in run.stages or (_NONE,):
            table.add_row(head[0], stage.stage, _epochs(stage), _score(stage), *head[1:])
            head = ["", "", ""]
    text = io.StringIO()
    plain_console(file=text, width=10_000, color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def _narrow(runs: Sequence[RunLine]) -> Iterator[str]:
    """The same with the name on a line of its own."""
    every = [stage for run in runs for stage in run.stages or (_NONE,)]
    wide = [max(len(how(stage)) for stage in every) for how in (lambda stage: stage.stage, _epochs)]
    for run in runs:
        yield f"{run.folder}  {_size(run.bytes)}  {_date(run)}"
        for stage in run.stages or (_NONE,):
            yield f"  {stage.stage:<{wide[0]}}  {_epochs(stage):<{wide[1]}}  {_score(stage)}".rstrip()


def run_folders(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """Run folders in and below `folder`, so many deep; there are none within a run. What cannot be looked at is left out."""
    try:
        found = (folder / "config.yaml").is_file() and _is_run(folder)
        below = sorted(folder.iterdir()) if depth and not found else []
        below = [path for path in below if not (path.name.startswith(".") or path.is_symlink()) and path.is_dir()]
    except OSError:
        return
    if found:
        yield folder
    for path in below:
        yield from run_folders(path, depth - 1)


def _is_run(folder: Path) -> bool:
    """Whether its records or its summary are those of a run: others, such as backtests, have files of these names too."""
    path = folder / "metrics.jsonl"
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as stream:
            if '"stage"' in stream.readline(1000):
                return True
    return "stages" in read_mapping(folder / "summary.json")


def _read(folder: Path, root: Path) -> RunLine:
    name = folder.resolve().name if folder == root else str(folder.relative_to(root))
    return RunLine(name, tuple(stage_lines(RunHistory.read(folder, strict=False).stages)), *run_size(folder))


def run_size(folder: Path) -> tuple[int, float]:
    """Bytes of all files of a run, and when the last of them was written to. It may hold many states: not for every request."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = [path.stat() for path in files if os.path.exists(path)]
    return sum(stat.st_size for stat in sizes), max((stat.st_mtime for stat in sizes), default=folder.stat().st_mtime)


def stage_lines(stages: Iterable[StageHistory]) -> Iterator[StageLine]:
    """The line of each stage that has a result or a score."""
    for stage in stages:
        planned, done, scores = stage.settings.get("epochs"), stage.outcome, stage.validation
        if stage.status != "unfinished":
            epochs, measure = done.get("epochs", 0), done.get("measure")
            yield StageLine(
                stage.name, stage.status, epochs, planned, measure, done.get("start_score"), done.get("best")
            )
        elif scores:
            # The first score of a record is the one that selects.
            measure = next(key for key in scores[0] if key not in ("stage", "kind", "step", "epoch"))
            best = reduce(lambda a, b: b if is_better(measure, b, a) else a, (record[measure] for record in scores))
            epochs = max(record["epoch"] for record in [*stage.train, *scores])
            yield StageLine(stage.name, "unfinished", epochs, planned, measure, scores[0][measure], best)


def _date(run: RunLine) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed))


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
