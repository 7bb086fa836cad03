"""push: a finished run as a repository of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from chandler.errors import ConfigError


def push(
    run: Annotated[
        str,
        Argument(
            help="A finished run folder, a folder with tokenizer/ and predictor/, or TOKENIZER+PREDICTOR.",
            show_default=False,
        ),
    ],
    repo: Annotated[str, Argument(help="OWNER/NAME of the repository; made where there is none.", show_default=False)],
    evaluation: Annotated[
        Path | None, Option(help="Folder of an evaluation of this model: its scores against naive go into the card.")
    ] = None,
    license: Annotated[
        str | None, Option(help="The hub's identifier of a licence, such as mit; default: the card says unknown.")
    ] = None,
    private: Annotated[bool, Option("--private", help="Make the repository private, where it is made.")] = False,
    branch: Annotated[str | None, Option(help="An existing branch; default: main.")] = None,
    message: Annotated[str | None, Option(help="Of the commit.")] = None,
    overwrite: Annotated[
        bool,
        Option("--overwrite", help="Also where there are files that chandler did not write, or an edited card."),
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show the files and the card; ask no hub and upload nothing.")
    ] = False,
    out: Annotated[
        Path | None, Option(help="Write the files into this folder instead of uploading them.", show_default=False)
    ] = None,
) -> None:
    """Publish RUN on the Hugging Face Hub, with a model card that says how it was made and how good it is not known to be.

    One commit, made after everything was checked; a push that fails leaves nothing behind. Log in first with `hf auth login`,
    or set HF_TOKEN. [bold]--model OWNER/NAME[/bold] and Forecaster.from_pretrained("OWNER/NAME") then read it back.

    Example: [bold]chandler push runs/mine me/my-kronos --evaluation runs/eval --license mit --private[/bold]
    """
    from chandler.hub import PushOptions
    from chandler.publishing import Publication

    if dry_run and out is not None:
        raise ConfigError("--dry-run writes nothing and --out does: give one of them.")
    made = Publication.of(run, repo, evaluation=evaluation, license=license)
    for note in made.notes:
        typer.echo(f"push: {note}", err=True)
    if dry_run:
        typer.echo(made.to_text())
    elif out is not None:
        typer.echo(f"Files: {made.save(out)}")
    else:
        options: PushOptions = {"private": private or None, "branch": branch}
        if message is not None:
            options["commit_message"] = message
        typer.echo(f"Pushed: {made.push(overwrite=overwrite, **options)}")
        typer.echo(f"It is read by its name: chandler forecast DATA --model {repo}")
