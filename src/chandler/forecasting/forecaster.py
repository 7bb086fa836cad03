"""Forecaster: bars in, distribution out. The history is cut to what the model sees first and normalised after."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from chandler.data.bars import Bars
from chandler.data.calendars import future_timestamps, time_features
from chandler.data.readers import load_bars
from chandler.data.windows import denormalise, normalise
from chandler.errors import ConfigError, DataError
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.loading import check_pair, load_models, pick_device
from chandler.forecasting.prompts import Prompt, evaluating
from chandler.forecasting.reencoding import decode_tail, generate
from chandler.forecasting.sampling import Sampling, path_uniforms
from chandler.nn.predictor import DependencyPositions, Kronos
from chandler.nn.tokenizer import KronosTokenizer

MIN_HISTORY = 2
"""Rows below which a spread, and so a scale, has no meaning."""
CALENDAR_ROWS = 20_000
"""Rows whose times tell when bars come: a short lookback may not have seen a close or a weekend."""


class Window(NamedTuple):
    """What the model is given of one series."""

    values: NDArray[Any]
    """Normalised history, (T, 6)."""
    stamps: NDArray[np.uint8]
    """Time features of history and horizon, (T + horizon, 5)."""


class Forecaster:
    """A tokenizer and a predictor that belong together, on one device.

    Args:
        tokenizer: its bits must be those of the predictor.
        predictor: the model that continues token sequences.
        device: "auto" takes cuda, then mps, then the CPU; None leaves both models where they are. The models
            themselves are moved, not copied.
        max_context: rows the model sees at most, >= 2: what it was trained with (512; Kronos-mini 2048).
        lookback: rows of history used unless a call says otherwise; None for as many as `max_context`.
        positions: how the dependency-aware layer sees positions; "reference" for released weights.
        name: shown in forecasts.

    Raises:
        CheckpointError: the two models do not belong together.
        ConfigError: an impossible setting, or a device that is not there.
    """

    def __init__(
        self,
        tokenizer: KronosTokenizer,
        predictor: Kronos,
        *,
        device: str | torch.device | None = "auto",
        max_context: int = 512,
        lookback: int | None = None,
        positions: DependencyPositions = "reference",
        name: str = "",
    ) -> None:
        check_pair(tokenizer, predictor)
        if positions not in ("reference", "rotary"):
            raise ConfigError(f'dependency positions are "reference" or "rotary", found {positions!r}.')
        self.max_context = _whole("max_context", max_context, MIN_HISTORY)
        self.lookback = None if lookback is None else _whole("lookback", lookback, MIN_HISTORY)
        self.positions: DependencyPositions = positions
        self.name = name
        self.device = predictor.head.proj_s1.weight.device if device is None else pick_device(device)
        self.tokenizer = tokenizer.to(self.device)
        self.predictor = predictor.to(self.device)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Sequence[str | Path],
        *,
        device: str | torch.device | None = "auto",
        max_context: int | None = None,
        revision: str | None = None,
        tokenizer_revision: str | None = None,
    ) -> Forecaster:
        """Load both models.

        Args:
            source: a run folder (with `tokenizer/` and `predictor/`; its `summary.json` may say max_context,
                lookback and dependency_positions under "forecast"); or a released predictor such as
                "NeoQuasar/Kronos-small", which brings its tokenizer; or a pair (tokenizer, predictor) of
                folders or repositories.
            device: as in `Forecaster`.
            max_context: overrides what the source says; 512 where it says nothing.
            revision: branch, tag or commit of the predictor's repository.
            tokenizer_revision: the same for the tokenizer's.

        Raises:
            CheckpointError: nothing there, not reachable, or not two models that belong together.
        """
        found = load_models(source, revision=revision, tokenizer_revision=tokenizer_revision)
        settings = found.settings
        return cls(
            found.tokenizer,
            found.predictor,
            device=device,
            max_context=max_context if max_context is not None else settings.get("max_context", 512),
            lookback=settings.get("lookback"),
            positions=cast(DependencyPositions, settings.get("dependency_positions", "reference")),
            name=found.name,
        )

    def forecast(
        self,
        bars: Bars | pd.DataFrame | Any,
        horizon: int = 24,
        paths: int = 100,
        *,
        temperature: float = 1.0,
        top_p: float | None = 0.9,
        top_k: int | None = 0,
        seed: int = 0,
        timestamps: Any = None,
        lookback: int | None = None,
    ) -> Forecast:
        """Sample `paths` futures of one series.

        The same bars, settings and seed give the same paths, and `paths=10` are the first ten of `paths=100`. The
        random numbers are equal for all series of a seed: differences between symbols are not sampling noise.

        Args:
            bars: Bars, a store of one symbol, or a frame (read by `Bars.from_frame`). Its last
                min(lookback, max_context) rows are used; the values of older rows change nothing (their times
                help to infer the calendar).
            horizon: bars ahead, >= 1.
            paths: >= 1.
            temperature, top_p, top_k: see `Sampling`.
            seed: >= 0.
            timestamps: times of the forecast bars: `horizon` many, increasing, after the history, with a zone
                where the history has one (then converted to that zone). None works them out from the history.
            lookback: rows of history for this call; None for the forecaster's own.

        Raises:
            ConfigError: an impossible setting.
            DataError: fewer than 2 rows, several symbols, or timestamps that do not fit.
        """
        horizon, paths = _whole("horizon", horizon, 1), _whole("paths", paths, 1)
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        if lookback is not None:
            lookback = _whole("lookback", lookback, MIN_HISTORY)
        rows = min(lookback or self.lookback or self.max_context, self.max_context)
        series = one_series(bars)
        history = series.tail(rows)
        if len(history) < MIN_HISTORY:
            raise DataError(
                f"{history.symbol}: {len(history)} rows of history, a forecast needs at least {MIN_HISTORY} "
                "(and is better with hundreds)."
            )
        if timestamps is None:
            future = future_timestamps(series.timestamps[-max(rows, CALENDAR_ROWS) :], horizon)
        else:
            future = _given(history, horizon, timestamps)
        z, mean, std = normalise(history.values, len(history))
        stamps = np.concatenate((time_features(history.timestamps), time_features(future)))
        [sampled] = self.sample([Window(z, stamps)], horizon, paths, sampling, seed)
        return Forecast(
            symbol=history.symbol,
            timestamps=future,
            paths=denormalise(sampled, mean, std),
            history=history,
            sampling=sampling,
            seed=int(seed),
            calendar="inferred" if timestamps is None else "given",
            model=self.name,
        )

    def forecast_many(self, series: Iterable[Bars | pd.DataFrame] | Any, **settings: Any) -> list[Forecast]:
        """`forecast` of each series, in order, with the same settings.

        Args:
            series: a store of many symbols, a frame of many symbols, or any iterable of what `forecast` takes.
            settings: the keywords of `forecast`, `timestamps` excepted.

        Raises:
            As `forecast`; the message names the symbol.
        """
        if "timestamps" in settings:
            raise ConfigError("forecast_many works out timestamps for each series: call forecast to give them.")
        if isinstance(series, Bars):
            series = [series]
        elif isinstance(series, pd.DataFrame):
            series = load_bars(series)
        return [self.forecast(bars, **settings) for bars in series]

    @torch.no_grad()
    def sample(
        self,
        windows: Sequence[Window],
        horizon: int,
        paths: int,
        sampling: Sampling,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[NDArray[np.float64]]:
        """Continue normalised windows: (paths, horizon, 6) per window, still normalised.

        Windows may differ in length and be longer than `max_context`; then the last `max_context` tokens are seen.
        `progress` is called with (rows generated so far, rows in all).
        """
        uniforms = path_uniforms(seed, 0, paths, horizon)
        prompts = []
        with evaluating(self.tokenizer):
            for window in windows:
                x = torch.as_tensor(window.values, dtype=torch.float32).to(self.device)
                s1, s2 = self.tokenizer.encode(x[None])
                prompts.append(Prompt(s1[0], s2[0], torch.as_tensor(window.stamps), uniforms))
        continued = generate(
            self.predictor,
            prompts,
            horizon=horizon,
            sampling=sampling,
            max_context=self.max_context,
            positions=self.positions,
            progress=progress,
        )
        return [self._decode(prompt, s1, s2, horizon) for prompt, (s1, s2) in zip(prompts, continued, strict=True)]

    def _decode(self, prompt: Prompt, s1: torch.Tensor, s2: torch.Tensor, horizon: int) -> NDArray[np.float64]:
        whole = [torch.cat((old.expand(len(new), -1), new), dim=1) for old, new in ((prompt.s1, s1), (prompt.s2, s2))]
        decoded = decode_tail(self.tokenizer, *whole, horizon=horizon, max_context=self.max_context)
        return decoded.cpu().double().numpy()


def one_series(bars: Any) -> Bars:
    """Bars of one symbol from Bars, a frame, or a store of one symbol.

    Raises:
        DataError: several symbols, none, or something else altogether.
    """
    if isinstance(bars, Bars):
        return bars
    if isinstance(bars, pd.DataFrame):
        return Bars.from_frame(bars)
    try:
        series = list(bars)
    except TypeError:
        series = []
    if len(series) == 1 and isinstance(series[0], Bars):
        return series[0]
    if series and all(isinstance(one, Bars) for one in series):
        names = ", ".join(one.symbol for one in series[:5]) + (", ..." if len(series) > 5 else "")
        raise DataError(f"forecast takes one symbol, found {len(series)}: {names}. Pick one, or call forecast_many.")
    raise DataError(f"forecast takes Bars, a DataFrame or a store of one symbol, found {type(bars).__name__}.")


def _given(history: Bars, horizon: int, timestamps: Any) -> pd.DatetimeIndex:
    """Timestamps that a caller gave, checked against the history and brought to its zone."""
    where = f"{history.symbol}: the forecast timestamps"
    try:
        index = pd.DatetimeIndex(timestamps)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} cannot be read as times: {error}.") from error
    if len(index) != horizon:
        raise DataError(f"{where} are {len(index)}, the horizon is {horizon}. Give one per forecast bar.")
    if (index.tz is None) != (history.timestamps.tz is None):
        have, has = ("have no", "one") if index.tz is None else ("have a", "none")
        raise DataError(f"{where} {have} time zone, the history has {has}. Localise both (tz_localize) or neither.")
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(f"{where} must be strictly increasing, with none missing.")
    last = history.timestamps[-1]
    if index[0] <= last:
        raise DataError(
            f"{where} begin at {index[0]}, but the history ends at {last}. Give later ones, or cut the history."
        )
    # The hour and weekday that the model sees are those of the history's clock.
    return index if index.tz is None else index.tz_convert(history.timestamps.tz)


def _whole(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ConfigError(f"{name} must be a whole number >= {least}, found {value!r}.")
    return number
