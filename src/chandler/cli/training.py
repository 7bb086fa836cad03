"""Commands that train: demo, finetune, pretrain; and runs, which lists what they left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from chandler.cli.options import RunOptions, takes_options
from chandler.cli.remedies import as_typed
from chandler.errors import ConfigError, DataError
from chandler.places import require_apart


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
    *,
    options: RunOptions,
) -> None:
    """Adapt the tokenizer, then the predictor on its frozen tokens; write a run folder with a report.

    One device: [bold]chandler finetune configs/csv.yaml --set data.path=bars.csv[/bold]

    Many: [bold]torchrun --nproc-per-node 8 -m chandler finetune configs/csv.yaml ...[/bold]
    """
    _train(config, options, {})


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


def _train(config: Path, options: RunOptions, defaults: Mapping[str, Any]) -> None:
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
        run = run_finetune(settings, overwrite=overwrite, resume=options.resume, force=accept)
    except Interrupted as interrupted:
        if is_main_process():
            typer.echo(f"{interrupted} Go on with the same command and --resume.", err=True)
        raise typer.Exit(interrupted.code) from None
    if is_main_process():
        from chandler.reports import write_run_report

        typer.echo(f"Report: {write_run_report(run.folder)}")


def runs(
    folder: Annotated[Path, Argument(help="Where to look for run folders.")] = Path("runs"),
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List runs: stages, epochs, score at step 0 and at best, size on disk, date."""
    from chandler.training.runs import runs_json, runs_table

    typer.echo(runs_json(folder) if as_json else runs_table(folder))
