"""Who takes part in an evaluation: models with their calibrated twins, and baselines, behind one interface.

All see the rows of the windows, and no others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chandler.checkpoint import weights_hash
from chandler.data import CLOSE, FEATURES, VOLUME
from chandler.errors import DataError
from chandler.evaluation.baselines import BASELINES, TRAINED, close_windows, garch, volume_by_time_of_day
from chandler.evaluation.walk_forward.origins import Ints, Origins, ranges_between
from chandler.evaluation.walk_forward.scores import ForecastSummary
from chandler.evaluation.walk_forward.settings import VOLUME_BASELINE, EvaluationSettings
from chandler.forecasting import Calibration, Forecast, Forecaster, ForecastSettings, model_parts
from chandler.forecasting.engine import Sampling

CALIBRATED = " (calibrated)"
"""Ends the name of a model's calibrated twin."""


@dataclass(frozen=True)
class Calibrations:
    """Of one model, each for the windows from a moment on, until the next one."""

    since: tuple[int, ...]
    """ns, ascending; windows before the first have the first as well."""
    each: tuple[Calibration, ...]

    def at(self, origin: int) -> Calibration:
        """The one for a window whose last bar seen is of that moment, ns."""
        return self.each[max(0, bisect_right(self.since, origin) - 1)]

    def to_list(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [{"since": when, "calibration": one.to_dict()} for when, one in zip(self.since, self.each, strict=True)]

    @classmethod
    def from_list(cls, raw: Sequence[Mapping[str, Any]]) -> Calibrations:
        """What `to_list` wrote. ValueError and its like where it is something else."""
        return cls(
            tuple(int(one["since"]) for one in raw), tuple(Calibration.from_dict(one["calibration"]) for one in raw)
        )


class EvaluatedForecaster(Protocol):
    """One entry of the list of models or baselines."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What makes its forecasts what they are, for the record and to notice changes: JSON values."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of its scores should know."""

    def samples(self, origins: Origins, windows: Ints) -> dict[str, list[ForecastSummary]]:
        """By name (a model may come with a twin), a sample for each of the windows."""


def open_model(source: str, device: str) -> Forecaster:
    """The forecaster of a run folder, a released predictor, or TOKENIZER+PREDICTOR. CheckpointError as it says."""
    parts = model_parts(source)
    return Forecaster.from_pretrained(parts if len(parts) == 2 else source, device=device)


def forecast_windows(
    forecaster: Forecaster, how: ForecastSettings, origins: Origins, windows: Ints, seed: int
) -> list[Forecast]:
    """A forecast of each window, by random numbers of its own, told the times of the bars to come."""
    pairs = [origins.bars(window) for window in windows]
    return forecaster.forecast_with(
        how,
        [history for history, _ in pairs],
        origins.horizon,
        seed=origins.seeds(seed, windows),
        timestamps=[truth.timestamps for _, truth in pairs],
        progress=False,
    )


class ModelForecaster:
    """A model, and its calibrated twin where there is a calibration that fits the settings."""

    def __init__(self, name: str, source: str, settings: EvaluationSettings) -> None:
        self.name, self.source, self.settings = name, source, settings
        self.forecaster = open_model(source, settings.device)
        sampling = Sampling(settings.temperature, settings.top_k, settings.top_p)
        s = settings
        self.how = ForecastSettings(s.paths, sampling, s.lookback, s.overflow, s.precision, anchor=s.anchor)
        self.notes: list[str] = []
        self.visible = min(settings.lookback, self.forecaster.max_context)
        if self.visible < settings.lookback:
            self.notes.append(
                f"{name} sees the last {self.visible} of the {settings.lookback} bars of history: its context is smaller."
            )
        stored = None if settings.calibration == "off" else self._usable(self.forecaster.calibration)
        self.calibrations = None if stored is None else Calibrations((0,), (stored,))

    def _usable(self, found: Calibration | None) -> Calibration | None:
        if found is None:
            return None
        # A model sees no more than its context, in calibration as here.
        visible = min(found.lookback, self.forecaster.max_context)
        agrees = {
            f"{found.sampling}": found.sampling == self.how.sampling,
            "paths that begin at the last close" if found.anchor else "paths that are not anchored": found.anchor
            == self.how.anchor,
            f"a lookback of {found.lookback}": visible == self.visible,
            f"a horizon of {found.bands.steps}": found.bands.steps >= self.settings.horizon,
        }
        differs = [what for what, same in agrees.items() if not same]
        if differs:
            self.notes.append(
                f"The calibration of {self.name} was not used: it was fitted with {' and '.join(differs)}, which differs here."
            )
        return None if differs else found

    @cached_property
    def weights(self) -> str:
        """A digest of its weights."""
        return weights_hash(self.forecaster.tokenizer, self.forecaster.predictor)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        made = self.forecaster
        return {
            "source": self.source,
            "weights": self.weights,
            "max_context": made.max_context,
            "positions": made.positions,
            "parameters": sum(p.numel() for m in (made.tokenizer, made.predictor) for p in m.parameters()),
            "visible": self.visible,
            "calibrations": [] if self.calibrations is None else self.calibrations.to_list(),
        }

    def samples(self, origins: Origins, windows: Ints) -> dict[str, list[ForecastSummary]]:
        forecasts = forecast_windows(self.forecaster, self.how, origins, windows, self.settings.seed)
        found = {self.name: [ForecastSummary.of_paths(one.paths, len(one.history)) for one in forecasts]}
        if self.calibrations is not None:
            seen = np.asarray(origins.store.timestamps)[origins.rows[windows]].tolist()
            found[self.name + CALIBRATED] = [
                ForecastSummary.of_paths(
                    self.calibrations.at(when).apply(one.paths, one.history.values, one.seed), len(one.history)
                )
                for when, one in zip(seen, forecasts, strict=True)
            ]
        return found


class BaselineForecaster:
    """A baseline of the close, fitted where it must be: on windows that end before the first bar that is forecast."""

    def __init__(self, name: str, settings: EvaluationSettings, origins: Origins) -> None:
        """DataError: too few rows before the evaluation to fit on."""
        self.name, self.settings = name, settings
        self.facts: dict[str, Any] = {"kind": "baseline"}
        self.said: dict[str, int] = {}
        if name in TRAINED:
            self.draw = self._fitted(origins)
        else:
            self.draw = partial(garch, note=self._note) if name == "garch" else BASELINES[name]

    @property
    def notes(self) -> list[str]:
        """What it had to do more simply, and how often."""
        return [f"{self.name}: {text} ({count:,} windows)." for text, count in self.said.items()]

    def samples(self, origins: Origins, windows: Ints) -> dict[str, list[ForecastSummary]]:
        s, found = self.settings, []
        for window, seed in zip(windows, origins.seeds(s.seed, windows), strict=True):
            closes = origins.bars(window)[0].values[:, CLOSE]
            found.append(ForecastSummary.of_closes(self.draw(closes, s.horizon, s.paths, seed=seed), len(closes)))
        return {self.name: found}

    def _note(self, text: str) -> None:
        self.said[text.rstrip(".")] = self.said.get(text.rstrip("."), 0) + 1

    def _fitted(self, origins: Origins) -> Callable[..., NDArray[np.float64]]:
        store, first, s = origins.store, int(origins.targets().min()), self.settings
        closes = close_windows(store, ranges_between(store, None, first), s.lookback, s.horizon, seed=s.seed)
        try:
            fitted = TRAINED[self.name].fit(closes, s.horizon, seed=s.seed)
        except DataError as error:
            raise DataError(
                f"it is trained on the bars before the first that is forecast, and there are too few ({str(error).split(';')[0]}). "
                "Set start later to have it."
            ) from None
        self.facts |= {"fitted_on": len(closes), "before": str(np.datetime64(first, "ns"))}
        return fitted.sample


class UsualVolume:
    """The volume as it usually is at that time of day; says nothing of prices."""

    facts: Mapping[str, Any] = {"kind": "baseline"}
    notes: tuple[str, ...] = ()

    def samples(self, origins: Origins, windows: Ints) -> dict[str, list[ForecastSummary]]:
        found = []
        for window in windows:
            history, truth = origins.bars(window)
            mean = np.full((origins.horizon, len(FEATURES)), np.nan)
            mean[:, VOLUME] = volume_by_time_of_day(history.values[:, VOLUME], history.timestamps, truth.timestamps)
            found.append(ForecastSummary(None, mean, len(history)))
        return {VOLUME_BASELINE: found}


def make_baseline(name: str, settings: EvaluationSettings, origins: Origins) -> EvaluatedForecaster:
    """The baseline of a name. DataError: too few rows before the evaluation to fit it on."""
    return UsualVolume() if name == VOLUME_BASELINE else BaselineForecaster(name, settings, origins)
