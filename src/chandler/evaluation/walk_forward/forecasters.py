"""Who takes part in an evaluation: models with their calibrated twins, and baselines, behind one interface."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from chandler.evaluation.walk_forward.origins import Origins
from chandler.evaluation.walk_forward.scores import ForecastSummary
from chandler.evaluation.walk_forward.settings import EvaluationSettings
from chandler.forecasting.engine.sampling import Sampling
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.settings import ForecastSettings

CALIBRATED = " (calibrated)"
"""Ends the name of a model's calibrated twin."""


class EvaluatedForecaster(Protocol):
    """One entry of the list of models or baselines."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What makes its forecasts what they are, for the record and to notice changes: JSON values."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of its scores should know."""

    def samples(self, origins: Origins, windows: NDArray[np.int64]) -> dict[str, list[ForecastSummary]]:
        """By name (a model may come with a twin), a sample for each of the windows."""


def window_seed(seed: int, symbol: str, origin: int) -> int:
    """A seed for each window: the same for all contenders, whatever chunk the window is in."""
    return int(np.random.SeedSequence([seed, zlib.crc32(symbol.encode()), origin]).generate_state(1)[0])


def seeds(settings: EvaluationSettings, origins: Origins, windows: NDArray[np.int64]) -> list[int]:
    """`window_seed` of each window."""
    times = origins.store.timestamps
    return [window_seed(settings.seed, origins.symbol(w), int(times[origins.rows[w]])) for w in windows]


def open_model(source: str, device: str) -> Forecaster:
    """The forecaster of a run folder, a released predictor, or TOKENIZER+PREDICTOR. CheckpointError as it says."""
    pair = [] if Path(source).expanduser().exists() else source.replace("+", ",").split(",")
    return Forecaster.from_pretrained(pair if len(pair) == 2 else source, device=device)


class ModelForecaster:
    """A model, and its calibrated twin where its run has a calibration that fits the settings."""

    def __init__(self, name: str, source: str, settings: EvaluationSettings) -> None:
        self.name, self.source, self.settings = name, source, settings
        self.forecaster = open_model(source, settings.device)
        sampling = Sampling(settings.temperature, settings.top_k, settings.top_p)
        self.how = ForecastSettings(settings.paths, sampling, settings.lookback, settings.overflow, settings.precision)
        self.notes: list[str] = []
        self.visible = min(settings.lookback, self.forecaster.max_context)
        if self.visible < settings.lookback:
            self.notes.append(
                f"{name} sees the last {self.visible} of the {settings.lookback} bars of history: its context is smaller."
            )
        self.calibration = self._usable()
        self._facts: dict[str, Any] | None = None

    def _usable(self) -> Any:
        found, settings = self.forecaster.calibration, self.settings
        if found is None or settings.calibration == "off":
            return None
        # A model sees no more than its context, in calibration as here.
        visible = min(found.lookback, self.forecaster.max_context)
        differs = [
            what
            for what, same in (
                (f"{found.sampling}", found.sampling == self.how.sampling),
                (f"a lookback of {found.lookback}", visible == self.visible),
                (f"a horizon of {found.bands.steps}", found.bands.steps >= settings.horizon),
            )
            if not same
        ]
        if differs:
            self.notes.append(
                f"The calibration of {self.name} was not used: it was fitted with {' and '.join(differs)}, which differs here."
            )
            return None
        return found

    @property
    def facts(self) -> Mapping[str, Any]:
        if self._facts is None:
            made = self.forecaster
            self._facts = {
                "source": self.source,
                "weights": weights_hash(made.tokenizer, made.predictor),
                "max_context": made.max_context,
                "positions": made.positions,
                "parameters": sum(p.numel() for m in (made.tokenizer, made.predictor) for p in m.parameters()),
                "visible": self.visible,
                "calibration": None if self.calibration is None else self.calibration.to_dict(),
            }
        return self._facts

    def samples(self, origins: Origins, windows: NDArray[np.int64]) -> dict[str, list[ForecastSummary]]:
        s = self.settings
        pairs = [origins.bars(int(window)) for window in windows]
        forecasts = self.forecaster.forecast_with(
            self.how,
            [history for history, _ in pairs],
            s.horizon,
            seed=seeds(s, origins, windows),
            timestamps=[truth.timestamps for _, truth in pairs],
            progress=False,
        )
        found = {self.name: [ForecastSummary.of_paths(one.paths, len(one.history)) for one in forecasts]}
        if self.calibration is not None:
            found[self.name + CALIBRATED] = [
                ForecastSummary.of_paths(self.calibration.apply(one.paths, one.history.values), len(one.history))
                for one in forecasts
            ]
        return found


def weights_hash(*models: torch.nn.Module) -> str:
    """A digest of all weights: two models of one digest forecast the same."""
    digest = hashlib.sha256()
    for model in models:
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
