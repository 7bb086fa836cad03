"""New bars against what was forecast of them: matched by symbol and time, told where they do not match, scored once.

A step is scored when its bar is there and over. Its truth then stays: other bars that come later are told and change nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from chandler.data import CLOSE, Bars
from chandler.evaluation.baselines import bootstrap
from chandler.journal.clock import ended
from chandler.journal.entries import Entry, times_in
from chandler.measures import band, crps, inside, pit
from chandler.text import count, shortened
from chandler.version import __version__

ROUNDING = 1e-5
"""Prices that differ by no more than this share are the same: stores keep float32, which is a hundred times closer."""
NAIVE_PATHS = 1000
"""Of the bootstrapped walk that a forecast is held against; seeded by the forecast's id."""
SCORED, REVISED, MISSING = "score", "revised", "missing"
"""Kinds of rows: a step with its score; a later bar that disagrees with the truth of one; a step without a bar in data that
went on."""
SCORES = pa.schema({
    "id": pa.string(), "step": pa.int32(), "time": pa.int64(), "kind": pa.string(), "truth": pa.float64(),
    "crps": pa.float64(), "naive": pa.float64(), "error": pa.float64(), "naive_error": pa.float64(),
    "inside50": pa.bool_(), "inside80": pa.bool_(), "inside90": pa.bool_(), "pit": pa.float64(), "at": pa.int64(),
    "source": pa.string(), "version": pa.string(),
})  # fmt: skip
"""`step` from 1; `crps` and the bootstrap's (`naive`), absolute errors of the mean and of the last close in price units.
`inside50` and `pit` came later: they are null in rows of files that lack them."""


def in_utc(time: pd.Timestamp) -> pd.Timestamp:
    """To sort by: wall clock where there is no zone."""
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _said(time: pd.Timestamp) -> str:
    """2024-03-08 05:00 UTC; days without their hour."""
    return f"{time:%Y-%m-%d %H:%M}".removesuffix(" 00:00") + (f" {time.tzname()}" if time.tz is not None else "")


@dataclass(frozen=True)
class Waiting:
    """A forecast whose bars have not all come."""

    symbol: str
    origin: pd.Timestamp
    model: str
    left: int
    """Bars."""
    next: pd.Timestamp
    until: pd.Timestamp
    """Times of the first and the last of them, in the zone of the forecast."""

    @property
    def moment(self) -> pd.Timestamp:
        """`next` to sort by: in UTC, wall clock where there is no zone."""
        return in_utc(self.next)

    @property
    def end(self) -> pd.Timestamp:
        """`until` to sort by."""
        return in_utc(self.until)


@dataclass(frozen=True)
class Revised:
    """A bar that says something else than what its forecast was scored with; the score stays."""

    symbol: str
    time: pd.Timestamp
    scored: float
    found: float


