"""What a sweep shows: settings in the order of their scores, which differences are more than the scatter of seeds, and how much
of the best score luck alone would bring."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from chandler.measures import group_difference, higher_is_better
from chandler.scale.sweep.book import Trial

SEED = "seed"
"""The parameter whose values repeat a setting."""
LEVEL = 0.05
"""Chance that any difference is called shown where none is."""


@dataclass(frozen=True)
class Setting:
    """Trials that differ in their seed alone."""

    parameters: Mapping[str, Any]
    trials: tuple[int, ...]
    """Numbers of those that finished."""
    scores: tuple[float, ...]
    """The best score of each."""
    mean: float | None
    sd: float | None
    """Of the scores over seeds; None of fewer than two."""
    whole: bool
    """Whether all its trials finished; what is left of others may be left because it was lucky."""


@dataclass(frozen=True)
class Difference:
    """A setting against the leading one."""

    difference: float
    """Mean minus mean of the leader."""
    se: float | None
    p: float | None
    """See `measures.group_difference`: over all pairs of settings; None where there are too few seeds."""
    shown: bool


@dataclass(frozen=True)
class Verdict:
    """What the scores amount to."""

    settings: tuple[Setting, ...]
    """The best first, those that are not whole behind; in their own order where no best is named."""
    differences: tuple[Difference | None, ...]
    """Of each setting to the first; None of the first, and where there is nothing to compare."""
    best: int | None
    """The trial with the best score in the leading setting; None where no best is named."""
    scatter: float | None
    """Standard deviation over seeds, pooled over settings."""
    luck: float | None
    """By how much the best of as many trials beats their mean by that scatter alone."""


def sweep_verdict(trials: Sequence[Trial], measure: str, incomparable: str) -> Verdict:
    """Judge the trials that finished."""
    settings = _settings(trials)
    scatter = _pooled(settings)
    done = sum(len(one.scores) for one in settings)
    luck = scatter * float(ndtri((done - 0.375) / (done + 0.25))) if scatter is not None and done > 1 else None
    if incomparable:
        return Verdict(tuple(settings), (None,) * len(settings), None, scatter, None)
    sign = -1.0 if higher_is_better(measure) else 1.0
    order = sorted(settings, key=lambda one: (one.mean is None, not one.whole, sign * (one.mean or 0.0)))
    leader = order[0]
    scores = [one.scores for one in order]
    differences = [_difference(scores, number) if number and scores[number] else None for number in range(len(order))]
    best = min(zip(leader.scores, leader.trials, strict=True), key=lambda pair: sign * pair[0], default=(0.0, None))[1]
    return Verdict(tuple(order), tuple(differences), best, scatter, luck)


def sweep_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """A row for each trial: its parameters, state and scores."""
    rows = [
        {
            "trial": one.name,
            **{
                key: value if isinstance(value, int | float | str) else json.dumps(value)
                for key, value in one.parameters.items()
            },
            "state": one.state,
            "start": one.start,
            "best": one.best,
            "best_step": one.best_step,
            "epochs": one.epochs,
            "message": one.message,
        }
        for one in trials
    ]
    table = pd.DataFrame(rows).astype({"start": float, "best": float, "best_step": "Int64"})
    mixed = [key for key in trials[0].parameters if pd.api.types.infer_dtype(table[key]).startswith("mixed")]
    return table.astype(dict.fromkeys(mixed, str))


def _settings(trials: Sequence[Trial]) -> list[Setting]:
    groups: dict[str, list[Trial]] = {}
    for one in trials:
        key = json.dumps({key: value for key, value in one.parameters.items() if key != SEED})
        groups.setdefault(key, []).append(one)
    made = []
    for key, members in groups.items():
        done = [one for one in members if one.state == "finished" and one.best is not None]
        scores = tuple(one.best for one in done if one.best is not None)
        made.append(
            Setting(
                parameters=json.loads(key),
                trials=tuple(one.number for one in done),
                scores=scores,
                mean=float(np.mean(scores)) if scores else None,
                sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
                whole=len(done) == len(members),
            )
        )
    return made


def _pooled(settings: Sequence[Setting]) -> float | None:
    known = [(one.sd, len(one.scores) - 1) for one in settings if one.sd is not None]
    degrees = sum(number for _, number in known)
    return math.sqrt(sum(sd * sd * number for sd, number in known) / degrees) if known else None


def _difference(scores: Sequence[Sequence[float]], number: int) -> Difference:
    """Of a setting to the first."""
    found = group_difference(scores, number, 0)
    known = math.isfinite(found.p)
    return Difference(found.mean, found.se if known else None, found.p if known else None, known and found.p < LEVEL)
