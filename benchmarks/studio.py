"""What the page and the server take on this machine: `make bench-studio`, some minutes.

Times are of a server and a browser in processes of their own. Reads go out from 20 clients for 30 s, twice: while nothing else
runs, and while a finetuning does. One measure that needs no quiet machine is the ratio of the two.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from playwright.sync_api import Page, sync_playwright
from tests.serving.conftest import Client, launch

CLIENTS, SECONDS = 20, 30.0


def walk(rows: int) -> bytes:
    """So many minutes of one symbol, as CSV."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0005, rows)))
    start = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {
            "timestamp": pd.date_range("2020-01-01", periods=rows, freq="min", tz="UTC"),
            "open": start, "high": np.maximum(start, close) * 1.0005, "low": np.minimum(start, close) * 0.9995,
            "close": close, "volume": rng.integers(1, 1000, rows),
        }
    )  # fmt: skip
    made = io.BytesIO()
    frame.to_csv(made, index=False, float_format="%.5f")
    return made.getvalue()


def started(folder: Path) -> tuple[Client, float, float]:
    """A server with its page; seconds until its address was printed, and until its API answered."""
    begun = time.perf_counter()
    addressed: list[float] = []
    client = launch(
        folder, "--no-browser", "--no-token", command="studio", told=lambda: addressed.append(time.perf_counter())
    )
    return client, addressed[0] - begun, time.perf_counter() - begun


def until(what: Any, seconds: float = 600) -> float:
    """Seconds until something holds."""
    begun = time.perf_counter()
    while not what():
        if time.perf_counter() - begun > seconds:
            raise SystemExit("it did not come to pass")
        time.sleep(0.02)
    return time.perf_counter() - begun


def drawn(page: Page, at: str) -> float:
    """Seconds from asking for an address to candles on the screen."""
    begun = time.perf_counter()
    page.goto(at)
    page.wait_for_selector("#chart[data-bars]:not([data-bars='0'])", timeout=60_000)
    return time.perf_counter() - begun


def pans(page: Page, times: int = 20) -> list[float]:
    """Seconds of each step back along the chart that had to fetch bars, from the key to the answer drawn."""
    chart = page.locator("#chart")
    chart.focus()
    found = []
    for _ in range(times):
        before = chart.get_attribute("data-first")
        begun = time.perf_counter()
        for _ in range(25):
            chart.press("Shift+ArrowLeft")
            if chart.get_attribute("data-first") != before:
                found.append(time.perf_counter() - begun)
                break
    return found


def load(client: Client, addresses: list[str], seconds: float) -> tuple[list[float], int]:
    """Latencies of reads by CLIENTS at once, each asking again when it was answered, and how many failed."""
    taken: list[float] = []
    failed = 0
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        nonlocal failed
        connection = HTTPConnection("127.0.0.1", client.port, timeout=60)
        turn = number
        while time.perf_counter() < end:
            begun = time.perf_counter()
            try:
                connection.request("GET", addresses[turn % len(addresses)])
                answer = connection.getresponse()
                answer.read()
                failed += answer.status != 200
            except OSError:
                failed += 1
                connection.close()
            taken.append(time.perf_counter() - begun)
            turn += 1
            time.sleep(0.05)
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return taken, failed


def said(name: str, value: str, wanted: str = "") -> None:
    print(f"{name:<58}{value:>16}   {wanted}", flush=True)