@dataclass(frozen=True)
class Told:
    """What came of a look at new bars."""

    forecasts: int
    """That were scored, at one step or more."""
    steps: int
    waiting: Sequence[Waiting]
    unmatched: Mapping[str, Sequence[str]]
    """Why a forecast whose bars should be there was not scored -> which."""
    missing: Sequence[str]
    """Symbols and times of bars that data go on without, told once."""
    revised: Sequence[Revised]
    adjusted: Sequence[str]
    """Forecasts scored before, whose prices have all been scaled since: scores stay, returns are the same."""

    def to_text(self) -> str:
        """For a terminal."""
        return "\n".join(f"{about}: {text}" for about, text in self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """(about, sentence) pairs."""
        lines = [("Scored", f"{count(self.forecasts, 'forecast')}, {count(self.steps, 'bar')}")]
        if self.waiting:
            soonest, latest = (
                min(self.waiting, key=lambda w: w.moment).next,
                max(self.waiting, key=lambda w: w.end).until,
            )
            until = f"the next bar is of {_said(soonest)}, the last of {_said(latest)}"
            lines.append(("Waiting", f"{count(len(self.waiting), 'forecast')}: {until}"))
        lines += [
            ("Not scored", f"{count(len(which), 'forecast')}: {why} ({shortened(list(dict.fromkeys(which)), 5)})")
            for why, which in self.unmatched.items()
        ]
        if self.missing:
            said = f"{count(len(self.missing), 'forecast bar')} not there though the data go on"
            lines.append(("Missing", f"{said} ({shortened(list(dict.fromkeys(self.missing)), 5)})"))
        if self.revised:
            which = [f"{r.symbol} {_said(r.time)}: scored with {r.scored:.6g}, now {r.found:.6g}" for r in self.revised]
            said = f"{count(len(self.revised), 'bar')} scored before now read otherwise; scores stay"
            lines.append(("Revised", f"{said} ({shortened(which, 5)})"))
        if self.adjusted:
            said = f"prices of {count(len(self.adjusted), 'forecast')} scored before were scaled since; scores stay"
            lines.append(("Adjusted", f"{said} ({shortened(self.adjusted, 5)})"))
        return lines


@dataclass
class Found:
    """Matches of many forecasts as they are found."""

    due: dict[str, dict[int, float]] = field(default_factory=dict)
    """Id -> step from 0 -> close that came."""
    sources: dict[str, str] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    unmatched: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    revised: list[tuple[str, int, Revised]] = field(default_factory=list)
    """(id, step from 0, what)."""
    missing: list[tuple[str, int, int, str]] = field(default_factory=list)
    """(id, step from 0, its time in ns, symbol and time in words)."""
    adjusted: list[str] = field(default_factory=list)


def match(
    facts: pd.DataFrame,
    known: Mapping[str, Mapping[int, float]],
    gone: Set[tuple[str, int]],
    bars: Iterable[Bars],
    now: pd.Timestamp,
) -> Found:
    """Hold forecasts against bars.

    Args:
        facts: of the entries, as `read_facts` gives them.
        known: id -> step from 0 -> the truth that it was scored with.
        gone: (id, step from 1) of bars that were told to be missing; they are scored if they come.
        bars: of any symbols.
        now: in UTC; a bar that may not be over waits.
    """
    found, there = Found(), {one.symbol: _Closes(one) for one in bars}
    for row in facts.to_dict("records"):
        _match_one(row, known.get(row["id"], {}), there.get(row["symbol"]), now, found)
    found.missing = [one for one in found.missing if (one[0], one[1] + 1) not in gone]
    return found


class _Closes:
    """The closes of one symbol, by time."""

    def __init__(self, bars: Bars) -> None:
        self.zone, self.source = bars.timestamps.tz, bars.source
        self.moments = bars.timestamps.as_unit("ns").asi8
        self.values = bars.values[:, CLOSE]
        self.last = int(self.moments[-1]) if len(bars) else np.iinfo(np.int64).min

    def at(self, moment: int) -> float | None:
        """None where there is no bar of that very time."""
        place = int(np.searchsorted(self.moments, moment))
        found = place < len(self.moments) and self.moments[place] == moment
        return float(self.values[place]) if found else None

    def among(self, moments: Mapping[int, int]) -> dict[int, float]:
        """Of steps and their times, the closes of those that are there."""
        found = {number: self.at(moment) for number, moment in moments.items()}
        return {number: close for number, close in found.items() if close is not None}


def _match_one(
    row: Mapping[Any, Any], known: Mapping[int, float], bars: _Closes | None, now: pd.Timestamp, found: Found
) -> None:
    times, step = times_in(row["times"], row["zone"]), pd.Timedelta(row["step"], "ns")
    origin = times_in([row["origin"]], row["zone"])[0]
    name = f"{row['symbol']} from {_said(origin)}"
    moments = {number: int(moment) for number, moment in enumerate(row["times"])}
    left = {number: moment for number, moment in moments.items() if number not in known}
    over = [number for number in left if ended(times[number], step, now)]
    why = _other_series(times, bars)
    if bars is None or why:  # nothing to look at: what should be there by now is not matched, the rest waits
        due = over
    else:
        # A bar is over when the next one is there, too.
        due = [n for n, moment in left.items() if moment < bars.last or (moment == bars.last and n in over)]
        why = _other_origin(row, bars) if due else ""
        _check_known(row, bars.among({n: moments[n] for n in known}), known, bars, found, name)
    waits = [number for number in left if number not in due]
    if waits:
        first, last = times[waits[0]], times[waits[-1]]
        found.waiting.append(Waiting(row["symbol"], origin, row["model"], len(waits), first, last))
    if not due:
        return
    if bars is None or why:
        found.unmatched[why].append(name)
        return
    came = bars.among({number: left[number] for number in due})
    found.missing += [
        (row["id"], number, left[number], f"{row['symbol']} {_said(times[number])}")
        for number in due
        if number not in came
    ]
    if came:
        found.due[row["id"]], found.sources[row["id"]] = came, bars.source


def _other_series(times: pd.DatetimeIndex, bars: _Closes | None) -> str:
    """Why bars cannot be those of forecast times; empty: they can."""
    if bars is None:
        return "no such symbol in the data"
    if (bars.zone is None) == (times.tz is None):
        return ""
    own, other = ("none" if zone is None else str(zone) for zone in (times.tz, bars.zone))
    return f"zones differ: the forecast has {own}, the data have {other}; timezone= names it where files do not"


def _other_origin(row: Mapping[Any, Any], bars: _Closes) -> str:
    """Why the bar that the forecast was made from is not that of the data; empty: it is."""
    close = bars.at(row["origin"])
    if close is None:
        zones = str(bars.zone), str(row["zone"])
        differ = f"zones differ (forecast {zones[1]}, data {zones[0]}), or " if zones[0] != zones[1] else ""
        return f"the bar that they were made from is not in the data: {differ}the data begin later or come from another source"
    if not _same(close, row["last"]):
        return (
            "the close that they were made from is another one in the data: prices were adjusted or revised, the source "
            "differs, or that bar was not over"
        )
    return ""


def _check_known(
    row: Mapping[Any, Any],
    now: Mapping[int, float],
    known: Mapping[int, float],
    bars: _Closes,
    found: Found,
    name: str,
) -> None:
    """Bars that were scored before (`known`), as they are `now`."""
    differ = {number: close for number, close in now.items() if not _same(close, known[number])}
    if not differ:
        return
    last, origin = row["last"], bars.at(row["origin"])
    if origin and all(_same(close / origin, known[number] / last) for number, close in now.items()):
        found.adjusted.append(name)
        return
    times = times_in(row["times"], row["zone"])
    for number, close in differ.items():
        found.revised.append((row["id"], number, Revised(row["symbol"], times[number], known[number], close)))
        found.sources[row["id"]] = bars.source


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b))


