"""A model's calibration.json: blend and bands fitted on past forecasts, with the settings they were fitted for.

`evaluation.calibrate` makes it.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.atomic import write_text
from chandler.data import CLOSE, LOW
from chandler.errors import ChandlerError, CheckpointError, ConfigError
from chandler.forecasting.calibration.blend import MEMBERS, Blend
from chandler.forecasting.engine import Sampling
from chandler.forecasting.repair import PRICE_FLOOR
from chandler.measures import ConformalBands

Array = NDArray[np.float64]
NAME = "calibration.json"


SPOKEN = {"filtered": "filtered bootstrap"}
NOTHING = 0.005
"""Weights below this are none."""
STALE = 0.25
"""Of the period of a fit: with bars that much later it is old. Fitted again so often or oftener, more bands held (docs/log.md)."""


@dataclass(frozen=True)
class OutOfFold:
    """CRPS of the blend against the better of its naive members, on origins that took no part in choosing its weights."""

    naive: str
    model: float
    """The model's own, over the naive one's, minus 1."""
    blend: float
    """The blend's, over the naive one's, minus 1; below 0 is better."""
    low: float
    high: float
    """Its 95% interval."""
    verdict: str
    """better, worse, no difference shown, or too few origins."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Blend and conformal bands of one model, and how its paths were sampled: other paths need other ones."""

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
    origins: int = 0
    """Different moments among the windows: symbols of one moment are not independent. 0: not on record."""
    blend: Blend | None = None
    """None: bands alone, as calibrations were before blends."""
    judged: OutOfFold | None = None
    interval: str = ""
    """Of most of the bars that it was fitted on, as `spacing` says it; "": not on record."""

    def apply(self, bars: Array, history: Array, seed: int) -> Array:
        """Forecast bars (P, H, 6) after a history (T, 6): blended, then moved so that bands of the close cover what they say.

        Prices below 1% of the lowest low of the history count as that: log prices must exist.

        Args:
            seed: of the naive paths.

        Raises:
            ConfigError: more steps than it was fitted for.
            DataError: fewer than 2 paths.
        """
        lifted = bars.copy()
        prices = lifted[..., : CLOSE + 1]
        np.maximum(prices, PRICE_FLOOR * float(history[:, LOW].min()), out=prices)
        # A history of zeros and below has no log returns to draw from; forecasts of such bars are left to the model.
        if self.blend is not None and len(history) > 1 and history[:, : CLOSE + 1].min() > 0:
            self.bands.require(bars.shape[1])
            lifted = self.blend.apply(lifted, history, seed)
        return recalibrate_bars(self.bands, lifted)

    def says(self) -> str:
        """What a calibrated forecast is made of, and what that was worth where it was fitted; for a reader."""
        of = f"{self.origins:,} origins" if self.origins else f"{self.windows:,} forecasts"
        fitted = f"fitted on {of} of {self.first[:10]} to {self.last[:10]}"
        if self.blend is None:
            return f"Calibrated: bands, {fitted}."
        first, rest = self.blend.weights[0], self.blend.by_step(self.blend.steps).mean(axis=0)
        if self.blend.weights[:, 0].max() < NOTHING:
            made = f"the model has no weight in it, this forecast is naive: {_shares(rest)}"
        else:
            begin = "" if np.allclose(first, rest, atol=0.05) else f" (first bar: {_shares(first)})"
            made = f"{_shares(rest)}{begin}; {self.blend.keep:.0%} of the model's drift, {self.blend.scale:.0%} of its width"
        return f"Calibrated: {made}; {fitted}.{'' if self.judged is None else ' ' + _worth(self.judged)}"

    def told(self, last: int, interval: str) -> str:
        """`says`, and what speaks against it for bars of this interval up to `last`: `outdated` and `misplaced`."""
        return " ".join(filter(None, (self.says(), self.outdated(last), self.misplaced(interval))))

    def outdated(self, last: int) -> str:
        """A sentence where bars reach so far beyond those of the fit that it should be made again, else nothing.

        Args:
            last: the last bar of a history, ns as stores keep it.
        """
        first, end, now = pd.Timestamp(self.first), pd.Timestamp(self.last), pd.Timestamp(last)
        if now - end <= STALE * (end - first):
            return ""
        return (
            f"Its bars end {self.last[:10]}, well before these ({str(now)[:10]}), and bands are those of that market: calibrate "
            "again as bars come (chandler calibrate MODEL --data BARS --out FOLDER)."
        )

    def misplaced(self, interval: str) -> str:
        """A sentence where bars are of another interval (`spacing`) than those of the fit, else nothing."""
        if not self.interval or not interval or interval == self.interval:
            return ""
        return (
            f"It was fitted on bars of {self.interval} and these are of {interval}, for which neither its blend nor its bands were "
            "tried: calibrate on such bars (chandler calibrate MODEL --data BARS --out FOLDER)."
        )

    def bands_text(self) -> str:
        """How far the bands move, in a sentence."""
        place = self.bands.levels.index(0.9) if 0.9 in self.bands.levels else len(self.bands.levels) - 1
        low, high = (float(side[place].mean()) for side in (self.bands.low, self.bands.high))
        words = " and ".join(
            f"{side} {'down' if (value > 0) == (side == 'lower') else 'up'} by {abs(value):.0%}"
            for side, value in (("lower", low), ("upper", high))
        )
        return f"The edges of the {self.bands.levels[place]:.0%} band move, {words} of its width (mean over the steps)."

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
            "origins": self.origins,
            "blend": None if self.blend is None else self.blend.to_dict(),
            "judged": None if self.judged is None else asdict(self.judged),
            "interval": self.interval,
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
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, ChandlerError) as error:
            raise CheckpointError(
                f"{path}: cannot be used ({error}). Make it again: chandler calibrate RUN."
            ) from error

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Calibration:
        """What `to_dict` wrote, also that of versions before. ValueError and its like where it is something else."""
        return cls(
            ConformalBands.from_json(json.dumps(raw["bands"])),
            Sampling(**raw["sampling"]),
            lookback=int(raw["lookback"]),
            paths=int(raw["paths"]),
            windows=int(raw["windows"]),
            first=str(raw["first"]),
            last=str(raw["last"]),
            anchor=bool(raw.get("anchor", False)),  # those of before were not
            origins=int(raw.get("origins", 0)),
            blend=None if raw.get("blend") is None else Blend.from_dict(raw["blend"]),
            judged=None if raw.get("judged") is None else OutOfFold(**raw["judged"]),
            interval=str(raw.get("interval", "")),
        )


def _shares(weights: Array) -> str:
    """model 0.52, filtered bootstrap 0.48"""
    named = zip(MEMBERS, weights, strict=True)
    return ", ".join(f"{SPOKEN.get(name, name)} {weight:.2f}" for name, weight in named if weight >= NOTHING)


def _worth(one: OutOfFold) -> str:
    naive = SPOKEN.get(one.naive, one.naive)
    span = f" ({one.low:+.1%} to {one.high:+.1%})" if np.isfinite(one.low) else ""
    return (
        f"On origins that did not choose its weights its CRPS was {one.blend:+.1%}{span} against the {naive}'s, {one.verdict}; "
        f"the model's alone {one.model:+.1%}."
    )


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
        way = "on bars with `chandler calibrate MODEL --data BARS --out FOLDER`"
        if (Path(name).expanduser() / "config.yaml").is_file():
            way = f"on its validation period with `chandler calibrate {shlex.quote(name)}`"
        raise ConfigError(f"{name or 'this model'} has no {NAME}: fit one {way}, or forecast without calibration.")
    return found
