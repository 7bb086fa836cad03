"""Commands that train: demo, finetune, pretrain, signal; and runs, which lists what they left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from chandler.cli.options import Data, EngineOptions, RunOptions, SourceOptions, bars_of, takes_options
from chandler.cli.remedies import as_typed
from chandler.errors import ConfigError, DataError
from chandler.places import require_apart

if TYPE_CHECKING:
    from chandler.engines import RayEngine


def demo(
    out: Annotated[Path, Option(help="Run folder to write; an earlier demo there is replaced.")] = Path("runs/demo"),
) -> None:
    """Finetune chandler-nano on five bundled US stocks, then hold it against the untouched model and naive forecasts.

    Needs no data, no network and no accelerator; a few minutes on two CPU cores.
    """
    from chandler.demo import run_demo

    run_demo(out)


@takes_options
def finetune(
    config: Annotated[
        Path,
        Argument(
            help="YAML that describes the run; see configs/. One of the reference's CSV pipeline is read as it is.",
            show_default=False,
        ),
    ],
    retries: Annotated[
        int | None,
        Option(min=0, help="Times that workers of --engine ray are started again when some are lost; default: 3."),
    ] = None,
    *,
    options: RunOptions,
    workers: EngineOptions,
) -> None:
    """Adapt the tokenizer, then the predictor on its frozen tokens; write a run folder with a report.

    One device: [bold]chandler finetune configs/csv.yaml --set data.path=bars.csv[/bold]

    Many: [bold]torchrun --nproc-per-node 8 -m chandler finetune configs/csv.yaml ...[/bold]

    Many of a Ray cluster: [bold]chandler finetune configs/csv.yaml ... --engine ray --workers 8 --gpus 1[/bold]
    """
    from chandler.engines import RayEngine

    engine = workers.chosen()
    if retries is not None and not isinstance(engine, RayEngine):
        raise ConfigError("--retries: workers are started again by --engine ray: give that as well, or leave it out.")
    _train(config, options, {}, engine if isinstance(engine, RayEngine) else None, 3 if retries is None else retries)


@takes_options
def pretrain(
    config: Annotated[Path, Argument(help="YAML that describes the run; see configs/nano.yaml.")],
    *,
    options: RunOptions,
) -> None:
    """Train a tokenizer and a predictor from random weights over many sources of bars; the same two stages and loop
    as finetune, with the defaults of pretraining.

    Example: [bold]chandler pretrain configs/nano.yaml --set data.folder=BARS --out runs/nano[/bold]
    """
    from chandler.training.settings import PRETRAINING

    _train(config, options, PRETRAINING)


def _train(
    config: Path,
    options: RunOptions,
    defaults: Mapping[str, Any],
    engine: RayEngine | None = None,
    retries: int = 0,
) -> None:
    """Say what is to be said of the settings and keep them where asked; run both stages; the report at the end."""
    from chandler.training import finetune as run_finetune
    from chandler.training import is_main_process
    from chandler.training.datasets import data_inputs
    from chandler.training.engine import Interrupted
    from chandler.training.settings import save_settings, settings_to_run

    settings, told = settings_to_run(config, options.overrides or (), out=options.out, defaults=defaults)
    save_as, overwrite = options.save_as, options.overwrite
    if is_main_process():
        if told:
            typer.echo(f"{as_typed(told, 'finetune')}\n")
        if save_as is not None:
            if save_as.exists() and save_as.samefile(config):
                raise ConfigError(f"{save_as} is the file that is read. Save the settings under another name.")
            with suppress(DataError):  # of data that are not there, which the run will tell
                require_apart(save_as, data_inputs(settings))
            save_settings(settings, save_as, overwrite=overwrite)
            typer.echo(f"Settings: {save_as}")
    accept = options.accept_changed_settings or options.force
    try:
        if engine is None:
            run = run_finetune(settings, overwrite=overwrite, resume=options.resume, force=accept)
        else:
            from chandler.scale import finetune as on_workers

            flags = {"overwrite": overwrite, "resume": options.resume, "force": accept}
            run = on_workers(settings, engine=engine, retries=retries, **flags)
    except KeyboardInterrupt:
        typer.echo("Stopped. Go on with the same command and --resume.", err=True)
        raise typer.Exit(130) from None
    except Interrupted as interrupted:
        if is_main_process():
            typer.echo(f"{interrupted} Go on with the same command and --resume.", err=True)
        raise typer.Exit(interrupted.code) from None
    if is_main_process():
        from chandler.reports import write_run_report
        from chandler.training.runs import writing

        with writing(run.folder / "report.html"):
            report = write_run_report(run.folder)
        typer.echo(f"Report: {report}")


@takes_options
def signal(
    model: Annotated[
        str,
        Argument(
            help="A run folder, chandler-nano (bundled), a repository, or TOKENIZER+PREDICTOR.", show_default=False
        ),
    ],
    data: Data,
    horizon: Annotated[int, Option(help="Bars ahead whose return is to be ordered.")],
    out: Annotated[
        Path, Option(help="Folder that signal/ is written into, such as the run's own; what else is in it stays.")
    ] = Path("runs/signal"),
    delay: Annotated[int, Option(help="Bars from the signal to the close that its return begins at.")] = 0,
    every: Annotated[int | None, Option(help="Bars between two dates; default: the horizon.")] = None,
    lookback: Annotated[int | None, Option(help="Bars that the model sees; default: as trained.")] = None,
    val_start: Annotated[
        str | None, Option(help="First date that chooses; default: a quarter before the test.")
    ] = None,
    test_start: Annotated[
        str | None, Option(help="First date of the test; default: a fifth, later than what the model knows.")
    ] = None,
    hidden: Annotated[int, Option(help="Units of a hidden layer; 0: a linear readout.")] = 0,
    seeds: Annotated[int, Option(help="Heads that are fitted; their mean is the head.")] = 3,
    seed: Annotated[int, Option(help="The first of them, and that of paths.")] = 0,
    paths: Annotated[int, Option(help="Sampled futures of each forecast that it is held against.")] = 10,
    path_dates: Annotated[int, Option(help="Dates that are forecast for that; 0: none.")] = 12,
    memory: Annotated[
        int | None,
        Option(help="MB for what is embedded at a time; default: a quarter of what is free, half on an accelerator."),
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    force: Annotated[bool, Option("--force", help="Also test on dates that the model knows, and say so.")] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a signal head in that folder.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Train a small readout of MODEL's hidden state to order symbols by their return, and test it on later dates.

    The model stays as it is. The table shows the mean RankIC by date beside momentum, reversal and the model's own
    forecasts, and a sentence says whether there is anything in it.

    Example: [bold]chandler signal runs/mine panel.parquet --horizon 5 --out runs/mine[/bold]

    It is traded with [bold]chandler backtest panel.parquet --model runs/mine --set head=runs/mine[/bold]
    """
    from chandler.evaluation.walk_forward import exposure, open_model
    from chandler.forecasting import require_place
    from chandler.settings import load
    from chandler.training.settings import SignalSettings
    from chandler.training.signal import fit_signal

    given = {
        "horizon": horizon, "delay": delay, "every": every, "lookback": lookback, "val_start": val_start, "test_start": test_start,
        "hidden": hidden, "seeds": seeds, "seed": seed, "paths": paths, "path_dates": path_dates,
        "memory_budget": None if memory is None else memory * 1_000_000,
    }  # fmt: skip
    settings = load(SignalSettings, {name: value for name, value in given.items() if value is not None}, where="signal")
    require_place(out, overwrite=overwrite)
    forecaster = open_model(model, device)
    store = bars_of(data, source, out / "signal")
    result = fit_signal(forecaster, store, settings, known=exposure(model), force=force)
    place = result.head.save(out)
    typer.echo(result.to_text())
    typer.echo(f"Signal head: {place}")


def runs(
    folder: Annotated[Path, Argument(help="Where to look for run folders.")] = Path("runs"),
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List runs: stages, epochs, score at step 0 and at best, size on disk, date."""
    from chandler.training.runs import runs_json, runs_table

    typer.echo(runs_json(folder) if as_json else runs_table(folder))
