"""Forecaster: bars in, distribution out. Any number of series go through the engine in one call."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from chandler.data import CLOSE, Bars
from chandler.data.calendars import known_calendar
from chandler.data.store import BarStore
from chandler.devices import bring, device_of, resolve
from chandler.errors import ConfigError
from chandler.forecasting.anchor import anchored
from chandler.forecasting.calibration import Calibration, required
from chandler.forecasting.embedding import embed, embed_rows
from chandler.forecasting.engine import Overflow, Sampling, require_finite, require_int, require_room
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.paths import RESULT_BYTES, sample_paths, seeds_per_series
from chandler.forecasting.preprocessing import (
    MIN_HISTORY,
    ModelInput,
    many_series,
    one_series,
    prepare_series,
)
from chandler.forecasting.pretrained import (
    ModelPair,
    load_models,
    push_models,
    require_savable,
    save_models,
    validate_pair,
)
from chandler.forecasting.settings import ForecastSettings
from chandler.hub import HubOptions, PushOptions
from chandler.nn import DependencyPositions, Kronos, KronosTokenizer
from chandler.progress import Report, patient_bar
from chandler.settings import Precision

SUGGESTED = 3
"""Series of a call for which a recorded calendar is looked for that fits: it takes longer than a small forecast."""


class Forecaster:
    """A tokenizer and a predictor that belong together, on one device.

    Args:
        tokenizer: its bits must be those of the predictor.
        predictor: the model that continues token sequences.
        device: "auto" takes cuda, then mps, then the CPU; None goes where the predictor is, at each call. The models
            themselves are moved, not copied: who shares one with another forecaster, or moves it, finds it brought back
            by the next forecast. Two devices at a time need two loads.
        max_context: rows the model sees at most, >= 2: what it was trained with (512; Kronos-mini 2048).
        lookback: rows of history used unless a call says otherwise; None for as many as `max_context`.
        calendar: when the market trades unless a call says otherwise: an exchange (XNYS, XSHG, ...), "24/7", "24/5";
            None learns it from each history.
        positions: how the dependency-aware layer sees positions; "reference" for released weights.
        name: shown in forecasts.
        calibration: what `calibrated=True` applies, or the run folder that may hold it.

    Raises:
        CheckpointError: the two models do not belong together.
        ConfigError: an impossible setting, a device that is not there, or models that cannot be brought to it.
        DataError: an unknown calendar.
    """

    def __init__(
        self,
        tokenizer: KronosTokenizer,
        predictor: Kronos,
        *,
        device: str | torch.device | None = "auto",
        max_context: int = 512,
        lookback: int | None = None,
        calendar: str | None = None,
        positions: DependencyPositions = "reference",
        name: str = "",
        calibration: Calibration | Path | None = None,
    ) -> None:
        tokenizer, predictor = tokenizer.native, predictor.native
        validate_pair(tokenizer, predictor)
        if positions not in ("reference", "rotary"):
            raise ConfigError(f'dependency positions are "reference" or "rotary", found {positions!r}.')
        self.max_context = require_int("max_context", max_context, MIN_HISTORY)
        self.lookback = None if lookback is None else require_int("lookback", lookback, MIN_HISTORY)
        self.calendar = known_calendar(calendar)
        self.positions: DependencyPositions = positions
        self.name = name
        self._calibration = calibration
        self._base_model: str | None = None
        self.tokenizer, self.predictor = tokenizer, predictor
        self._device = None if device is None else resolve(device)
        self.bring_models()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Sequence[str | Path],
        *,
        device: str | torch.device | None = "auto",
        max_context: int | None = None,
        positions: DependencyPositions | None = None,
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **hub: Unpack[HubOptions],
    ) -> Forecaster:
        """Load both models.

        Args:
            source: a run folder (with `tokenizer/` and `predictor/`; its `summary.json` may say max_context,
                lookback, calendar and dependency_positions under "forecast"); or "chandler-nano", which comes with the
                package; or a released predictor such as
                "NeoQuasar/Kronos-small", which brings its tokenizer; or a repository laid out like a run folder; or
                a pair (tokenizer, predictor) of folders or repositories, used as the predictor's run says (the
                calibration is taken where both are of one folder).
            device: as in `Forecaster`.
            max_context: overrides what the source says; 512 where it says nothing.
            positions: the same for the positions of the dependency-aware layer; "reference" where it says nothing.
            revision: branch, tag or commit of the predictor's repository.
            tokenizer_revision: the same for the tokenizer's.
            hub: cache_dir, token, local_files_only and force_download of repositories; see `HubOptions`.

        Raises:
            CheckpointError: nothing there, not reachable, or not two models that belong together.
        """
        pair = load_models(source, revision=revision, tokenizer_revision=tokenizer_revision, **hub)
        taken = {"max_context": (max_context, pair.max_context), "positions": (positions, pair.dependency_positions)}
        assumed = [f"{key} {own}" for key, (given, own) in taken.items() if given is None]
        if assumed and not pair.told:
            warnings.warn(
                f"{pair.name}: nothing beside this predictor says how it was trained to be used; taken are those of Kronos-small: "
                f"{', '.join(assumed)}. Forecasts are wrong where they differ: name the run folder if there is one.",
                stacklevel=2,
            )
        made = cls(
            pair.tokenizer,
            pair.predictor,
            device=device,
            max_context=pair.max_context if max_context is None else max_context,
            lookback=pair.lookback,
            calendar=pair.calendar,
            positions=positions or pair.dependency_positions,
            name=pair.name,
            calibration=pair.calibration,
        )
        made._base_model = pair.base_model
        return made

    def save_pretrained(self, save_directory: str | Path) -> Path:
        """Write both models and how they are used into a folder, beside whatever is there, for `from_pretrained`:
        tokenizer/, predictor/, summary.json, the calibration, and where it is known what they were trained on.

        Raises:
            CheckpointError: the folder is a file, a run's, or holds another kind of checkpoint in one of these places.
            OSError: there is no room, or the place cannot be written.
        """
        return save_models(Path(save_directory).expanduser(), self._pair())

    def require_savable(self, save_directory: str | Path) -> None:
        """Refuse, before long work, what `save_pretrained` would refuse. CheckpointError as it says."""
        require_savable(Path(save_directory).expanduser(), self._pair())

    def push_to_hub(self, repo_id: str, **options: Unpack[PushOptions]) -> str:
        """Write what `save_pretrained` writes into a hub repository, in one commit, with a model card where there is
        none.

        Args:
            repo_id: owner/name, made where there is none; a name alone is one of yours.
            options: commit_message, private, token, branch, create_pr, base_model; see `PushOptions`.

        Returns:
            Address of the commit.

        Raises:
            CheckpointError: nothing was written: the repository holds a run, refused, or could not be reached.
        """
        return push_models(repo_id, self._pair(), **options)

    def _pair(self) -> ModelPair:
        return ModelPair(
            self.tokenizer, self.predictor, self.max_context, self.lookback, self.calendar, self.positions, self.name,
            self._calibration, self._base_model,
        )  # fmt: skip

    def __repr__(self) -> str:
        seen = f"sees {self.max_context} bars"
        if self.lookback is not None and self.lookback < self.max_context:
            seen = f"sees {self.lookback} of at most {self.max_context} bars"
        millions = sum(p.numel() for p in self.predictor.parameters()) / 1e6
        size = f"{millions:.1f}M" if millions >= 0.1 else f"{millions * 1e3:.0f}k"
        traded = "" if self.calendar is None else f", calendar {self.calendar}"
        return f"Forecaster({self.name or 'unnamed'!r}, {size} parameters on {self.device}, {seen}{traded})"

    @property
    def device(self) -> torch.device:
        """Where forecasts are computed: the device it was given, or without one that of the predictor's weights.

        ConfigError where it is the weights that say, and they are in several places.
        """
        return device_of(self.predictor) if self._device is None else self._device

    def bring_models(self) -> torch.device:
        """Bring both models to `device`, whoever moved them in between; the device. Every forecast begins with it.

        Raises:
            ConfigError: they cannot be brought there.
        """
        device = self.device
        bring(device, self.tokenizer, self.predictor)
        return device

    @property
    def calibration(self) -> Calibration | None:
        """The run's calibration, None if it has none; CheckpointError where its file cannot be used."""
        # Read when it is asked for: a damaged one is no reason not to forecast without.
        if isinstance(self._calibration, Path):
            self._calibration = Calibration.load(self._calibration)
        return self._calibration

    @calibration.setter
    def calibration(self, found: Calibration | None) -> None:
        self._calibration = found

    def forecast(
        self,
        bars: Bars | pd.DataFrame | Any,
        horizon: int = 24,
        paths: int = 100,
        *,
        temperature: float = 1.0,
        top_p: float | None = 1.0,
        top_k: int | None = 0,
        seed: int = 0,
        timestamps: Any = None,
        calendar: str | None = None,
        lookback: int | None = None,
        overflow: Overflow = "exact",
        precision: Precision = "float32",
        memory_budget: int | None = None,
        repair: bool = False,
        calibrated: bool = False,
        anchor: bool = True,
        progress: bool | Report | None = None,
    ) -> Forecast:
        """Sample `paths` futures of one series.

        The same bars, settings and seed give the same paths, and `paths=10` are the first ten of `paths=100`. The
        random numbers are equal for all series of a seed: differences between symbols are not sampling noise.

        Args:
            bars: Bars, a store of one symbol, or a frame (read by `Bars.from_frame`). Its last
                min(lookback, max_context) rows are used; the values of older rows change nothing (their times
                help to infer the calendar).
            horizon: bars ahead, >= 1; may exceed `max_context`.
            paths: >= 1.
            temperature: see `Sampling`.
            top_p: see `Sampling`.
            top_k: see `Sampling`.
            seed: >= 0.
            timestamps: times of the forecast bars: `horizon` many, increasing, after the history, with a zone
                where the history has one (then converted to that zone). None works them out by `calendar`.
            calendar: when the market trades: an exchange (XNYS, XSHG, ...), "24/7", "24/5", or "inferred" from the
                history; None for the forecaster's own. `Forecast.calendar` says what was taken.
            lookback: rows of history for this call; None for the forecaster's own.
            overflow: what happens when history and horizon together exceed `max_context`: "exact" slides the
                window by a row, as the reference; "block" by an eighth of it at a time, far cheaper; "trim" cuts
                the history first so that all fits. See `generation.generate` and docs/forecasting.md.
            precision: of the predictor: "float32", "bfloat16", with which some tokens differ, or "int8" (on an x86 CPU), with
                which more do.
            memory_budget: bytes that the engine may use for caches; by default a quarter of what is free, half on an accelerator.
            repair: give back `Forecast.repair()`.
            calibrated: blend the paths with naive ones and move them as the model's calibration.json says, so that
                bands of the close cover what they say (`Calibration`). temperature, top_p, top_k and lookback, where left
                at their defaults, are then those that it was fitted with; others are refused.
            anchor: move all prices of a path by what the tokens lose of the last close (`anchored`), so that it
                begins where the market is. False leaves paths as the model says, as the reference does. Calibrated
                forecasts are anchored as their calibration was.
            progress: a bar on stderr: True always, False never, None on a terminal when it takes long; or a function
                that is called with (work done, work in all) instead, and stops the forecast by raising.

        Raises:
            ConfigError: an impossible setting, or a forecast that does not fit in memory.
            DataError: fewer than 2 rows, several symbols, timestamps that do not fit, an unknown calendar, or weights that
                give numbers that are not finite.
        """
        settings = ForecastSettings(
            paths, Sampling(temperature, top_k, top_p), lookback, overflow, precision, memory_budget, calendar, repair,
            calibrated, anchor,
        )  # fmt: skip
        [forecast] = self.forecast_with(
            settings, [one_series(bars)], horizon, seed=seed, timestamps=[timestamps], progress=progress
        )
        return forecast

    def forecast_many(
        self,
        series: Iterable[Bars | pd.DataFrame] | Any,
        horizon: int = 24,
        paths: int = 100,
        *,
        temperature: float = 1.0,
        top_p: float | None = 1.0,
        top_k: int | None = 0,
        seed: int | Sequence[int] = 0,
        timestamps: Sequence[Any] | None = None,
        calendar: str | None = None,
        lookback: int | None = None,
        overflow: Overflow = "exact",
        precision: Precision = "float32",
        memory_budget: int | None = None,
        repair: bool = False,
        calibrated: bool = False,
        anchor: bool = True,
        progress: bool | Report | None = None,
    ) -> list[Forecast]:
        """`forecast` of each series, in order, in one call of the engine.

        A series has the paths that it has alone, whatever it is forecast with and however memory is cut, unless a
        draw lies within 1e-5 of the edge between two tokens, or on an accelerator a bit of its history's tokens on the
        edge between its two values (docs/forecasting.md).

        Args:
            series: a store of many symbols, a frame of many symbols, or any iterable of what `forecast` takes;
                histories may differ in length.
            timestamps: one entry per series, each as in `forecast`; None works out all of them.
            seed: as in `forecast`, of all series; or one for each, so that their sampling noise is independent.

        All other arguments are as in `forecast`, and so is what is raised; messages about data name the symbol.
        """
        settings = ForecastSettings(
            paths, Sampling(temperature, top_k, top_p), lookback, overflow, precision, memory_budget, calendar, repair,
            calibrated, anchor,
        )  # fmt: skip
        return self.forecast_with(settings, series, horizon, seed=seed, timestamps=timestamps, progress=progress)

    def forecast_with(
        self,
        settings: ForecastSettings,
        series: Iterable[Bars | pd.DataFrame] | Any,
        horizon: int,
        *,
        seed: int | Sequence[int] = 0,
        timestamps: Sequence[Any] | None = None,
        suggest: int = SUGGESTED,
        progress: bool | Report | None = None,
    ) -> list[Forecast]:
        """`forecast_many` by settings that were put together before; the same arguments and errors.

        `suggest`: for so many of the series a recorded calendar is looked for that fits."""
        horizon = require_int("horizon", horizon, 1)
        calibration = required(self.calibration, self.name) if settings.calibrated else None
        if calibration is not None:
            calibration.bands.require(horizon)
            sampling, lookback = calibration.agree(self.name, settings.sampling, settings.lookback)
            settings = replace(settings, sampling=sampling, lookback=lookback, anchor=calibration.anchor)
        rows = self._visible(settings.lookback)
        if settings.overflow == "trim":
            # As the engine would, but before the rows are normalised: the scale sees visible rows only.
            room = self.max_context - horizon
            rows = min(rows, max(MIN_HISTORY, room if room > 0 else self.max_context // 8))
        each = many_series(series)
        times = [None] * len(each) if timestamps is None else list(timestamps)
        if len(times) != len(each):
            raise ConfigError(f"timestamps must be one entry per series: {len(each)} series, found {len(times)}.")
        seeds = seeds_per_series(seed, len(each))
        require_room(
            len(each) * settings.paths * horizon * RESULT_BYTES,
            f"{len(each)} series x {settings.paths} paths x {horizon} bars",
            "Lower paths or horizon, or forecast fewer series at a time.",
        )
        calendar = self.calendar if settings.calendar is None else settings.calendar
        known: dict[Any, Any] = {}
        ready = [
            prepare_series(bars, horizon, rows, given, calendar, suggest=number < suggest, known=known)
            for number, (bars, given) in enumerate(zip(each, times, strict=True))
        ]
        what = ready[0].history.symbol if len(ready) == 1 else f"{len(ready)} series"
        with patient_bar(f"Forecasting {what}", progress) as report:
            self.bring_models()
            windows = [one.window for one in ready]
            sampled = sample_paths(self._pair(), settings, windows, horizon, seeds, report)
        forecasts = []
        for one, made, own in zip(ready, sampled, seeds, strict=True):
            bars = one.restore(made.z)
            if settings.anchor:
                bars = anchored(bars, one.restore(made.last[None, None])[0, 0, CLOSE], one.history.values[-1, CLOSE])
            forecasts.append(
                Forecast(
                    symbol=one.history.symbol,
                    timestamps=one.times.index,
                    paths=bars if calibration is None else calibration.apply(bars, one.history.values, own),
                    history=one.history,
                    sampling=settings.sampling,
                    seed=int(own),
                    calendar=one.times.calendar,
                    model=self.name,
                    calibrated=settings.calibrated,
                    anchored=settings.anchor,
                    sessions=one.times.sessions,
                    calendar_notes=one.times.notes,
                )
            )
        return [forecast.repair() for forecast in forecasts] if settings.repair else forecasts

    def embed(
        self,
        bars: Bars | pd.DataFrame | Any,
        *,
        every: int = 1,
        lookback: int | None = None,
        memory_budget: int | None = None,
        progress: bool | Report | None = None,
    ) -> pd.DataFrame:
        """What the predictor makes of the last `lookback` bars, as a vector, along the bars of each symbol.

        A row is the predictor's hidden state h (`Kronos.hidden`) at the last bar of the window that ends at its timestamp:
        after all blocks and the final norm, what the head of s1 reads to say which bar comes next. The window is
        normalised as for a forecast, by its own rows alone: later bars change nothing, nor do earlier ones. See
        docs/embeddings.md.

        Args:
            bars: Bars, a store or frame of one or many symbols, or an iterable of what `forecast` takes. No window crosses
                a segment of a store.
            every: bars between two rows, from the first that has history enough on.
            lookback: rows of a window; None for the forecaster's own. Symbols with fewer have no row, and a warning names
                them.
            memory_budget: bytes for what is computed at a time; by default a quarter of what is free, half on an accelerator.
            progress: as in `forecast`.

        Returns:
            d_model columns h0, h1, ... (float32), MultiIndex (symbol, timestamp), symbols in the order given. A row is the
            same up to rounding whatever it is computed with, unless a bit of a token lies on the edge.

        Raises:
            ConfigError: an impossible setting, or not even one window fits in memory.
            DataError: no symbol has history enough, times with a zone beside times without, or values that are not finite.
        """
        lookback = None if lookback is None else require_int("lookback", lookback, MIN_HISTORY)
        with patient_bar("Embedding", progress) as report:
            self.bring_models()
            return embed(self._pair(), bars, every, self._visible(lookback), memory_budget, report)

    def embed_rows(
        self, store: BarStore, rows: NDArray[np.int64], lookback: int, memory_budget: int | None = None
    ) -> NDArray[np.float32]:
        """`embed` at absolute rows (W,) of a store, each with `lookback` rows of its symbol up to it: (W, d_model)."""
        self.bring_models()
        return embed_rows(self._pair(), store, rows, lookback, memory_budget)

    def _visible(self, lookback: int | None) -> int:
        """Rows of history that are used where a call asks for so many."""
        rows = min(lookback or self.lookback or self.max_context, self.max_context)
        if lookback is not None and lookback > rows:
            warnings.warn(f"lookback {lookback}: the model sees {rows} bars at most, the last ones", stacklevel=4)
        return rows

    def sample(
        self,
        windows: Sequence[ModelInput],
        horizon: int,
        paths: int,
        sampling: Sampling,
        seed: int | Sequence[int],
        progress: Report | None = None,
        *,
        overflow: Overflow = "exact",
        precision: Precision = "float32",
        memory_budget: int | None = None,
    ) -> list[NDArray[np.float64]]:
        """Continue normalised windows: (paths, horizon, 6) per window, still normalised.

        Windows may differ in length and be longer than `max_context`; then the last `max_context` tokens are seen.
        `progress` is called with (rows so far, rows in all): rows encoded (by both models), generated, decoded.
        `seed`, `overflow`, `precision` and `memory_budget` are those of `forecast_many`. DataError where the weights give
        numbers that are not finite.
        """
        horizon = require_int("horizon", horizon, 1)
        settings = ForecastSettings(paths, sampling, None, overflow, precision, memory_budget)
        self.bring_models()
        seeds = seeds_per_series(seed, len(windows))
        sampled = [one.z for one in sample_paths(self._pair(), settings, windows, horizon, seeds, progress)]
        require_finite(all(np.isfinite(one).all() for one in sampled))
        return sampled
