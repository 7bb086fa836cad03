"""Forecasts as a person or another program wants them: a printed table, a file of paths, pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chandler.atomic import atomic_file
from chandler.data import CLOSE
from chandler.errors import ConfigError
from chandler.forecasting.forecast import Forecast, forecasts_to_frame
from chandler.text import aligned, count, shortened

PRINTED = 20
"""Symbols shown in a printed table."""


@dataclass(frozen=True)
class TableRow:
    """What the printed table needs of a forecast."""

    cells: tuple[str, ...]
    paths: int
    horizon: int
    history: int
    seed: int
    dated_by: str
    notes: tuple[str, ...]
    repaired: int | None

    @classmethod
    def of(cls, forecast: Forecast) -> TableRow:
        """The row of a forecast."""
        last = float(forecast.history.values[-1, CLOSE])
        low, middle, high = forecast.quantiles([0.1, 0.5, 0.9], column="close").iloc[-1]
        until = f"{forecast.timestamps[-1]:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
        numbers = [f"{value:.6g}" for value in (low, middle, high)]
        cells = (forecast.symbol, f"{last:.6g}", until, *numbers, f"{forecast.probability_above(last):.0%}")
        return cls(
            cells, len(forecast.paths), forecast.horizon, len(forecast.history), forecast.seed, forecast.dated_by,
            forecast.calendar_notes, forecast.repaired,
        )  # fmt: skip


def table_text(
    forecasts: Sequence[Forecast | TableRow], limit: int = PRINTED, rest: str = "write_table writes all of them"
) -> str:
    """The last forecast close of each symbol as quantiles beside the last known close, in price units.

    `rest`: where those beyond `limit` are."""
    found = [one if isinstance(one, TableRow) else TableRow.of(one) for one in forecasts]
    rows: list[tuple[str, ...]] = [("symbol", "last close", "until", "10%", "median", "90%", "P(up)")]
    lines = aligned(rows + [one.cells for one in found[:limit]])
    if len(found) > limit:
        lines.append(f"... and {len(found) - limit} more symbols ({rest})")
    if found:
        first = found[0]
        lines.append(
            f"{count(first.paths, 'path')} of {count(first.horizon, 'bar')} from {first.history} bars of history, "
            f"seed {first.seed}; calendar: {_calendars(found)}"
        )
        lines += _calendar_notes(found)
        if first.repaired is not None:
            bars = sum(one.paths * one.horizon for one in found)
            lines.append(f"repaired {sum(one.repaired or 0 for one in found):,} of {bars:,} bars")
    return "\n".join(lines)


def _calendars(rows: Sequence[TableRow]) -> str:
    """What dated the bars: `XNYS`, or `inferred (Mon-Fri 09:30-16:00)`, the most common first."""
    counts = Counter(one.dated_by for one in rows).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return shortened([f"{text} for {count(number, 'symbol')}" for text, number in counts], 3)


def _calendar_notes(rows: Sequence[TableRow], limit: int = 5) -> list[str]:
    """What is odd about histories under their calendars: each note once, with the symbols it is about."""
    told: dict[str, list[str]] = {}
    for one in rows:
        for note in one.notes:
            told.setdefault(note, []).append(one.cells[0])
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
    a number where two symbols would share a file: also one that does not tell capitals from small letters."""
    written: list[Path] = []
    taken: set[str] = set()
    for forecast in forecasts:
        target = path
        if len(forecasts) > 1:
            safe = re.sub(r"[^\w.-]+", "_", forecast.symbol)
            target, number = path.with_name(f"{path.stem}-{safe}{path.suffix}"), 1
            while str(target).casefold() in taken:
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
        taken.add(str(target).casefold())
    return written
