"""DLinear on normalised closes: a small trained model, to show what any learning at all is worth.

Two linear maps from lookback to horizon, of a moving average and of what is left beside it; residuals of windows held
out make the one forecast a distribution.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn

from chandler.atomic import atomic_file
from chandler.errors import CheckpointError, ConfigError, DataError

Array = NDArray[np.float64]
KERNEL = 25
"""Bars of the moving average, as in the paper; of a shorter lookback the largest odd number."""
CLIP = 5.0
"""In training, moves beyond so many standard deviations count as this: one split that was not adjusted is no lesson."""
POOL = 10_000
"""Residual paths that are kept."""


class _Maps(nn.Module):
    """(B, 2, L) -> (B, H): trend and remainder of `_inputs`, each through its own linear map."""

    def __init__(self, lookback: int, horizon: int):
        super().__init__()
        # skip_init: the usual initialisation would draw from the global generator.
        self.trend, self.rest = (nn.utils.skip_init(nn.Linear, lookback, horizon) for _ in range(2))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)  # training starts from the last close, and may end there

    def forward(self, parts: torch.Tensor) -> torch.Tensor:
        return self.trend(parts[:, 0]) + self.rest(parts[:, 1])


@dataclass(frozen=True, eq=False)
class DLinear:
    """Forecasts from the last `lookback` closes. Without `fit` or `load` it can do nothing.

    Source: Zeng, Chen, Zhang & Xu (2023), "Are transformers effective for time series forecasting?", AAAI. Ours: closes
    enter as ln(close / last close) in units of the root mean squared log return of the lookback, so that all symbols
    and regimes share one scale; each step ahead is divided by its root; training begins at the last close and keeps
    the epoch that was best on windows held out, the untrained one included.
    """

    maps: _Maps | None = None
    residuals: Array | None = None
    """(M, horizon): truth minus forecast on the windows held out, in normalised units, of mean 0 at each step."""
    history: tuple[float, ...] = ()
    """Loss on the windows held out before training and after each epoch."""
    name: ClassVar[str] = "dlinear"
    needs_fit: ClassVar[bool] = True

    @property
    def lookback(self) -> int:
        """Closes that it looks at."""
        return self._fitted()[0].trend.in_features

    @property
    def horizon(self) -> int:
        """Steps that it can forecast."""
        return self._fitted()[0].trend.out_features

    @classmethod
    def fit(
        cls,
        windows: ArrayLike,
        horizon: int,
        *,
        seed: int = 0,
        validation: ArrayLike | None = None,
        epochs: int = 40,
        patience: int = 5,
        rate: float = 1e-3,
        batch: int = 256,
    ) -> DLinear:
        """Train on windows of closes; seconds on a CPU for some ten thousand.

        Args:
            windows: (N, L + horizon) closes, positive, in order of time (`close_windows` gives them).
            horizon: how many of the last columns are to be forecast.
            seed: of the order of the batches.
            validation: (M, L + horizon) held out, to stop by and to draw residuals from; None holds out the last fifth.
            epochs, patience: at most so many, and so many without improvement.
            rate, batch: of Adam.

        Raises:
            DataError: windows of another shape, fewer than 10 to train on or to hold out, or closes that are not
                finite and positive.
        """
        every = _checked(windows, horizon)
        if validation is None:
            split = len(every) - len(every) // 5
            train, held = every[:split], every[split:]
        else:
            train, held = every, _checked(validation, horizon)
            if held.shape[1] != train.shape[1]:
                raise DataError(f"windows have {train.shape[1]} closes, those of validation {held.shape[1]}.")
        parts = [_normalised(part, horizon) for part in (train, held)]
        if min(len(x) for x, _ in parts) < 10:
            raise DataError(
                f"DLinear needs 10 windows to train on and 10 to hold out, in which the close moves; found "
                f"{len(parts[0][0])} and {len(parts[1][0])}. Give more rows, or lower lookback and horizon."
            )
        (x, y), (held_x, held_y) = [(_inputs(x), _targets(y)) for x, y in parts]
        maps = _Maps(x.shape[-1], horizon)
        best, losses = _train(maps, x, y, held_x, held_y, seed, epochs, patience, rate, batch)
        maps.load_state_dict(best)
        residuals = parts[1][1] - _forecast(maps, held_x)
        chosen = np.random.default_rng(seed).permutation(len(residuals))[:POOL]
        return cls(maps.eval(), residuals[chosen] - residuals[chosen].mean(axis=0), tuple(losses))

    def point(self, history: ArrayLike, horizon: int) -> Array:
        """The forecast without its residuals: (horizon,), in price units; errors as `sample`."""
        last, scale, centre = self._centre(history, horizon)
        return np.asarray(last * np.exp(scale * centre), np.float64)

    def sample(self, history: ArrayLike, horizon: int, paths: int, *, seed: int, note: Any = None) -> Array:
        """Paths (paths, horizon) in price units: the forecast plus whole residual paths drawn from those held out.

        They are scaled by the volatility of this history's lookback, as the forecast is.

        Args:
            history: closes (T,), T >= lookback, positive, the newest last.
            horizon: 1 to that of the fit.
            paths: >= 1. seed: of this call's own generator.
            note: not used.

        Raises:
            ConfigError: not fitted, or a longer horizon.
            DataError: a history too short, or closes that are not finite and positive.
        """
        last, scale, centre = self._centre(history, horizon)
        residuals = self._fitted()[1]
        drawn = residuals[np.random.default_rng(seed).integers(len(residuals), size=paths), :horizon]
        return np.asarray(last * np.exp(scale * (centre + drawn)), np.float64)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, whole or not at all."""
        maps, residuals = self._fitted()
        arrays = {name: t.numpy() for name, t in maps.state_dict().items()}
        data = save({**arrays, "residuals": residuals.astype(np.float32)}, {"dlinear": json.dumps(self.history)})
        path = Path(path)
        with atomic_file(path) as scratch:
            scratch.write_bytes(data)
        return path

    @classmethod
    def load(cls, path: str | Path) -> DLinear:
        """What `save` wrote. CheckpointError where it is missing, damaged or something else."""
        try:
            with safe_open(path, framework="pt") as file:
                history = tuple(json.loads((file.metadata() or {})["dlinear"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            residuals = tensors.pop("residuals").numpy().astype(np.float64)
            maps = _Maps(tensors["trend.weight"].shape[1], tensors["trend.weight"].shape[0])
            maps.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: cannot be read as a fitted DLinear ({error}). Fit it again.") from error
        return cls(maps.eval(), residuals, history)

    def _fitted(self) -> tuple[_Maps, Array]:
        if self.maps is None or self.residuals is None:
            raise ConfigError("the baseline dlinear must be fitted first: DLinear.fit(windows, horizon, seed=0).")
        return self.maps, self.residuals

    def _centre(self, history: ArrayLike, horizon: int) -> tuple[float, float, Array]:
        """Last close, scale, and the forecast (horizon,) in normalised units."""
        maps, _ = self._fitted()
        if not 1 <= horizon <= self.horizon:
            raise ConfigError(f"dlinear was fitted for horizons up to {self.horizon}, found {horizon}. Fit it again.")
        closes = np.asarray(history, np.float64)
        if closes.ndim != 1 or len(closes) < self.lookback:
            raise DataError(f"dlinear needs the last {self.lookback} closes (T,), found shape {closes.shape}.")
        closes = _positive(closes[-self.lookback :])
        logs, scale = _logs(closes[None], self.lookback)
        if not scale[0] > 0:  # it never moved: nothing to scale by
            return float(closes[-1]), 0.0, np.zeros(horizon)
        centre = _forecast(maps, _inputs(logs / scale[:, None]))[0, :horizon]
        return float(closes[-1]), float(scale[0]), centre


def _checked(windows: ArrayLike, horizon: int) -> Array:
    closes = np.asarray(windows, np.float64)
    if closes.ndim != 2 or not 1 <= horizon <= closes.shape[1] - 2:
        raise DataError(
            f"DLinear is fitted on windows (N, lookback + horizon) with lookback >= 2 and horizon >= 1; found shape "
            f"{closes.shape} and horizon {horizon}."
        )
    return _positive(closes)


def _positive(closes: Array) -> Array:
    bad = ~(np.isfinite(closes) & (closes > 0))
    if bad.any():
        raise DataError(f"{int(bad.sum())} closes are not finite and above 0. Drop or repair them.")
    return closes


def _logs(closes: Array, lookback: int) -> tuple[Array, Array]:
    """ln(close / last close of the lookback) (N, T), and root mean squared log return of the lookback (N,)."""
    logs = np.log(closes)
    scale = np.sqrt(np.square(np.diff(logs[:, :lookback], axis=1)).mean(axis=1))
    return logs - logs[:, lookback - 1 : lookback], scale


def _normalised(closes: Array, horizon: int) -> tuple[Array, Array]:
    """Lookback (N, L) and horizon (N, H) in normalised units; windows whose lookback never moved are left out."""
    lookback = closes.shape[1] - horizon
    logs, scale = _logs(closes, lookback)
    moves = scale > 0
    logs = logs[moves] / scale[moves, None]
    return logs[:, :lookback], logs[:, lookback:]


def _roots(horizon: int) -> Array:
    """How much wider a random walk is after each step ahead."""
    return np.sqrt(np.arange(1, horizon + 1))


def _inputs(x: Array) -> torch.Tensor:
    """(N, L) -> (N, 2, L): the centred moving average, edges repeated, and what is left."""
    lookback = x.shape[1]
    kernel = min(KERNEL, lookback - (lookback + 1) % 2)
    # Over the root of the lookback: of order 1 whatever its length.
    scaled = torch.from_numpy(np.clip(x / np.sqrt(lookback), -CLIP, CLIP)).float()
    padded = nn.functional.pad(scaled[:, None], (kernel // 2, kernel // 2), mode="replicate")
    trend = nn.functional.avg_pool1d(padded, kernel, stride=1)
    return torch.cat([trend, scaled[:, None] - trend], dim=1)


def _targets(y: Array) -> torch.Tensor:
    return torch.from_numpy(np.clip(y / _roots(y.shape[1]), -CLIP, CLIP)).float()


@torch.no_grad()
def _forecast(maps: _Maps, x: torch.Tensor) -> Array:
    """(N, H) in normalised units."""
    out = maps(x).double().numpy()
    return np.asarray(out * _roots(out.shape[1]), np.float64)


def _train(
    maps: _Maps,
    x: torch.Tensor,
    y: torch.Tensor,
    held_x: torch.Tensor,
    held_y: torch.Tensor,
    seed: int,
    epochs: int,
    patience: int,
    rate: float,
    batch: int,
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The best weights on the windows held out, and their losses there."""
    loss, optimiser = nn.MSELoss(), torch.optim.Adam(maps.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def score() -> float:
        return float(loss(maps(held_x), held_y))

    losses = [score()]
    best, best_at = {name: t.clone() for name, t in maps.state_dict().items()}, 0
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimiser.zero_grad()
            loss(maps(x[rows]), y[rows]).backward()
            optimiser.step()
        losses.append(score())
        if losses[-1] < min(losses[:-1]):
            best, best_at = {name: t.clone() for name, t in maps.state_dict().items()}, epoch
        elif epoch - best_at >= patience:
            break
    return best, losses
