"""Words and numbers for people: counts, durations, lists cut short, tables in columns."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence


def count(number: int, what: str) -> str:
    """1 row; 1,200 rows."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; 7500 -> "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def signed(value: float, digits: int = 4) -> str:
    """+0.0500; "-" where there is no number."""
    return f"{value:+.{digits}f}" if math.isfinite(value) else "-"


def listed(names: Sequence[object], limit: int = 12) -> str:
    """Names for a message, in quotation marks, cut after `limit`."""
    return shortened([repr(str(name)) for name in names], limit)


def shortened(texts: Sequence[str], limit: int) -> str:
    """The first ones, and how many more there are."""
    return ", ".join(texts[:limit]) + (f" and {len(texts) - limit:,} more" if len(texts) > limit else "")


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """A line per row, in columns: those of `left` begin in line, the others end in line, as numbers do."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
