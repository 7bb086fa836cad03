"""The command that trains many times: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from chandler.cli.options import EngineOptions, takes_options


@takes_options
def sweep(
    config: Annotated[Path, Argument(help="YAML that describes a run, as of finetune.", show_default=False)],
    params: Annotated[
        list[str],
        Option(
            "--param",
            help="What is varied: KEY=1e-6,1e-5 or seed=1..3 (all combinations), KEY=loguniform(1e-6,1e-4), "
            "uniform(0,0.2), choice(8,16). Repeatable.",
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None, Option("--set", help="Any key, for all trials: --set data.path=bars.csv. Repeatable.")
    ] = None,
    samples: Annotated[
        int, Option(min=1, help="Draws of what is drawn; each meets all combinations of the lists.")
    ] = 1,
    seed: Annotated[int, Option(min=0, help="Of the draws; that of the runs is a key of theirs.")] = 0,
    early_stop: Annotated[
        Literal["asha"] | None, Option(help="asha: end trials that are behind most others after 1, 3, 9, ... epochs.")
    ] = None,
    out: Annotated[
        str, Option(help="Folder of the sweep: a run folder for each trial, the table, the page.")
    ] = "runs/sweep",
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace a sweep with other settings in that folder.")
    ] = False,
    *,
    options: EngineOptions,
) -> None:
    """Finetune many times with other settings, and say which differences are more than the scatter of seeds.

    Stopped, it goes on with the same command. A trial that fails is told, and the others go on.

    Example: [bold]chandler sweep configs/csv.yaml --set data.path=bars.csv --param predictor.learning_rate=1e-6,1e-5
    --param seed=1..3[/bold]
    """
    from chandler.reports import sweep_text, write_sweep_report
    from chandler.scale.sweep import load_sweep
    from chandler.scale.sweep import sweep as run_sweep
    from chandler.training.engine import Interrupted

    given: dict[str, Any] = {"config": str(config), "params": params, "overrides": overrides or [], "samples": samples}
    settings = load_sweep({**given, "seed": seed, "early_stop": early_stop, "out": out})
    try:
        folder = run_sweep(settings, engine=options.chosen(), overwrite=overwrite)
    except (Interrupted, KeyboardInterrupt) as stopped:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(getattr(stopped, "code", 130)) from None
    typer.echo(f"\n{sweep_text(folder)}")
    typer.echo(f"Table: {folder / 'sweep.parquet'}")
    typer.echo(f"Report: {write_sweep_report(folder)}")
