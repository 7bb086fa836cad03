"""The commands of a journal: score, show. `chandler forecast --journal` keeps forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from chandler.cli.options import Data, SourceOptions, bars_of, takes_options
from chandler.cli.remedies import as_typed

app = typer.Typer(
    name="journal",
    help="Live truth: forecasts kept by chandler forecast --journal, scored as their bars come.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Folder = Annotated[Path, Argument(metavar="FOLDER", help="The journal.", show_default=False)]


@app.command()
@takes_options
def score(folder: Folder, data: Data, *, source: SourceOptions) -> None:
    """Score every kept forecast whose bars have come in DATA; say what waits, and what does not match and why.

    Scores once given stay. Then the record is printed and journal.html written, as by show.

    Example: [bold]chandler forecast bars.csv --journal kept[/bold], and when the bars have come
    [bold]chandler journal score kept bars.csv[/bold]
    """
    from chandler.journal import Journal

    journal = Journal(folder)
    journal.require_begun()
    told = journal.score(bars_of(data, source, folder))
    lines = [(about, as_typed(text, "journal")) for about, text in told.lines()]
    for about, text in lines:
        typer.echo(f"{about}: {text}")
    typer.echo("")
    _show(folder, lines)


@app.command()
def show(folder: Folder) -> None:
    """Print the record of a journal, by model and by when the bars came, and write it as journal.html.

    Example: [bold]chandler journal show kept[/bold]
    """
    _show(folder, ())


def _show(folder: Path, told: list[tuple[str, str]] | tuple[()]) -> None:
    from chandler.journal import Journal
    from chandler.reports import journal_text, write_journal_page

    journal = Journal(folder)
    record = journal.record()
    typer.echo(journal_text(record, folder))
    typer.echo(f"Page: {write_journal_page(journal, record, told)}")
