"""Options that several commands share, and what turns them into settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chandler.errors import ConfigError

if TYPE_CHECKING:
    pass

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files (CSV, Parquet, JSON, zip ...), folders or globs of bars, a prepared store, qlib:FOLDER, "
        "chandler-stocks (bundled).",
        show_default=False,
    ),
]
Symbols = Annotated[str | None, typer.Option(help="Only these symbols, comma-separated.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Name a column yourself: close=ClosePrice. Repeatable.")
]
Timezone = Annotated[str | None, typer.Option(help="Zone of timestamps that carry none, such as America/New_York.")]
DateFormat = Annotated[str | None, typer.Option(help="strptime format of ambiguous dates, such as %d/%m/%Y.")]
Adjust = Annotated[
    Literal["auto", "none"],
    typer.Option(help="auto: scale prices by an adjusted close if there is one; none: leave them."),
]
Missing = Annotated[
    Literal["error", "drop", "split"],
    typer.Option(help="Rows without prices: error (stop and say where), drop, or split (no window crosses them)."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be used, and say which.")]
Join = Annotated[bool, typer.Option("--join", help="Files of one symbol follow one another: put them together.")]
Sort = Annotated[bool, typer.Option("--sort", help="Sort rows whose time steps back, instead of stopping.")]
Start = Annotated[str | None, typer.Option(help="Only rows from this date or time on.")]
End = Annotated[str | None, typer.Option(help="Only rows up to this date or time, inclusive.")]
Market = Annotated[str | None, typer.Option(help="Of a Qlib folder: the instrument list, such as csi300.")]
Freq = Annotated[str | None, typer.Option(help="Of a Qlib folder: the bars, such as day or 1min.")]
DecimalSign = Annotated[
    Literal["auto", ".", ","], typer.Option("--decimal", help="Decimal sign of numbers that read both ways.")
]

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override any key: --set data.path=bars.csv. Repeatable.")
]
RunFolder = Annotated[str | None, typer.Option("--out", help="The run folder, instead of the YAML's.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the run in that folder stopped; start if there is none.")
]
Force = Annotated[bool, typer.Option("--force", help="Resume although settings have changed.")]


def options_of(
    column: list[str] | None,
    timezone: str | None,
    date_format: str | None,
    adjust: Literal["auto", "none"],
    missing: Literal["error", "drop", "split"],
    decimal: Literal["auto", ".", ","],
    sort: bool,
) -> dict[str, Any]:
    """The options of reading as `load_bars` takes them."""
    columns: dict[str, str] = {}
    for pair in column or ():
        name, equals, found = pair.partition("=")
        if not equals:
            raise ConfigError(f"--column {pair}: expected NAME=COLUMN, as in --column close=ClosePrice.")
        columns[name] = found
    return {"columns": columns or None, "timezone": timezone, "date_format": date_format, "adjust": adjust,
            "missing": missing, "decimal": decimal, "unsorted": "sort" if sort else "error"}  # fmt: skip


def load_store(data: list[str], symbols: str | None, options: dict[str, Any], join: bool, skip_bad: bool) -> Any:
    from chandler.data.source import SourceSettings, load_source

    names = symbols.split(",") if symbols else None
    source = SourceSettings(path=source_of(data) or [], symbols=names, join=join, **options)
    store = load_source(source, skip_bad=skip_bad)
    tell_skipped(store.skipped)
    return store


def source_of(data: list[str] | None) -> str | list[str] | None:
    """One path as what it is: a prepared store is then mapped, not copied."""
    return data[0] if data is not None and len(data) == 1 else data


def tell_skipped(skipped: tuple[str, ...]) -> None:
    for one in skipped[:20]:
        typer.echo(f"skipped: {one}", err=True)
    if len(skipped) > 20:
        typer.echo(f"skipped: and {len(skipped) - 20:,} more", err=True)
