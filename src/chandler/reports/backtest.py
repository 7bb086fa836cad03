"""Writes the report.html of a backtest from the files in its folder: the verdict first, luck beside it, then how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.reports import charts as backtest_charts
from chandler.reports.page import Page, facts, table
from chandler.reports.verdicts import day

NAME = "report.html"
SHOWN = 0.05
"""A share of random signals at least as good below which chance is no good explanation."""


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
    page, name = Page(), folder.resolve().name
    body = [_header(summary, name), _verdict(summary), _growth(page, summary, daily, fan), _results(summary),
            _luck(page, summary), _how(summary, settings), _caveats(summary)]  # fmt: skip
    path = folder / NAME
    write_text(path, page.html(f"{name} · chandler", "\n".join(body)))
    return path


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


def verdict_lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
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


def _header(summary: Mapping[str, Any], name: str) -> str:
    first, last = (day(pd.Timestamp(summary[key])) for key in ("first_signal", "last_bar"))
    return (
        f"<header><p>chandler · backtest</p><h1>{escape(name)}</h1><p>{escape(str(summary['source']))}; "
        f"{summary['symbols']:,} symbols, {first} to {last}</p></header>"
    )


def _verdict(summary: Mapping[str, Any]) -> str:
    items = "".join(f"<dt>{escape(about)}</dt><dd>{escape(text)}</dd>" for about, text in verdict_lines(summary))
    alarm = " alarm" if summary.get("seen") else ""
    return f'<section class="verdict{alarm}" aria-label="Verdict"><p>{escape(headline(summary))}</p><dl>{items}</dl></section>'


def _growth(page: Page, summary: Mapping[str, Any], daily: dict[str, pd.DataFrame], fan: pd.DataFrame) -> str:
    benchmark = summary["benchmark"]
    plain = page.chart(backtest_charts.growth(daily, fan, benchmark), "Growth of 1 over time")
    relative = page.chart(
        backtest_charts.growth(daily, fan, benchmark, relative=True), "Growth of 1 over time, relative to the benchmark"
    )
    return (
        '<h2>What became of 1</h2><p class="sub">After costs, compounded, logarithmic. The grey band holds nine tenths of '
        f"the random portfolios at each moment.</p>{plain}"
        f'<h3>The same, divided by the benchmark</h3><p class="sub">Above 1 is ahead of it.</p>{relative}'
    )


def _results(summary: Mapping[str, Any]) -> str:
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
    caption = (
        "<b>All signals, one rule</b><br>A year, except turnover (a bar; 200% replaces the whole book) and counts."
    )
    return "<h2>Numbers</h2>" + table(caption, [head], rows)


def _luck(page: Page, summary: Mapping[str, Any]) -> str:
    random = summary["random"]["annual_excess"]
    if not random:
        return ""
    figure = backtest_charts.luck(random, summary["results"][summary["signal"]]["annual_excess"], summary["signal"])
    return (
        f'<h2>What luck does</h2><p class="sub">{len(random)} signals of noise, with scores wherever the real one has them and '
        f"a rank correlation of {summary['persistence']:.2f} from one signal to the next, as it has; traded by the same "
        f"rule at the same costs.</p>{page.chart(figure, 'Annual excess returns of random signals')}"
    )


def _how(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
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
                    f"{day(pd.Timestamp(summary['first_signal']))} to {day(pd.Timestamp(summary['last_signal']))}"),
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
    formulas = facts(list(summary["formulas"].items()))
    return f"<h2>How</h2>{facts(pairs)}<details><summary>Formulas</summary>{formulas}</details>"


def _caveats(summary: Mapping[str, Any]) -> str:
    lines = [
        *summary["notes"],
        "The universe is what the data hold. If its symbols were chosen with hindsight, or companies that failed are "
        "missing, portfolio and benchmark are both too good.",
        "Orders fill in full at the open, whatever their size; there is no market impact, no borrowing, no taxes, and "
        "dividends count only as far as the prices are adjusted for them.",
        "One rule was tried. Other k, holding periods or horizons would give other curves, and the best of many tries is "
        "mostly luck.",
    ]
    if summary["symbols"] < 30:
        lines.append(f"{summary['symbols']} symbols are few: one of them can make the whole result.")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    about = "Written by chandler. This file is complete in itself: it loads nothing from anywhere."
    return f"<h2>What this does not show</h2><ul>{items}</ul><footer>{about}</footer>"


def _signed(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:+.1f}%".replace("-", "\N{MINUS SIGN}")


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