def score_rows(entry: Entry, came: Mapping[int, float], source: str, now: pd.Timestamp) -> list[dict[str, Any]]:
    """A row of `SCORES` for each step (from 0) whose close came."""
    steps = sorted(came)
    truth = np.array([came[number] for number in steps])
    paths = entry.closes[:, steps].astype(np.float64)
    # The walk is drawn over the whole horizon whatever has come: later steps are of the same paths.
    walk = bootstrap(entry.history, len(entry.times), NAIVE_PATHS, seed=int(entry.id[:12], 16))[:, steps]
    # Likewise the draws of the PIT, from other digits of the id: a step that has not come keeps its place.
    whole = np.full(len(entry.times), np.nan)
    whole[steps] = truth
    columns = {
        "crps": crps(paths, truth),
        "naive": crps(walk, truth),
        "error": np.abs(paths.mean(axis=0) - truth),
        "naive_error": np.abs(entry.history[-1] - truth),
        **{f"inside{level}": inside(*band(paths, level / 100), truth) for level in (50, 80, 90)},
        "pit": pit(entry.closes, whole, seed=int(entry.id[12:], 16))[steps],
    }
    moments = entry.times.as_unit("ns").asi8
    return [
        _row(entry.id, number, int(moments[number]), SCORED, came[number], now, source)
        | {name: values[place].item() for name, values in columns.items()}
        for place, number in enumerate(steps)
    ]


def revised_rows(found: Found, now: pd.Timestamp) -> list[dict[str, Any]]:
    """A row of `SCORES` for each bar that was scored before and says something else now."""
    return [
        _row(key, number, one.time.as_unit("ns").value, REVISED, one.found, now, found.sources.get(key, ""))
        for key, number, one in found.revised
    ]


def missing_rows(found: Found, now: pd.Timestamp) -> list[dict[str, Any]]:
    """A row of `SCORES` for each bar that is not in data that go on after it."""
    return [_row(key, number, time, MISSING, float("nan"), now, "") for key, number, time, _ in found.missing]


def _row(key: str, number: int, time: int, kind: str, truth: float, now: pd.Timestamp, source: str) -> dict[str, Any]:
    return {
        "id": key, "step": number + 1, "time": time, "kind": kind, "truth": truth, "at": now.as_unit("ns").value,
        "source": source, "version": __version__,
    }  # fmt: skip
