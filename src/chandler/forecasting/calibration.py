"""Bands that cover what they say: how far a run's bands fell short in validation, per step, and paths stretched by it.

Applying only; `evaluation.calibrate` fits it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.errors import CheckpointError, ConfigError
from chandler.forecasting.measures import CLOSE, LOW, PRICE_FLOOR
from chandler.forecasting.sampling import Sampling

Array = NDArray[np.float64]
NAME = "calibration.json"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """Factors by which the bands of one model's closes are stretched about their median, in log-return space."""

    levels: tuple[float, ...]
    """(K,) central shares, increasing, in (0, 1)."""
    factors: Array
    """(K, H): above 1 where bands were too narrow."""
    temperature: float
    top_p: float
    top_k: int
    """How the paths were sampled that it was fitted on: other paths need other factors."""
    lookback: int
    windows: int
    """Forecasts that it was fitted on, of all symbols together."""
    first: str
    last: str
    """The period of the bars that it was fitted on."""

    @property
    def horizon(self) -> int:
        """Bars ahead that it knows."""
        return int(self.factors.shape[1])

    def sampling(self) -> Sampling:
        """How paths must be sampled for it."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k)

    def edges(self, low: Array, median: Array, high: Array) -> tuple[Array, Array]:
        """Bands (K, H) in log returns, lower and upper edges for the rising levels, stretched.

        A wider level never ends inside a narrower one.
        """
        up = np.maximum.accumulate(self.factors[:, : high.shape[1]] * (high - median), axis=0)
        down = np.maximum.accumulate(self.factors[:, : low.shape[1]] * (median - low), axis=0)
        return median - down, median + up

    def stretch(self, paths: Array, last: float, lowest: float) -> Array:
        """Bars (P, H, 6) whose closes have the calibrated bands as their quantiles.

        Each step's closes move by a rising function of the log return, so the order of the paths stays, and with it
        how steps depend on each other; open, high and low move by the ratio of their close. Volume and amount stay.

        Args:
            last: the last known close.
            lowest: the lowest low of the history: closes below 1% of it count as that, for they need a logarithm.
        """
        steps = paths.shape[1]
        assert steps <= self.horizon
        closes = np.maximum(paths[:, :, CLOSE], PRICE_FLOOR * lowest)
        logs = np.log(closes / last)
        half = np.asarray(self.levels) / 2
        low, high = np.quantile(logs, 0.5 - half, axis=0), np.quantile(logs, 0.5 + half, axis=0)
        median = np.median(logs, axis=0)
        to_low, to_high = self.edges(low, median, high)
        moved = np.empty_like(logs)
        for step in range(steps):
            raw = np.concatenate([low[::-1, step], median[step : step + 1], high[:, step]])
            new = np.concatenate([to_low[::-1, step], median[step : step + 1], to_high[:, step]])
            moved[:, step] = _piecewise(logs[:, step], raw, new)
        stretched = paths.copy()
        stretched[:, :, : CLOSE + 1] *= np.exp(moved - logs)[:, :, None]
        stretched[:, :, CLOSE] = last * np.exp(moved)
        return stretched

    def save(self, folder: str | Path) -> Path:
        """Write calibration.json into a run folder."""
        path = Path(folder) / NAME
        scratch = path.with_name(f".{NAME}.tmp")
        scratch.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        scratch.replace(path)
        return path

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"version": VERSION, **asdict(self), "factors": np.round(self.factors, 6).tolist()}

    @classmethod
    def load(cls, folder: str | Path) -> Calibration | None:
        """The calibration of a run folder; None if it has none.

        Raises:
            CheckpointError: a file that cannot be read.
        """
        path = Path(folder).expanduser() / NAME
        if not path.is_file():
            return None
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw.pop("version") != VERSION or set(raw) != {field.name for field in fields(cls)}:
                raise ValueError("it was written by another version")
            found = cls(**{**raw, "levels": tuple(raw["levels"]), "factors": np.asarray(raw["factors"], np.float64)})
            if found.factors.shape != (len(found.levels), found.horizon) or not np.isfinite(found.factors).all():
                raise ValueError("its factors do not fit its levels")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(
                f"{path}: cannot be used ({error}). Make it again: chandler calibrate RUN."
            ) from error
        return found


def stretch_bars(calibration: Calibration, paths: Array, history: Array) -> Array:
    """`Calibration.stretch` of bars (P, H, 6) after a history (T, 6)."""
    return calibration.stretch(paths, float(history[-1, CLOSE]), float(history[:, LOW].min()))


def agree(
    found: Calibration | None, name: str, sampling: Sampling, lookback: int | None, horizon: int
) -> tuple[Sampling, int]:
    """The sampling and lookback that a calibrated forecast takes: those of the calibration.

    Args:
        name: of the model, for messages.
        sampling, lookback: what a call asked for; defaults give way.

    Raises:
        ConfigError: no calibration, too long a horizon, or settings that it was not fitted with.
    """
    if found is None:
        raise ConfigError(
            f"{name or 'this model'} has no {NAME}: fit one on its validation period with `chandler calibrate RUN`, or "
            "forecast without calibration."
        )
    if horizon > found.horizon:
        raise ConfigError(
            f"the calibration of {name} reaches {found.horizon} bars ahead, not {horizon}. Lower the horizon, or calibrate "
            f"again with --horizon {horizon}."
        )
    if sampling not in (found.sampling(), Sampling()):
        raise ConfigError(
            f"the calibration of {name} was fitted with temperature {found.temperature:g}, top_p {found.top_p:g} and top_k "
            f"{found.top_k}: other paths need another one. Leave these settings out, or calibrate again."
        )
    if lookback not in (None, found.lookback):
        raise ConfigError(
            f"the calibration of {name} was fitted with a lookback of {found.lookback} bars, not {lookback}. Leave lookback "
            "out, or calibrate again."
        )
    return found.sampling(), found.lookback


def _piecewise(values: Array, raw: Array, new: Array) -> Array:
    """Through the points (raw, new), increasing; beyond the outermost ones as the band stretches there."""
    middle = len(raw) // 2
    centre = raw[middle]
    mapped = np.interp(values, raw, new)
    for end, beyond in ((0, values < raw[0]), (-1, values > raw[-1])):
        width = raw[end] - centre
        slope = (new[end] - centre) / width if width else 1.0
        mapped[beyond] = centre + slope * (values[beyond] - centre)
    return mapped
