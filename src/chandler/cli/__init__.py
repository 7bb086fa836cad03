"""The shell: parse, call, print. Every failure a user can cause ends in one message and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer
from typer import Option

from chandler.cli import bars, evaluation, forecasting, journal, publishing, serving, sweep, training
from chandler.cli.remedies import COMMANDS, as_typed
from chandler.errors import ChandlerError
from chandler.printing import patient_streams
from chandler.version import __version__, require_torch

app = typer.Typer(
    name="chandler",
    help="Finetune Kronos, the foundation model for market candles, on your own bars; forecast with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_debug = False


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    global _debug
    _debug = debug
    require_torch()


for command in (
    training.demo,
    bars.inspect,
    bars.prepare,
    training.finetune,
    training.pretrain,
    sweep.sweep,
    training.signal,
    forecasting.forecast,
    evaluation.evaluate,
    evaluation.calibrate,
    evaluation.backtest,
    evaluation.report,
    training.runs,
    publishing.push,
    serving.studio,
    serving.serve,
):
    app.command()(command)
    COMMANDS[command.__name__] = command
app.add_typer(journal.app, name="journal")
COMMANDS["journal"] = journal.score  # its options are those of bars; show has none


def main() -> None:
    """The entry point of the `chandler` command."""
    with patient_streams() as streams:
        number = _run()
        lost = next((one.lost for one in streams if one.lost and not isinstance(one.lost, BrokenPipeError)), None)
        if lost is not None:
            typer.echo(f"chandler: the output could not be written ({lost.strerror or lost}).", err=True)
            number = number or 1
    if "torch" in sys.modules and "WORLD_SIZE" in os.environ:
        from chandler.training.engine import leave

        leave(number)
    sys.exit(number)


def _run() -> int:
    """The command that the shell asks for; its exit code."""
    code: int | str | None = 0
    command = next((one for one in sys.argv[1:] if one in COMMANDS), "")
    warnings.formatwarning = lambda message, *_, **__: f"chandler: {as_typed(str(message), command)}\n"
    try:
        app()
    except ChandlerError as error:
        if _debug:
            raise
        # Under torchrun every process of a machine meets the same failure; the first one tells it.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            typer.echo(f"chandler: {as_typed(str(error), command)}", err=True)
        code = 2
    except SystemExit as done:
        code = done.code
    return code if isinstance(code, int) else int(bool(code))
