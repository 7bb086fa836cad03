"""The shell: parse, call, print. Every failure a user can cause ends in one message and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chandler.errors import ChandlerError, ConfigError

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
        metavar="DATA...", help="Files (CSV, Parquet, Feather), folders or globs of bars.", show_default=False
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
    Literal["error", "drop"], typer.Option(help="Rows without prices: error (stop and say where) or drop.")
]


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
        Path | None, typer.Option(help="Take lookback, horizon and split from this run's YAML instead.")
    ] = None,
    symbols: Symbols = None,
    column: Columns = None,
    timezone: Timezone = None,
    date_format: DateFormat = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
) -> None:
    """Print what was understood of DATA: symbols, spans, interval, gaps, bad bars, windows of each split.

    Example: [bold]chandler inspect bars/ --lookback 512 --horizon 48[/bold]
    """
    from chandler.data.quality import inspect_store
    from chandler.data.splits import SplitSettings

    split = SplitSettings()
    if config is not None:
        from chandler.training.config import load_settings

        settings = load_settings(config, [f"data.path={data[0]}"])
        lookback, horizon, split = settings.data.lookback, settings.data.horizon, settings.data.split
    store = _load(data, symbols, column, timezone, date_format, adjust, missing)
    typer.echo(inspect_store(store, lookback=lookback, horizon=horizon, split=split).to_text())


@app.command()
def finetune(
    config: Annotated[Path, typer.Argument(help="YAML that describes the run; see configs/.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override any key: --set data.path=bars.csv. Repeatable."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder, instead of the YAML's.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")] = False,
) -> None:
    """Adapt the tokenizer, then the predictor on its frozen tokens; write a run folder with a report.

    One device: [bold]chandler finetune configs/csv.yaml --set data.path=bars.csv[/bold]

    Many: [bold]torchrun --nproc-per-node 8 -m chandler finetune configs/csv.yaml ...[/bold]
    """
    from chandler.training.config import load_settings
    from chandler.training.run import finetune as run_finetune
    from chandler.training.run import is_main_process

    settings = load_settings(config, overrides or (), out=out)
    try:
        run = run_finetune(settings, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.echo(f"\nInterrupted. The best checkpoints so far are whole, in {settings.out}/checkpoints.", err=True)
        raise typer.Exit(130) from None
    if is_main_process():
        from chandler.evaluation.report import write_report

        typer.echo(f"Report: {write_report(run.folder)}")


@app.command()
def forecast(
    data: Data,
    model: Annotated[
        str,
        typer.Option(help="A run folder, a released predictor (NeoQuasar/Kronos-small), or TOKENIZER,PREDICTOR."),
    ],
    horizon: Annotated[int, typer.Option(help="Bars to forecast.")] = 24,
    paths: Annotated[int, typer.Option(help="Sampled futures per symbol.")] = 100,
    temperature: Annotated[float, typer.Option(help="Below 1 narrows the distribution.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens up to this probability; 1 keeps all.")] = 0.9,
    top_k: Annotated[int, typer.Option(help="Keep this many tokens; 0 keeps all, 1 is greedy.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same paths.")] = 0,
    lookback: Annotated[int | None, typer.Option(help="Bars of history to use; default: as trained.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="All paths as one long table, .parquet or .csv.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="A candle chart, .png or .svg; several symbols: one file each.")
    ] = None,
    symbols: Symbols = None,
    column: Columns = None,
    timezone: Timezone = None,
    date_format: DateFormat = None,
    adjust: Adjust = "auto",
    missing: Missing = "error",
) -> None:
    """Continue each symbol of DATA by HORIZON bars: a distribution of sampled paths, printed as quantiles of the close.

    Example: [bold]chandler forecast bars.csv --model runs/mine --horizon 24 --out f.parquet --plot f.png[/bold]
    """
    from chandler.forecasting.forecaster import Forecaster
    from chandler.forecasting.output import table_text, write_plots, write_table

    # What cannot be written is refused before the long part.
    for target, kinds in ((out, (".parquet", ".csv")), (plot, (".png", ".svg", ".pdf"))):
        if target is not None and target.suffix.lower() not in kinds:
            raise ConfigError(f"{target}: the name must end in {' or '.join(kinds)}.")
    pair = model.split(",")
    forecaster = Forecaster.from_pretrained(pair if len(pair) == 2 else model, device=device)
    store = _load(data, symbols, column, timezone, date_format, adjust, missing)
    forecasts = forecaster.forecast_many(
        store,
        horizon=horizon,
        paths=paths,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        lookback=lookback,
    )
    typer.echo(table_text(forecasts))
    if out is not None:
        typer.echo(f"Paths: {write_table(forecasts, out)}")
    if plot is not None:
        for path in write_plots(forecasts, plot):
            typer.echo(f"Plot: {path}")


def _load(
    data: list[str],
    symbols: str | None,
    column: list[str] | None,
    timezone: str | None,
    date_format: str | None,
    adjust: Literal["auto", "none"],
    missing: Literal["error", "drop"],
) -> Any:
    from chandler.data.readers import load_bars

    columns: dict[str, str] = {}
    for pair in column or ():
        name, equals, found = pair.partition("=")
        if not equals:
            raise ConfigError(f"--column {pair}: expected NAME=COLUMN, as in --column close=ClosePrice.")
        columns[name] = found
    return load_bars(
        data if len(data) > 1 else data[0],
        symbols=symbols.split(",") if symbols else None,
        columns=columns or None,
        timezone=timezone,
        date_format=date_format,
        adjust=adjust,
        missing=missing,
    )


def main() -> None:
    """The entry point of the `chandler` command."""
    code: int | str | None = 0
    try:
        app()
    except ChandlerError as error:
        if _debug:
            raise
        typer.echo(f"chandler: {error}", err=True)
        code = 2
    except SystemExit as done:
        code = done.code
    number = code if isinstance(code, int) else int(bool(code))
    if "torch" in sys.modules:
        from chandler.training.distributed import leave

        leave(number)
    sys.exit(number)
