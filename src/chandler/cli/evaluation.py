"""Commands that judge: evaluate, calibrate, backtest, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from chandler.cli.options import going_on_later, path_setting
from chandler.errors import ConfigError


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
) -> None:
    """Does it beat naive? Forecast many past windows of DATA with models and baselines, and hold all against what came.

    Stopped, it goes on with the same command. The folder then holds scores.parquet (every number) and report.html, which
    says first what is better than naive and what is not. Bars that a model was trained on are left out.

    Example: [bold]chandler evaluate bars.csv --models before=NeoQuasar/Kronos-small,after=runs/mine --out runs/eval[/bold]

    The paper's tasks: [bold]chandler evaluate bars.csv --config configs/tasks/price.yaml --models runs/mine[/bold]

    Baselines alone, on 1-hour bars: [bold]chandler evaluate btc.csv --set horizon=24 --set lookback=240[/bold]
    """
    from chandler.evaluation.walk_forward import Results, load_evaluation
    from chandler.evaluation.walk_forward import evaluate as run_evaluate
    from chandler.reports import evaluation_text, generation_text, write_evaluation_report, write_generation_report

    if not data and config is None:
        raise ConfigError("what shall be evaluated? Give the bars: chandler evaluate bars.csv --models runs/mine")
    final = {key: value for key, value in (("out", out), ("models", models)) if value is not None}
    settings = load_evaluation(config or {}, [*path_setting(data), *(overrides or ())], final)
    if calibrate:
        from chandler.evaluation.walk_forward import calibrate_missing

        calibrate_missing(settings)
    run = run_evaluate
    if settings.task == "generation":
        from chandler.evaluation.tasks import generation as run
    with going_on_later():
        folder = run(settings, force=force, overwrite=overwrite)
    if settings.task == "generation":
        write_generation_report(folder)
        typer.echo(generation_text(folder))
        return
    results = Results(folder)
    if settings.task is not None:
        from chandler.evaluation.tasks import task_table

        typer.echo(task_table(results, settings.task).to_text())
    typer.echo(evaluation_text(results))
    typer.echo(f"Scores: {folder / 'scores.parquet'}")
    typer.echo(f"Report: {write_evaluation_report(results)}")


def calibrate(
    run: Annotated[Path, Argument(help="A finished run folder.", show_default=False)],
    data: Annotated[str | None, Option(help="Where the run's bars lie now, if they were moved.")] = None,
    horizon: Annotated[int | None, Option(min=1, help="Bars ahead; default: as trained.")] = None,
    stride: Annotated[int | None, Option(min=1, help="Bars between two forecasts; default: the horizon.")] = None,
    origins: Annotated[int | None, Option(min=1, help="At most so many forecasts per symbol, evenly spaced.")] = None,
    paths: Annotated[int, Option(min=20, help="Sampled futures of each forecast.")] = 100,
    temperature: Annotated[float, Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    top_p: Annotated[float, Option(help="Of the paths; calibrated forecasts use the same.")] = 1.0,
    seed: Annotated[int, Option(help="Of the paths.")] = 0,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Make the bands of a run cover what they say: fit corrections on its validation period, store them in the run folder.

    Then [bold]chandler forecast ... --calibrated[/bold] applies them, and chandler evaluate shows the coverage before and
    after on bars that were not used here.

    Example: [bold]chandler calibrate runs/mine --stride 5[/bold]
    """
    from chandler.evaluation.walk_forward import calibrate as run_calibrate
    from chandler.evaluation.walk_forward import calibration_text

    found = run_calibrate(
        run, horizon=horizon, stride=stride, limit=origins, paths=paths, temperature=temperature, top_p=top_p, seed=seed,
        data=data, device=device,
    )  # fmt: skip
    typer.echo(calibration_text(found))
    typer.echo(f"Calibration: {run / 'calibration.json'}")


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
