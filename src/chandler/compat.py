"""The reference implementation's names, argument order and results over this one: change the import, keep the script.

    from chandler.compat import Kronos, KronosTokenizer, KronosPredictor

Parity is the purpose, so what the reference does is done, where `chandler.Forecaster` knows better: statistics over
every row given, even rows the model never sees; paths averaged into one; `top_p` without effect beside `top_k`;
a missing volume empties the amount too. Unlike the reference, series of a batch may differ in length, horizons may
exceed the context, times may be any DatetimeIndex, and a seed can be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from chandler.data.bars import FEATURES
from chandler.data.calendars import time_features
from chandler.data.windows import denormalise, normalise
from chandler.errors import ConfigError, DataError
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.inputs import Window
from chandler.forecasting.progress import progress_bar
from chandler.forecasting.sampling import Sampling
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer

__all__ = ["InputError", "Kronos", "KronosPredictor", "KronosTokenizer"]

PRICES = ["open", "high", "low", "close"]


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
            x_timestamp: times of the history, N; a Series or an index.
            y_timestamp: times of the forecast, `pred_len`.
            pred_len: bars to forecast.
            T, top_k, top_p: temperature and filters; `top_p` only has effect when `top_k` is 0.
            sample_count: paths that are averaged.
            verbose: show progress on stderr.
            seed: of the sampling; None draws one from torch's global generator, so that `torch.manual_seed`
                makes a script repeatable.

        Returns:
            A frame indexed by `y_timestamp` with open, high, low, close, volume and amount.

        Raises:
            InputError: no data frame, missing columns, missing values, or lengths that do not fit.
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

        A series has the same forecast for a seed alone and in a batch.
        """
        lists = {"df_list": df_list, "x_timestamp_list": x_timestamp_list, "y_timestamp_list": y_timestamp_list}
        for name, value in lists.items():
            if not isinstance(value, list | tuple):
                raise InputError(f"{name} must be a list, found {type(value).__name__}.")
        lengths = {name: len(value) for name, value in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise InputError(f"the lists must be of one length, found {told}.")
        for name, count in (("pred_len", pred_len), ("sample_count", sample_count)):
            if count < 1:
                raise ConfigError(f"{name} must be a whole number >= 1, found {count!r}.")
        sampling = Sampling(temperature=T, top_k=top_k, top_p=None if top_k else top_p)
        if seed is None:
            seed = int(torch.randint(2**62, ()))

        windows, scales, indices = [], [], []
        for number, (df, x_timestamp, y_timestamp) in enumerate(
            zip(df_list, x_timestamp_list, y_timestamp_list, strict=True)
        ):
            where = f"series {number}" if len(df_list) > 1 else "df"
            values = _values(df, where)
            times = _times(x_timestamp, len(values), f"{where}: x_timestamp")
            future = _times(y_timestamp, pred_len, f"{where}: y_timestamp")
            z, mean, std = normalise(values, len(values), self.clip)
            windows.append(Window(z, np.concatenate((time_features(times), time_features(future)))))
            scales.append((mean, std))
            indices.append(future)

        with progress_bar(f"Forecasting {pred_len} bars", verbose) as progress:
            sampled = self.forecaster.sample(windows, pred_len, sample_count, sampling, seed, progress)
        return [
            pd.DataFrame(denormalise(paths.mean(axis=0), *scale), columns=list(FEATURES), index=index)
            for paths, scale, index in zip(sampled, scales, indices, strict=True)
        ]


def _values(df: Any, where: str) -> NDArray[np.float64]:
    """(N, 6) with volume and amount filled in as the reference does."""
    if not isinstance(df, pd.DataFrame):
        raise InputError(f"{where}: expected a pandas DataFrame, found {type(df).__name__}.")
    absent = [name for name in PRICES if name not in df.columns]
    if absent:
        raise InputError(f"{where}: no column {', '.join(absent)}; it has: {', '.join(map(str, df.columns))}.")
    if not len(df):
        raise InputError(f"{where}: no rows of history.")
    given = [name for name in FEATURES if name in df.columns]
    try:
        frame = df[given].astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a column is not numeric: {error}.") from error
    if "volume" not in frame:
        frame["volume"] = frame["amount"] = 0.0
    elif "amount" not in frame:
        frame["amount"] = frame["volume"] * frame[PRICES].mean(axis=1)
    values = frame[list(FEATURES)].to_numpy(dtype=np.float64)
    broken = ~np.isfinite(values)
    for name, rows in zip(FEATURES, broken.T, strict=True):
        if rows.any():
            raise InputError(
                f"{where}: {rows.sum()} missing or infinite values in {name!r}, first in row {rows.argmax()}. "
                "Drop or fill them."
            )
    return values


def _times(times: Any, rows: int, where: str) -> pd.DatetimeIndex:
    try:
        index = pd.DatetimeIndex(times)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} cannot be read as times: {error}.") from error
    if len(index) != rows or index.hasnans:
        raise InputError(f"{where} needs {rows} times, none missing; found {len(index)}.")
    return index
