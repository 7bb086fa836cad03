"""What a finished evaluation or backtest comes to, in the sentences of its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chandler.reports import verdict_of


def verdict(folder: str) -> dict[str, Any]:
    """The sentences, the headline first, and the tables in words."""
    told = verdict_of(Path(folder))
    tables = []
    if (table := told.table) is not None:
        rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
        tables = [{"title": told.unit, "columns": ["", *map(str, table.columns)], "rows": rows}]
    lines = [f"{about}: {text}" if about else text for about, text in told.lines]
    return {"verdict": [told.headline, *lines], "tables": tables}
