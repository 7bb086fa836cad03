"""A run's calibration.json: bands fitted in validation, with the settings they were fitted for, applied to forecasts.

`evaluation.calibrate` makes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.atomic import write_text
from chandler.data import CLOSE, LOW
from chandler.errors import ChandlerError, CheckpointError, ConfigError
from chandler.forecasting.engine import Sampling
from chandler.forecasting.repair import PRICE_FLOOR
from chandler.measures import ConformalBands

Array = NDArray[np.float64]
NAME = "calibration.json"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Conformal bands of one model, and how its paths were sampled: other paths need other bands."""

    bands: ConformalBands
    sampling: Sampling
    lookback: int
    """Rows of history that the forecasts saw."""
    paths: int
    """Of each forecast."""
    windows: int
    """Forecasts that it was fitted on, of all symbols together."""
    first: str
    last: str
    """The period of the bars that it was fitted on."""
    anchor: bool = False
    """Whether the paths were anchored."""

    def apply(self, bars: Array, history: Array) -> Array:
        """Forecast bars (P, H, 6) after a history (T, 6), moved so that bands of the close cover what they say.

        Prices below 1% of the lowest low of the history count as that: log prices must exist.

        Raises:
            ConfigError: more steps than it was fitted for.
        """
        lifted = bars.copy()
        prices = lifted[..., : CLOSE + 1]
        np.maximum(prices, PRICE_FLOOR * float(history[:, LOW].min()), out=prices)
        return recalibrate_bars(self.bands, lifted)

    def agree(self, name: str, sampling: Sampling, lookback: int | None) -> tuple[Sampling, int]:
        """The sampling and lookback that a calibrated forecast takes: those of the calibration.

        Args:
            name: of the model, for messages.
            sampling, lookback: what a call asked for; defaults give way.

        Raises:
            ConfigError: settings that it was not fitted with.
        """
        if sampling not in (self.sampling, Sampling()):
            s = self.sampling
            raise ConfigError(
                f"the calibration of {name} was fitted with temperature {s.temperature:g}, top_p {s.top_p} and top_k "
                f"{s.top_k}: other paths need another one. Leave these settings out, or calibrate again."
            )
        if lookback not in (None, self.lookback):
            raise ConfigError(
                f"the calibration of {name} was fitted with a lookback of {self.lookback} bars, not {lookback}. Leave "
                "lookback out, or calibrate again."
            )
        return self.sampling, self.lookback

    def save(self, folder: str | Path) -> Path:
        """Write calibration.json into a run folder, whole or not at all."""
        path = Path(folder) / NAME
        write_text(path, json.dumps(self.to_dict(), indent=1))
        return path

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        s = self.sampling
        return {
            "sampling": {"temperature": s.temperature, "top_p": s.top_p, "top_k": s.top_k},
            "lookback": self.lookback,
            "paths": self.paths,
            "windows": self.windows,
            "first": self.first,
            "last": self.last,
            "anchor": self.anchor,
            "bands": json.loads(self.bands.to_json()),
        }

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
            return cls(
                ConformalBands.from_json(json.dumps(raw["bands"])),
                Sampling(**raw["sampling"]),
                lookback=int(raw["lookback"]),
                paths=int(raw["paths"]),
                windows=int(raw["windows"]),
                first=str(raw["first"]),
                last=str(raw["last"]),
                anchor=bool(raw.get("anchor", False)),  # those of before were not
            )
        except (OSError, ValueError, KeyError, TypeError, ChandlerError) as error:
            raise CheckpointError(
                f"{path}: cannot be used ({error}). Make it again: chandler calibrate RUN."
            ) from error


def recalibrate_bars(bands: ConformalBands, bars: Array) -> Array:
    """`ConformalBands.recalibrate` for whole bars (P, H, 6) of a forecast: each candle is moved with its close.

    Open, high, low and close of a bar are multiplied by one number, so candles keep their shape; volume and amount
    stay. Errors as `recalibrate`, of the closes.
    """
    values = np.array(bars, np.float64)
    closes = values[..., CLOSE]
    values[..., : CLOSE + 1] *= (bands.recalibrate(closes) / closes)[..., None]
    return values


def required(found: Calibration | None, name: str) -> Calibration:
    """The calibration; ConfigError that says how to make one where there is none."""
    if found is None:
        raise ConfigError(
            f"{name or 'this model'} has no {NAME}: fit one on its validation period with `chandler calibrate RUN`, or "
            "forecast without calibration."
        )
    return found
