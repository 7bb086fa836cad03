"""Readouts of hidden states fitted on some dates and chosen on later ones: ridge in closed form, or one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chandler.training.signal.samples import TINY, Array, Ints, Mask, Samples
from chandler.training.signal.scores import mean_ic, standard_ranks

PENALTIES = tuple(10.0**power for power in range(-3, 4))
"""Ridge penalties to choose from, in units of the features' variance."""
HUBER = 1.0
"""Where the loss of a return goes from square to linear, in volatilities of its horizon."""
ROUNDS = 20
"""Reweightings of the Huber fit at most."""
NORMAL_MEDIAN = 0.6745
"""The median of |x| of a standard normal x."""
BLOCK = 1 << 15
"""Rows that are taken to float64 at a time."""
EPOCHS, PATIENCE, BATCH = 200, 15, 16
"""Of a hidden layer: passes over the dates at most, passes without a better validation that end it, dates per step."""
RATE, DECAY, DROPOUT = 1e-3, 1e-2, 0.1


@dataclass(frozen=True, eq=False)
class Task:
    """What is fitted: windows, what came of them, and which of them learn and which choose."""

    samples: Samples
    train: Mask
    validation: Mask
    across: bool
    least: int
    hidden: int

    def ic(self, scores: Array, part: Mask) -> float:
        """Mean RankIC of scores (n,) of the windows of a part; -1 where there is none, so that it is never chosen."""
        return mean_ic(scores, self.samples.take(part), self.across, self.least)


class Member(NamedTuple):
    """One readout of standardised states, and how it was chosen."""

    tensors: dict[str, NDArray[np.float32]]
    choice: dict[str, float]


def standard(states: NDArray[np.float32]) -> tuple[Array, Array]:
    """Mean and deviation (d,) of states (W, d); 1 where one is constant."""
    mean, spread = states.mean(axis=0, dtype=np.float64), states.std(axis=0, dtype=np.float64)
    return mean, np.where(spread > TINY, spread, 1.0)


def fit_member(task: Task, z: NDArray[np.float32], seed: int) -> Member:
    """One readout, of the dates that a draw with replacement takes (the bootstrap of Efron, by dates).

    Args:
        z: (W, d) standardised states of all windows.
        seed: of the draw, and of a hidden layer's beginning and order.
    """
    generator = np.random.default_rng(seed)
    dates, place = np.unique(task.samples.dates[task.train], return_inverse=True)
    drawn = np.bincount(generator.integers(len(dates), size=len(dates)), minlength=len(dates))
    samples = task.samples.take(task.train)
    if task.across:
        target = standard_ranks(samples.returns, place)
    else:  # of deviation 1, if they were normal: HUBER is in this unit
        target = samples.scaled / np.sqrt(max(np.median(samples.scaled**2), TINY)) * NORMAL_MEDIAN
    if task.hidden:
        return _hidden(task, z, target, drawn, seed)
    # Each date counts once, however many symbols it has.
    return _linear(task, z, place, target, drawn[place] / np.bincount(place)[place])


def within(x: NDArray[np.float32], place: Ints) -> NDArray[np.float32]:
    """x (n, d) less its mean on each date; `place` (n,) numbers the dates, in order."""
    starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    means = np.add.reduceat(x, starts) / np.bincount(place).astype(np.float32)[:, None]
    return np.asarray(x - means[place], np.float32)


class _Moments(NamedTuple):
    """Weighted means of x (n, d), x x', y and x y."""

    x: Array
    xx: Array
    y: float
    xy: Array

    @classmethod
    def of(cls, x: NDArray[np.float32], y: Array, weight: Array) -> _Moments:
        """In float64, a block of rows at a time: a copy of all would be twice as large as they are."""
        width, total = x.shape[1], weight.sum()
        sums, squares, products = np.zeros(width), np.zeros((width, width)), np.zeros(width)
        for begin in range(0, len(x), BLOCK):
            part = slice(begin, begin + BLOCK)
            wide = x[part].astype(np.float64)
            weighted = wide * weight[part, None]
            sums += weighted.sum(axis=0)
            squares += weighted.T @ wide
            products += y[part] @ weighted
        return cls(sums / total, squares / total, float(weight @ y / total), products / total)

    def ridge(self, penalty: float, level: bool) -> tuple[Array, float]:
        """Weights (d,) and bias of the ridge regression of y; `level`: the bias is free, else 0."""
        xx, xy = (self.xx - np.outer(self.x, self.x), self.xy - self.x * self.y) if level else (self.xx, self.xy)
        w = np.asarray(np.linalg.solve(xx + penalty * np.eye(len(xy)), xy), np.float64)
        return w, float(self.y - self.x @ w) if level else 0.0


