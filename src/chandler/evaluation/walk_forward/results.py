"""Reads scores.parquet back as arrays and takes every measure from them: pure functions of what the file holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from chandler.data import FEATURES
from chandler.errors import ConfigError
from chandler.evaluation.walk_forward.forecasters import CALIBRATED
from chandler.evaluation.walk_forward.part_store import read_table
from chandler.evaluation.walk_forward.runner import CONFIG, SCORES, read_state
from chandler.evaluation.walk_forward.scores import quantile_name
from chandler.measures import (
    Comparison,
    Estimate,
    Kind,
    adaptive_bands,
    band_levels,
    cross_section,
    direction,
    ic,
    inside,
    newey_west_t,
    pinball,
    qlike,
    r2,
    rank_ic,
    scaled,
    share_interval,
)
from chandler.measures import compare as compare_origins

Array = NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")
NAIVE = ("bootstrap", "gaussian_walk", "ewma", "garch", "last_close")
"""The first of these that was evaluated is what "naive" means for distributions and volatility."""


@dataclass(frozen=True)
class ComparisonSpec:
    """Something a model may be better at than naive."""

    loss: str
    title: str
    unit: str
    naive: tuple[str, ...]


QUESTIONS = (
    ComparisonSpec("crps", "distribution", "CRPS of the close, % of the last close", NAIVE),
    ComparisonSpec(
        "mae", "point forecast", "mean absolute error of the mean, % of the last close", ("last_close", *NAIVE)
    ),
    ComparisonSpec("qlike", "volatility", "QLIKE of the variance over the horizon", NAIVE),
)


def _kept(method: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """Found once: a report, its tables and its headline ask for the same again and again."""

    @wraps(method)
    def found(results: Results, /, *given: P.args, **named: P.kwargs) -> T:
        key = method.__name__, given, *named.items()
        if key not in results._found:
            results._found[key] = method(results, *given, **named)
        return results._found[key]

    return found


class Results:
    """The forecasts of an evaluation, as (W, H) arrays by model and column."""

    def __init__(self, folder: str | Path) -> None:
        """Raises ConfigError where there is no finished evaluation, or one whose scores cannot be read."""
        self.folder = Path(folder)
        self.state = read_state(self.folder)
        if not (self.folder / SCORES).is_file():
            raise ConfigError(
                f"{folder}: the evaluation has not finished. The same `chandler evaluate` goes on with it."
            )
        self.config: dict[str, Any] = yaml.safe_load((self.folder / CONFIG).read_text(encoding="utf-8"))
        index = self.table(SCORES, ["model", "window", "step"]).to_pandas()
        self.names: list[str] = list(index["model"].unique())
        codes = index["model"].map({name: code for code, name in enumerate(self.names)}).to_numpy()
        self._place = (codes, index["window"].to_numpy(), index["step"].to_numpy() - 1)
        self._shape = (len(self.names), *(int(part.max()) + 1 for part in self._place[1:]))
        self._found: dict[Any, Any] = {}

    @property
    def baselines(self) -> list[str]:
        """Names of the baselines, in the order of the settings."""
        return [name for name in self.config["baselines"] if name in self.names]

    @property
    def models(self) -> list[str]:
        """Names of the models, each followed by its calibrated twin if it has one."""
        return [name for name in self.names if name not in self.config["baselines"]]

    @property
    def raw_models(self) -> list[str]:
        """Without the twins."""
        return [name for name in self.models if not name.endswith(CALIBRATED)]

    @property
    def horizon(self) -> int:
        """Bars ahead."""
        return int(self._shape[2])

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file of the folder. ConfigError: it cannot be read."""
        remedy = "The same `chandler evaluate` writes it anew; what was forecast is kept."
        return read_table(self.folder / name, remedy, columns)

    def column(self, model: str, name: str) -> NDArray[Any]:
        """One column of one model, (W, H)."""
        found: NDArray[Any] = self._whole(name)[self.names.index(model)]
        return found

    @_kept
    def _whole(self, name: str) -> NDArray[Any]:
        """One column of all models, (models, W, H)."""
        values = self.table(SCORES, [name]).column(0).to_pandas().to_numpy()
        whole = np.empty(self._shape, values.dtype)
        whole[self._place] = values
        return whole

    def truth(self, name: str) -> NDArray[Any]:
        """A column that is the same for all models, (W, H)."""
        return self.column(self.names[0], name)

    @cached_property
    def symbols(self) -> NDArray[Any]:
        """(W,) of each window."""
        found: NDArray[Any] = self.truth("symbol")[:, 0]
        return found

    @cached_property
    def rounds(self) -> NDArray[np.int64]:
        """(W,) of each window."""
        return np.asarray(self.truth("round")[:, 0], np.int64)

    def prices(self, model: str) -> bool:
        """Whether it says anything of prices."""
        return bool(np.isfinite(self.column(model, "crps")).any())

    def spreads(self, model: str) -> bool:
        """Whether it is a distribution: a point has no bands."""
        return self.prices(model) and bool((self.column(model, "q95") > self.column(model, "q05")).any())

    @_kept
    def losses(self, model: str) -> Mapping[str, Array]:
        """(W,) of each measure, lower is better, NaN where the model says nothing of it.

        crps, mae, rmse (squared): means over the steps, in % of the last close; crps_return in % log return; mase;
        qlike and volatility of the whole horizon; volume: error in units of the history's usual change.
        """
        last, came = self.truth("last"), self.truth("truth_close")
        error = self.column(model, "mean_close") - came
        variance, true_variance = self.column(model, "variance")[:, -1], self.truth("truth_variance")[:, -1]
        nothing = np.full(len(last), np.nan)
        found = {
            "crps": (self.column(model, "crps") / last).mean(1) * 100,
            "crps_return": self.column(model, "crps_return").mean(1) * 100,
            "mae": (np.abs(error) / last).mean(1) * 100,
            "rmse": np.square(error / last).mean(1) * 100**2,
            "mase": scaled(np.abs(error).mean(1), self.truth("naive_step")[:, 0]),
            "qlike": nothing,
            "volatility": nothing,
            "volume": scaled(
                np.abs(self.column(model, "mean_volume") - self.truth("truth_volume")).mean(1),
                self.truth("naive_volume_step")[:, 0],
            ),
        }
        if self.spreads(model):
            found["qlike"] = qlike(np.maximum(variance, 1e-12), true_variance)
            found["volatility"] = np.abs(np.sqrt(variance) - np.sqrt(true_variance)) * 100
        return found

    def mean(self, values: Array) -> float:
        """Mean over the origins of the means over their symbols, as comparisons take it; NaN where there is nothing."""
        return float(self.by_round(values).mean())

    def by_round(self, values: NDArray[Any] | pd.Series) -> pd.Series:
        """Means of values (W,) over the windows of each round, in order of time."""
        return pd.Series(values).groupby(self.rounds).mean()

    def estimate(self, by_round: pd.Series) -> Estimate:
        """Of a mean over rounds, whose windows may overlap."""
        count = int(by_round.notna().sum())
        lags = None if count < 4 else min(max(self.overlap, int(4 * (count / 100) ** (2 / 9))), count - 1)
        return newey_west_t(by_round.to_numpy(), lags)

    def crps_by_round(self, model: str) -> Array:
        """(rounds, H) CRPS over the last close, means over the windows of each round, in order of time."""
        each = pd.DataFrame(self.column(model, "crps") / self.truth("last"))
        return each.groupby(self.rounds).mean().to_numpy()

    def crps_by_symbol(self, model: str, rival: str | None = None) -> pd.Series:
        """CRPS in % of the last close by symbol; with a rival, by how many % it differs from the rival's."""
        own = pd.Series(self.losses(model)["crps"]).groupby(self.symbols).mean()
        return own if rival is None else (own / self.crps_by_symbol(rival) - 1) * 100

    def pinball(self, model: str) -> float:
        """Mean pinball loss of the 5% and 95% quantiles, in % of the last close: what tails cost; NaN for a point."""
        if not self.spreads(model):
            return float("nan")
        came, last = self.truth("truth_close"), self.truth("last")
        losses = [pinball(self.column(model, quantile_name(level)), came, level) / last for level in (0.05, 0.95)]
        return self.mean(np.mean(losses, axis=(0, 2))) * 100

    def r2(self, model: str) -> float:
        """Of the volatility (square root of the variance over the horizon); NaN for a point."""
        if not self.spreads(model):
            return float("nan")
        made, came = self.column(model, "variance")[:, -1], self.truth("truth_variance")[:, -1]
        return r2(np.sqrt(made), np.sqrt(came))

    def direction(self, model: str) -> Estimate:
        """Share of windows whose last bar lies on the side that the mean return names, over the rounds."""
        if not self.prices(model):
            return self.estimate(pd.Series([np.nan]))
        said = np.round(self.column(model, "mean_return")[:, -1], 12)
        right = direction(said, self.truth("truth_close")[:, -1] - self.truth("last")[:, -1])
        found = self.estimate(self.by_round(right) - 0.5)
        return replace(found, mean=found.mean + 0.5)

    def rank_ic(self, model: str) -> Estimate:
        """Across symbols: the forecast of the return at the last step against what came, one value a round."""
        if not self.prices(model):
            return self.estimate(pd.Series([np.nan]))
        frame = pd.DataFrame({
            "round": self.rounds,
            "forecast": self.column(model, "mean_return")[:, -1],
            "truth": np.log(self.truth("truth_close")[:, -1] / self.truth("last")[:, -1]),
        })  # fmt: skip
        return self.estimate(cross_section(frame, "round", "forecast", "truth", kind="rank_ic"))

    def path_ic(self, model: str) -> Estimate:
        """Along the path: the mean path's rank correlation with the true one, over open, high, low and close."""
        each = self.path_correlations(model, "rank_ic")
        return self.estimate(self.by_round(each.mean(axis=1, skipna=False)) if len(each) else pd.Series([np.nan]))

    @_kept
    def path_correlations(self, model: str, kind: Kind) -> pd.DataFrame:
        """Of each window's mean path with the true one: a column for each price that the model speaks of."""
        measure = {"ic": ic, "rank_ic": rank_ic}[kind]
        pairs = {name: (self.column(model, f"mean_{name}"), self.truth(f"truth_{name}")) for name in FEATURES[:4]}
        return pd.DataFrame({
            name: [measure(f, t) for f, t in zip(made, came, strict=True)]
            for name, (made, came) in pairs.items() if np.isfinite(made).all()
        })  # fmt: skip

    def band(self, model: str, level: float) -> tuple[Array, Array]:
        """(W, H) lower and upper edges, in price units."""
        low, high = map(quantile_name, band_levels(level))
        return self.column(model, low), self.column(model, high)

    @_kept
    def coverage(self, model: str, level: float) -> tuple[float, float, float]:
        """Share of true closes inside, edges included, and its 95% block bootstrap interval over the rounds, within 0 and
        1; NaN edges with one round."""
        held = inside(*self.band(model, level), self.truth("truth_close"))
        found = share_interval(self.by_round(held.mean(1)), self.overlap)
        return found.mean, found.low, found.high

    @_kept
    def adaptive_coverage(self, model: str, level: float) -> tuple[float, float]:
        """Coverage of adaptive bands over all steps, and their width in % of the last close.

        Each step is replayed for itself, all symbols of a round together.
        """
        low, high = self.band(model, level)
        came, last = self.truth("truth_close"), self.truth("last")
        numbers, rounds = pd.factorize(self.symbols)[0], self.rounds
        shape = int(rounds.max()) + 1, int(numbers.max()) + 1
        shares, widths = [], []
        for step in range(self.horizon):
            lower, upper, true = panel = np.ones(shape), np.ones(shape), np.full(shape, np.nan)
            for grid, values in zip(panel, (low, high, came), strict=True):
                # A price at or below 0 has no logarithm: such an edge lies below every close all the same.
                grid[rounds, numbers] = np.maximum(values[:, step], 1e-12)
            found = adaptive_bands(lower, upper, true, level, delay=-(-(step + 1) // self.apart))
            shares.append(found.coverage())
            widths.append(((found.high - found.low)[rounds, numbers] / last[:, step]).mean() * 100)
        return float(np.mean(shares)), float(np.mean(widths))

    def width(self, model: str, level: float) -> float:
        """Mean width of the band in % of the last close."""
        low, high = self.band(model, level)
        return float(((high - low) / self.truth("last")).mean() * 100)

    @_kept
    def compare(self, model: str, rival: str, loss: str) -> Comparison:
        """A model's loss against a rival's, over the origins."""
        return self.compare_losses(self.losses(model)[loss], self.losses(rival)[loss])

    def compare_losses(self, mine: Array, theirs: Array) -> Comparison:
        """Losses (W,) against others, over the origins."""
        return compare_origins(mine, theirs, self.rounds, self.horizon, stride=self.apart)

    def naive(self, question: ComparisonSpec) -> str | None:
        """What "naive" means for a question; None where no baseline answers it, as a point does not of distributions: its
        CRPS is an absolute error, which any spread betters."""
        able = self.rivals(question.loss)
        if question.loss == "crps":
            able = [name for name in able if (self.column(name, "paths") > 1).any()]  # those may all lie on one another
        return next((name for name in question.naive if name in able), able[0] if able else None)

    def rivals(self, loss: str) -> list[str]:
        """The baselines that answer a question."""
        return [name for name in self.baselines if np.isfinite(self.losses(name)[loss]).any()]

    @property
    def apart(self) -> int:
        """Bars between two rounds."""
        return int(self.state["apart"])

    @property
    def overlap(self) -> int:
        """How many neighbouring rounds share forecast bars; 1: none."""
        return -(-self.horizon // self.apart)

    def independent(self) -> int:
        """Rounds that share no forecast bar."""
        return max(1, len(np.unique(self.rounds)) // self.overlap)

    def calibrated_here(self, model: str) -> bool:
        """Whether a model's calibration was fitted on bars of this very period: what it covers here proves nothing."""
        found = self.calibrations(model)
        return bool(found) and pd.Timestamp(found[0]["last"]) >= pd.Timestamp(self.state["first"])

    def calibrations(self, model: str) -> list[dict[str, Any]]:
        """Those of its twin, as `Calibration.to_dict`; more than one where it was fitted again along the period."""
        found = self.state["contenders"].get(model, {})
        # Evaluations of before had one, under another name.
        kept = found.get("calibrations", [found])
        return [one["calibration"] for one in kept if one.get("calibration")]

    def marks(self, model: str) -> dict[str, int]:
        """Windows by mark, without those that have none."""
        found, counts = np.unique(self.column(model, "mark")[:, 0].astype(str), return_counts=True)
        return {str(mark): int(count) for mark, count in zip(found, counts, strict=True) if mark}
