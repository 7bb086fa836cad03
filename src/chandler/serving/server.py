"""Binds, says where, runs. The address is there before the app is: what comes in meanwhile waits for it."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chandler.errors import ConfigError
from chandler.serving.settings import PORT, ServerSettings
from chandler.serving.workspace import Workspace

if TYPE_CHECKING:
    from chandler.serving.security import Credentials

TRIES = 20
"""Ports after PORT that are tried."""
STREAM_SECONDS = 2
"""That open streams have at the end: uvicorn would wait for ever."""


def serve(settings: ServerSettings, *, browser: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        browser: open the page.
        say: prints a line.

    Raises:
        ConfigError: the extra is not installed, a port that is taken, a workspace that another server holds, a certificate
            that is none.
    """
    _require_extra()
    settings.check()
    workspace = Workspace(settings.workspace)
    with workspace.held(), _bound(settings) as listening:
        port = int(listening.getsockname()[1])
        token = _token(settings, workspace)
        from chandler.serving.security import Credentials

        credentials = Credentials(token, port)
        name = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
        address = f"{'http' if settings.certfile is None else 'https'}://{f'[{name}]' if ':' in name else name}:{port}"
        _tell(settings, credentials, address, say)
        with _no_collections():
            import uvicorn

            from chandler.serving.app import create_app

        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        config = uvicorn.Config(
            create_app(settings, workspace, credentials), log_config=None, access_log=False, log_level="warning",
            timeout_graceful_shutdown=STREAM_SECONDS, proxy_headers=False, server_header=False, lifespan="on", ws="none",
            ssl_certfile=settings.certfile, ssl_keyfile=settings.keyfile,
        )  # fmt: skip
        try:
            config.load()
        except ssl.SSLError:
            raise ConfigError(
                f"{settings.certfile}, {settings.keyfile}: these are no certificate in PEM and the key of it. "
                "Give others as certfile= and keyfile=."
            ) from None
        if browser and settings.page:
            webbrowser.open(f"{address}/?code={credentials.code()}" if token else address)
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _no_collections() -> Iterator[None]:
    """Imports make many objects and no garbage: looking through them again and again is a sixth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _require_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise ConfigError(
            'The page and the API need libraries that are not installed: pip install "chandler-kronos[studio]".'
        ) from None


def _token(settings: ServerSettings, workspace: Workspace) -> str | None:
    if settings.no_token:
        return None
    if settings.token_file is None:
        return workspace.secret()
    try:
        token = settings.token_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{settings.token_file}: cannot be read ({error}).") from None
    if len(token) < 16:
        raise ConfigError(
            f"{settings.token_file}: a token has 16 characters or more, for example of: openssl rand -hex 32"
        )
    return token


def _tell(settings: ServerSettings, credentials: Credentials, address: str, say: Callable[[str], None]) -> None:
    if not settings.local and settings.certfile is None:
        say(f"Anyone on the way to {settings.host} can read along: this is plain HTTP. Give certfile= and keyfile=, or tunnel "
            "with ssh -L.")  # fmt: skip
    code = f"/?code={credentials.code()}" if settings.page and credentials.token else ""
    say(f"{'Page' if settings.page else 'API'}: {address}{code or ('' if settings.page else '/api/v1')}")
    if credentials.token is not None:
        say(f"Token for scripts and other browsers: {credentials.token}")
    say("Ctrl-C stops.")


def _bound(settings: ServerSettings) -> socket.socket:
    """A listening socket: of the port that was asked for, or the first free one."""
    ports = [settings.port] if settings.port is not None else [*range(PORT, PORT + TRIES), 0]
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    problem: OSError | None = None
    for port in ports:
        # With its protocol named: asyncio switches Nagle's algorithm off only then, and with it answers wait 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, port))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            problem = error
    assert problem is not None
    raise ConfigError(
        f"{settings.host}:{ports[0]}: cannot listen there ({problem.strerror or problem}). Give another port=."
    )
