"""Market regimes by clustering: embeddings beside plain realised volatility, drawn over the closes, and what either says.

    python -m benchmarks.regimes [DATA] [--model chandler-nano] [--clusters 3] [--every 5] [--out docs/regimes.png]

Clusters are fitted on the first half of the time line and applied to the rest, where they are judged: the share of the
variance between the clusters (eta squared) of what had been, and of what came over the next 20 bars. The last column is
the one that matters: what the embedding adds to volatility, in as many groups of volatility alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq

from chandler import BarStore, Forecaster, load_bars

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#7A3E9D", "#009E73")
"""Told apart without red and green (Okabe & Ito)."""
AHEAD = 20
"""Bars of realised volatility and return, before and after."""
DRAWN = 100
"""Rows below which a symbol is not drawn."""
COMPONENTS = 8
"""Principal components of the embeddings that are clustered: k-means of 128 columns finds the noisiest."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """What a k-means of some rows makes of all, numbered by the volatility of their bars."""

    labels: NDArray[np.int64]

    @classmethod
    def of(
        cls, x: NDArray[np.float64], fitted: NDArray[np.bool_], volatility: NDArray[np.float64], k: int
    ) -> Clustering:
        """Of standardised x (N, d), by the rows `fitted`; the calmest cluster is 0."""
        # Ten beginnings: k-means ends where it began near.
        tried = [kmeans2(x[fitted], k, minit="++", seed=seed)[0] for seed in range(10)]
        centres = min(tried, key=lambda one: float(vq(x[fitted], one)[1].mean()))
        labels = vq(x, centres)[0]
        order = np.argsort([volatility[labels == one].mean() if (labels == one).any() else np.inf for one in range(k)])
        return cls(np.argsort(order)[labels])

    def regime_length(self, symbols: NDArray[np.object_]) -> float:
        """Mean number of rows before the cluster changes."""
        changes = (self.labels[1:] != self.labels[:-1]) | (symbols[1:] != symbols[:-1])
        return len(self.labels) / (1 + changes.sum())


def eta_squared(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Share of the variance of values (N,) that lies between groups, less what as many random groups would take."""
    known = np.isfinite(values)
    frame = pd.DataFrame({"value": values[known], "group": groups[known]})
    between = frame.groupby("group")["value"].transform("mean").var(ddof=0) / frame["value"].var(ddof=0)
    n, k = len(frame), frame["group"].nunique()
    return float(1 - (1 - between) * (n - 1) / max(n - k, 1))


def facts(store: BarStore) -> pd.DataFrame:
    """By symbol and bar: realised volatility and return of the last AHEAD bars, and of the next."""
    made = []
    for bars in store:
        moves = pd.Series(np.log(bars.values[:, 3]), bars.timestamps).diff()
        volatility = np.log(np.sqrt((moves**2).rolling(AHEAD).mean()))
        returns = moves.rolling(AHEAD).sum()
        frame = pd.DataFrame({
            "close": bars.values[:, 3], "volatility": volatility, "return": returns,
            "next volatility": volatility.shift(-AHEAD), "next return": returns.shift(-AHEAD),
        })  # fmt: skip
        made.append(frame.assign(symbol=bars.symbol, timestamp=bars.timestamps).set_index(["symbol", "timestamp"]))
    return pd.concat(made)


def draw(table: pd.DataFrame, labels: dict[str, NDArray[np.int64]], half: pd.Timestamp, out: Path) -> None:
    """A row per symbol, a column per clustering: the close, its bars in the colour of their cluster."""
    rows = table.groupby("symbol", sort=False).size()
    symbols = rows.index[rows >= DRAWN]
    figure, axes = plt.subplots(len(symbols), len(labels), figsize=(11, 1.9 * len(symbols)), sharex=True, squeeze=False)
    times = table.index.get_level_values("timestamp")
    for row, symbol in enumerate(symbols):
        own = table.index.get_level_values("symbol") == symbol
        for column, (name, found) in enumerate(labels.items()):
            axis = axes[row, column]
            axis.plot(times[own], table["close"][own], color="#D9D9D9", linewidth=0.8, zorder=1)
            for one in range(max(part.max() for part in labels.values()) + 1):
                chosen = own & (found == one)
                axis.scatter(times[chosen], table["close"][chosen], s=4, color=COLOURS[one % len(COLOURS)], zorder=2,
                             label=f"{one + 1}", linewidths=0)  # fmt: skip
            axis.axvline(half, color="#555555", linewidth=0.8, linestyle=":")
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(
                LogLocator(subs=(1, 2, 5) if np.ptp(np.log(table["close"][own])) < 3 else (1,))
            )
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
            if column == 0:
                axis.set_ylabel(symbol, fontsize=9, rotation=0, ha="right", va="center")
            if row == 0:
                axis.set_title(name, fontsize=10, loc="left")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, title="cluster, calmest first", ncols=len(names), loc="lower center", frameon=False,
                  fontsize=8, title_fontsize=8, markerscale=2.5)  # fmt: skip
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100, facecolor="white")
    print(f"Picture: {out} (clusters were fitted left of the dotted line)")


def main() -> None:
    """Embed, cluster, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="chandler-stocks")
    parser.add_argument("--model", default="chandler-nano")
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/regimes.png"))
    options = parser.parse_args()
    store = load_bars(options.data)
    states = Forecaster.from_pretrained(options.model).embed(store, every=options.every)
    table = facts(store).reindex(states.index)
    times = states.index.get_level_values("timestamp")
    half = times.sort_values()[len(times) // 2]
    fitted = np.asarray(times < half)
    volatility = table["volatility"].to_numpy()

    z = states.to_numpy(np.float64)
    z = (z - z[fitted].mean(axis=0)) / z[fitted].std(axis=0)
    components = np.linalg.svd(z[fitted], full_matrices=False)[2][:COMPONENTS]
    by_state = Clustering.of(z @ components.T, fitted, volatility, options.clusters)
    by_volatility = Clustering.of(volatility[:, None], fitted, volatility, options.clusters)
    finer = Clustering.of(volatility[:, None], fitted, volatility, options.clusters**2)
    by_return = Clustering.of(table["return"].to_numpy()[:, None], fitted, volatility, options.clusters)
    cells = by_volatility.labels * options.clusters

    later, symbols = ~fitted, np.asarray(states.index.get_level_values("symbol"), dtype=object)
    ways = {
        "embedding": by_state.labels,
        "volatility": by_volatility.labels,
        "volatility x embedding": cells + by_state.labels,
        "volatility x past return": cells + by_return.labels,
        f"volatility in {options.clusters**2}": finer.labels,
    }
    columns = {
        **{name: table[name].to_numpy() for name in ("volatility", "return", "next volatility", "next return")},
        "month": times.month.to_numpy(float),
    }
    print(f"{len(states):,} embeddings; judged on {later.sum():,} from {half.date()} on; eta squared:\n")
    print(pd.DataFrame({way: {name: eta_squared(column[later], labels[later]) for name, column in columns.items()}
                        for way, labels in ways.items()}).T.to_string(float_format="{:+.3f}".format))  # fmt: skip
    for name, one in (("embedding", by_state), ("volatility", by_volatility)):
        print(f"{name}: a cluster lasts {one.regime_length(symbols) * options.every:.0f} bars; shares "
              f"{np.round(np.bincount(one.labels[later], minlength=options.clusters) / later.sum(), 2).tolist()}")  # fmt: skip
    draw(table, {"by embedding": by_state.labels, "by realised volatility": by_volatility.labels}, half, options.out)


if __name__ == "__main__":
    main()
