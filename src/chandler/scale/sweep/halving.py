"""Which trials are hopeless: those that are behind two thirds of the others after the same number of epochs.

The rule of asynchronous successive halving, by which a trial is stopped as soon as it is behind those that came before it to the same
rung; it waits for nobody. Source: Li et al. (2020), "A System for Massively Parallel Hyperparameter Tuning", MLSys. There the third
best of three and the second of two are behind as well; here two scores decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chandler.measures import is_better

FACTOR = 3
"""One of so many goes on, and a rung is so many times as high as the one below."""


def rungs(epochs: int) -> tuple[int, ...]:
    """Epochs after which a trial of so many is held against the others: 1, 3, 9, ... below the last."""
    found = []
    rung = 1
    while rung < epochs:
        found.append(rung)
        rung *= FACTOR
    return tuple(found)


def behind(measure: str, score: float, others: Sequence[float]) -> int | None:
    """How many of the others are strictly better, where these are too many for the trial to go on; None where it goes on: it
    is among the best third, rounded up, of all; or there are fewer than `FACTOR`."""
    better = sum(is_better(measure, other, score) for other in others)
    number = len(others) + 1
    return better if number >= FACTOR and better >= -(-number // FACTOR) else None
