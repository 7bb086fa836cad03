"""What the scores of a journal come to: by what made the forecasts, and by when their bars came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data.calendars import short
from chandler.journal.calibration import (
    HALF,
    LEVELS,
    Pit,
    coverage_of,
    coverage_so_far,
    fit_by_forecast,
    independent,
    inside_column,
    overlap,
    pit_of,
    spans_of,
)
from chandler.journal.clock import ended
from chandler.journal.entries import times_in
from chandler.journal.scoring import Waiting
from chandler.measures import Comparison, Interval, compare
from chandler.text import count

Array = NDArray[np.float64]
AGES: Mapping[str, int | None] = {"last week": 7, "last month": 30, "last quarter": 91, "all": None}
"""Days back from now within which the last scored bar of a forecast came."""


@dataclass(frozen=True, order=True)
class Maker:
    """What made forecasts, and how: those of one are alike enough for one row."""

    model: str
    weights: str
    """Digest; empty: not known."""
    calibrated: bool
    anchored: bool
    temperature: float
    top_k: int
    top_p: float
    horizon: int
    step: int
    """Interval of the bars, ns."""

    @property
    def name(self) -> str:
        """For tables: chandler-nano (calibrated)."""
        return (self.model or "unnamed") + (" (calibrated)" if self.calibrated else "")

    @property
    def details(self) -> str:
        """24 bars of 1 h, weights 0123abcd, temperature 0.8"""
        parts = [f"{count(self.horizon, 'bar')} of {short(pd.Timedelta(self.step, 'ns'))}"]
        parts.append(f"weights {self.weights[:8]}" if self.weights else "weights not known")
        told = {
            "not anchored": not self.anchored,
            f"temperature {self.temperature:g}": self.temperature != 1,
            f"top_k {self.top_k}": self.top_k > 0,
            f"top_p {self.top_p:g}": self.top_p < 1,
        }
        parts += [text for text, other in told.items() if other]
        return ", ".join(parts)


@dataclass(frozen=True)
class RecordRow:
    """The forecasts of one maker whose bars came within one age."""

    maker: Maker
    age: str
    forecasts: int
    unfinished: int
    """Of these, with bars still to come: they count with those that came."""
    origins: int
    independent: int
    """Origins whose forecast bars share no time."""
    coverage: Mapping[float, Interval]
    """Level -> share of the closes inside, with a 95% block bootstrap interval over the origins that `covered` counts."""
    pit: Pit
    crps: Comparison
    """CRPS in % of the last close, against the bootstrapped walk."""
    mae: Comparison
    """Absolute error of the mean in % of the last close, against the last close."""

    def covered(self, level: float) -> int:
        """Origins behind the coverage of a level: scores of before the 50% band was kept lack it."""
        return self.pit.origins if level == HALF else self.origins


@dataclass(frozen=True)
class Course:
    """How the record of a maker grew, origin by origin, in order of time."""

    maker: Maker
    origins: pd.DatetimeIndex
    """(n,) naive, UTC."""
    crps: Array
    """(n,) cumulative difference from the bootstrapped walk, in % of the last close."""
    coverage: Mapping[float, Array]
    """Level -> (n,) share inside up to there; NaN where no score has it yet."""


@dataclass(frozen=True)
class Record:
    """A journal as of one moment."""

    kept: int
    scored: int
    """Forecasts with at least one scored bar, of all."""
    older: int
    """Of these, scored before the 50% band and the PIT were kept: they count in neither."""
    rows: Sequence[RecordRow]
    """Of forecasts that were made before their bars."""
    late: Sequence[RecordRow]
    """Of those made after the fact: no record of trust."""
    courses: Sequence[Course]
    """Of `rows`, or of `late` where there are no others."""
    late_kept: int
    """Entries that were made after the fact, or that nobody can tell of."""
    waiting: Sequence[Waiting]
    """Whose next bar has not come, by its time."""
    due: Sequence[Waiting]
    """Whose next bar should be there: give it to `score`."""
    revised: int
    """Scored bars that later data say otherwise."""
    revised_symbols: Sequence[str]
    first: str
    last: str
    """Days of the scored bars; empty without one."""


def record_of(
    facts: pd.DataFrame, scores: pd.DataFrame, missing: pd.DataFrame, revised: pd.DataFrame, now: pd.Timestamp
) -> Record:
    """What entries and scores come to: `Journal.record`, of what `Journal` has under these names."""
    forecasts = by_forecast(facts, scores)
    rows, late = (_rows(forecasts[forecasts["live"] == live], now) for live in (True, False))
    drawn = forecasts[forecasts["live"] == bool(rows)]
    waiting, due = _open(facts, pd.concat([scores[["id", "step"]], missing[["id", "step"]]]), now)
    bars = scores["time"]
    symbols = facts.loc[facts["id"].isin(revised["id"]), "symbol"]
    return Record(
        kept=len(facts),
        scored=len(forecasts),
        older=int(forecasts[inside_column(HALF)].isna().sum()),
        rows=rows,
        late=late,
        courses=[_course(maker, one) for maker, one in _by_maker(drawn)],
        late_kept=int((facts["made"] >= facts["over"]).sum()),
        waiting=waiting,
        due=due,
        revised=len(revised),
        revised_symbols=sorted(symbols.unique()),
        first=str(pd.Timestamp(int(bars.min())).date()) if len(bars) else "",
        last=str(pd.Timestamp(int(bars.max())).date()) if len(bars) else "",
    )


def by_forecast(facts: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """A row per forecast with a score: what made it, `origin`, `end` (its last bar) and `came` (its last scored one) in ns,
    and means over its scored steps: losses in % of the last close, shares of `fit_by_forecast`."""
    means = scores.groupby("id", sort=False).agg(
        dict.fromkeys(("crps", "naive", "error", "naive_error"), "mean") | {"time": "max", "step": "count"}
    )
    means = means.rename(columns={"time": "came", "step": "steps"}).join(fit_by_forecast(scores))
    whole = facts.assign(
        horizon=facts["times"].map(len).astype("int64"),
        end=facts["times"].map(lambda times: int(times[-1])).astype("int64"),
        live=facts["made"] < facts["over"],
    ).merge(means, left_on="id", right_index=True)
    for name in ("crps", "naive", "error", "naive_error"):
        whole[name] = whole[name].astype(np.float64) / whole["last"] * 100
    return whole.sort_values("origin", kind="stable").reset_index(drop=True)


def _by_maker(forecasts: pd.DataFrame) -> list[tuple[Maker, pd.DataFrame]]:
    keys = list(Maker.__dataclass_fields__)
    groups: Any = forecasts.groupby(keys, sort=True) if len(forecasts) else ()
    return [(Maker(*key), rows) for key, rows in groups]


def _rows(forecasts: pd.DataFrame, now: pd.Timestamp) -> list[RecordRow]:
    found = []
    for maker, rows in _by_maker(forecasts):
        young = {
            age: rows if days is None else rows[rows["came"] > (now - pd.Timedelta(days=days)).value]
            for age, days in AGES.items()
        }
        # An age that holds no more than the one before it says nothing new; all is always there.
        told = {age: one for age, one in young.items() if age == "all" or 0 < len(one) < len(rows)}
        for before, age in pairwise(list(told)):
            if age != "all" and len(young[before]) == len(young[age]):
                del told[age]
        found += [_row(maker, age, one) for age, one in told.items()]
    return found


def _row(maker: Maker, age: str, rows: pd.DataFrame) -> RecordRow:
    origins, ends = spans_of(rows)
    shared = overlap(origins, ends)
    return RecordRow(
        maker=maker,
        age=age,
        forecasts=len(rows),
        unfinished=int((rows["steps"] < rows["horizon"]).sum()),
        origins=len(origins),
        independent=independent(origins, ends),
        coverage={level: coverage_of(rows, level, shared) for level in LEVELS},
        pit=pit_of(rows),
        crps=compare(rows["crps"], rows["naive"], rows["origin"], shared),
        mae=compare(rows["error"], rows["naive_error"], rows["origin"], shared),
    )


def _course(maker: Maker, rows: pd.DataFrame) -> Course:
    means = rows.assign(difference=rows["crps"] - rows["naive"]).groupby("origin")["difference"].mean()
    origins = times_in(means.index.to_numpy(np.int64), None)
    return Course(maker, origins, means.cumsum().to_numpy(), coverage_so_far(rows))


def _open(facts: pd.DataFrame, settled: pd.DataFrame, now: pd.Timestamp) -> tuple[list[Waiting], list[Waiting]]:
    """Forecasts with steps that are not `settled`: those whose next bar has not come, and those whose should have."""
    done = settled.groupby("id")["step"].agg(set).to_dict()
    waiting: list[Waiting] = []
    due: list[Waiting] = []
    for row in facts.to_dict("records"):
        left = [n for n in range(len(row["times"])) if n + 1 not in done.get(row["id"], ())]
        if not left:
            continue
        times = times_in(row["times"], row["zone"])
        origin = times_in([row["origin"]], row["zone"])[0]
        one = Waiting(row["symbol"], origin, row["model"], len(left), times[left[0]], times[left[-1]])
        (due if ended(one.next, pd.Timedelta(row["step"], "ns"), now) else waiting).append(one)
    return sorted(waiting, key=lambda one: one.moment), sorted(due, key=lambda one: one.moment)