def of(latencies: list[float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    return 1e3 * statistics.median(latencies), 1e3 * statistics.quantiles(latencies, n=20)[-1]


def memory(client: Client) -> float:
    """MB of the server besides mapped files."""
    told = psutil.Process(client.process.pid).memory_info()
    return (told.rss - told.shared) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        client, address, answer = started(Path(name))
        try:
            said("address printed", f"{address:.2f} s", "< 2 s")
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            root = f"http://127.0.0.1:{client.port}"
            said("... API answers", f"{answer:.2f} s")
            said(
                "... a browser's first page has candles, since the command",
                f"{answer + drawn(page, root):.2f} s",
                "< 3 s",
            )
            said(
                "... forecasting process ready, since the command",
                f"{answer + until(lambda: client.get('/health')['ready']):.1f} s",
            )

            body = walk(asked.rows)
            begun = time.perf_counter()
            source = client.call("POST", "/api/v1/uploads?name=minutes.csv", body).json["source_id"]
            said(f"upload of {asked.rows:,} bars ({len(body) / 1e6:.0f} MB)", f"{time.perf_counter() - begun:.2f} s")
            until(lambda: client.get(f"/sources/{source}")["state"] == "ready")
            said("... read and ready, in a process of its own", f"{time.perf_counter() - begun:.1f} s")
            symbol = client.get(f"/sources/{source}/symbols")["symbols"][0]["symbol"]
            chart = f"{root}/chart?source={source}&symbol={symbol}"
            page.goto(f"{root}/about")
            said("first chart of them, page load included", f"{drawn(page, chart):.2f} s", "< 1 s")
            moved = pans(page)
            said(
                "panning back: key to new bars drawn, median",
                f"{1e3 * statistics.median(moved):.0f} ms" if moved else "none",
            )

            tabs = page.context
            begun = time.perf_counter()
            eight = [tabs.new_page() for _ in range(8)]
            for one in eight:
                one.goto(chart, wait_until="commit")
            for one in eight:
                one.wait_for_selector("#chart[data-bars]:not([data-bars='0'])", timeout=60_000)
            said("eight more tabs: all with candles after", f"{time.perf_counter() - begun:.1f} s")
            for one in eight:
                one.close()
            page.close()

            bars = f"/api/v1/sources/{source}/bars?symbol={symbol}"
            reads = [
                f"{bars}&limit=600", f"{bars}&limit=2000&from=1577836800&to=1590000000", "/api/v1/sources", "/api/v1/models",
                "/api/v1/system", f"{bars}&limit=600&to=1600000000", "/api/v1/forecasts", "/api/v1/jobs", "/api/v1/runs",
            ]  # fmt: skip
            quiet, failed = load(client, reads, asked.seconds)
            middle, high = of(quiet)
            said(
                f"{CLIENTS} clients reading, nothing else: p50, p95",
                f"{middle:.0f}, {high:.0f} ms",
                f"{failed} failed of {len(quiet)}",
            )
            job = train(client, source)
            try:
                busy, failed = load(client, reads, asked.seconds)
            finally:
                client.call("POST", f"/api/v1/jobs/{job}/kill", {})
            middle, busy_high = of(busy)
            said(
                "... while a job trains: p50, p95",
                f"{middle:.0f}, {busy_high:.0f} ms",
                f"< 300 ms; {failed} failed of {len(busy)}",
            )
            said("... p95 against nothing else", f"{busy_high / high:.2f} times")
            said("server's memory besides mapped files", f"{memory(client):.0f} MB", "< 400 MB")
        finally:
            client.process.terminate()
            client.process.wait(20)
            browser.close()


def train(client: Client, source: str) -> str:
    """Begin a finetuning that outlasts the reads; its id, once it trains."""
    nano = next(one["id"] for one in client.get("/models")["models"] if one["kind"] == "bundled")
    body = {
        "kind": "finetune", "name": "busy", "source_id": source, "model_ids": [nano],
        "overrides": {"tokenizer.enabled": False, "predictor.epochs": 500, "data.validation_stride": 20_000, "log_every": 1},
    }  # fmt: skip
    answer = client.call("POST", "/api/v1/jobs", body)
    if answer.status != 201:
        raise SystemExit(answer.body.decode())
    job: str = answer.json["id"]
    until(lambda: (client.get(f"/jobs/{job}")["progress"] or {}).get("done"))
    return job


if __name__ == "__main__":
    main()
