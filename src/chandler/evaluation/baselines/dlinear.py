"""DLinear on normalised closes: a small trained model, to show what any learning at all is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from chandler.data import CLOSE
from chandler.data.datasets import Windows
from chandler.data.store import BarStore, gather_windows
from chandler.errors import ConfigError, DataError

Array = NDArray[np.float64]
KERNEL = 25
"""Bars of the moving average, as in the paper; of a shorter lookback the largest odd number."""
CLIP = 5.0
"""In training, moves beyond so many standard deviations count as this: one split that was not adjusted is no lesson."""
POOL = 10_000
"""Residual paths that are kept."""
LEAST = 10
"""Windows to train on, and to hold out."""
EPOCHS, PATIENCE, RATE, BATCH = 40, 5, 1e-3, 256


def close_windows(
    store: BarStore, ranges: np.ndarray, lookback: int, horizon: int, *, limit: int = 20_000, seed: int = 0
) -> Array:
    """Closes of windows inside `ranges`, in order of the time of their first bar: what `DLinear.fit` takes.

    Args:
        ranges: (S, 2) rows, e.g. the training part of `data.splits`.
        lookback, horizon: bars.
        limit: of all windows, so many are drawn without replacement.
        seed: of the draw.

    Returns:
        (N, lookback + horizon) float64, in price units; N may be 0.
    """
    windows = Windows(store, ranges, lookback, horizon, extra=0)
    chosen = np.arange(len(windows))
    if len(chosen) > limit:
        chosen = np.random.default_rng(seed).choice(len(windows), limit, replace=False)
    starts = np.sort(windows.starts(chosen))
    starts = starts[np.argsort(np.asarray(store.timestamps[starts]), kind="stable")]
    rows = gather_windows(store.values, starts, lookback + horizon)
    store.release()
    return np.asarray(rows[..., CLOSE], np.float64)


@dataclass(frozen=True, eq=False)
class DLinear:
    """Two linear maps from lookback to horizon, of a moving average and of what is left beside it; residuals of windows
    held out make the one forecast a distribution.

    Source: Zeng, Chen, Zhang & Xu (2023), "Are transformers effective for time series forecasting?", AAAI. Ours: closes
    enter as ln(close / last close) in units of the root mean squared log return of the lookback, so that all symbols
    and regimes share one scale; each step ahead is divided by its root; training begins at the last close and keeps
    the epoch that was best on windows held out, the untrained one included.
    """

    weights: tuple[Tensor, ...]
    """(H, L) and (H,) of the trend, (H, L) and (H,) of the rest."""
    residuals: Array
    """(M, H): truth minus forecast on the windows held out, in normalised units, of mean 0 at each step."""

    @classmethod
    def fit(cls, windows: ArrayLike, horizon: int, *, seed: int = 0) -> DLinear:
        """Train on windows of closes, the last fifth held out; seconds on a CPU for some ten thousand.

        Args:
            windows: (N, L + horizon) closes, positive, in order of time (`close_windows` gives them).
            horizon: how many of the last columns are to be forecast.
            seed: of the order of the batches.

        Raises:
            DataError: windows of another shape, fewer than 10 to train on or to hold out, or closes that are not
                finite and positive.
        """
        closes = np.asarray(windows, np.float64)
        if closes.ndim != 2 or not 1 <= horizon <= closes.shape[1] - 2:
            raise DataError(
                f"DLinear is fitted on windows (N, lookback + horizon) with lookback >= 2 and horizon >= 1; found shape "
                f"{closes.shape} and horizon {horizon}."
            )
        _require_positive(closes)
        logs, scale = _logs(closes, closes.shape[1] - horizon)
        held_out = np.arange(len(closes)) >= len(closes) - len(closes) // 5
        moves = scale > 0  # windows whose lookback never moved are left out
        train, held = (logs[rows] / scale[rows, None] for rows in (moves & ~held_out, moves & held_out))
        if min(len(train), len(held)) < LEAST:
            raise DataError(
                f"DLinear needs {LEAST} windows to train on and {LEAST} to hold out, in which the close moves; found "
                f"{len(train)} and {len(held)}. Give more rows, or lower lookback and horizon."
            )
        (x, y), (held_x, held_y) = ((_inputs(z[:, :-horizon]), _targets(z[:, -horizon:])) for z in (train, held))
        weights = _train((x, y), (held_x, held_y), seed)
        residuals = held[:, -horizon:] - _forecast(weights, held_x)
        chosen = np.random.default_rng(seed).permutation(len(residuals))[:POOL]
        return cls(weights, residuals[chosen] - residuals[chosen].mean(axis=0))

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int) -> Array:
        """Paths (paths, horizon) in price units: the forecast plus whole residual paths drawn from those held out.

        They are scaled by the volatility of this history's lookback, as the forecast is; one that never moved stays.

        Args:
            history: closes (T,), T >= lookback, positive, the newest last.
            horizon: 1 to that of the fit.
            paths: >= 1. seed: of this call's own generator.

        Raises:
            ConfigError: a longer horizon.
            DataError: a history too short, or closes that are not finite and positive.
        """
        longest, lookback = self.weights[0].shape
        if not 1 <= horizon <= longest:
            raise ConfigError(f"dlinear was fitted for horizons up to {longest}, found {horizon}. Fit it again.")
        closes = np.asarray(history, np.float64)
        if closes.ndim != 1 or len(closes) < lookback:
            raise DataError(f"dlinear needs the last {lookback} closes (T,), found shape {closes.shape}.")
        closes = closes[-lookback:]
        _require_positive(closes)
        logs, (scale,) = _logs(closes[None], lookback)
        if not scale > 0:
            return np.full((paths, horizon), closes[-1])
        centre = _forecast(self.weights, _inputs(logs / scale))[0, :horizon]
        drawn = self.residuals[np.random.default_rng(seed).integers(len(self.residuals), size=paths), :horizon]
        return np.asarray(closes[-1] * np.exp(scale * (centre + drawn)), np.float64)


def _require_positive(closes: Array) -> None:
    bad = ~(np.isfinite(closes) & (closes > 0))
    if bad.any():
        raise DataError(f"{int(bad.sum())} closes are not finite and above 0. Drop or repair them.")


def _logs(closes: Array, lookback: int) -> tuple[Array, Array]:
    """ln(close / last close of the lookback) (N, T), and root mean squared log return of the lookback (N,)."""
    logs = np.log(closes)
    scale = np.sqrt(np.square(np.diff(logs[:, :lookback], axis=1)).mean(axis=1))
    return logs - logs[:, lookback - 1 : lookback], scale


def _roots(horizon: int) -> Array:
    """How much wider a random walk is after each step ahead."""
    return np.sqrt(np.arange(1, horizon + 1))


def _inputs(x: Array) -> Tensor:
    """(N, L) -> (N, 2, L): the centred moving average, edges repeated, and what is left."""
    lookback = x.shape[1]
    kernel = min(KERNEL, lookback - (lookback + 1) % 2)
    # Over the root of the lookback: of order 1 whatever its length.
    scaled = torch.from_numpy(np.clip(x / np.sqrt(lookback), -CLIP, CLIP)).float()
    padded = nn.functional.pad(scaled[:, None], (kernel // 2, kernel // 2), mode="replicate")
    trend = nn.functional.avg_pool1d(padded, kernel, stride=1)
    return torch.cat([trend, scaled[:, None] - trend], dim=1)


def _targets(y: Array) -> Tensor:
    return torch.from_numpy(np.clip(y / _roots(y.shape[1]), -CLIP, CLIP)).float()


def _map(weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """(N, 2, L) -> (N, H)."""
    return nn.functional.linear(x[:, 0], *weights[:2]) + nn.functional.linear(x[:, 1], *weights[2:])


def _forecast(weights: tuple[Tensor, ...], x: Tensor) -> Array:
    """(N, H) in normalised units."""
    out = _map(weights, x).double().numpy()
    return np.asarray(out * _roots(out.shape[1]), np.float64)


def _train(train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], seed: int) -> tuple[Tensor, ...]:
    """The weights that are best on the windows held out, by Adam from 0: the last close, where it may end."""
    (x, y), (held_x, held_y) = train, held
    shape = y.shape[1], x.shape[2]
    weights = tuple(torch.zeros(size, requires_grad=True) for size in 2 * (shape, shape[:1]))
    loss, optimiser = nn.functional.mse_loss, torch.optim.Adam(weights, lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    best, best_loss, since = weights, float("inf"), 0
    for epoch in range(EPOCHS + 1):
        if epoch:
            for rows in torch.randperm(len(x), generator=generator).split(BATCH):
                optimiser.zero_grad()
                loss(_map(weights, x[rows]), y[rows]).backward()
                optimiser.step()
        with torch.no_grad():
            found = float(loss(_map(weights, held_x), held_y))
        since += 1
        if found < best_loss:
            best, best_loss, since = tuple(one.detach().clone() for one in weights), found, 0
        if since >= PATIENCE:
            break
    return best
