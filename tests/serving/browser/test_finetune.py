"""Finetuning from the page: bars that do not do are kept out, a run is followed through reloads, restarts and kills."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from tests.serving.browser.conftest import Server
from tests.serving.browser.test_access import findings

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 90_000
"""Milliseconds that a process has to begin on a busy machine."""
LONG = 300_000
STOCKS = "src_23fed044e010"
QUICK = {
    "data.lookback": 48,
    "data.horizon": 8,
    "data.windows_per_epoch": 64,
    "data.validation_stride": 200,
    "log_every": 1,
    "tokenizer.enabled": False,
    "predictor.epochs": 2,
    "predictor.batch_size": 16,
}
"""Eight steps of the predictor alone: seconds."""
SLOWER = QUICK | {"predictor.epochs": 30, "predictor.save_every": 2}


def asked(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """JSON of a route; a POST where there is a body."""
    request = Request(f"{address}/api/v1{path}", headers={"Content-Type": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
    with urlopen(request) as answer:
        return json.load(answer)


def begun(server: Server, name: str, overrides: dict[str, Any]) -> str:
    """A job that was begun by the API, on the bundled stocks."""
    body = {"kind": "finetune", "name": name, "source_id": STOCKS, "recipe_id": "trial", "overrides": overrides}
    return str(asked(server.address, "/jobs", body)["id"])


def until(server: Server, job: str, *states: str) -> dict[str, Any]:
    """The job once it is in one of these states."""
    for _ in range(LONG // 250):
        found: dict[str, Any] = asked(server.address, f"/jobs/{job}")
        if found["state"] in states:
            return found
        time.sleep(0.25)
    raise AssertionError(found)


@pytest.fixture
def ended(server: Server) -> Iterator[list[str]]:
    """Jobs that are killed when the test is over."""
    jobs: list[str] = []
    yield jobs
    for job in jobs:
        if asked(server.address, f"/jobs/{job}")["state"] in ("running", "queued", "stopping"):
            asked(server.address, f"/jobs/{job}/kill", {})
            until(server, job, "stopped", "failed", "lost", "finished")


def state(page: Any, name: str, timeout: int = WAIT) -> None:
    expect(page.locator("article.job")).to_have_attribute("data-state", name, timeout=timeout)


def steps(page: Any) -> list[int]:
    """The steps of the training line, as the table behind the curve has them."""
    cells = page.locator("figure.curves table tbody tr").evaluate_all(
        "rows => rows.filter((row) => row.cells[1].textContent !== '–').map((row) => row.cells[0].textContent)"
    )
    return [int(cell.replace(",", "")) for cell in cells]


def walk(path: Path, rows: int, freq: str = "1D") -> Path:
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, rows).cumsum())
    frame = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": np.arange(rows) + 1.0}
    pd.DataFrame({"timestamp": pd.date_range("2015-01-01", periods=rows, freq=freq), **frame}).to_csv(path, index=False)
    return path


def test_the_form_knows_its_settings_and_the_bars(visit: Any) -> None:
    page = visit("/finetune")
    page.locator("#source").select_option(STOCKS)
    expect(page.locator(".verdict")).to_have_attribute("data-ok", "1", timeout=WAIT)
    start = page.locator("#start")
    expect(start).to_be_enabled()
    assert page.locator(".grid.main .setting").count() == 8
    # Found by what it means, changed, marked, in the address, and put back.
    page.get_by_role("button", name="All settings").click()
    page.locator("#search").fill("peak schedule")
    field = page.locator("#all-predictor\\.learning_rate")
    before = field.input_value()
    field.fill("3e-5")
    field.press("Tab")
    expect(page.locator("[data-setting='predictor.learning_rate']")).to_have_class(re.compile("changed"))
    assert "predictor.learning_rate%3D0.00003" in page.url
    page.reload()
    expect(page.get_by_role("button", name="Reset the change")).to_be_visible()
    # In YAML it is the same; a key that is wrong is told with its neighbour, and nothing can be started.
    page.get_by_role("button", name="As YAML").click()
    text = page.locator("#yaml")
    assert "learning_rate: 0.00003\n" in text.input_value()
    text.fill(text.input_value().replace("learning_rate: 0.00003", "learning_rat: 0.00003"))
    expect(page.locator("#wrong")).to_contain_text("did you mean learning_rate?", timeout=WAIT)
    expect(start).to_be_disabled()
    text.fill(text.input_value().replace("learning_rat: 0.00003", f"learning_rate: {before}"))
    expect(page.get_by_role("button", name="Reset the change")).to_have_count(0, timeout=WAIT)
    expect(start).to_be_enabled(timeout=WAIT)


@pytest.mark.slow
def test_from_an_upload_to_the_report(visit: Any, server: Server, tmp_path: Path) -> None:
    page = visit("/data")
    for name, rows in (("short.csv", 60), ("long.csv", 2000)):
        page.locator("#file").set_input_files(walk(tmp_path / name, rows))
        expect(page.locator(f"[data-source='{name}']")).to_have_attribute("data-state", "ready", timeout=WAIT)
    page.get_by_role("navigation").get_by_role("link", name="Finetune").click()
    choose = page.locator("#source")
    choose.select_option(label=page.locator("#source option", has_text="short.csv").inner_text())
    verdict, start = page.locator(".verdict"), page.locator("#start")
    expect(verdict).to_have_attribute("data-ok", "0", timeout=WAIT)
    expect(verdict.locator(".notice.problem").first).to_be_visible()
    expect(start).to_be_disabled()
    choose.select_option(label=page.locator("#source option", has_text="long.csv").inner_text())
    expect(verdict).to_have_attribute("data-ok", "1", timeout=WAIT)
    page.get_by_role("button", name="As YAML").click()
    text = page.locator("#yaml")
    written = text.input_value()
    text.fill(written.replace("\n  epochs:", "\n  epoks:"))
    expect(page.locator("#wrong")).to_contain_text("did you mean epochs?", timeout=WAIT)
    expect(start).to_be_disabled()
    for key, value in (("windows_per_epoch", 64), ("validation_stride", 20), ("batch_size", 16), ("epochs", 2)):
        written = re.sub(rf"(?m)^  {key}: .*$", f"  {key}: {value}", written)
    written = re.sub(r"(?m)^log_every: .*$", "log_every: 1", written)
    # A step far too long: no checkpoint beats the starting weights, which is a result.
    head, _, tail = written.partition("\npredictor:")
    tail = re.sub(r"(?m)^  learning_rate: .*$", "  learning_rate: 0.05", tail)
    text.fill(f"{head}\npredictor:{tail}")
    expect(page.locator("#yaml-says")).to_have_text("The form shows the same settings.", timeout=WAIT)
    expect(start).to_be_enabled(timeout=WAIT)
    page.locator("#name").fill("From a file 1")
    start.click()
    state(page, "running")
    share = page.locator(".job > .going progress")
    expect(share).to_be_visible()
    state(page, "finished", LONG)
    outcome = page.locator(".outcome")
    expect(outcome).to_have_attribute("data-kept", "predictor", timeout=WAIT)
    expect(outcome).to_contain_text("the starting weights are kept")
    for stage in ("tokenizer", "predictor"):
        drawn = page.locator(f"[data-stage={stage}] g.curve")
        assert float(drawn.get_attribute("data-start")) > 0
        assert int(drawn.get_attribute("data-train")) == 8, "the training line lies beside another measure"
        expect(page.locator(f"[data-stage={stage}] line.start").first).to_be_attached()
        expect(page.locator(f"[data-stage={stage}] circle.best").first).to_be_attached()
    assert page.locator("[data-stage=predictor] g.curve").get_attribute("data-best") == "0"
    # The settings are the folder's, whatever the form says by now.
    page.get_by_text("Settings of this run").click()
    expect(page.locator("[data-value='predictor.learning_rate']")).to_have_text("0.05")
    expect(page.locator(".command code")).to_contain_text("chandler finetune")
    address = page.get_by_role("link", name="Report").get_attribute("href")
    with urlopen(server.address + address) as answer:
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert b"<html" in answer.read()
    page.get_by_role("link", name="All runs").click()
    expect(page.locator("tr[data-row]", has_text="From a file 1")).to_have_attribute("data-state", "finished")


@pytest.mark.slow
def test_a_run_is_the_same_in_every_tab_and_after_a_reload(visit: Any, server: Server, ended: list[str]) -> None:
    job = begun(server, "tabs", SLOWER)
    ended.append(job)
    page = visit(f"/finetune?job={job}")
    state(page, "running")
    predictor = page.locator("[data-stage=predictor]")
    expect(predictor.locator("g.curve")).to_be_attached(timeout=WAIT)
    page.get_by_role("button", name="As table").click()
    expect(page.locator("figure.curves table tbody tr").nth(6)).to_be_visible(timeout=WAIT)
    page.reload()
    page.get_by_role("button", name="As table").click(timeout=WAIT)
    page.get_by_role("navigation").get_by_role("link", name="Data").click()
    expect(page.get_by_role("heading", level=1, name="Data")).to_be_visible()
    page.locator(".tray button").first.click()
    page.locator(".drawer").get_by_role("link", name="Finetuning tabs").click()
    state(page, "running")
    page.get_by_role("button", name="As table").click(timeout=WAIT)
    expect(page.locator("figure.curves table tbody tr").nth(8)).to_be_visible(timeout=WAIT)
    tabs = [page.context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.goto(page.url)
    for tab in tabs:
        state(tab, "running")
        expect(tab.locator("g.curve").first).to_be_attached(timeout=WAIT)
    there = steps(page)
    assert there == list(range(1, len(there) + 1)), "a gap or a double point"
    told = asked(server.address, f"/jobs/{job}")
    records = asked(server.address, f"/runs/{told['run_id']}/metrics")["records"]
    assert len(there) >= sum(one["kind"] == "train" for one in records) - 8
    assert page.locator("progress").first.evaluate("bar => bar.value") < 1
    for tab in tabs:
        tab.close()


def _weights(run: Path) -> str:
    return hashlib.sha256((run / "predictor" / "model.safetensors").read_bytes()).hexdigest()


def _family(folder: Path) -> list[int]:
    """Processes that name a job's folder: its supervisor and its command."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_kills_of_the_server_and_of_the_job(visit: Any, watch: Any, tmp_path: Path) -> None:
    watch.allowed = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
    own = Server(tmp_path / "workspace")
    own.start()
    try:
        job = begun(own, "killed", SLOWER | {"predictor.epochs": 5})
        page = visit(f"/finetune?job={job}", at=own)
        expect(page.locator("g.curve").first).to_be_attached(timeout=WAIT)
        page.get_by_text("Log", exact=True).click()
        own.stop()
        expect(page.locator(".offline")).to_contain_text("does not answer", timeout=20_000)
        alive = _family(own.workspace / "jobs" / job)
        assert alive, "the job died with the server"
        own.start()
        expect(page.locator(".offline")).to_have_count(0, timeout=40_000)
        page.get_by_role("button", name="As table").click(timeout=WAIT)
        expect(page.locator("figure.curves table tbody tr").nth(5)).to_be_visible(timeout=WAIT)
        for pid in _family(own.workspace / "jobs" / job):
            os.kill(pid, signal.SIGKILL)
        state(page, "lost")
        expect(page.locator(".tray b.hot")).to_be_visible(timeout=20_000)
        page.get_by_role("button", name="Resume").click()
        state(page, "running")
        state(page, "finished", LONG)
        there = steps(page)
        assert there == list(range(1, 21))
        lines = len((own.workspace / "jobs" / job / "log.txt").read_text().splitlines())
        # The last of them come after the state does.
        expect(page.locator("pre.log")).to_have_attribute("data-lines", str(lines), timeout=WAIT)
        other = begun(own, "whole", SLOWER | {"predictor.epochs": 5})
        assert until(own, other, "finished", "failed")["state"] == "finished"
        runs = tmp_path / "runs"
        assert _weights(runs / "killed") == _weights(runs / "whole")
    finally:
        own.stop()


