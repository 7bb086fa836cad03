"""A real server in a process of its own, and a client that says what it sends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

import chandler

pytest.importorskip("fastapi")
PATIENCE = 90


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Client:
    """A server's API, by its token."""

    port: int
    token: str
    log: Path
    process: subprocess.Popen[str]
    address: str

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None) -> Answer:
        """One request; a header that is None is not sent."""
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": kind if body is not None else None,
        }
        sent |= headers or {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value is not None})
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """JSON of a route under /api/v1, which must answer 200."""
        found = self.call("GET", "/api/v1" + path, headers=dict(headers))
        assert found.status == 200, found.body
        return found.json

    def settled(self, source: str) -> dict[str, Any]:
        """A source once it is not being read any more."""
        for _ in range(PATIENCE * 5):
            found: dict[str, Any] = self.get(f"/sources/{source}")
            if found["state"] != "reading":
                return found
            time.sleep(0.2)
        raise AssertionError("still reading")

    def listen(self, after: str = "") -> HTTPResponse:
        """The stream of events, from an id on if one is given."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        path = "/api/v1/events" + (f"?after={after}" if after else "")
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        return connection.getresponse()

    def until(self, forecast: str, *states: str) -> dict[str, Any]:
        """A forecast once it is in one of the states."""
        for _ in range(PATIENCE * 20):
            found: dict[str, Any] = self.get(f"/forecasts/{forecast}")
            if found["state"] in states:
                return found
            time.sleep(0.05)
        raise AssertionError(found)

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


def launch(folder: Path, *options: str, command: str = "serve", told: Callable[[], None] = lambda: None) -> Client:
    """Start a server and wait for its address (then `told` is called), and for an answer."""
    log = folder / f"server-{time.monotonic_ns()}.log"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(folder / "hub"),  # nothing was fetched, whatever this machine has
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(chandler.__file__).parents[1]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "chandler", command, "--port", "0", "--workspace", str(folder / "workspace"), *options],
        stdout=subprocess.PIPE, stderr=log.open("w"), text=True, env=environment, cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None
    address, token = "", ""
    for line in process.stdout:
        if found := re.search(r"http://[\w.]+:(\d+)\S*", line):
            address = found[0]
        if found := re.search(r"browsers: (\w+)", line):
            token = found[1]
        if "Ctrl-C" in line:
            break
    told()
    assert address, log.read_text()
    port = int(re.search(r":(\d+)", address.removeprefix("http:"))[1])  # type: ignore[index]
    client = Client(port, token, log, process, address)
    for _ in range(PATIENCE * 10):
        try:
            if client.call("GET", "/api/v1/health").status == 200:
                return client
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def heard(stream: HTTPResponse, wanted: str) -> list[str]:
    """Lines of a stream until they hold a text."""
    lines: list[str] = []
    while wanted not in "".join(lines):
        lines.append(stream.readline().decode())
        assert lines[-1], "the stream ended"
    return lines


def awaited(work: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run` in a thread of its own: the loop of a browser may be running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def child_of(api: Client, name: str) -> psutil.Process:
    """The child of a server that is there for "forecasts" or "looks"."""
    [found] = [
        one
        for one in psutil.Process(api.process.pid).children()
        if {"chandler.serving.worker", name} <= {*one.cmdline()}
    ]
    return found


def bars(rows: int, first: str = "2024-01-01", freq: str = "1h", seed: int = 0) -> pd.DataFrame:
    """A walk of hourly candles."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    start = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(start, close) * 1.002, np.minimum(start, close) * 0.998
    times = pd.date_range(first, periods=rows, freq=freq)
    return pd.DataFrame(
        {"timestamp": times, "open": start, "high": high, "low": low, "close": close, "volume": 1 + rng.random(rows)}
    )


@pytest.fixture(scope="session")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bars beside things that are none of the server's."""
    root = tmp_path_factory.mktemp("offered")
    bars(5000).to_csv(root / "中文.csv", index=False)
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.csv"
    bars(10).to_csv(secret, index=False)
    (root / "link.csv").symlink_to(secret)
    (root / "notes.md").write_text("not bars")
    return root


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs as the trainer leaves them (tests/serving/made_runs.py); whoever adds one removes it."""
    from tests.serving.made_runs import make_runs

    root = tmp_path_factory.mktemp("trained") / "runs"
    make_runs(root)
    return root


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory, offered: Path) -> Iterator[Client]:
    one = launch(tmp_path_factory.mktemp("served"), "--data", str(offered), "--max-upload", "2")
    yield one
    one.process.kill()
    one.process.wait()
