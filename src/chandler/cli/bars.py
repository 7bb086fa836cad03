"""Commands on bars: inspect, prepare."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from chandler.cli.options import SourceOptions, source_of, takes_options, tell
from chandler.cli.remedies import as_typed
from chandler.errors import ConfigError
from chandler.places import require_apart
from chandler.printing import printable
from chandler.text import count


@takes_options
def inspect(
    data: Annotated[
        list[str] | None,
        Argument(
            metavar="DATA...",
            help="Files, folders or globs of bars, a prepared store, qlib:FOLDER; or data.path of the YAML.",
            show_default=False,
        ),
    ] = None,
    lookback: Annotated[int | None, Option(min=2, help="Bars that a forecast sees; default: 90.")] = None,
    horizon: Annotated[int | None, Option(min=1, help="Bars to forecast; default: 10.")] = None,
    config: Annotated[
        Path | None, Option(help="Take source, windows, split, calendar and cleaning from this run's YAML.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        Option("--set", help="Any key of a run's data: --set data.cleaning.enabled=true. Repeatable."),
    ] = None,
    calendar: Annotated[
        str | None, Option(help="When it trades: XNYS, XSHG, ..., 24/7, 24/5; default: learned from the bars.")
    ] = None,
    html: Annotated[Path | None, Option(help="Write the report as one self-contained page.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print the report as JSON.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Print what was understood of DATA, what is wrong with it, and the windows of each split; exit code 1 when
    training would fail.

    Example: [bold]chandler inspect bars/ --lookback 512 --horizon 48 --calendar XNYS --html report.html[/bold]

    As a run would see it: [bold]chandler inspect --config run.yaml --set data.cleaning.enabled=true[/bold]
    """
    from chandler.atomic import write_text
    from chandler.data import load_source, note_lines
    from chandler.data.inspection import inspect_store
    from chandler.data.reading import opened
    from chandler.reports import inspection_html

    own = {"path": source_of(data), "lookback": lookback, "horizon": horizon, "calendar": calendar}
    given = {key: value for key, value in own.items() if value is not None} | source.given()
    d = _inspected(config, given, overrides or [])
    if html is not None:
        require_apart(html, {"DATA": opened(d.path)} | ({"--config": [config]} if config else {}))
    store = load_source(d, skip_bad=source.skip_bad)
    tell(note_lines((), store.skipped))
    report = inspect_store(
        store, lookback=d.lookback, horizon=d.horizon, split=d.split, calendar=d.calendar, cleaning=d.cleaning,
        max_gap=d.max_gap,
    )  # fmt: skip
    if as_json:
        import json

        text = json.dumps(report.to_dict(), ensure_ascii=False, indent=1)
        whole = printable(text, sys.stdout.encoding) == text  # else in escapes that JSON knows
        typer.echo(text if whole else json.dumps(report.to_dict(), indent=1))
    else:
        typer.echo(as_typed(report.to_text(), "inspect"), nl=False)
    if html is not None:
        try:
            write_text(html, inspection_html(report, ", ".join([d.path] if isinstance(d.path, str) else d.path)))
        except OSError as error:
            raise ConfigError(f"{html}: cannot write there ({error.strerror}). Choose another file.") from None
        typer.echo(f"Report: {html}", err=as_json)
    if not report.ok:
        raise typer.Exit(1)


def _inspected(config: Path | None, given: dict[str, Any], overrides: list[str]) -> Any:
    """The settings of an inspection: those of a run's YAML where there is one, flags over them."""
    import json

    from chandler.data import InspectSettings
    from chandler.settings import StrictModel, load

    flags = [f"data.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    if config is None and "path" not in given:
        raise ConfigError("give the data, chandler inspect bars.csv, or a run's YAML with --config.")
    if config is not None:  # of a run, with all its other keys
        from chandler.training.settings import load_settings

        if "path" in given:
            flags.append("data.sources=[]")
        whole = load_settings(config, [*flags, *overrides]).data
        if whole.sources:
            raise ConfigError(
                f"{config}: has many sources; give the one to inspect, chandler inspect DATA --config {config}."
            )
        return InspectSettings.model_validate(whole.model_dump(include=set(InspectSettings.model_fields)))

    class Inspection(StrictModel):
        data: InspectSettings

    return load(Inspection, {}, [*flags, *overrides]).data


@takes_options
def prepare(
    data: Annotated[
        list[str],
        Argument(
            metavar="DATA... STORE",
            help="Files, folders or globs of bars, qlib:FOLDER; the folder to write last.",
            show_default=False,
        ),
    ],
    workers: Annotated[
        int | None, Option(min=1, help="Threads or processes; default: one per core, if worth it.")
    ] = None,
    *,
    source: SourceOptions,
) -> None:
    """Turn files into a store on disk that every command opens at once, whatever its size.

    Again, it goes on where it stopped, and adds new files and rows without rewriting the old ones.

    Example: [bold]chandler prepare bars/ bars.store[/bold], then [bold]chandler inspect bars.store[/bold]
    """
    from chandler.data import Progress as Prepared
    from chandler.data import note_lines
    from chandler.data import prepare as run_prepare
    from chandler.data.inspection import findings
    from chandler.progress import Progress

    if len(data) < 2:
        raise ConfigError("give the data and the folder to write: chandler prepare bars/ bars.store")
    with closing(Progress()) as shown:
        counter = shown.start("", 0, unit="files")

        def report(found: Prepared) -> None:
            counter.total = found.total
            counter.update(found.done, detail=f"{found.rows:,} rows")

        store = run_prepare(
            data[:-1], data[-1], workers=workers, skip_bad=source.skip_bad, report=report, **source.given()
        )
    tell(note_lines(findings(store), store.skipped))
    typer.echo(f"{count(len(store), 'symbol')}, {count(store.rows, 'row')}: {data[-1]}")
