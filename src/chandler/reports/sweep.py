"""The page of a sweep, from its sweep.json and the run folders of its trials: the verdict first, and what it does not show."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandler.data.datasets import SplitSettings
from chandler.errors import ConfigError
from chandler.measures import higher_is_better
from chandler.reports.charts import Figure, Line, curve, figure, title
from chandler.reports.render import Chart, Pairs, number, sentence, sentences, signed, terminal_text, write
from chandler.reports.run import MEASURES
from chandler.text import aligned
from chandler.training.runs import RunHistory, read_mapping, short
from chandler.training.settings import leaves_bars

BOOK = "sweep.json"
_DRAWN = 20
"""Settings that a chart has room for."""


@dataclass(frozen=True)
class SettingRow:
    """A setting as the page tells it."""

    label: str
    values: Sequence[str]
    """Of the parameters, in their order."""
    scores: Sequence[float]
    mean: float | None
    sd: float | None
    planned: int
    """Trials of it; not all of them finished where there are fewer scores."""
    behind: str
    """How far it is behind the leader."""
    p: float | None
    word: str
    """leads, worse, cannot be told apart, one seed, not finished; "" where no best is named."""


@dataclass(frozen=True)
class SweepPage:
    """What the page says."""

    name: str
    book: Mapping[str, Any]
    """sweep.json."""
    headline: str
    lines: Pairs
    measure: str
    """In words."""
    keys: Sequence[str]
    """Names of the parameters of a setting."""
    settings: Sequence[SettingRow]
    given: Sequence[str]
    """Names of the parameters of a trial, the seed among them."""
    trials: Sequence[Sequence[str]]
    """Their values, for each trial."""
    charts: Sequence[Chart]
    command: str


def write_sweep_report(folder: str | Path) -> Path:
    """Write report.html, whole or not at all. ConfigError where no sweep has finished there."""
    return write("sweep", sweep_page(Path(folder)), Path(folder))


def sweep_text(folder: str | Path) -> str:
    """The table of the settings and the verdict, for a terminal."""
    page = sweep_page(Path(folder))
    head = [*page.keys, "trials", "seeds", "mean", "scatter", "behind", "p", ""]
    rows = [
        [*one.values, ",".join(f"{trial:03d}" for trial in found["trials"]), str(len(one.scores)), number(one.mean, 5),
         number(one.sd, 2), one.behind, number(one.p, 2), one.word]
        for one, found in zip(page.settings, page.book["verdict"]["settings"], strict=True)
    ]  # fmt: skip
    table = aligned([head, *rows], left=(*range(len(page.keys) + 1), len(head) - 1))
    return "\n".join([*table, "", terminal_text(page.headline, page.lines)])


def sweep_page(folder: Path) -> SweepPage:
    """What the page will say.

    Raises:
        ConfigError: no sweep there, or one that has not come to its end.
    """
    book = read_mapping(folder / BOOK, strict=True)
    if "verdict" not in book:
        raise ConfigError(f"{folder}: no finished sweep to report. The command that began it goes on: chandler sweep.")
    keys = [key for key in book["trials"][0]["parameters"] if key != "seed"]
    rows = _rows(book, keys)
    command = next_command(folder, book)
    facts = _facts(folder, book, rows)
    return SweepPage(
        name=folder.resolve().name,
        book=book,
        headline=sentence("sweep", "headline", facts),
        lines=[*sentences("sweep", "lines", facts), *([("Next", command)] if command else [])],
        measure=MEASURES.get(book["measure"], book["measure"]),
        keys=list(_names(keys).values()),
        settings=rows,
        given=list(_names(book["trials"][0]["parameters"]).values()),
        trials=[list(map(_text, one["parameters"].values())) for one in book["trials"]],
        charts=_charts(folder, book, rows, keys),
        command=command,
    )


def _rows(book: Mapping[str, Any], keys: Sequence[str]) -> list[SettingRow]:
    verdict, measure = book["verdict"], book["measure"]
    rows = []
    for place, (one, against) in enumerate(zip(verdict["settings"], verdict["differences"], strict=True)):
        planned = sum(
            {**trial["parameters"], "seed": 0} == {**one["parameters"], "seed": 0} for trial in book["trials"]
        )
        worse = None if against is None else against["difference"] * (-1 if higher_is_better(measure) else 1)
        if not one["scores"]:
            word = "not finished"
        elif book["incomparable"]:
            word = ""
        elif not place:
            word = "leads"
        elif against["shown"]:
            word = "worse" if worse and worse > 0 else "better"
        elif against["p"] is not None:
            word = "cannot be told apart"
        else:
            word = "one seed" if len(one["scores"]) == 1 else "no scatter"
        rows.append(
            SettingRow(
                label=_label(one["parameters"]) or "as configured",
                values=[_text(one["parameters"][key]) for key in keys],
                scores=one["scores"],
                mean=one["mean"],
                sd=one["sd"],
                planned=planned,
                behind="" if worse is None else signed(worse, 4),
                p=None if against is None else against["p"],
                word=word,
            )
        )
    return rows


def _facts(folder: Path, book: Mapping[str, Any], rows: Sequence[SettingRow]) -> dict[str, Any]:
    """What the sentences are about."""
    trials, best = book["trials"], book["verdict"]["best"]
    words = [one.word for one in rows]
    return {
        "measure": book["measure"],
        "higher": higher_is_better(book["measure"]),
        "incomparable": book["incomparable"],
        "finished": sum(one["state"] == "finished" for one in trials),
        "stopped": [one for one in trials if one["state"] == "stopped"],
        "failed": [one for one in trials if one["state"] == "failed"],
        "trials": len(trials),
        "leader": rows[0].label,
        "others": len(rows) - 1,
        "worse": words.count("worse"),
        "unclear": words.count("cannot be told apart") + words.count("no scatter"),
        "seeds": max((len(one.scores) for one in rows), default=0),
        "scatter": book["verdict"]["scatter"],
        "luck": book["verdict"]["luck"],
        "best": None if best is None else trials[best],
        "folder": None if best is None else folder / f"{best:03d}",
        "given": "" if best is None else _label(trials[best]["parameters"]),
        "improved": any(one["best_step"] for one in trials if one["state"] == "finished"),
        "shared": book["shared_tokenizer"],
    }


def next_command(folder: Path, book: Mapping[str, Any]) -> str:
    """What holds the best trial, or the first one where no best is named, against what came after its bars."""
    done = [one["number"] for one in book["trials"] if one["state"] == "finished"]
    if not done:
        return ""
    chosen = book["verdict"]["best"] if book["verdict"]["best"] is not None else done[0]
    settings = read_mapping(folder / f"{chosen:03d}" / "config.yaml") or book["settings"]
    data, start = settings["data"], settings["predictor"]["start"]
    paths = data["path"] if isinstance(data["path"], list) else [data["path"]]
    models = [] if start == "random" or Path(start).exists() else [f"before={start}"]
    models.append(f"after={folder}/{chosen:03d}")
    # A run whose bars validate to their end is refused on them.
    bars = (shlex.join(paths) or "DATA") if leaves_bars(SplitSettings(**data.get("split") or {})) else "LATER-BARS"
    return (
        f"chandler evaluate {bars} --models {shlex.quote(','.join(models))} --out {shlex.quote(f'{folder}-evaluation')} "
        f"--set lookback={data['lookback']} --set horizon={data['horizon']}"
    )


def _charts(folder: Path, book: Mapping[str, Any], rows: Sequence[SettingRow], keys: Sequence[str]) -> list[Chart]:
    made, measure, trials = [], book["measure"], book["trials"]
    if any(one.scores for one in rows) and not book["incomparable"]:
        made.append(
            Chart(
                _strip([one for one in rows if one.scores][:_DRAWN], measure, ", ".join(_names(keys).values())),
                "Scores of each setting",
                "Settings, the best above",
            )
        )
        for key in keys:
            points = [(one["parameters"][key], one["best"], one) for one in trials if one["state"] == "finished"]
            if len({x for x, _, _ in points if isinstance(x, int | float) and not isinstance(x, bool)}) > 2:
                made.append(Chart(_against(points, key, measure), f"Scores against {key}", f"Against {key}"))
    lines = [(one, _validations(folder, book, one)) for one in trials]
    if any(len(points) > 1 for _, points in lines):
        made.append(Chart(_curves(lines, book), "Validation of each trial over its steps", "Validations of each trial"))
    return made


def _strip(rows: Sequence[SettingRow], measure: str, names: str) -> Figure:
    """A row of dots for each setting, the leader above, and a bar at its mean."""
    labels = [", ".join(one.values) or one.label for one in rows]
    dots = [(label, score) for label, one in zip(labels, rows, strict=True) for score in one.scores]
    told = [one.label for one in rows for _ in one.scores]
    means = curve([one.mean for one in rows], [0.0] * len(rows), Line("--ink"), "mean", hover="mean %{x:.5g}")
    means |= {
        "y": labels,
        "mode": "markers",
        "marker": {"symbol": "line-ns", "size": 16, "line": {"width": 2.2, "color": "--ink"}},
    }
    points = curve(
        [score for _, score in dots], [0.0] * len(dots), Line("--model"), "a trial", hover="%{text}: %{x:.5g}"
    )
    points |= {
        "text": told,
        "y": [label for label, _ in dots],
        "mode": "markers",
        "marker": {"color": "--model", "size": 9, "opacity": 0.75},
    }
    return figure([points, means], x=title(measure), y=title(names) | {"autorange": "reversed", "type": "category"})


def _against(points: Sequence[tuple[Any, float, Mapping[str, Any]]], key: str, measure: str) -> Figure:
    """A dot for each trial over the values of one parameter."""
    x = [float(value) for value, _, _ in points]
    texts = [_label(one["parameters"]) for _, _, one in points]
    dots = curve(
        x, [y for _, y, _ in points], Line("--model"), hover="%{text}: %{y:.5g}", dots=9, text=texts, showlegend=False
    )
    wide = min(x) > 0 and max(x) / min(x) >= 20
    powers = (
        [10.0**power for power in range(math.floor(math.log10(min(x))), math.ceil(math.log10(max(x))) + 1)]
        if wide
        else []
    )
    log = {"type": "log", "tickmode": "array", "tickvals": powers, "ticktext": list(map(_text, powers))} if wide else {}
    return figure([dots | {"mode": "markers"}], x=title(key) | log, y=title(measure))


def _curves(lines: Sequence[tuple[Mapping[str, Any], Sequence[tuple[int, float]]]], book: Mapping[str, Any]) -> Figure:
    """A line for each trial; that of the best in front."""
    best, named, traces = book["verdict"]["best"], set(), []
    for one, points in sorted(lines, key=lambda pair: pair[0]["number"] == best):
        if not points:
            continue
        kind = (
            "the best"
            if one["number"] == best
            else "stopped early"
            if one["state"] == "stopped"
            else "others"
            if best is not None
            else "a trial"
        )
        line = {
            "the best": Line("--model", 2.4),
            "stopped early": Line("--truth", 1.2, "dot"),
        }.get(kind, Line("--muted", 1.1))
        x, y = zip(*points, strict=True)
        said = f"{one['number']:03d} {_label(one['parameters'])}: %{{y:.5g}}"
        traces.append(
            curve(x, y, line, kind, hover=said, dots=4) | {"legendgroup": kind, "showlegend": kind not in named}
        )
        named.add(kind)
    return figure(traces, x=title("optimiser step"), y=title(book["measure"]))


def _validations(folder: Path, book: Mapping[str, Any], trial: Mapping[str, Any]) -> list[tuple[int, float]]:
    place = folder / f"{trial['number']:03d}"
    if not (place / "config.yaml").is_file():
        return []
    stage = next(one for one in RunHistory.read(place, strict=False).stages if one.name == book["stage"])
    return [(int(one["step"]), float(one[book["measure"]])) for one in stage.validation if book["measure"] in one]


def _label(parameters: Mapping[str, Any]) -> str:
    """learning_rate=1e-05, seed=2"""
    return ", ".join(f"{name}={_text(parameters[key])}" for key, name in _names(parameters).items())


def _names(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key, or all of it where two end alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    ends = list(last.values())
    return {key: name if ends.count(name) == 1 else key for key, name in last.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else short(value)
