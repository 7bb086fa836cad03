"""The reference implementation's names, argument order and results over this one: change the import, keep the script.

    from chandler.compat import Kronos, KronosTokenizer, KronosPredictor

Parity is the purpose, so what the reference does is done, where `chandler.Forecaster` knows better: statistics over
every row given, even rows the model never sees; paths averaged into one; `top_p` without effect beside `top_k`;
a missing volume empties the amount too. Unlike the reference, series of a batch may differ in length, horizons may
exceed the context, times may be any DatetimeIndex, and a seed can be given. Two things are not as in the reference,
because they only ever hid mistakes: times are checked (increasing, the future after the history, zones that agree),
and a pass in eval mode is as causal as one in train mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from chandler.data.bars import FEATURES
from chandler.data.calendars.time_features import time_features
from chandler.data.datasets.windows import denormalise, normalise
from chandler.devices import bring, resolve
from chandler.errors import ConfigError, DataError
from chandler.forecasting.engine.sampling import Sampling
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.preprocessing import ModelInput, given_times, read_times
from chandler.forecasting.settings import ForecastSettings
from chandler.nn import predictor, tokenizer
from chandler.nn.quantizer import signs_to_ids
from chandler.progress import patient_bar

__all__ = ["InputError", "Kronos", "KronosPredictor", "KronosTokenizer", "auto_regressive_inference"]

PRICES = ["open", "high", "low", "close"]


class InputError(DataError, ValueError):
    """A data frame that cannot be forecast; also a ValueError, which is what the reference raises."""


class _Reference:
    """What both models take from the hub's mixin beyond ours, and what they are without it."""

    native_class: ClassVar[type[nn.Module]]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *,
        map_location: str | torch.device = "cpu",
        strict: bool = True,
        resume_download: bool | None = None,
        proxies: dict[str, str] | None = None,
        **ours: Any,
    ) -> Self:
        """As `chandler.Kronos.from_pretrained`, with the hub's other keywords.

        Args:
            map_location: the device that it is moved to.
            strict: whatever it says, a checkpoint has to fit: weights that are not there would be random.
            resume_download: without effect, with a warning; downloads always go on where they stopped.
            proxies: refused; the environment (HTTPS_PROXY) says them.
            ours: revision, subfolder, cache_dir, token, local_files_only, force_download.
        """
        if resume_download is not None:
            warnings.warn("resume_download has no effect: downloads always go on where they stopped", stacklevel=2)
        if proxies:
            raise ConfigError("proxies are taken from the environment: leave the keyword out and set HTTPS_PROXY.")
        device = resolve(map_location)
        model = cast(Any, super()).from_pretrained(pretrained_model_name_or_path, **ours)
        bring(device, model)
        return model

    @property
    def native(self) -> Any:
        """The same model, down to every attribute, with the methods of chandler's own class."""
        view = self.native_class.__new__(self.native_class)
        object.__setattr__(view, "__dict__", self.__dict__)
        return view


class KronosTokenizer(_Reference, tokenizer.KronosTokenizer):
    """The tokenizer with the reference's signatures. Its keywords are the keys of config.json, in their order:
    `KronosTokenizer(d_in=6, d_model=256, ...)`."""

    native_class = tokenizer.KronosTokenizer

    def __init__(
        self,
        *values: Any,
        config: tokenizer.TokenizerConfig | None = None,
        generator: torch.Generator | None = None,
        **keys: Any,
    ) -> None:
        if values and isinstance(values[0], tokenizer.TokenizerConfig):
            config = values[0]
        super().__init__(config or tokenizer.TokenizerConfig(*values, **keys), generator=generator)

    def encode(self, x: Tensor, half: bool = False) -> Any:
        """Normalised bars x (B, T, d_in) -> full token ids (B, T) int64; with `half` coarse and fine ids (s1, s2)."""
        s1, s2 = super().encode(x)
        return (s1, s2) if half else s1 | (s2 << self.config.s1_bits)

    def decode(self, x: Any, half: bool = False) -> Tensor:  # type: ignore[override]
        """Full token ids (B, T), or with `half` a pair (s1, s2) of them -> normalised bars (B, T, d_in)."""
        s1, s2 = x if half else (x & (2**self.config.s1_bits - 1), x >> self.config.s1_bits)
        return super().decode(s1, s2)

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        """The training pass over x (B, T, d_in).

        Returns:
            ((recon_s1, recon), bsq_loss, quantized, ids): bars (B, T, d_in) decoded from the s1 coordinates alone and
            from all; a scalar; (B, T, K); full token ids (B, T).
        """
        out = super().forward(x)
        return (out.recon_s1, out.recon), out.bsq_loss, out.quantized, signs_to_ids(out.quantized.detach())


