"""Readouts of hidden states fitted on some dates and chosen on later ones: ridge in closed form, or one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chandler.training.signal.samples import Array, Ints, Mask, Samples
from chandler.training.signal.scores import mean_ic, standard_ranks

PENALTIES = tuple(10.0**power for power in range(-3, 4))
"""Ridge penalties to choose from, in units of the features' variance."""
HUBER = 1.0
"""Where the loss of a return goes from square to linear, in volatilities of its horizon."""
ROUNDS = 20
"""Reweightings of the Huber fit at most."""
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
    wide = states.astype(np.float64)
    spread = wide.std(axis=0)
    return wide.mean(axis=0), np.where(spread > 1e-8, spread, 1.0)


def fit_member(task: Task, z: Array, seed: int) -> Member:
    """One readout, of the dates that a draw with replacement takes (the bootstrap of Efron, by dates).

    Args:
        z: (W, d) standardised states of all windows.
        seed: of the draw, and of a hidden layer's beginning and order.
    """
    generator = np.random.default_rng(seed)
    dates, place = np.unique(task.samples.dates[task.train], return_inverse=True)
    drawn = np.bincount(generator.integers(len(dates), size=len(dates)), minlength=len(dates)).astype(np.float64)
    x, samples = z[task.train], task.samples.take(task.train)
    weight = drawn[place] / np.bincount(place)[place]
    if task.across:
        x, target = within(x, place), standard_ranks(samples.returns, place)
        few = np.bincount(place)[place] < task.least
        weight, drawn = np.where(few, 0.0, weight), np.where(np.bincount(place) < task.least, 0.0, drawn)
    else:
        target = samples.scaled / np.sqrt(max(np.median(samples.scaled**2), 1e-12)) * 0.6745
    if task.hidden:
        return _hidden(task, z, target, drawn, seed)
    return _linear(task, z, x, target, weight)


def within(x: Array, place: Ints) -> Array:
    """x (n, d) less its mean on each date; `place` (n,) numbers the dates, in order."""
    starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    return x - (np.add.reduceat(x, starts) / np.bincount(place)[:, None])[place]


def _linear(task: Task, z: Array, x: Array, target: Array, weight: Array) -> Member:
    """Ridge: of all directions of one length it has the highest correlation with the ranks, pooled over dates. Along time
    the loss is Huber's, by reweighting."""
    best: Member | None = None
    width = z.shape[1]
    for penalty in PENALTIES:
        w, bias = np.zeros(width), np.float64(0)
        for _ in range(1 if task.across else ROUNDS):
            kept = weight
            if not task.across:
                kept = weight / np.maximum(1.0, np.abs(target - x @ w - bias) / HUBER)
            a = np.einsum("n,ni,nj->ij", kept, x, x, optimize=True) / kept.sum()
            centre = np.zeros(width) if task.across else kept @ x / kept.sum()
            level = np.float64(0 if task.across else kept @ target / kept.sum())
            b = (kept * target) @ x / kept.sum() - centre * level
            before = w
            w = np.linalg.solve(a - np.outer(centre, centre) + penalty * np.eye(width), b)
            bias = np.float64(level - centre @ w)
            if np.abs(w - before).max() < 1e-6:
                break
        unit = float((z[task.train] @ w).std()) or 1.0
        score = task.ic(z[task.validation] @ w, task.validation)
        if best is None or score > best.choice["validation"]:
            learned = task.ic(z[task.train] @ w, task.train)
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


def _hidden(task: Task, z: Array, target: Array, drawn: Array, seed: int) -> Member:
    """One hidden layer, by AdamW on batches of dates, as it was on the pass that the validation liked best."""
    place = np.unique(task.samples.dates[task.train], return_inverse=True)[1]
    x, y, there = _padded(z[task.train], target, place)
    chosen = np.repeat(np.arange(len(x)), drawn.astype(int))
    later = torch.as_tensor(z[task.validation], dtype=torch.float32)
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


def _padded(z: Array, target: Array, place: Ints) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
