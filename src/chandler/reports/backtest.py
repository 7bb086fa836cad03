"""The page of a backtest, from the files in its folder: the verdict first, luck beside it, then how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from chandler.errors import ConfigError
from chandler.reports import charts
from chandler.reports.render import Chart, Pairs, Table, day, signed, write

SHOWN = 0.05
"""A share of random signals at least as good below which chance is no good explanation."""


@dataclass(frozen=True)
class BacktestPage:
    """What the page says."""

    name: str
    source: str
    symbols: int
    first: str
    last: str
    headline: str
    lines: Pairs
    seen: bool
    growth: Chart
    relative: Chart
    numbers: Table
    luck: Chart | None
    """None where no random signals were traded."""
    draws: int
    persistence: float
    how: Pairs
    formulas: Pairs
    notes: Sequence[str]


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
    relative = charts.growth(daily, fan, benchmark, relative=True)
    luck = charts.luck(random, summary["results"][signal]["annual_excess"], signal) if random else None
    return BacktestPage(
        name=name,
        source=str(summary["source"]),
        symbols=summary["symbols"],
        first=day(summary["first_signal"]),
        last=day(summary["last_bar"]),
        headline=headline(summary),
        lines=verdict_lines(summary),
        seen=bool(summary.get("seen")),
        growth=Chart(charts.growth(daily, fan, benchmark), "Growth of 1 over time"),
        relative=Chart(relative, "Growth of 1 over time, relative to the benchmark"),
        numbers=_results(summary),
        luck=Chart(luck, "Annual excess returns of random signals") if luck else None,
        draws=len(random),
        persistence=summary["persistence"],
        how=_how(summary, settings),
        formulas=list(summary["formulas"].items()),
        notes=summary["notes"],
    )


def backtest_text(folder: str | Path) -> str:
    """The verdict for a terminal."""
    summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    return "\n".join([headline(summary), *(f"{about}: {text}" for about, text in verdict_lines(summary))])


def headline(summary: Mapping[str, Any]) -> str:
    """What the backtest shows, in one sentence; no more than interval and random signals allow."""
    found, luck = summary["results"][summary["signal"]], summary.get("luck")
    who = "The model's portfolio" if summary["kind"] == "model" else "The portfolio of the signals"
    low, high = found["annual_excess_low"], found["annual_excess_high"]
    if low is None or low != low:
        return f"{who} was too short-lived to say anything."
    chance = luck is not None and luck["share"] > SHOWN
    if low > 0:
        rest = ", but random signals often did as well" if chance else ""
        return f"{who} beat the benchmark in this period, after costs{rest}."
    if high < 0:
        rest = "; random signals mostly lost as well" if luck is not None and luck["high"] < 0 else ""
        return f"{who} lost to the benchmark in this period, after costs{rest}."
    return f"{who} shows no difference from the benchmark, after costs."


def verdict_lines(summary: Mapping[str, Any]) -> Pairs:
    """(about, sentence) pairs of the verdict."""
    found, luck = summary["results"][summary["signal"]], summary.get("luck")
    years = found["bars"] / summary["bars_per_year"]
    lines = [
        ("Above benchmark",
         f"{_signed(found['annual_excess'])} a year after costs, 95% interval {_signed(found['annual_excess_low'])} to "
         f"{_signed(found['annual_excess_high'])}; {_signed(found['annual_excess_before_costs'])} before costs."),
        ("In all", f"1 became {found['final_value']:.3f}, in the benchmark {found['benchmark_final_value']:.3f}."),
    ]  # fmt: skip
    if luck is not None:
        draws = summary["random"]["draws"]
        better = sum(one >= found["annual_excess"] for one in summary["random"]["annual_excess"])
        explains = "chance can explain the result" if luck["share"] > SHOWN else "few do so by chance"
        lines.append((
            "Luck",
            f"{better} of {draws} random signals did as well or better with the same rule, the same costs and the same "
            f"persistence (90% of them between {_signed(luck['low'])} and {_signed(luck['high'])} a year): {explains}.",
        ))  # fmt: skip
    rivals = [
        f"{name} {_signed(one['annual_excess'])}"
        for name, one in summary["results"].items()
        if name != summary["signal"]
    ]
    if rivals:
        lines.append(("Simple signals", f"By the same rule and costs: {', '.join(rivals)} a year above the benchmark."))
    lines.append((
        "Risk",
        f"Volatility {_percent(found['annual_volatility'])} a year, deepest fall {_percent(-found['max_drawdown'])}, "
        f"information ratio {_number(found['information_ratio'])}.",
    ))  # fmt: skip
    length = f"{found['bars']:,.0f} bars, {years:.1f} years"
    short = "; annual numbers of less than a year are extrapolated" if years < 1 else ""
    ratio = found["information_ratio"]
    needed = (
        f" An information ratio of {_number(ratio)} takes about {max(0.1, (2 / ratio) ** 2):,.1f} years to stand out (t = 2)."
        if ratio
        else ""
    )
    lines.append(("Length", f"{length} of one history{short}.{needed}"))
    if summary.get("seen"):
        lines.insert(0, ("Seen before!", " ".join(note for note in summary["notes"] if "signals:" in note)))
    return lines


def _results(summary: Mapping[str, Any]) -> Table:
    head = ["Signal", "Return", "Above benchmark", "95% interval", "Before costs", "Volatility", "Info. ratio",
            "Deepest fall", "Turnover", "Costs", "Trades (not filled)"]  # fmt: skip
    rows = []
    for name, one in summary["results"].items():
        rows.append((name, [
            _signed(one["annual_return"]), _signed(one["annual_excess"]),
            f"{_signed(one['annual_excess_low'])} to {_signed(one['annual_excess_high'])}",
            _signed(one["annual_excess_before_costs"]), _percent(one["annual_volatility"]),
            _number(one["information_ratio"]), _percent(-one["max_drawdown"]), _percent(one["turnover"]),
            _percent(one["annual_cost"]), f"{one['trades']:,} ({one['blocked']:,})",
        ]))  # fmt: skip
    first = next(iter(summary["results"].values()))
    rows.append(("benchmark", [_signed(first["benchmark_annual_return"]), *[""] * 9]))
    return Table(head, rows)


def _how(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Pairs:
    rule = settings["portfolio"]
    costs = rule["costs"]
    pairs = [
        ("Rule", f"hold {summary['k']} of {summary['symbols']:,}, replace at most {summary['n_drop']} a bar, hold at least "
                 f"{rule['hold']} bar{'s' if rule['hold'] != 1 else ''}"),
        ("Trading", "signal at the close, traded at the next open; equal shares of the cash; positions drift; cash earns "
                    "nothing; nothing is sold at the end"),
        ("Costs", f"{costs['buy']:g} basis points to buy, {costs['sell']:g} to sell"
                  + (f", at least {costs['least']:g} a trade" if costs["least"] else "")),
        ("Not filled", ", ".join(["no bar or no volume", *([f"limit {rule['limit']:.1%} at the open"] if rule["limit"] else []),
                                  *(["bars of one price against their move"] if rule["one_price"] else [])])),
        ("Signals", f"{summary['scores']:,} scores on {summary['signal_bars']:,} bars, "
                    f"{day(summary['first_signal'])} to {day(summary['last_signal'])}"),
        ("Benchmark", "the symbols with a score, equally weighted anew on every bar, without costs"
                      if summary["benchmark"] == "equal" else f"{summary['benchmark']}, without costs"),
        ("Bars a year", f"{summary['bars_per_year']:.1f} ({_interval(summary['interval'])})"),
    ]  # fmt: skip
    if summary["kind"] == "model":
        window = (
            f"{summary['lookback']} bars of lookback, {summary['horizon']} of horizon; every {settings['every']} bars"
        )
        sampling = (
            f"{settings['paths']} paths, temperature {settings['temperature']:g}, top_p {settings['top_p']:g}, "
            f"seed {settings['seed']}"
        )
        pairs[4:4] = [("Score", "mean forecast close over paths and horizon / last close - 1"), ("Forecasts", window),
                      ("Sampling", sampling)]  # fmt: skip
    return pairs


def _signed(value: float | None) -> str:
    return "-" if value is None or value != value else f"{signed(100 * value, 1)}%"


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _interval(text: str) -> str:
    """1 days 00:00:00 -> daily bars; 0 days 00:05:00 -> 5 min bars."""
    minutes = pd.Timedelta(text) / pd.Timedelta(minutes=1)
    if minutes >= 1440:
        return "daily bars" if minutes == 1440 else f"bars of {minutes / 1440:g} days"
    return f"bars of {minutes:g} min"
