"""Two small recurrent networks judge generated sequences: can they be told from real ones, and can one learn from them?

Pure functions of arrays and a seed; seconds on a CPU for thousands of short sequences. Sources: Yoon, Jarrett & van der
Schaar (2019), "Time-series generative adversarial networks", NeurIPS; sizes as in Kronos, arXiv 2508.02739.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chandler.errors import DataError
from chandler.measures import rank_ic

Array = NDArray[np.float64]
BATCH, RATE, PATIENCE = 128, 2e-3, 15
LEAST = 20
"""Sequences to train on below which nothing can be learned."""


@dataclass(frozen=True)
class Utility:
    """What a forecaster of the next change learned: mean absolute error in units of the sequences, and the rank
    correlation of predicted and true changes."""

    mae: float
    rank_ic: float


class _Lstm(nn.Module):
    """An LSTM and a linear head on every step's output."""

    def __init__(self, features: int, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, width, layers, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, T)."""
        return self.head(self.lstm(x)[0])[..., 0]


def discriminative_score(
    real: Array, made: Array, test: NDArray[np.bool_], *, seed: int = 0, epochs: int = 60
) -> Array:
    """How wrong a classifier is about each real and its made sequence: (n,) 0, 0.5 or 1 for the n of the test.

    Its mean is the discriminative score, the test error of a one-layer LSTM: 0.5 where real and made cannot be told
    apart, 0 where they always can. The classifier is that of the epoch with the least loss on the last fifth of the
    training pairs: one that is trained too long errs more, which would flatter what was made.

    Args:
        real, made: (N, T, F), in order of time; pair i has one past in common.
        test: (N,) the pairs to be judged; the others train.

    Raises:
        DataError: shapes that differ, values that are not finite, or fewer than 20 pairs to train or 1 to test.
    """
    a, b = _checked(real, made, test)

    def pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([a[rows], b[rows]]), torch.cat([torch.ones(len(rows)), torch.zeros(len(rows))])

    def loss(said: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(said[:, -1], y)

    own, held, judged = _parts(test)
    net = fit_lstm((32, 1), pairs(own), pairs(held), loss, seed, epochs)
    with torch.no_grad():
        wrong_real, wrong_made = net(a[judged])[:, -1] <= 0, net(b[judged])[:, -1] > 0
    return np.asarray((wrong_real.double() + wrong_made.double()).numpy() / 2)


def train_on_synthetic_score(
    source: Array, real: Array, test: NDArray[np.bool_], target: int, *, seed: int = 0, epochs: int = 60
) -> Utility:
    """Train a two-layer LSTM on `source` to predict the next change of a feature at every step; test it on real ones.

    With made sequences as the source this is TSTR (train on synthetic, test on real); with the real ones themselves
    it is what TSTR is to be held against. Predicting no change at all has an MAE of mean |change|.

    Args:
        source, real: (N, T, F) as in `discriminative_score`, T >= 2.
        test: (N,) the real sequences tested on; the others of `source` train.
        target: the feature.

    Raises:
        DataError: as `discriminative_score`.
    """
    a, b = _checked(source, real, test)
    if a.shape[1] < 2:
        raise DataError("sequences of one step have no next one to predict. Use a horizon of 2 or more.")

    def steps(x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, :-1], x[:, 1:, target] - x[:, :-1, target]

    def loss(said: Tensor, y: Tensor) -> Tensor:
        return (said - y).abs().mean()

    own, held, judged = _parts(test)
    net = fit_lstm((64, 2), steps(a[own]), steps(a[held]), loss, seed, epochs)
    with torch.no_grad():
        x, y = steps(b[judged])
        said = net(x)
    made, came = said.double().numpy().ravel(), y.double().numpy().ravel()
    return Utility(float(np.abs(made - came).mean()), rank_ic(made, came))


def fit_lstm(
    size: tuple[int, int],
    train: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    seed: int,
    epochs: int,
) -> nn.Module:
    """An LSTM of (width, layers) with the weights of the epoch that does best on `held`, (x, y) like `train`."""
    with torch.random.fork_rng(devices=[]):  # initial weights come from torch's own generator
        torch.manual_seed(seed)
        net = _Lstm(train[0].shape[-1], *size)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    best, kept, since = float("inf"), deepcopy(net.state_dict()), 0
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(train[0]), generator=generator).split(BATCH):
            optimiser.zero_grad()
            loss(net(train[0][rows]), train[1][rows]).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            score = float(loss(net(held[0]), held[1]))
        since += 1
        if score < best:
            best, kept, since = score, deepcopy(net.state_dict()), 0
        if since >= PATIENCE:
            break
    net.load_state_dict(kept)
    return net.eval()


def _parts(test: NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor]:
    """The rows that train, the last fifth of them, which is held out to stop by, and those that judge."""
    train = np.flatnonzero(~test)
    cut = len(train) - max(1, len(train) // 5)
    return torch.from_numpy(train[:cut]), torch.from_numpy(train[cut:]), torch.from_numpy(np.flatnonzero(test))


def _checked(first: Array, second: Array, test: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    if first.shape != second.shape or first.ndim != 3 or test.shape != (len(first),):
        raise DataError(f"sequences come in pairs (N, T, F), found {first.shape} and {second.shape}.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("sequences have values that are not finite numbers.")
    train = int((~test).sum())
    if train < LEAST or train == len(test):
        raise DataError(
            f"{train} sequences to train on and {len(test) - train} to test: {LEAST} and 1 are the least. Give a longer "
            "period, more symbols, or a smaller stride."
        )
    return torch.as_tensor(first, dtype=torch.float32), torch.as_tensor(second, dtype=torch.float32)
