"""Forecasts as a person or another program wants them: a printed table, a file of paths, pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chandler.atomic import atomic_file
from chandler.data import CLOSE
from chandler.errors import ConfigError
from chandler.forecasting.forecast import Forecast, forecasts_to_frame
from chandler.text import aligned, count, shortened

PRINTED = 20
"""Symbols shown in a printed table."""


def table_text(
    forecasts: Sequence[Forecast], limit: int = PRINTED, rest: str = "write_table writes all of them"
) -> str:
    """The last forecast close of each symbol as quantiles beside the last known close, in price units.

    `rest`: where those beyond `limit` are."""
    rows: list[tuple[str, ...]] = [("symbol", "last close", "until", "10%", "median", "90%", "P(up)")]
    for forecast in forecasts[:limit]:
        last = float(forecast.history.values[-1, CLOSE])
        low, middle, high = forecast.quantiles([0.1, 0.5, 0.9], column="close").iloc[-1]
        until = f"{forecast.timestamps[-1]:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
        numbers = [f"{value:.6g}" for value in (low, middle, high)]
        rows.append((forecast.symbol, f"{last:.6g}", until, *numbers, f"{forecast.probability_above(last):.0%}"))
    lines = aligned(rows)
    if len(forecasts) > limit:
        lines.append(f"... and {len(forecasts) - limit} more symbols ({rest})")
    if forecasts:
        first = forecasts[0]
        lines.append(
            f"{count(len(first.paths), 'path')} of {count(first.horizon, 'bar')} from {len(first.history)} bars of history, "
            f"seed {first.seed}; calendar: {_calendars(forecasts)}"
        )
        lines += _calendar_notes(forecasts)
        if first.repaired is not None:
            bars = sum(len(forecast.paths) * forecast.horizon for forecast in forecasts)
            lines.append(f"repaired {sum(forecast.repaired or 0 for forecast in forecasts):,} of {bars:,} bars")
    return "\n".join(lines)


def _calendars(forecasts: Sequence[Forecast]) -> str:
    """What dated the bars: `XNYS`, or `inferred (Mon-Fri 09:30-16:00)`, the most common first."""
    counts = Counter(forecast.dated_by for forecast in forecasts).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return shortened([f"{text} for {count(number, 'symbol')}" for text, number in counts], 3)


def _calendar_notes(forecasts: Sequence[Forecast], limit: int = 5) -> list[str]:
    """What is odd about histories under their calendars: each note once, with the symbols it is about."""
    told: dict[str, list[str]] = {}
    for forecast in forecasts:
        for note in forecast.calendar_notes:
            told.setdefault(note, []).append(forecast.symbol)
    lines = [f"calendar: {note} ({shortened(symbols, 3)})" for note, symbols in list(told.items())[:limit]]
    return lines + ([f"... and {len(told) - limit} more notes on calendars"] if len(told) > limit else [])


def write_table(forecasts: Sequence[Forecast], path: Path) -> Path:
    """All paths in long form (see `Forecast.to_frame`) as .parquet or .csv, whole or not at all.

    Raises:
        ConfigError: another suffix, or a place that cannot be written.
    """
    frame = forecasts_to_frame(forecasts)
    try:
        with atomic_file(path) as scratch:
            if path.suffix.lower() == ".parquet":
                frame.to_parquet(scratch, index=False)
            elif path.suffix.lower() == ".csv":
                frame.to_csv(scratch, index=False)
            else:
                raise ConfigError(f"{path}: the name must end in .parquet or .csv.")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def write_plots(forecasts: Sequence[Forecast], path: Path) -> list[Path]:
    """A candle chart per symbol, a picture or an .html page: `path` itself for one, name-SYMBOL.suffix for several, with
    a number where two symbols would share a file."""
    written: list[Path] = []
    for forecast in forecasts:
        target = path
        if len(forecasts) > 1:
            safe = re.sub(r"[^\w.-]+", "_", forecast.symbol)
            target, number = path.with_name(f"{path.stem}-{safe}{path.suffix}"), 1
            while target in written:
                number += 1
                target = path.with_name(f"{path.stem}-{safe}-{number}{path.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix.lower() == ".html":
                forecast.plot_html(target)
            else:
                forecast.plot(target)
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror or error}).") from error
        written.append(target)
    return written