def _linear(task: Task, z: NDArray[np.float32], place: Ints, target: Array, weight: Array) -> Member:
    """Ridge: of all directions of one length it has the highest correlation with the ranks, pooled over dates. Along time
    the loss is Huber's, by reweighting."""
    best: Member | None = None
    x = within(z[task.train], place) if task.across else z[task.train]
    plain = _Moments.of(x, target, weight)
    for penalty in PENALTIES:
        w, bias = plain.ridge(penalty, not task.across)
        for _ in range(0 if task.across else ROUNDS):
            far = np.maximum(1.0, np.abs(target - x @ w.astype(np.float32) - bias) / HUBER)
            before, (w, bias) = w, _Moments.of(x, target, weight / far).ridge(penalty, True)
            if np.abs(w - before).max() < 1e-6:
                break
        made = (z @ w.astype(np.float32)).astype(np.float64)
        score = task.ic(made[task.validation], task.validation)
        if best is None or score > best.choice["validation"]:
            unit = float(made[task.train].std()) or 1.0
            learned = task.ic(made[task.train], task.train)
            tensors = {"weight": w / unit, "bias": bias / unit}
            best = Member(_float32(tensors), {"penalty": penalty, "train": learned, "validation": score})
    assert best is not None
    return best


class _Net(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer, self.drop = nn.Linear(width, hidden), nn.Linear(hidden, 1), nn.Dropout(DROPOUT)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.outer(self.drop(nn.functional.silu(self.inner(z)))).squeeze(-1)


def _hidden(task: Task, z: NDArray[np.float32], target: Array, drawn: Ints, seed: int) -> Member:
    """One hidden layer, by AdamW on batches of dates, as it was on the pass that the validation liked best."""
    place = np.unique(task.samples.dates[task.train], return_inverse=True)[1]
    x, y, there = _padded(z[task.train], target, place)
    chosen = np.repeat(np.arange(len(x)), drawn)
    later = torch.as_tensor(z[task.validation])
    generator = np.random.default_rng([seed, 1])
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = _Net(z.shape[1], task.hidden)
        optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        best, kept, epoch = -np.inf, _state(net), 0
        chosen_epoch = 0
        for epoch in range(1, EPOCHS + 1):
            net.train()
            order = generator.permutation(chosen)
            for begin in range(0, len(order), BATCH):
                some = torch.as_tensor(order[begin : begin + BATCH])
                optimiser.zero_grad()
                _loss(net(x[some]), y[some], there[some], task.across).backward()
                optimiser.step()
            net.eval()
            with torch.no_grad():
                score = task.ic(net(later).double().numpy(), task.validation)
            if score > best:
                best, kept, chosen_epoch = score, _state(net), epoch
            if epoch - chosen_epoch >= PATIENCE:
                break
        net.load_state_dict(kept)
        net.eval()
        with torch.no_grad():
            learned = net(x)[there].double().numpy()
    unit = float(learned.std()) or 1.0
    tensors: dict[str, Any] = {
        "inner": kept["inner.weight"].numpy(),
        "inner_bias": kept["inner.bias"].numpy(),
        "weight": kept["outer.weight"][0].numpy() / unit,
        "bias": kept["outer.bias"].numpy()[0] / unit,
    }
    choice = {"epoch": float(chosen_epoch), "train": task.ic(learned, task.train), "validation": best}
    return Member(_float32(tensors), choice)


def _padded(z: NDArray[np.float32], target: Array, place: Ints) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States (D, N, d), targets (D, N) and which of them are there (D, N), of D dates with N symbols at most."""
    counts = np.bincount(place)
    column = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    x, y = (
        np.zeros((len(counts), counts.max(), z.shape[1]), np.float32),
        np.zeros((len(counts), counts.max()), np.float32),
    )
    there = np.zeros(y.shape, bool)
    x[place, column], y[place, column], there[place, column] = z, target, True
    return torch.as_tensor(x), torch.as_tensor(y), torch.as_tensor(there)


def _loss(scores: torch.Tensor, target: torch.Tensor, there: torch.Tensor, across: bool) -> torch.Tensor:
    """Scores and targets (B, N) of dates. Across symbols: less the mean correlation of scores with the ranks of a date. Along
    time: Huber's, of scaled returns."""
    if not across:
        return nn.functional.huber_loss(scores[there], target[there], delta=HUBER)
    known = there.float()
    centred = (scores - (scores * known).sum(1, keepdim=True) / known.sum(1, keepdim=True)) * known
    return -((centred * target).sum(1) / (centred.norm(dim=1) * target.norm(dim=1) + 1e-6)).mean()


def _float32(tensors: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    return {name: np.asarray(one, np.float32) for name, one in tensors.items()}


def _state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in net.state_dict().items()}
