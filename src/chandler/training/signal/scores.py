"""Whether scores order what came: a RankIC for each date, its mean tested, and what that amounts to in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from chandler.measures import cross_section, newey_west_t, ranks
from chandler.training.signal.samples import Array, Ints, Samples

SHOWN = 2.0
"""|t| from which on a mean is not taken for chance."""
HEAD, BEYOND = "signal head", "the same beyond these"


@dataclass(frozen=True)
class Score:
    """Mean RankIC over dates, with Newey-West's t, of how many dates."""

    name: str
    mean: float
    t: float
    dates: int


def ic_series(scores: Array, samples: Samples, across: bool, least: int) -> pd.Series:
    """A coefficient for each date, indexed by its position, whose mean is the RankIC.

    Across symbols: the rank correlation of scores (W,) and returns of the date, NaN with fewer than `least` symbols or equal
    scores. Along time: the product of the standardised ranks that a symbol's score and scaled return have among its own dates,
    averaged over the symbols of the date.
    """
    frame = pd.DataFrame({"date": samples.dates, "score": scores, "symbol": samples.numbers})
    if across:
        return cross_section(frame.assign(truth=samples.returns), "date", "score", "truth", kind="rank_ic", least=least)
    product = np.zeros(len(frame))
    for rows in frame.groupby("symbol").indices.values():
        product[rows] = _standard(frame["score"].to_numpy()[rows]) * _standard(samples.scaled[rows])
    return pd.Series(product).groupby(frame["date"]).mean()


def mean_ic(scores: Array, samples: Samples, across: bool, least: int) -> float:
    """The mean of `ic_series`, quickly; -1 where there is none."""
    if not across:
        return float(np.nan_to_num(ic_series(scores, samples, across, least).mean(), nan=-1.0))
    _, place, counts = np.unique(samples.dates, return_inverse=True, return_counts=True)
    product = standard_ranks(scores, place) * standard_ranks(samples.returns, place)
    known = (counts >= least) & (np.bincount(place, product != 0) > 0)
    return float((np.bincount(place, product) / counts)[known].mean()) if known.any() else -1.0


def standard_ranks(values: Array, place: Ints) -> Array:
    """Ranks of values (n,) on each date, of mean 0 and deviation 1; 0 where all are equal."""
    made = np.zeros(len(values))
    for part in _dates(place):
        made[part] = _standard(values[part])
    return made


def score(name: str, series: pd.Series, overlap: int) -> Score:
    """Test the mean of coefficients by date. `overlap`: dates that a return reaches over, 1 where none overlap."""
    known = series.dropna()
    usual = int(4 * (max(len(known), 1) / 100) ** (2 / 9))
    found = newey_west_t(known, max(0, min(max(usual, overlap), len(known) - 1)))
    return Score(name, found.mean, found.t, found.n)


def beyond(scores: Array, others: list[Array], samples: Samples) -> Array:
    """What is left of the ranks of scores (W,) on each date after those of the others are taken out, linearly."""
    made = np.zeros(len(scores))
    for rows in pd.Series(samples.dates).groupby(samples.dates).indices.values():
        basis = np.stack([np.ones(len(rows)), *(ranks(other[rows]) for other in others)], axis=1)
        y = ranks(scores[rows])
        made[rows] = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return made


def verdict(head: Score, members: list[Score], others: list[Score], better: Score | None) -> str:
    """What a table says, in a sentence.

    Args:
        head: the mean of all members.
        members: each seed alone; what most of them do not show is luck of a draw.
        others: what needs no model.
        better: the head's coefficients less those of the best other, tested.
    """
    told = f"RankIC {head.mean:+.3f}, t {head.t:.1f}, {head.dates} dates"
    if not abs(head.t) >= SHOWN:
        return (
            f"It shows nothing: on later dates than any that chose it, the head orders no better than chance ({told})."
        )
    if head.mean < 0:
        return f"It shows nothing of use: later dates are ordered the wrong way round ({told})."
    shown = sum(one.t >= SHOWN for one in members)
    if 2 * shown < len(members):
        return f"It shows nothing that lasts: {shown} of {len(members)} seeds have t of {SHOWN:g} alone, their mean does ({told})."
    best = max(others, key=lambda one: one.mean, default=None)
    if best is not None and best.mean >= head.mean:
        return (
            f"It shows nothing that {best.name} does not: the head orders later dates ({told}), {best.name} does so better "
            f"({best.mean:+.3f}, t {best.t:.1f}) and needs no model."
        )
    if best is not None and best.mean > 0 and (better is None or not better.t >= SHOWN):
        return (
            f"It orders later dates ({told}), but to be better than {best.name} ({best.mean:+.3f}) is not shown: "
            f"{better.mean if better else float('nan'):+.3f}, t {better.t if better else float('nan'):.1f}."
        )
    return f"It orders later dates than any that chose it ({told}), better than what needs no model."


def table_text(found: list[Score]) -> str:
    """The scores as a table of text."""
    width = max(len(one.name) for one in found)
    lines = [f"{'':<{width}}   RankIC       t   dates"]
    lines += [f"{one.name:<{width}}   {one.mean:+.4f}  {one.t:6.2f}  {one.dates:6d}" for one in found]
    return "\n".join(lines)


def plain(found: Score) -> Mapping[str, Any]:
    """As JSON knows it: null for NaN."""
    return {key: None if isinstance(one, float) and not np.isfinite(one) else one for key, one in asdict(found).items()}


def _standard(values: Array) -> Array:
    """Ranks of values (n,), of mean 0 and deviation 1; 0 where all are equal."""
    found = ranks(values)
    spread = found.std()
    return (found - found.mean()) / spread if spread else np.zeros(len(found))


def _dates(place: Ints) -> Iterator[slice]:
    """The windows of each date; `place` (n,) is in order."""
    edges = np.flatnonzero(np.r_[True, place[1:] != place[:-1], True])
    return (slice(int(lo), int(hi)) for lo, hi in pairwise(edges))
