"""The page of a backtest, from the files in its folder: the verdict first, luck beside it, then how."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from chandler.errors import ConfigError
from chandler.evaluation.backtest import permutation_test
from chandler.reports import charts
from chandler.reports.render import (
    Chart,
    Pairs,
    ToldVerdict,
    decimal,
    excess,
    percent,
    sentence,
    sentences,
    terminal_text,
    write,
)  # fmt: skip

SHOWN = 0.05
"""A share of random signals at least as good, or at most, below which chance is no good explanation."""


@dataclass(frozen=True)
class Luck:
    """A backtest among those of random signals."""

    draws: int
    as_good: int
    """How many did as well or better."""
    lost: int
    """How many were behind the benchmark."""
    low: float
    high: float
    """90% of them lie between these."""
    case: str
    """few (did as well), worse (than nearly all), chance, too few (random signals to tell)."""
    least: int
    """So many it takes to tell."""


@dataclass(frozen=True)
class BacktestPage:
    """What the page says."""

    name: str
    summary: Mapping[str, Any]
    """summary.json of the folder."""
    headline: str
    lines: Pairs
    growth: Chart
    relative: Chart
    luck: Chart | None
    """None where no random signals were traded."""
    how: Pairs


def write_backtest_report(folder: str | Path) -> Path:
    """Write report.html, whole or not at all.

    Raises:
        ConfigError: no finished backtest there.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        curves = pd.read_parquet(folder / "curve.parquet")
        fan = pd.read_parquet(folder / "random.parquet")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{folder}: no finished backtest to report ({error}). Run chandler backtest first.") from None
    daily = {str(name): rows.reset_index(drop=True) for name, rows in curves.groupby("signal", sort=False)}
    return write("backtest", backtest_page(summary, settings, daily, fan, folder.resolve().name), folder)


def backtest_page(
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    daily: Mapping[str, pd.DataFrame],
    fan: pd.DataFrame,
    name: str,
) -> BacktestPage:
    """What the page will say of a summary, its settings, the curve of each signal, and the band of the random ones."""
    benchmark, signal, random = summary["benchmark"], summary["signal"], summary["random"]["annual_excess"]
    growth, relative = (charts.growth(daily, fan, benchmark, relative=one) for one in (False, True))
    luck = charts.luck(random, summary["results"][signal]["annual_excess"], signal) if random else None
    return BacktestPage(
        name=name,
        summary=summary,
        headline=headline(summary),
        lines=verdict_lines(summary),
        growth=Chart(growth, "Growth of 1 over time"),
        relative=Chart(relative, "Growth of 1 over time, relative to the benchmark"),
        luck=Chart(luck, "Annual excess returns of random signals") if luck else None,
        how=sentences("backtest", "how", summary, settings),
    )


def backtest_text(folder: str | Path) -> str:
    """The verdict for a terminal."""
    summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    return terminal_text(headline(summary), verdict_lines(summary))


def backtest_verdict(folder: Path) -> ToldVerdict:
    """What a terminal says, and the numbers of all signals."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    rows = {
        name: {
            "Return": excess(one["annual_return"]),
            "Above benchmark": excess(one["annual_excess"]),
            "Volatility": percent(one["annual_volatility"], 1),
            "Info. ratio": decimal(one["information_ratio"]),
            "Deepest fall": percent(0 - one["max_drawdown"], 1),
            "Turnover": percent(one["turnover"], 1),
            "Trades": f"{one['trades']:,}",
        }
        for name, one in summary["results"].items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return ToldVerdict(headline(summary), verdict_lines(summary), table, "A year, except turnover (a bar) and trades.")


def headline(summary: Mapping[str, Any]) -> str:
    """What the backtest shows, in one sentence; no more than interval and random signals allow."""
    return sentence("backtest", "headline", summary, luck_of(summary))


def verdict_lines(summary: Mapping[str, Any]) -> Pairs:
    """(about, sentence) pairs of the verdict."""
    return sentences("backtest", "lines", summary, luck_of(summary))


def luck_of(summary: Mapping[str, Any]) -> Luck | None:
    """Where the signal lies among the random ones; None where none were traded."""
    random, actual = summary["random"]["annual_excess"], summary["results"][summary["signal"]]["annual_excess"]
    if not random:
        return None
    found, least = permutation_test(actual, random), math.ceil(1 / SHOWN) - 1
    case = "chance"
    if len(random) < least:  # no share of so few can be small
        case = "too few"
    elif found["share"] <= SHOWN:
        case = "few"
    elif found["share_below"] <= SHOWN:
        case = "worse"
    as_good, lost = sum(one >= actual for one in random), sum(one < 0 for one in random)
    return Luck(len(random), as_good, lost, found["low"], found["high"], case, least)
