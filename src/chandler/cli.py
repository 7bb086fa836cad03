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
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA...",
            help="Files, folders or globs of bars, a prepared store, qlib:FOLDER; or data.path of the YAML.",
            show_default=False,
        ),
    ] = None,
    lookback: Annotated[int | None, typer.Option(min=2, help="Bars that a forecast sees; default: 90.")] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Bars to forecast; default: 10.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Take source, windows, split, calendar and cleaning from this run's YAML.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of a run's data: --set data.cleaning.enabled=true. Repeatable."),
    ] = None,
    calendar: Annotated[
        str | None, typer.Option(help="When it trades: XNYS, XSHG, ..., 24/7, 24/5; default: learned from the bars.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one self-contained page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    market: Market = None,
    freq: Freq = None,
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

    As a run would see it: [bold]chandler inspect --config run.yaml --set data.cleaning.enabled=true[/bold]
    """
    from chandler.data.quality import inspect_store
    from chandler.data.source import load_source

    reading = _options_of(column, timezone, date_format, adjust, missing, decimal, sort)
    plain = _options_of(None, None, None, "auto", "error", "auto", False)
    given = {"path": _source(data), "lookback": lookback, "horizon": horizon, "calendar": calendar, "start": start, "end": end,
             "market": market, "freq": freq, "symbols": symbols.split(",") if symbols else None, "join": join or None,
             **{key: value for key, value in reading.items() if value != plain[key]}}  # fmt: skip
    d = _inspected(config, {key: value for key, value in given.items() if value is not None}, overrides or [])
    store = load_source(d, skip_bad=skip_bad)
    _tell_skipped(store.skipped)
    report = inspect_store(
        store, lookback=d.lookback, horizon=d.horizon, split=d.split, calendar=d.calendar, cleaning=d.cleaning,
        max_gap=d.max_gap,
    )  # fmt: skip
    if as_json:
        import json

        typer.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
    else:
        typer.echo(report.to_text(), nl=False)
    if html is not None:
        try:
            html.write_text(
                report.to_html(", ".join([d.path] if isinstance(d.path, str) else d.path)), encoding="utf-8"
            )
        except OSError as error:
            raise ConfigError(f"{html}: cannot write there ({error.strerror}). Choose another file.") from None
        typer.echo(f"Report: {html}", err=as_json)
    if not report.ok:
        raise typer.Exit(1)


def _inspected(config: Path | None, given: dict[str, Any], overrides: list[str]) -> Any:
    """The settings of an inspection: those of a run's YAML where there is one, flags over them."""
    import json

    from chandler.data.source import InspectSettings
    from chandler.settings import Strict, load

    flags = [f"data.{key}={json.dumps(value)}" for key, value in given.items()]
    if config is None and "path" not in given:
        raise ConfigError("give the data, chandler inspect bars.csv, or a run's YAML with --config.")
    if config is not None:  # of a run, with all its other keys
        from chandler.training.config import load_settings

        whole = load_settings(config, [*flags, *overrides]).data
        return InspectSettings.model_validate(whole.model_dump(include=set(InspectSettings.model_fields)))

    class Inspection(Strict):
        data: InspectSettings

    return load(Inspection, {}, [*flags, *overrides]).data


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
    calendar: Annotated[
        str | None,
        typer.Option(
            help="When it trades: XNYS, XSHG, ..., 24/7, 24/5, inferred (from the bars); default: the run's own, else inferred."
        ),
    ] = None,
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
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated", help="Bands that cover what they say: apply the run's calibration (chandler calibrate RUN)."
        ),
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
    start: Start = None,
    end: End = None,
    market: Market = None,
    freq: Freq = None,
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
    from chandler.data.schedule import known_calendar
    from chandler.forecasting.forecaster import Forecaster
    from chandler.forecasting.output import table_text, write_plots, write_table

    # What cannot be written is refused before the long part.
    for target, kinds in ((out, (".parquet", ".csv")), (plot, (".png", ".svg", ".pdf", ".html"))):
        if target is not None and target.suffix.lower() not in kinds:
            raise ConfigError(f"{target}: the name must end in {' or '.join(kinds)}.")
    calendar = known_calendar(calendar)
    pair = model.split(",")
    forecaster = Forecaster.from_pretrained(pair if len(pair) == 2 else model, device=device)
    options = _options_of(column, timezone, date_format, adjust, missing, decimal, sort)
    ranges = {"start": start, "end": end, "market": market, "freq": freq}
    options |= {key: value for key, value in ranges.items() if value is not None}
    store = _load(data, symbols, options, join, skip_bad)
    forecasts = forecaster.forecast_many(
        store,
        horizon=horizon,
        paths=paths,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        lookback=lookback,
        calendar=calendar,
        overflow=overflow,
        precision=precision,
        memory_budget=None if memory is None else memory * 1_000_000,
        repair=repair,
        calibrated=calibrated,
    )
    typer.echo(table_text(forecasts))
    if out is not None:
        typer.echo(f"Paths: {write_table(forecasts, out)}")
    if plot is not None:
        for path in write_plots(forecasts, plot):
            typer.echo(f"Plot: {path}")


@app.command()
def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATA...]", help="Bars, as in forecast; or data.path of the YAML.", show_default=False),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: run folders, released predictors, TOKENIZER+PREDICTOR, each as NAME=SOURCE or SOURCE."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML of settings; every key can be set without one.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any key: --set horizon=12 --set start=2024-07-01. Repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the evaluation; default: runs/evaluation.")] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First fit a calibration for each run that has none; see chandler calibrate."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also forecast bars that a model has seen in training; they are marked.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an evaluation with other settings in that folder.")
    ] = False,
) -> None:
    """Does it beat naive? Forecast many past windows of DATA with models and baselines, and hold all against what came.

    Stopped, it goes on with the same command. The folder then holds scores.parquet (every number) and report.html, which
    says first what is better than naive and what is not. Bars that a model was trained on are left out.

    Example: [bold]chandler evaluate bars.csv --models before=NeoQuasar/Kronos-small,after=runs/mine --out runs/eval[/bold]

    The paper's tasks: [bold]chandler evaluate bars.csv --config configs/tasks/price.yaml --models runs/mine[/bold]

    Baselines alone, on 1-hour bars: [bold]chandler evaluate btc.csv --set horizon=24 --set lookback=240[/bold]
    """
    from chandler.evaluation.config import load_evaluation
    from chandler.evaluation.score_report import write_evaluation_report
    from chandler.evaluation.walk import evaluate as run_evaluate

    if not data and config is None:
        raise ConfigError("what shall be evaluated? Give the bars: chandler evaluate bars.csv --models runs/mine")
    given = [f"data.path={data[0] if len(data) == 1 else data}"] if data else []
    final = {key: value for key, value in (("out", out), ("models", models)) if value is not None}
    settings = load_evaluation(config or {}, [*given, *(overrides or ())], final)
    if calibrate:
        from chandler.evaluation.calibrate import calibrate_missing

        calibrate_missing(settings)
    run = run_evaluate
    if settings.task == "generation":
        from chandler.evaluation.generation_task import generation as run
    try:
        folder = run(settings, force=force, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    if settings.task == "generation":
        from chandler.evaluation.generation_report import generation_text

        typer.echo(generation_text(folder))
        return
    if settings.task is not None:
        from chandler.evaluation.results import Results
        from chandler.evaluation.task_results import task_table

        typer.echo(task_table(Results(folder), settings.task).to_text())
    typer.echo(f"Scores: {folder / 'scores.parquet'}")
    typer.echo(f"Report: {write_evaluation_report(folder)}")


@app.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="A finished run folder.", show_default=False)],
    data: Annotated[str | None, typer.Option(help="Where the run's bars lie now, if they were moved.")] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Bars ahead; default: as trained.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Bars between two forecasts; default: the horizon.")] = None,
    origins: Annotated[
        int | None, typer.Option(min=1, help="At most so many forecasts per symbol, evenly spaced.")
    ] = None,
    paths: Annotated[int, typer.Option(min=20, help="Sampled futures of each forecast.")] = 100,
    temperature: Annotated[float, typer.Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the paths.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Make the bands of a run cover what they say: fit corrections on its validation period, store them in the run folder.

    Then [bold]chandler forecast ... --calibrated[/bold] applies them, and chandler evaluate shows the coverage before and
    after on bars that were not used here.

    Example: [bold]chandler calibrate runs/mine --stride 5[/bold]
    """
    from chandler.evaluation.calibrate import calibrate as run_calibrate
    from chandler.evaluation.calibrate import calibration_text

    found = run_calibrate(
        run, horizon=horizon, stride=stride, limit=origins, paths=paths, temperature=temperature, top_p=top_p, seed=seed,
        data=data, device=device,
    )  # fmt: skip
    typer.echo(calibration_text(found))
    typer.echo(f"Calibration: {run / 'calibration.json'}")


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, or the folder of an evaluation or a backtest.", show_default=False)
    ],
) -> None:
    """Write report.html of a training run, an evaluation or a backtest again, from the files in its folder."""
    from chandler.evaluation.walk import STATE

    if (folder / STATE).is_file():
        from chandler.evaluation.score_report import write_evaluation_report

        typer.echo(f"Report: {write_evaluation_report(folder)}")
        return
    if (folder / "curve.parquet").is_file():
        from chandler.evaluation.backtest_report import write_backtest_report

        typer.echo(f"Report: {write_backtest_report(folder)}")
        return
    if (folder / "generation.json").is_file():
        from chandler.evaluation.generation_report import write_generation_report

        typer.echo(f"Report: {write_generation_report(folder)}")
        return
    if (folder / "forecasts.parquet").is_file():
        from chandler.demo import report_again

        typer.echo(f"Report: {report_again(folder)}")
        return
    from chandler.evaluation.report import write_report

    typer.echo(f"Report: {write_report(folder)}")


@app.command()
def backtest(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA...]",
            help="Files, folders or globs of bars; default: data.path of the config.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A run folder, a released predictor, or TOKENIZER+PREDICTOR: its forecasts are traded."),
    ] = None,
    signals: Annotated[
        Path | None, typer.Option(help="Instead of a model: a CSV or Parquet file of timestamp, symbol, score.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of the backtest, such as configs/tasks/investment.yaml.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override any key: --set portfolio.k=10. Repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="The folder to write; default: runs/backtest.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier backtest in that folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Trade bars that the model has seen, and say so.")] = False,
) -> None:
    """Trade forecasts as a portfolio: hold the k best, signal at the close, traded at the next open, after costs.

    Beside it stand the benchmark, momentum, reversal, and random signals, which show what luck does. Interrupted, the
    same command goes on. The folder holds curve.parquet, trades.parquet, signals.parquet, summary.json and report.html.

    Example: [bold]chandler backtest bars/ --model runs/mine --set portfolio.k=10 --out runs/backtest[/bold]
    """
    import json

    from chandler.evaluation.backtest import backtest as run_backtest
    from chandler.evaluation.backtest import load_backtest
    from chandler.evaluation.backtest_report import headline, verdict_lines

    final = {"model": model, "signals": None if signals is None else str(signals), "out": out}
    given: dict[str, str | None] = {name: value for name, value in final.items() if value is not None}
    if model is not None and signals is None:  # what the shell names stands above what the file names
        given["signals"] = None
    elif signals is not None and model is None:
        given["model"] = None
    path = [f"data.path={json.dumps(data if len(data) > 1 else data[0])}"] if data else []
    settings = load_backtest(config or {}, [*path, *(overrides or ())], given)
    try:
        folder = run_backtest(settings, force=force, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    typer.echo(headline(summary))
    for about, text in verdict_lines(summary):
        typer.echo(f"{about}: {text}")
    typer.echo(f"Report: {folder / 'report.html'}")


@app.command()
def prepare(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... STORE", help="Files, folders or globs; the folder to write last.", show_default=False
        ),
    ],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads or processes; default: one per core, if worth it.")
    ] = None,
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
    from chandler.data.source import SourceSettings, load_source

    names = symbols.split(",") if symbols else None
    source = SourceSettings(path=_source(data) or [], symbols=names, join=join, **options)
    store = load_source(source, skip_bad=skip_bad)
    _tell_skipped(store.skipped)
    return store


def _source(data: list[str] | None) -> str | list[str] | None:
    """One path as what it is: a prepared store is then mapped, not copied."""
    return data[0] if data is not None and len(data) == 1 else data


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
