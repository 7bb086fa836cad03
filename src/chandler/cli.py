"""The shell: parse, call, print. Every failure a user can cause ends in one message and exit code 2."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chandler.errors import ChandlerError, ConfigError

if TYPE_CHECKING:
    from chandler.training.config import Settings

app = typer.Typer(
    name="chandler",
    help="Finetune Kronos, the foundation model for market candles, on your own bars; forecast with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_debug = False

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files (CSV, Parquet, JSON, zip ...), folders or globs of bars, a prepared store, qlib:FOLDER.",
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


def _version(show: bool) -> None:
    if show:
        import chandler

        typer.echo(chandler.__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run folder to write; an earlier demo there is replaced.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train both stages of a small model on five bundled US stocks, forecast ten unseen sessions, write a report.

    Needs no data, no network and no accelerator; a few minutes on two CPU cores.
    """
    from chandler.demo import run_demo

    run_demo(out)


@app.command()
def inspect(
    data: Data,
    lookback: Annotated[int, typer.Option(min=2, help="Bars that a forecast sees.")] = 90,
    horizon: Annotated[int, typer.Option(min=1, help="Bars to forecast.")] = 10,
    config: Annotated[
        Path | None, typer.Option(help="Take windows, split, calendar and cleaning from this run's YAML instead.")
    ] = None,
    calendar: Annotated[
        str | None, typer.Option(help="When it trades: XNYS, XSHG, ..., 24/7, 24/5; default: learned from the bars.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one self-contained page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    symbols: Symbols = None,
    column: Columns = None,
    timezone: Timezone = None,
    date_format: DateFormat = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
    decimal: DecimalSign = "auto",
    sort: Sort = False,
    join: Join = False,
    skip_bad: SkipBad = False,
) -> None:
    """Print what was understood of DATA, what is wrong with it, and the windows of each split; exit code 1 when
    training would fail.

    Example: [bold]chandler inspect bars/ --lookback 512 --horizon 48 --calendar XNYS --html report.html[/bold]
    """
    from chandler.data.quality import inspect_store
    from chandler.data.splits import SplitSettings

    options: dict[str, Any] = {"lookback": lookback, "horizon": horizon, "split": SplitSettings(), "calendar": calendar}
    resample = None
    if config is not None:
        from chandler.training.config import load_settings

        d = load_settings(config, [f"data.path={data[0]}"]).data
        options = {"lookback": d.lookback, "horizon": d.horizon, "split": d.split, "cleaning": d.cleaning,
                   "max_gap": d.max_gap, "calendar": calendar or d.calendar}  # fmt: skip
        resample = d.resample
    store = _load(
        data, symbols, _options_of(column, timezone, date_format, adjust, missing, decimal, sort), join, skip_bad
    )
    if resample is not None:
        from chandler.data.resample import resample_store

        store = resample_store(store, resample, options["calendar"])
    report = inspect_store(store, **options)
    if as_json:
        import json

        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
    else:
        typer.echo(report.to_text(), nl=False)
    if html is not None:
        try:
            html.write_text(report.to_html(", ".join(data)), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{html}: cannot write there ({error.strerror}). Choose another file.") from None
        typer.echo(f"Report: {html}", err=as_json)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def finetune(
    config: Annotated[Path, typer.Argument(help="YAML that describes the run; see configs/.", show_default=False)],
    overrides: Overrides = None,
    out: RunFolder = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Adapt the tokenizer, then the predictor on its frozen tokens; write a run folder with a report.

    One device: [bold]chandler finetune configs/csv.yaml --set data.path=bars.csv[/bold]

    Many: [bold]torchrun --nproc-per-node 8 -m chandler finetune configs/csv.yaml ...[/bold]
    """
    from chandler.training.config import load_settings

    _train(load_settings(config, overrides or (), out=out), overwrite, resume, force)


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="YAML that describes the run; see configs/nano.yaml.")],
    overrides: Overrides = None,
    out: RunFolder = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train a tokenizer and a predictor from random weights over many sources of bars; the same two stages and loop
    as finetune, with the defaults of pretraining.

    Example: [bold]chandler pretrain configs/nano.yaml --set data.folder=BARS --out runs/nano[/bold]
    """
    from chandler.training.config import PRETRAINING, load_settings

    _train(load_settings(config, overrides or (), out=out, defaults=PRETRAINING), overwrite, resume, force)


def _train(settings: Settings, overwrite: bool, resume: bool, force: bool) -> None:
    """Run both stages; the report at the end."""
    from chandler.training.run import finetune as run_finetune
    from chandler.training.run import is_main_process
    from chandler.training.signals import Interrupted

    try:
        run = run_finetune(settings, overwrite=overwrite, resume=resume, force=force)
    except Interrupted as interrupted:
        if is_main_process():
            typer.echo(f"{interrupted} Go on with the same command and --resume.", err=True)
        raise typer.Exit(interrupted.code) from None
    if is_main_process():
        from chandler.evaluation.report import write_report

        typer.echo(f"Report: {write_report(run.folder)}")


@app.command()
def forecast(
    data: Data,
    model: Annotated[
        str,
        typer.Option(
            help="A run folder, chandler-nano (bundled), a released predictor (NeoQuasar/Kronos-small), or "
            "TOKENIZER,PREDICTOR."
        ),
    ] = "chandler-nano",
    horizon: Annotated[int, typer.Option(help="Bars to forecast.")] = 24,
    paths: Annotated[int, typer.Option(help="Sampled futures per symbol.")] = 100,
    temperature: Annotated[float, typer.Option(help="Below 1 narrows the distribution.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens up to this probability; 1 keeps all.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all, 1 is greedy.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same paths.")] = 0,
    lookback: Annotated[int | None, typer.Option(help="Bars of history to use; default: as trained.")] = None,
    overflow: Annotated[
        Literal["exact", "block", "trim"],
        typer.Option(
            help="Beyond the model's context: exact (slide by a bar; slow), block (by an eighth of the context), "
            "trim (cut the history so that all fits)."
        ),
    ] = "exact",
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="bfloat16 is faster where the processor has it; less exact.")
    ] = "float32",
    repair: Annotated[
        bool, typer.Option("--repair", help="Make every bar tradable: high and low around open and close, volume >= 0.")
    ] = False,
    memory: Annotated[
        int | None, typer.Option(help="MB that generation may use for caches; default: a quarter of what is free.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="All paths as one long table, .parquet or .csv.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="A candle chart, .png, .svg, .pdf or .html; several symbols: one file each.")
    ] = None,
    symbols: Symbols = None,
    column: Columns = None,
    timezone: Timezone = None,
    date_format: DateFormat = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
    decimal: DecimalSign = "auto",
    sort: Sort = False,
    join: Join = False,
    skip_bad: SkipBad = False,
) -> None:
    """Continue each symbol of DATA by HORIZON bars: a distribution of sampled paths, printed as quantiles of the close.

    Example: [bold]chandler forecast bars.csv --model runs/mine --horizon 24 --out f.parquet --plot f.png[/bold]
    """
    from chandler.forecasting.forecaster import Forecaster
    from chandler.forecasting.output import table_text, write_plots, write_table

    # What cannot be written is refused before the long part.
    for target, kinds in ((out, (".parquet", ".csv")), (plot, (".png", ".svg", ".pdf", ".html"))):
        if target is not None and target.suffix.lower() not in kinds:
            raise ConfigError(f"{target}: the name must end in {' or '.join(kinds)}.")
    pair = model.split(",")
    forecaster = Forecaster.from_pretrained(pair if len(pair) == 2 else model, device=device)
    store = _load(
        data, symbols, _options_of(column, timezone, date_format, adjust, missing, decimal, sort), join, skip_bad
    )
    forecasts = forecaster.forecast_many(
        store,
        horizon=horizon,
        paths=paths,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        lookback=lookback,
        overflow=overflow,
        precision=precision,
        memory_budget=None if memory is None else memory * 1_000_000,
        repair=repair,
    )
    typer.echo(table_text(forecasts))
    if out is not None:
        typer.echo(f"Paths: {write_table(forecasts, out)}")
    if plot is not None:
        for path in write_plots(forecasts, plot):
            typer.echo(f"Plot: {path}")


@app.command()
def prepare(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... STORE", help="Files, folders or globs; the folder to write last.", show_default=False
        ),
    ],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core, if worth it.")] = None,
    column: Columns = None,
    timezone: Timezone = None,
    date_format: DateFormat = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
    decimal: DecimalSign = "auto",
    sort: Sort = False,
    join: Join = False,
    skip_bad: SkipBad = False,
) -> None:
    """Turn files into a store on disk that every command opens at once, whatever its size.

    Again, it goes on where it stopped, and adds new files and rows without rewriting the old ones.

    Example: [bold]chandler prepare bars/ bars.store[/bold], then [bold]chandler inspect bars.store[/bold]
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from chandler.data.prepare import Progress
    from chandler.data.prepare import prepare as run_prepare

    if len(data) < 2:
        raise ConfigError("give the data and the folder to write: chandler prepare bars/ bars.store")
    options = _options_of(column, timezone, date_format, adjust, missing, decimal, sort)
    columns = (TextColumn("{task.fields[rows]:,} rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rows=0)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, rows=progress.rows)

        store = run_prepare(
            data[:-1], data[-1], workers=workers, join=join, skip_bad=skip_bad, report=report, **options
        )
    _tell_skipped(store.skipped)
    typer.echo(f"{len(store):,} symbols, {store.rows:,} rows: {data[-1]}")


def _options_of(
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


def _load(data: list[str], symbols: str | None, options: dict[str, Any], join: bool, skip_bad: bool) -> Any:
    from chandler.data.readers import load_bars

    source = data if len(data) > 1 else data[0]
    names = symbols.split(",") if symbols else None
    store = load_bars(source, symbols=names, join=join, skip_bad=skip_bad, **options)
    _tell_skipped(store.skipped)
    return store


def _tell_skipped(skipped: tuple[str, ...]) -> None:
    for one in skipped[:20]:
        typer.echo(f"skipped: {one}", err=True)
    if len(skipped) > 20:
        typer.echo(f"skipped: and {len(skipped) - 20:,} more", err=True)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look for run folders.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List runs: stages, epochs, score at step 0 and at best, size on disk, date."""
    from chandler.training.listing import runs_json, runs_table

    typer.echo(runs_json(folder) if as_json else runs_table(folder))


def main() -> None:
    """The entry point of the `chandler` command."""
    # GNU OpenMP threads spin while they wait for one another. On cores that others use as well, that costs many times
    # the work itself: after a short spin they sleep. Set before torch loads, and only if the user did not.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    code: int | str | None = 0
    try:
        app()
    except ChandlerError as error:
        if _debug:
            raise
        # Under torchrun every process of a machine meets the same failure; the first one tells it.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            typer.echo(f"chandler: {error}", err=True)
        code = 2
    except SystemExit as done:
        code = done.code
    number = code if isinstance(code, int) else int(bool(code))
    if "torch" in sys.modules:
        from chandler.training.distributed import leave

        leave(number)
    sys.exit(number)
