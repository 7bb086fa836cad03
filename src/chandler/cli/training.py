"""Commands that train: demo, finetune, pretrain; and runs, which lists what they left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chandler.training.config import Settings

from chandler.cli.options import Force, Overrides, Overwrite, Resume, RunFolder


def demo(
    out: Annotated[Path, typer.Option(help="Run folder to write; an earlier demo there is replaced.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Finetune chandler-nano on five bundled US stocks, then hold it against the untouched model and naive forecasts.

    Needs no data, no network and no accelerator; a few minutes on two CPU cores.
    """
    from chandler.demo import run_demo

    run_demo(out)


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


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look for run folders.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List runs: stages, epochs, score at step 0 and at best, size on disk, date."""
    from chandler.training.listing import runs_json, runs_table

    typer.echo(runs_json(folder) if as_json else runs_table(folder))
