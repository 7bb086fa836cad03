"""Forecasts of data frames and arrays with the reference's arguments and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from chandler.data import FEATURES
from chandler.data.calendars import time_features
from chandler.data.datasets import denormalise, normalise
from chandler.errors import DataError
from chandler.forecasting import Forecaster, ForecastSettings, ModelInput, given_times, read_times
from chandler.forecasting.engine import Sampling, require_int
from chandler.nn import TIME_TABLES, Kronos, KronosTokenizer
from chandler.progress import patient_bar

PRICES = list(FEATURES[:4])


class InputError(DataError, ValueError):
    """A data frame that cannot be forecast; also a ValueError, which is what the reference raises."""


class KronosPredictor:
    """Forecasts data frames with a predictor and its tokenizer.

    Args:
        model: the predictor.
        tokenizer: the tokenizer it was trained with.
        device: None takes cuda, then mps, then the CPU. Both models are moved there, and brought back by the next
            call if another predictor, or somebody else, has moved them.
        max_context: rows the model sees at most.
        clip: normalised values are cut at +-clip; 5 for released weights.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
    ) -> None:
        self.forecaster = Forecaster(
            tokenizer, model, device="auto" if device is None else device, max_context=max_context
        )
        self.model, self.tokenizer = model, tokenizer
        self.max_context, self.clip = max_context, clip

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.forecaster.device

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: Any,
        y_timestamp: Any,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Forecast one series; the mean of `sample_count` paths.

        Args:
            df: history, N rows with open, high, low, close and, if there are, volume and amount.
            x_timestamp: times of the history, N, increasing; a Series or an index.
            y_timestamp: times of the forecast, `pred_len`, increasing and after the history, with a zone where the
                history has one.
            pred_len: bars to forecast.
            T, top_k, top_p: temperature and filters; `top_p` only has effect when `top_k` is 0.
            sample_count: paths that are averaged.
            verbose: show progress on stderr.
            seed: of the sampling; None draws one from torch's global generator, so that `torch.manual_seed`
                makes a script repeatable.

        Returns:
            A frame indexed by `y_timestamp`, in the zone of the history, with open, high, low, close, volume and
            amount.

        Raises:
            InputError: no data frame, missing columns, missing values, lengths or times that do not fit.
            ConfigError: an impossible setting.
        """
        frames = self.predict_batch(
            [df], [x_timestamp], [y_timestamp], pred_len, T, top_k, top_p, sample_count, verbose, seed
        )
        return frames[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[Any],
        y_timestamp_list: Sequence[Any],
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        seed: int | None = None,
    ) -> list[pd.DataFrame]:
        """`predict` for several series with one setting; the histories may differ in length.

        A series has the same forecast for a seed alone and in a batch, but for draws on an edge between two tokens.
        """
        lists = {"df_list": df_list, "x_timestamp_list": x_timestamp_list, "y_timestamp_list": y_timestamp_list}
        for name, value in lists.items():
            if not isinstance(value, list | tuple):
                raise InputError(f"{name} must be a list, found {type(value).__name__}.")
        lengths = {name: len(value) for name, value in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise InputError(f"the lists must be of one length, found {told}.")
        settings = _settings(pred_len, T, top_k, top_p, sample_count)
        windows, scales, indices = [], [], []
        for number, (df, x_timestamp, y_timestamp) in enumerate(
            zip(df_list, x_timestamp_list, y_timestamp_list, strict=True)
        ):
            where = f"series {number}" if len(df_list) > 1 else "df"
            values = _values(df, where)
            times, future = _times(x_timestamp, y_timestamp, len(values), pred_len, where)
            z, mean, std = normalise(values, len(values), self.clip, own_unit=False)
            windows.append(ModelInput(z, np.concatenate((time_features(times), time_features(future)))))
            scales.append((mean, std))
            indices.append(future)

        means = self._continued(windows, pred_len, settings, seed, verbose)
        return [
            pd.DataFrame(denormalise(mean, *scale, own_unit=False), columns=list(FEATURES), index=index)
            for mean, scale, index in zip(means, scales, indices, strict=True)
        ]

    def generate(
        self,
        x: Any,
        x_stamp: Any,
        y_stamp: Any,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        seed: int | None = None,
    ) -> NDArray[np.float32]:
        """Continue normalised windows; the mean of `sample_count` paths, still normalised.

        Args:
            x: (B, N, 6) arrays or tensors; cut at +-clip.
            x_stamp, y_stamp: time features (B, N, 5) of the history and (B, pred_len, 5) of the forecast: minute,
                hour, weekday (Monday 0), day, month.
            pred_len, T, top_k, top_p, sample_count, verbose, seed: as in `predict`.

        Returns:
            (B, pred_len, 6).

        Raises:
            InputError: shapes that do not fit, values that are not finite, time features that no clock shows.
            ConfigError: an impossible setting.
        """
        settings = _settings(pred_len, T, top_k, top_p, sample_count)
        windows = _windows(x, x_stamp, y_stamp, pred_len, self.clip)
        means = self._continued(windows, pred_len, settings, seed, verbose)
        return np.stack(means).astype(np.float32)

    def _continued(
        self, windows: list[ModelInput], pred_len: int, settings: ForecastSettings, seed: int | None, verbose: bool
    ) -> list[NDArray[np.float64]]:
        """The mean path (pred_len, 6) of each window, normalised."""
        if seed is None:
            seed = int(torch.randint(2**62, ()))
        with patient_bar(f"Forecasting {pred_len} bars", verbose) as progress:
            sampled = self.forecaster.sample(windows, pred_len, settings.paths, settings.sampling, seed, progress)
        return [paths.mean(axis=0) for paths in sampled]


def auto_regressive_inference(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Any,
    x_stamp: Any,
    y_stamp: Any,
    max_context: int,
    pred_len: int,
    clip: float = 5,
    T: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.99,
    sample_count: int = 5,
    verbose: bool = False,
    seed: int | None = None,
) -> NDArray[np.float32]:
    """`KronosPredictor.generate` with both models, where they are: the forecast rows (B, pred_len, 6), normalised."""
    made = KronosPredictor(model, tokenizer, model.head.proj_s1.weight.device, max_context, clip)
    return made.generate(x, x_stamp, y_stamp, pred_len, T, top_k, top_p, sample_count, verbose, seed)


def _settings(pred_len: int, T: float, top_k: int, top_p: float, sample_count: int) -> ForecastSettings:
    """The reference drops `top_p` whenever `top_k` is on."""
    require_int("pred_len", pred_len, 1)
    require_int("sample_count", sample_count, 1)
    return ForecastSettings(sample_count, Sampling(temperature=T, top_k=top_k, top_p=None if top_k else top_p))


def _windows(x: Any, x_stamp: Any, y_stamp: Any, pred_len: int, clip: float) -> list[ModelInput]:
    """Windows of (B, N, 6) normalised bars and their time features."""
    values, past, future = (
        np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part) for part in (x, x_stamp, y_stamp)
    )
    if values.ndim != 3 or values.shape[2] != len(FEATURES) or not values.shape[1]:
        raise InputError(f"x must be (series, rows, {len(FEATURES)}), found {values.shape}.")
    if not np.isfinite(values).all():
        raise InputError("x has missing or infinite values. Drop or fill them.")
    tables = list(TIME_TABLES.values())
    for name, stamps, rows in (("x_stamp", past, values.shape[1]), ("y_stamp", future, pred_len)):
        if stamps.shape != (len(values), rows, len(tables)):
            raise InputError(f"{name} must be {(len(values), rows, len(tables))}, found {stamps.shape}.")
        if not ((stamps >= 0) & (stamps < tables)).all():
            raise InputError(f"{name} has time features that no clock shows. Their order is {', '.join(TIME_TABLES)}.")
    stamps = np.concatenate((past, future), axis=1).astype(np.uint8)
    return [ModelInput(*one) for one in zip(np.clip(values, -clip, clip), stamps, strict=True)]


def _values(df: Any, where: str) -> NDArray[np.float64]:
    """(N, 6) with volume and amount filled in as the reference does."""
    if not isinstance(df, pd.DataFrame):
        raise InputError(f"{where}: expected a pandas DataFrame, found {type(df).__name__}.")
    absent = [name for name in PRICES if name not in df.columns]
    if absent:
        raise InputError(f"{where}: no column {', '.join(absent)}; it has: {', '.join(map(str, df.columns))}.")
    if not len(df):
        raise InputError(f"{where}: no rows of history.")
    try:
        frame = df.reindex(columns=list(FEATURES)).astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a column is not numeric: {error}.") from error
    if "volume" not in df:
        frame["volume"] = frame["amount"] = 0.0
    elif "amount" not in df:
        frame["amount"] = frame["volume"] * frame[PRICES].mean(axis=1)
    values = frame[list(FEATURES)].to_numpy(dtype=np.float64)
    for name, rows in zip(FEATURES, ~np.isfinite(values).T, strict=True):
        if rows.any():
            raise InputError(
                f"{where}: {rows.sum()} missing or infinite values in {name!r}, first in row {rows.argmax()}. "
                "Drop or fill them."
            )
    return values


def _times(
    x_timestamp: Any, y_timestamp: Any, rows: int, pred_len: int, where: str
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Times of history and forecast, checked as `Forecaster` checks them."""
    try:
        times = read_times(x_timestamp, f"{where}: the times in x_timestamp")
        if len(times) != rows:
            raise InputError(f"{where}: the times in x_timestamp are {len(times)}, the rows are {rows}.")
        return times, given_times(times, pred_len, y_timestamp, f"{where}: the times in y_timestamp")
    except DataError as error:
        raise InputError(str(error)) from error