@pytest.mark.slow
def test_stop_resume_kill_and_the_queue(visit: Any, server: Server, ended: list[str]) -> None:
    first, second = begun(server, "first", SLOWER), begun(server, "second", QUICK)
    ended += [first, second]
    page = visit(f"/finetune?job={second}")
    state(page, "queued")
    expect(page.locator(".notice", has_text="It starts by itself")).to_be_visible()
    page.goto(f"{server.address}/finetune?job={first}")
    expect(page.locator("g.curve").first).to_be_attached(timeout=WAIT)
    page.get_by_role("button", name="As table").click()
    expect(page.locator("figure.curves table tbody tr").nth(4)).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Stop").click()
    state(page, "stopped")
    saved = steps(page)
    expect(page.locator("article.job")).to_contain_text("Resume goes on from the last saved state.")
    # The one that waited has its turn; the first waits behind it when it is resumed.
    assert until(server, second, "running", "finished")["state"] in ("running", "finished")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("article.job")).to_have_attribute("data-state", re.compile("queued|running"), timeout=WAIT)
    assert until(server, second, "finished", "failed")["state"] == "finished"
    state(page, "running")
    going = page.locator(".job > .going")
    expect(going).to_have_attribute("data-done", re.compile(r"\d"), timeout=WAIT)
    # Time left counts what was done since it went on, not the hours before.
    for _ in range(240):
        progress = asked(server.address, f"/jobs/{first}")["progress"]
        if progress and progress["seconds_left"] is not None and progress["rate"]:
            break
        time.sleep(0.25)
    left = (progress["total"] - progress["done"]) * QUICK["predictor.batch_size"] / progress["rate"]
    assert progress["seconds_left"] == pytest.approx(left, rel=1.0)
    assert steps(page)[: len(saved)] == saved
    page.get_by_role("button", name="Kill").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Kill first?")
    dialog.get_by_role("button", name="Leave it running").click()
    state(page, "running")
    page.get_by_role("button", name="Kill").click()
    dialog.get_by_role("button", name="Kill it").click()
    state(page, "stopped")
    expect(page.locator("article.job")).to_contain_text("It was killed, and did not save")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Any, server: Server, ended: list[str], scheme: str) -> None:
    job = begun(server, f"axe {scheme}", QUICK)
    ended.append(job)
    page = visit(f"/finetune?source={STOCKS}", color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator(".verdict")).to_have_attribute("data-ok", "1", timeout=WAIT)
    page.get_by_text("those with most to look at first").click()
    assert findings(page) == []
    page.get_by_role("button", name="All settings").click()
    page.locator("#search").fill("epochs")
    assert findings(page) == []
    page.get_by_role("button", name="As YAML").click()
    assert findings(page) == []
    page.goto(f"{server.address}/finetune?job={job}")
    state(page, "finished", LONG)
    page.get_by_text("Log", exact=True).click()
    page.get_by_text("Settings of this run").click()
    page.locator("details summary", has_text="validations").click()
    expect(page.locator("pre.log")).to_contain_text("predictor")
    assert findings(page) == []


@pytest.mark.slow
def test_a_run_is_started_and_stopped_by_keys_alone(visit: Any, server: Server, ended: list[str]) -> None:
    page = visit("/data", size=(640, 450))
    expect(page.get_by_role("heading", level=1, name="Data")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("f")
    choose = page.locator("#source")
    expect(choose).to_be_visible()

    def reach(what: str) -> None:
        for _ in range(80):
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no key leads to {what}")

    reach("#source")
    page.keyboard.type("chandler")
    expect(choose).to_have_value(STOCKS)
    expect(page.locator(".verdict")).to_have_attribute("data-ok", "1", timeout=WAIT)
    reach("#set-predictor\\.epochs")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("40")
    reach("#name")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("By keys")
    expect(page.locator("#start")).to_be_enabled(timeout=WAIT)
    page.keyboard.press("Enter")
    state(page, "running")
    ended.append(page.locator("article.job").get_attribute("data-job"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.textContent") == "Kill":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(":focus")).to_have_text("Kill")  # given back a moment after
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text(re.compile("stopped|lost|running"))
