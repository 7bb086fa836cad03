"""A real server, a real browser: nothing is pretended. A browser that is missing fails the tests, it does not skip them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

import chandler

pytest.importorskip("fastapi")
sync_api = pytest.importorskip("playwright.sync_api")

NANO = Path(chandler.__file__).parent / "assets" / "nano"
PATIENCE = 60
"""Seconds that a server has to say its address, on a busy machine."""


@dataclass
class Server:
    """A server in a process of its own."""

    workspace: Path
    port: int = 0
    address: str = ""
    process: subprocess.Popen[str] | None = None
    options: tuple[str, ...] = ()

    def start(self) -> None:
        """Start it, and wait for its address. Started again, it has the port it had."""
        command = [
            sys.executable, "-m", "chandler", "studio", "--no-browser", "--no-token", "--port", str(self.port),
            "--workspace", str(self.workspace), "--model", f"twin={NANO}", *self.options,
        ]  # fmt: skip
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(chandler.__file__).parents[1]),
        }
        log = self.workspace.with_suffix(".log").open("a")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=self.workspace.parent
        )
        assert self.process.stdout is not None
        begun = time.monotonic()
        for line in self.process.stdout:
            if found := re.search(r"http://[\w.]+:(\d+)", line):
                self.address, self.port = found[0], int(found[1])
                # The address is there before the app is: a page has less patience than this.
                urlopen(f"{self.address}/api/v1/health", timeout=PATIENCE).close()
                return
            assert time.monotonic() - begun < PATIENCE
        raise AssertionError(self.workspace.with_suffix(".log").read_text())

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("studio") / "workspace")
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield one
        one.close()


@dataclass
class Watch:
    """What must not happen on a page."""

    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    allowed: str = r"^$"
    """Errors that a test provokes: what the browser itself prints of a refused request."""

    def check(self) -> None:
        assert self.elsewhere == []
        assert [one for one in self.errors if not re.search(self.allowed, one)] == []


Open = Callable[..., "sync_api.Page"]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def visit(browser: object, server: Server, watch: Watch) -> Iterator[Open]:
    """Open an address of the server in a context of its own; the page is watched until the test ends."""
    contexts = []

    def opened(path: str = "/", at: Server = server, size: tuple[int, int] = (1280, 900), **options: object):  # type: ignore[no-untyped-def]
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)  # type: ignore[attr-defined]
        contexts.append(context)

        def gate(route: sync_api.Route) -> None:
            if route.request.url.startswith((f"{at.address}/", "data:", "blob:")):
                route.continue_()
            else:
                watch.elsewhere.append(route.request.url)
                route.abort()

        context.route("**/*", gate)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))"
        )
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                message.type == "error" and watch.errors.append(f"{message.text} {message.location['url']}")
            ),
        )
        page.on("pageerror", lambda error: watch.errors.append(str(error)))
        page.goto(at.address + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    watch.check()
