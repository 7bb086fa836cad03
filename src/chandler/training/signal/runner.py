"""A signal head from bars to a verdict: embed once, fit a head for each seed, choose on later dates, test on later ones still."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import CLOSE, tick_of
from chandler.data.datasets import SplitSettings, part_span, split_ranges
from chandler.data.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.forecasting import MIN_HISTORY, Forecaster, Sampling, SignalHead, model_hash
from chandler.forecasting import ForecastSettings as HowForecast
from chandler.progress import Progress
from chandler.text import count
from chandler.training.runs import Known
from chandler.training.settings import SignalSettings
from chandler.training.signal.fit import Member, Task, fit_member, standard
from chandler.training.signal.samples import Array, Calendar, Mask, Samples, find_samples, require_dates, split_samples
from chandler.training.signal.scores import (
    BEYOND,
    HEAD,
    Score,
    beyond,
    ic_series,
    plain,
    score,
    table_text,
    verdict,
)
from chandler.version import __version__

CHUNK = 1024
"""Windows embedded between two reports."""


@dataclass(frozen=True, eq=False)
class SignalResult:
    """A fitted head, and how it did on dates that had no say in it."""

    head: SignalHead
    scores: Sequence[Score]
    """Of the test: the head, its members, what is left of it beyond momentum and reversal, and what it is held against."""
    verdict: str
    notes: Sequence[str]

    def to_text(self) -> str:
        """The table, what is to be known of it, and the verdict."""
        return "\n".join([table_text(list(self.scores)), "", *(f"note: {one}" for one in self.notes), self.verdict])


@dataclass(frozen=True, eq=False)
class SignalPlan:
    """What a head learns from, is chosen on and is tested on."""

    settings: SignalSettings
    horizon: int
    every: int
    lookback: int
    calendar: Calendar
    samples: Samples
    parts: Mapping[str, Mask]
    """"train", "validation", "test": (W,) each, without a window in common."""
    across: bool
    """Whether symbols are ordered within a date, rather than dates along time."""
    notes: list[str]
    """What is to be said of the test."""

    @property
    def overlap(self) -> int:
        """Dates that a return reaches over."""
        return -(-self.horizon // self.every)

    def span(self, part: str) -> Mapping[str, Any]:
        """For the record: the dates of a part, and the last moment that its returns reach."""
        chosen = self.parts[part]
        dates, time = np.unique(self.samples.dates[chosen]), self.calendar.time
        return {
            "dates": len(dates),
            "windows": int(chosen.sum()),
            "first": str(time(dates[0])),
            "last": str(time(dates[-1])),
            "until": str(time(dates[-1] + self.settings.delay + self.horizon)),
        }


def signal_lookback(settings: SignalSettings, lookback: int | None, max_context: int) -> int:
    """The bars that a head sees of a model that forecasts with `lookback` and sees `max_context` at most."""
    return min(settings.lookback or lookback or max_context, max_context)


def plan_signal(
    store: BarStore, settings: SignalSettings, lookback: int, known: Known | None = None, force: bool = False
) -> SignalPlan:
    """Which windows a head is fitted, chosen and tested on; the arguments and errors of `fit_signal`.

    `lookback`: that of `signal_lookback`.
    """
    if settings.horizon is None:
        raise ConfigError("a signal needs to know how far it looks ahead: give horizon=..., in bars.")
    if lookback <= MIN_HISTORY:
        raise ConfigError(f"a signal needs at least {MIN_HISTORY + 1} bars of lookback, found {lookback}.")
    horizon, every, calendar = settings.horizon, settings.every or settings.horizon, Calendar.of(store)
    past, reach = (settings.momentum, settings.reversal), settings.delay + horizon
    samples = find_samples(store, calendar, lookback, (settings.delay, horizon), every, past)
    _, place, symbols = np.unique(samples.dates, return_inverse=True, return_counts=True)
    across = bool(np.median(symbols) >= settings.least)
    if across:
        samples = samples.take(symbols[place] >= settings.least)
    val, test, notes = _periods(store, calendar, samples, settings, known or Known(), force)
    parts = split_samples(samples, reach, val, test)
    require_dates(samples, parts, calendar)
    if not across:
        notes.append(
            f"Most dates have fewer than {settings.least} symbols: nothing is ordered across symbols, returns in volatilities "
            "are predicted and judged along time."
        )
    used = parts["train"] | parts["validation"] | parts["test"]
    parts = {name: chosen[used] for name, chosen in parts.items()}
    return SignalPlan(settings, horizon, every, lookback, calendar, samples.take(used), parts, across, notes)


def fit_signal(
    forecaster: Forecaster,
    store: BarStore,
    settings: SignalSettings,
    *,
    known: Known | None = None,
    force: bool = False,
    progress: Progress | None = None,
    between: Callable[[], None] = lambda: None,
) -> SignalResult:
    """Train a signal head on the frozen models of a forecaster, and test it.

    Three periods follow one another, the horizon apart: heads are fitted on the first, their penalty (or, of a hidden layer,
    the pass) is chosen on the second, and the third is looked at once.

    Args:
        forecaster: whose hidden states are read.
        store: bars, best of many symbols on the same dates.
        settings: `horizon` must be given.
        known: what the models were trained on (`training.runs.known`); None: nothing is said of it.
        force: test on dates that the models know as well, and say so.
        progress: what shows it; default: a bar on a terminal, lines elsewhere.
        between: called now and then; what it raises ends the work.

    Raises:
        ConfigError: no horizon, or it does not fit in memory.
        DataError: too few dates, or a test of what the models know (without `force`).
    """
    shown = progress or Progress()
    lookback = signal_lookback(settings, forecaster.lookback, forecaster.max_context)
    plan = plan_signal(store, settings, lookback, known, force)
    samples, parts = plan.samples, plan.parts
    states = _states(forecaster, store, plan, shown, between)
    mean, std = standard(states[parts["train"]])
    z = np.asarray((states - mean.astype(np.float32)) / std.astype(np.float32), np.float32)
    task = Task(samples, parts["train"], parts["validation"], plan.across, settings.least, settings.hidden)
    members = []
    with shown.track("fitting", settings.seeds, unit="heads") as report:
        for number in range(settings.seeds):
            members.append(fit_member(task, z, settings.seed + number))
            report(1)
            between()
    tensors = {name: np.stack([one.tensors[name] for one in members]) for name in members[0].tensors}
    tensors |= {"mean": mean.astype(np.float32), "std": std.astype(np.float32)}
    head = SignalHead(tensors, plan.horizon, lookback, model_hash(forecaster))
    tested, later = samples.take(parts["test"]), states[parts["test"]]
    paths = _path_means(forecaster, store, tested, plan, shown, between)
    found, told = _judged(tested, plan, head, later, paths)
    notes = [*plan.notes, _choices(members)]
    about = {
        "chandler": __version__,
        "kind": f"one hidden layer of {settings.hidden}" if settings.hidden else "linear",
        "model": forecaster.name,
        "across": plan.across,
        "symbols": list(store.symbols),
        **{name: plan.span(name) for name in parts},
        "members": [one.choice for one in members],
        "scores": [plain(one) for one in found],
        "verdict": told,
        "notes": notes,
        "settings": settings.model_dump(mode="json"),
    }
    return SignalResult(replace(head, about=about), found, told, notes)


def _states(
    forecaster: Forecaster, store: BarStore, plan: SignalPlan, shown: Progress, between: Callable[[], None]
) -> NDArray[np.float32]:
    """The hidden states (W, d) of all windows."""
    rows = plan.samples.rows
    shown.note(
        f"{len(rows):,} windows of {plan.lookback} bars on {len(np.unique(plan.samples.dates)):,} dates to embed"
    )
    states = np.empty((len(rows), forecaster.predictor.config.d_model), np.float32)
    with shown.track("embedding", len(rows)) as report:
        for begin in range(0, len(rows), CHUNK):
            some = rows[begin : begin + CHUNK]
            states[begin : begin + CHUNK] = forecaster.embed_rows(
                store, some, plan.lookback, plan.settings.memory_budget
            )
            report(len(some))
            between()
    return states


def _judged(
    tested: Samples, plan: SignalPlan, head: SignalHead, states: NDArray[np.float32], paths: Array | None
) -> tuple[list[Score], str]:
    """All scores of the windows of the test, and the verdict."""

    def series(scores: Array, samples: Samples = tested) -> pd.Series:
        return ic_series(scores, samples, plan.across, plan.settings.least)

    each, s, overlap = head.members(states), plan.settings, plan.overlap
    own = series(each.mean(axis=0))
    momentum, reversal = (min(bars, plan.lookback - 1) for bars in (s.momentum, s.reversal))
    past = {
        f"momentum ({count(momentum, 'bar')})": tested.momentum,
        f"reversal ({count(reversal, 'bar')})": tested.reversal,
    }
    if plan.across:  # along time the returns are in units of it
        past["low volatility"] = -tested.volatility
    first = score(HEAD, own, overlap)
    seeds = [score(f"  seed {s.seed + k}", series(one), overlap) for k, one in enumerate(each)]
    found = [first, *(seeds if len(seeds) > 1 else ())]
    if plan.across:
        left = beyond(each.mean(axis=0), list(past.values()), tested)
        found.append(score(BEYOND, series(left), overlap))
    simple = {name: series(one) for name, one in past.items()}
    others = [score(name, one, overlap) for name, one in simple.items()]
    best = max(others, key=lambda one: one.mean)
    better = score("", own - simple[best.name], overlap)
    found += others
    if paths is not None:
        known = np.isfinite(paths)
        made = score(f"path mean ({s.paths} paths)", series(paths[known], tested.take(known)), overlap)
        found += [made, score("  signal head, same dates", own[own.index.isin(tested.dates[known])], overlap)]
    return found, verdict(first, seeds, others, better)


def _periods(
    store: BarStore, calendar: Calendar, samples: Samples, settings: SignalSettings, known: Known, force: bool
) -> tuple[int, int, list[str]]:
    """Where validation and test begin, as positions of the calendar, and what is to be said of the test."""
    dates = np.unique(samples.dates)
    seen = [one for one in known.seen if one.symbols is None or not one.symbols.isdisjoint(store.symbols)]
    free = max((calendar.position(one.until + 1) for one in seen), default=0)
    if settings.test_start is not None:
        test = calendar.position(_moment(settings.test_start, store))
    else:
        test = int(dates[int(0.8 * len(dates))])
        test = test if force else max(test, free)
    until = pd.Timestamp(max((one.until for one in seen), default=0)).floor("s")
    if test < free and not force:
        raise DataError(
            f"the model knows bars up to {until}: a test of what it was trained "
            f"or chosen on proves nothing. Leave out test_start, give later bars, or pass force=True, which says so."
        )
    if test > dates[-1] and free > dates[-1]:
        raise DataError(
            f"the model knows bars up to {until}, and no date is later whose return is known: a test of what it was "
            "trained or chosen on proves nothing. Give later bars, or pass force=True, which says so."
        )
    earlier = dates[dates < test]
    if settings.val_start is not None:
        val = calendar.position(_moment(settings.val_start, store))
    else:
        val = int(earlier[int(0.75 * len(earlier))]) if len(earlier) else test
    if val >= test:
        raise DataError(
            f"the validation begins at {calendar.time(val)}, the test at {calendar.time(test)}: it takes dates between them. Move "
            "val_start or test_start."
        )
    notes = []
    for kind, says in (("trained", "was trained on"), ("validated", "was chosen on"), ("released", "may have seen")):
        late = [one for one in seen if one.kind == kind and calendar.position(one.until + 1) > test]
        if late:
            most = max(late, key=lambda one: _shared(one.symbols, store))
            notes.append(
                f"The model {says} bars of {_shared(most.symbols, store)} of these {len(store)} symbols up to "
                f"{pd.Timestamp(most.until).floor('s')}; the test begins at {calendar.time(test)}: its coefficients may be too good."
            )
    if known.unknown:
        notes.append("What the model was trained on is not, or not all, on record: it may know the dates of the test.")
    return val, test, notes


def _shared(symbols: frozenset[str] | None, store: BarStore) -> int:
    """How many symbols of a store are among some; None are all."""
    return len(store) if symbols is None else len(symbols.intersection(store.symbols))


def split_moments(store: BarStore, split: SplitSettings) -> dict[str, str]:
    """`val_start` and `test_start` of a run's split; without a test part of its own, the later half of the validation is it."""
    ranges = split_ranges(store, split)
    val, test = (part_span(store, ranges[name]) if name in ranges else None for name in ("val", "test"))
    assert val is not None, "a run has windows to validate on"
    zone = "" if set(store.zones) == {None} else "+00:00"
    moments = {"val_start": val[0], "test_start": sum(val) // 2 if test is None else test[0]}
    return {name: f"{pd.Timestamp(moment).isoformat()}{zone}" for name, moment in moments.items()}


def _moment(text: str, store: BarStore) -> int:
    """A day or time in the clock of the bars, or in UTC where they have several, as ns."""
    try:
        found = tick_of(text, store.zones[0] if len(set(store.zones)) == 1 else "UTC")
    except DataError:
        raise DataError(f"{text!r} is no date or time. Write it as 2024-07-01.") from None
    assert found is not None
    return found


def _path_means(
    forecaster: Forecaster,
    store: BarStore,
    tested: Samples,
    plan: SignalPlan,
    shown: Progress,
    between: Callable[[], None],
) -> Array | None:
    """(W,) the mean return of forecast paths at the horizon, on a few dates evenly spaced; NaN elsewhere."""
    dates, settings, lookback = np.unique(tested.dates), plan.settings, plan.lookback
    delay = settings.delay
    if not settings.path_dates:
        return None
    some = dates[np.unique(np.linspace(0, len(dates) - 1, settings.path_dates).round().astype(int))]
    how = HowForecast(settings.paths, Sampling(), lookback)
    made = np.full(len(tested), np.nan)
    with shown.track("forecasts", int(np.isin(tested.dates, some).sum()), unit="forecasts") as report:
        for date in some:
            windows = np.flatnonzero(tested.dates == date)
            histories = [_history(store, int(tested.numbers[w]), int(tested.rows[w]), lookback) for w in windows]
            forecasts = forecaster.forecast_with(
                how, histories, delay + plan.horizon, seed=settings.seed, progress=False
            )
            for window, one in zip(windows, forecasts, strict=True):
                begin = one.paths[:, delay - 1, CLOSE].mean() if delay else one.history.values[-1, CLOSE]
                made[window] = float(one.paths[:, -1, CLOSE].mean() / begin - 1)
            report(len(windows))
            between()
    return made


def _history(store: BarStore, number: int, row: int, lookback: int) -> Any:
    lo = int(store.offsets[number])
    return store[store.symbols[number]].slice(row + 1 - lookback - lo, row + 1 - lo)


def _choices(members: Sequence[Member]) -> str:
    """How the dates that were learned from and chosen on look beside: the difference is what fitting makes up."""
    train, later = (float(np.mean([one.choice[part] for one in members])) for part in ("train", "validation"))
    return f"On the dates that it learned from its RankIC is {train:+.3f}, on those that chose it {later:+.3f}."