class _Head(predictor.Heads):
    """The output projections, with the loss over them."""

    def __init__(self, heads: predictor.Heads) -> None:
        nn.Module.__init__(self)
        self.proj_s1, self.proj_s2 = heads.proj_s1, heads.proj_s2

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, s1_loss, s2_loss): mean cross entropies over all rows, and the mean of both.

        Args:
            s1_logits, s2_logits: (B, T, V), what the model returns.
            s1_targets, s2_targets: (B, T) int64, ids of the next rows.
            padding_mask: (B, T) bool, True for rows that do not count.
        """

        def mean(logits: Tensor, targets: Tensor) -> Tensor:
            kept = slice(None) if padding_mask is None else ~padding_mask.bool().flatten()
            return F.cross_entropy(logits.float().flatten(0, 1)[kept], targets.flatten()[kept])

        s1_loss, s2_loss = mean(s1_logits, s1_targets), mean(s2_logits, s2_targets)
        return (s1_loss + s2_loss) / 2, s1_loss, s2_loss


class Kronos(_Reference, predictor.Kronos):
    """The predictor with the reference's signatures. Its keywords are the keys of config.json, in their order:
    `Kronos(s1_bits=10, s2_bits=10, n_layers=8, ...)`.

    A `padding_mask` (B, T), True for padding, may mark rows behind the bars of a window: causal passes do not see
    them. Padding elsewhere is refused.
    """

    native_class = predictor.Kronos
    head: _Head

    def __init__(
        self,
        *values: Any,
        config: predictor.PredictorConfig | None = None,
        generator: torch.Generator | None = None,
        **keys: Any,
    ) -> None:
        if values and isinstance(values[0], predictor.PredictorConfig):
            config = values[0]
        super().__init__(config or predictor.PredictorConfig(*values, **keys), generator=generator)
        self.head = _Head(self.head)

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The training pass, causal in train and in eval mode: s1 and s2 logits (B, T, V) of the next rows.

        Args:
            s1_ids, s2_ids: (B, T).
            stamp: time features (B, T, 5).
            use_teacher_forcing: s2 is conditioned on `s1_targets` (B, T) instead of s1 drawn from the model's own
                distribution, by torch's global generator.
        """
        _only_behind(padding_mask)
        if not use_teacher_forcing:
            condition = torch.rand(s1_ids.shape, device=s1_ids.device)
        elif s1_targets is None:
            raise ConfigError("use_teacher_forcing=True needs s1_targets, the coarse ids of the next rows.")
        else:
            condition = s1_targets
        return super().forward(s1_ids, s2_ids, stamp, condition)

    def decode_s1(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """s1 logits (B, T, V) of the next rows, and the hidden states (B, T, d_model) for `decode_s2`."""
        _only_behind(padding_mask)
        hidden = self.hidden(s1_ids, s2_ids, stamp)
        return self.s1_logits(hidden), hidden

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """s2 logits (B, Tq, V) given the coarse ids s1_ids (B, Tq) of the rows that are predicted.

        With an id for every row of `context` (B, T, d_model) it is the training pass. With fewer they are the last
        ones, which see all of the context without positions: so the released weights were always sampled.
        """
        if s1_ids.shape[1] == context.shape[1]:
            _only_behind(padding_mask)
            return self.s2_logits(context, s1_ids)
        if padding_mask is not None and padding_mask.any():
            raise ConfigError("padding_mask: a step of decoding sees the whole context. Cut the padding off before.")
        return self.s2_logits(context, s1_ids, causal=False, positions="reference")


def _only_behind(padding_mask: Tensor | None) -> None:
    """Refuse padding that a causal pass would see."""
    if padding_mask is None or not padding_mask.any():
        return
    padded = padding_mask.bool()
    if padded[:, 0].any() or (padded[:, :-1] & ~padded[:, 1:]).any():
        raise ConfigError(
            "padding_mask: True marks padding, which may only lie behind the bars of a window. Pad at the end, or "
            "batch windows of one length."
        )


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
        model: predictor.Kronos,
        tokenizer: tokenizer.KronosTokenizer,
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
        _at_least_one(pred_len=pred_len, sample_count=sample_count)
        windows, scales, indices = [], [], []
        for number, (df, x_timestamp, y_timestamp) in enumerate(
            zip(df_list, x_timestamp_list, y_timestamp_list, strict=True)
        ):
            where = f"series {number}" if len(df_list) > 1 else "df"
            values = _values(df, where)
            times, future = _times(x_timestamp, y_timestamp, len(values), pred_len, where)
            z, mean, std = normalise(values, len(values), self.clip)
            windows.append(ModelInput(z, np.concatenate((time_features(times), time_features(future)))))
            scales.append((mean, std))
            indices.append(future)

        means = _continued(self.forecaster, windows, pred_len, _settings(T, top_k, top_p, sample_count), seed, verbose)
        return [
            pd.DataFrame(denormalise(mean, *scale), columns=list(FEATURES), index=index)
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
        _at_least_one(pred_len=pred_len, sample_count=sample_count)
        windows = _windows(x, x_stamp, y_stamp, pred_len, self.clip)
        means = _continued(self.forecaster, windows, pred_len, _settings(T, top_k, top_p, sample_count), seed, verbose)
        return np.stack(means).astype(np.float32)


def auto_regressive_inference(
    tokenizer: tokenizer.KronosTokenizer,
    model: predictor.Kronos,
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


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, found {count!r}.")


def _settings(T: float, top_k: int, top_p: float, sample_count: int) -> ForecastSettings:
    """The reference drops `top_p` whenever `top_k` is on."""
    return ForecastSettings(sample_count, Sampling(temperature=T, top_k=top_k, top_p=None if top_k else top_p))


def _continued(
    forecaster: Forecaster,
    windows: list[ModelInput],
    pred_len: int,
    settings: ForecastSettings,
    seed: int | None,
    verbose: bool,
) -> list[NDArray[np.float64]]:
    """The mean path (pred_len, 6) of each window, normalised."""
    if seed is None:
        seed = int(torch.randint(2**62, ()))
    with patient_bar(f"Forecasting {pred_len} bars", verbose) as progress:
        sampled = forecaster.sample(windows, pred_len, settings.paths, settings.sampling, seed, progress)
    return [paths.mean(axis=0) for paths in sampled]


def _windows(x: Any, x_stamp: Any, y_stamp: Any, pred_len: int, clip: float) -> list[ModelInput]:
    """Windows of (B, N, 6) normalised bars and their time features."""
    values, past, future = (
        np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part) for part in (x, x_stamp, y_stamp)
    )
    if values.ndim != 3 or values.shape[2] != len(FEATURES) or not values.shape[1]:
        raise InputError(f"x must be (series, rows, {len(FEATURES)}), found {values.shape}.")
    if not np.isfinite(values).all():
        raise InputError("x has missing or infinite values. Drop or fill them.")
    tables = list(predictor.TIME_TABLES.values())
    for name, stamps, rows in (("x_stamp", past, values.shape[1]), ("y_stamp", future, pred_len)):
        if stamps.shape != (len(values), rows, len(tables)):
            raise InputError(f"{name} must be {(len(values), rows, len(tables))}, found {stamps.shape}.")
        if not ((stamps >= 0) & (stamps < tables)).all():
            raise InputError(
                f"{name} has time features that no clock shows. Their order is {', '.join(predictor.TIME_TABLES)}."
            )
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
