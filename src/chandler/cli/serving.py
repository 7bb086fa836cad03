"""chandler studio, chandler serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from chandler.cli.options import takes_options
from chandler.cli.remedies import as_typed
from chandler.errors import ConfigError
from chandler.serving import UPLOAD_BYTES, ServerSettings
from chandler.serving import serve as run_server


@dataclass(frozen=True)
class ServerOptions:
    """What is served, and to whom: the same options for studio and serve."""

    data: Annotated[
        list[Path] | None,
        Option("--data", help="A folder whose files of bars are offered. Repeatable.", show_default=False),
    ] = None
    runs: Annotated[Path, Option("--runs", help="Where finished runs are looked for.")] = Path("runs")
    model: Annotated[
        list[str] | None, Option("--model", help="A further model: NAME=FOLDER. Repeatable.", show_default=False)
    ] = None
    workspace: Annotated[Path, Option("--workspace", help="Where uploads, prepared bars and forecasts are kept.")] = (
        Path("chandler-studio")
    )
    device: Annotated[str, Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    parallel_jobs: Annotated[
        int, Option("--parallel-jobs", min=1, help="Finetunings and evaluations that run at once; others wait.")
    ] = 1
    host: Annotated[str, Option("--host", help="Address to listen on; others than this machine's let others in.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int | None, Option("--port", help="Default: 8421, or the next one that is free; 0: any.", show_default=False)
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        Option("--allowed-host", help="A name by which the server is reached. Repeatable.", show_default=False),
    ] = None
    no_token: Annotated[bool, Option("--no-token", help="Ask for no token; on this machine's address only.")] = False
    token_file: Annotated[Path | None, Option("--token-file", help="Read the token from this file.")] = None
    max_upload: Annotated[int, Option("--max-upload", min=1, help="MB that an upload may have.")] = UPLOAD_BYTES >> 20
    certfile: Annotated[Path | None, Option("--certfile", help="Certificate for HTTPS.")] = None
    keyfile: Annotated[Path | None, Option("--keyfile", help="Its key.")] = None

    def settings(self, *, page: bool, jobs: bool) -> ServerSettings:
        """As the server takes them."""
        models: dict[str, Path] = {}
        for one in self.model or []:
            name, equals, folder = one.partition("=")
            if not equals or not name:
                raise ConfigError(f"--model {one}: expected NAME=FOLDER, as in --model mine=runs/mine.")
            if name in models:
                raise ConfigError(f"--model {one}: another model has that name. Give this one a name of its own.")
            models[name] = Path(folder)
        return ServerSettings(
            workspace=self.workspace, page=page, host=self.host, port=self.port, data=tuple(self.data or ()), runs=self.runs,
            models=models, device=self.device, jobs=jobs, parallel_jobs=self.parallel_jobs,
            allowed_hosts=tuple(self.allowed_host or ()), no_token=self.no_token,
            token_file=self.token_file, upload_bytes=self.max_upload << 20, certfile=self.certfile, keyfile=self.keyfile,
        )  # fmt: skip


@takes_options
def studio(
    no_browser: Annotated[bool, Option("--no-browser", help="Do not open the page.")] = False,
    *,
    options: ServerOptions,
) -> None:
    """Open the page: bars, forecasts with the truth over them, finetuning, verdicts. Offline, on this machine.

    Example: [bold]chandler studio --data bars/[/bold]
    """
    run_server(options.settings(page=True, jobs=True), browser=not no_browser, say=_say)


@takes_options
def serve(
    jobs: Annotated[
        bool, Option("--jobs", help="Take jobs too: who has the token then runs finetunings as you.")
    ] = False,
    *,
    options: ServerOptions,
) -> None:
    """Serve the API alone, for scripts.

    Example: [bold]chandler serve --data bars/ --port 8421[/bold]
    """
    run_server(options.settings(page=False, jobs=jobs), browser=False, say=_say)


def _say(line: str) -> None:
    typer.echo(as_typed(line, "serve"))
