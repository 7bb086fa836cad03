"""Commands that judge: evaluate, calibrate, backtest, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from chandler.cli.options import (
    EngineOptions,
    SourceOptions,
    going_on_later,
    path_setting,
    source_of,
    takes_options,
    tell,
)
from chandler.errors import ConfigError


@takes_options
def evaluate(
    data: Annotated[
        list[str] | None,
        Argument(metavar="[DATA...]", help="Bars, as in forecast; or data.path of the YAML.", show_default=False),
    ] = None,
    models: Annotated[
        str | None,
        Option(help="Comma-separated: run folders, repositories, TOKENIZER+PREDICTOR, each as NAME=SOURCE or SOURCE."),
    ] = None,
    config: Annotated[Path | None, Option(help="YAML of settings; every key can be set without one.")] = None,
    overrides: Annotated[
        list[str] | None, Option("--set", help="Any key: --set horizon=12 --set start=2024-07-01. Repeatable.")
    ] = None,
    out: Annotated[str | None, Option(help="Folder of the evaluation; default: runs/evaluation.")] = None,
    calibrate: Annotated[
        bool,
        Option("--calibrate", help="First fit a calibration for each run that has none; see chandler calibrate."),
    ] = False,
    force: Annotated[
        bool, Option("--force", help="Also forecast bars that a model has seen in training; they are marked.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace an evaluation with other settings in that folder.")
    ] = False,
    *,
    workers: EngineOptions,
) -> None:
    """Does it beat naive? Forecast many past windows of DATA with models and baselines, and hold all against what came.

    Stopped, it goes on with the same command. The folder then holds scores.parquet (every number) and report.html, which
    says first what is better than naive and what is not. Bars that a model was trained on are left out.

    Example: [bold]chandler evaluate bars.csv --models before=NeoQuasar/Kronos-small,after=runs/mine --out runs/eval[/bold]

    The paper's tasks: [bold]chandler evaluate bars.csv --config configs/tasks/price.yaml --models runs/mine[/bold]

    Baselines alone, on 1-hour bars: [bold]chandler evaluate btc.csv --set horizon=24 --set lookback=240[/bold]
    """
    from chandler.engines import Local
    from chandler.evaluation.walk_forward import Results, load_evaluation
    from chandler.evaluation.walk_forward import evaluate as run_evaluate
    from chandler.reports import evaluation_text, generation_text, write_evaluation_report, write_generation_report

    if not data and config is None:
        raise ConfigError("what shall be evaluated? Give the bars: chandler evaluate bars.csv --models runs/mine")
    final = {key: value for key, value in (("out", out), ("models", models)) if value is not None}
    engine = workers.chosen()
    settings = load_evaluation(config or {}, [*path_setting(data), *(overrides or ())], final)
    if settings.task == "generation" and engine != Local():
        raise ConfigError("the task generation runs in one process: leave --engine out.")
    tell(settings.window_notes())
    if calibrate:
        from chandler.evaluation.walk_forward import calibrate_missing

        calibrate_missing(settings)
    if settings.task == "generation":
        from chandler.evaluation.tasks import generation

        with going_on_later():
            folder = generation(settings, force=force, overwrite=overwrite)
        write_generation_report(folder)
        typer.echo(generation_text(folder))
        return
    with going_on_later():
        folder = run_evaluate(settings, force=force, overwrite=overwrite, engine=engine)
    results = Results(folder)
    if settings.task is not None:
        from chandler.evaluation.tasks import task_table

        typer.echo(task_table(results, settings.task).to_text())
    typer.echo(evaluation_text(results))
    typer.echo(f"Scores: {folder / 'scores.parquet'}")
    typer.echo(f"Report: {write_evaluation_report(results)}")


@takes_options
def calibrate(
    model: Annotated[
        str, Argument(help="A finished run folder; or any model, with --data and --out.", show_default=False)
    ],
    data: Annotated[
        list[str] | None,
        Option(
            "--data",
            help="Bars to calibrate on; of a run without --out: where its own lie now, if they were moved. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Folder for the model with its calibration; default: the run's own, calibration alone."),
    ] = None,
    horizon: Annotated[int | None, Option(min=1, help="Bars ahead; default: as trained, else 24.")] = None,
    lookback: Annotated[int | None, Option(min=2, help="Bars of history; default: as trained.")] = None,
    stride: Annotated[int | None, Option(min=1, help="Bars between two forecasts; default: the horizon.")] = None,
    origins: Annotated[
        int | None,
        Option(min=1, help="At most so many forecasts per symbol, evenly spaced; default: as make 2,000 in all."),
    ] = None,
    paths: Annotated[int, Option(min=20, help="Sampled futures of each forecast.")] = 100,
    temperature: Annotated[float, Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    top_p: Annotated[float, Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    seed: Annotated[int, Option(min=0, help="Of the paths.")] = 0,
    force: Annotated[
        bool, Option("--force", help="Also take bars that the model was trained on; the weights then flatter it.")
    ] = False,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    *,
    source: SourceOptions,
) -> None:
    """Make forecasts usable: learn from past ones how much of the model to trust, and bands that cover what they say.

    Fitted are the weights of the model and of naive distributions, how much of the model's drift to keep and how wide
    to be; then bands. A run is calibrated on its validation period; with --data and --out any model, a run as well, on those
    bars, as far as it was not trained on them. Then [bold]chandler forecast ... --calibrated[/bold] uses it, and chandler
    evaluate shows it on bars that were not used here.

    Example: [bold]chandler calibrate runs/mine[/bold]

    Any model: [bold]chandler calibrate NeoQuasar/Kronos-small --data bars.csv --out calibrated[/bold]
    """
    from chandler.data import SourceSettings
    from chandler.evaluation.walk_forward import calibrate as run_calibrate

    asked, bars = source.given(), source_of(data)
    if asked and bars is None:
        raise ConfigError(f"{', '.join(asked)} say how bars are read: give the bars as well, with --data.")
    found = run_calibrate(
        model, data=SourceSettings(path=bars, **asked) if asked and bars is not None else bars, out=out, horizon=horizon,
        lookback=lookback, stride=stride, limit=origins, paths=paths, temperature=temperature, top_p=top_p, seed=seed,
        force=force, device=device,
    )  # fmt: skip
    typer.echo(found.says())
    typer.echo(found.bands_text())
    typer.echo(f"Calibration: {(out or Path(model)) / 'calibration.json'}")


def backtest(
    data: Annotated[
        list[str] | None,
        Argument(
            metavar="[DATA...]",
            help="Files, folders or globs of bars; default: data.path of the config.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        Option(help="A run folder, a repository, or TOKENIZER+PREDICTOR: its forecasts are traded."),
    ] = None,
    signals: Annotated[
        Path | None, Option(help="Instead of a model: a CSV or Parquet file of timestamp, symbol, score.")
    ] = None,
    config: Annotated[Path | None, Option(help="YAML of the backtest, such as configs/tasks/investment.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, Option("--set", help="Override any key: --set portfolio.k=10. Repeatable.")
    ] = None,
    out: Annotated[str | None, Option(help="The folder to write; default: runs/backtest.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an earlier backtest in that folder.")] = False,
    force: Annotated[bool, Option("--force", help="Trade bars that the model has seen, and say so.")] = False,
) -> None:
    """Trade forecasts as a portfolio: hold the k best, signal at the close, traded at the next open, after costs.

    Beside it stand the benchmark, momentum, reversal, and random signals, which show what luck does. Interrupted, the
    same command goes on. The folder holds curve.parquet, trades.parquet, signals.parquet, summary.json and report.html.

    Example: [bold]chandler backtest bars/ --model runs/mine --set portfolio.k=10 --out runs/backtest[/bold]
    """
    from chandler.evaluation.backtest import backtest as run_backtest
    from chandler.evaluation.backtest import load_backtest
    from chandler.reports import backtest_text, write_backtest_report

    final = {"model": model, "signals": None if signals is None else str(signals), "out": out}
    given: dict[str, str | None] = {name: value for name, value in final.items() if value is not None}
    if model is not None and signals is None:  # what the shell names stands above what the file names
        given["signals"] = None
    elif signals is not None and model is None:
        given["model"] = None
    settings = load_backtest(config or {}, [*path_setting(data), *(overrides or ())], given)
    with going_on_later():
        folder = run_backtest(settings, force=force, overwrite=overwrite)
    typer.echo(backtest_text(folder))
    typer.echo(f"Report: {write_backtest_report(folder)}")


def report(
    folder: Annotated[
        Path,
        Argument(help="A run folder, or the folder of an evaluation, a backtest or a journal.", show_default=False),
    ],
) -> None:
    """Write the page of a training run, an evaluation, a backtest or a journal again, from the files in its folder."""
    from chandler.reports import write_report

    typer.echo(f"Report: {write_report(folder)}")
