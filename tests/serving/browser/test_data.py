"""Files that a reader brings: added, asked about, drawn, deleted; and what stands in them stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.serving.browser.conftest import Server

from chandler.serving.page import BASE

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
ROWS = 30_000

pytestmark = pytest.mark.slow


def _bars(times: pd.DatetimeIndex, form: str | None = None) -> pd.DataFrame:
    close = 100 + np.random.default_rng(0).normal(0, 0.05, len(times)).cumsum().round(4)
    named = {"timestamp": times if form is None else times.strftime(form)}
    return pd.DataFrame(
        named
        | {
            "open": close,
            "high": close + 0.1,
            "low": close - 0.1,
            "close": close,
            "volume": np.arange(len(times)) % 97 + 1,
        }
    )


def test_a_file_is_added_zoomed_out_and_deleted(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "minutes.csv"
    _bars(pd.date_range("2024-01-01", periods=ROWS, freq="min", tz="UTC")).to_csv(path, index=False)
    page = visit("/data")
    sizes: list[int] = []

    def sized(answer: Any) -> None:
        if "/bars?" in answer.url and answer.ok:
            sizes.append(len(answer.json()["time"]))

    page.on("response", sized)
    page.locator("#file").set_input_files(path)
    row = page.locator("[data-source='minutes.csv']")
    expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
    expect(row).to_contain_text("30,000")
    row.get_by_role("link", name="Open in chart").click()
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("data-bars", "600", timeout=WAIT)
    chart.focus()
    every = 1
    for _ in range(30):
        for _ in range(3):
            chart.press("-")
        page.wait_for_timeout(300)
        every = int(chart.get_attribute("data-every"))
        if every >= 16:
            break
    assert every >= 16, "zooming out did not reach coarse candles"
    assert 300 <= int(chart.get_attribute("data-bars")) <= 2000
    for _ in range(20):
        for _ in range(4):
            chart.press("+")
        page.wait_for_timeout(300)
        if chart.get_attribute("data-every") == "1":
            break
    expect(chart).to_have_attribute("data-every", "1")
    assert max(sizes) <= 5000
    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_role("button", name="Delete: minutes.csv").click()
    page.get_by_role("button", name="Delete it").click()
    expect(row).to_have_count(0)


def test_a_file_that_grew_is_drawn_as_it_is_now(visit: Any, watch: Any, tmp_path: Path) -> None:
    watch.allowed = (
        "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"  # as it ends
        "|409"  # a forecast of the bars before
    )
    path = tmp_path / "bars" / "grown.csv"
    path.parent.mkdir()
    whole = _bars(pd.date_range("2023-01-02", periods=400))
    whole[:300].to_csv(path, index=False)
    newest = str(
        int(pd.Timestamp("2024-02-05", tz="UTC").timestamp())
    )  # how many before it are loaded depends on the view
    server = Server(tmp_path / "workspace", options=("--data", str(path.parent)))
    server.start()
    try:
        page = visit("/data", at=server)
        row, chart = page.locator("[data-source='grown.csv']"), page.locator("#chart")
        row.get_by_role("button", name="Open").click(timeout=WAIT)
        row.get_by_role("link", name="Open in chart").click(timeout=WAIT)
        expect(chart).to_have_attribute("data-bars", "300", timeout=WAIT)
        page.get_by_role("link", name="Data", exact=True).click()
        whole.to_csv(path, index=False)
        row.get_by_role("button", name="Read again").click()
        expect(row).to_contain_text("400", timeout=WAIT)
        row.get_by_role("link", name="Open in chart").click()
        expect(chart).to_have_attribute("data-last", newest, timeout=WAIT)
        page.reload()
        expect(chart).to_have_attribute("data-last", newest, timeout=WAIT)
    finally:
        server.stop()


def test_bars_stamped_with_seconds_keep_them(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "closing.csv"
    times = pd.date_range("2024-01-01T00:00:59", periods=200, freq="1h")
    _bars(times).to_csv(path, index=False)
    page = visit("/data")
    page.locator("#file").set_input_files(path)
    page.locator("[data-source='closing.csv']").get_by_role("link", name="Open in chart").click(timeout=WAIT)
    chart, origin = page.locator("#chart"), page.locator("#origin")
    expect(chart).to_have_attribute("data-bars", "200", timeout=WAIT)
    page.goto(f"{page.url}&h=2&n=10&origin={int(times[150].timestamp())}")
    expect(origin).to_have_value("2024-01-07T06:00:59", timeout=WAIT)
    expect(page.locator(".command code")).to_contain_text("--end 2024-01-07T06:00:59", timeout=WAIT)
    expect(page.locator(".command small")).to_contain_text("the shell dates them by the calendar")
    # By its field: a bar is found at its own time, not before it.
    origin.fill("2024-01-07T09:00:59")
    origin.press("Tab")
    expect(chart).to_have_attribute("data-origin", str(int(times[153].timestamp())), timeout=WAIT)


def test_the_axis_of_tiny_prices_has_marks(visit: Any, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.csv"
    bars = _bars(pd.date_range("2024-01-01", periods=200, freq="1h"))
    bars[["open", "high", "low", "close"]] *= 6e-11
    bars.to_csv(path, index=False)
    page = visit("/data", size=(390, 844))
    page.locator("#file").set_input_files(path)
    page.locator("[data-source='tiny.csv']").get_by_role("link", name="Open in chart").click(timeout=WAIT)
    expect(page.locator("#chart")).to_have_attribute("data-bars", "200", timeout=WAIT)
    expect(page.locator("tr[data-model][data-state=done]")).to_have_count(1, timeout=WAIT)
    # Beside the candles: what is not the page and not a line is written.
    inked = page.evaluate(
        """() => {
            const canvas = document.querySelector("#chart tr:first-child td:last-child canvas");
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const columns = new Set();
            for (let at = 0; at < data.length; at += 4)
              if (data[at + 3] > 200 && data[at] < 128) columns.add((at / 4) % width);
            return columns.size;
        }"""
    )
    assert inked > 20
    page.goto(f"{server.address}/batch")
    expect(page.locator("#source option", has_text="tiny.csv")).to_have_text("tiny.csv (1 symbol)", timeout=WAIT)


def test_times_of_a_fixed_offset_are_shown_in_it(visit: Any, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "offset.csv"
    _bars(pd.date_range("2026-06-01T00:00", periods=200, freq="1h", tz="+08:00")).to_csv(path, index=False)
    page = visit("/data")
    page.locator("#file").set_input_files(path)
    row = page.locator("[data-source='offset.csv']")
    expect(row).to_contain_text("1 Jun 2026 00:00 – 9 Jun 2026 07:00", timeout=WAIT)
    row.get_by_role("link", name="Open in chart").click()
    expect(page.locator(".notes")).to_contain_text("9 Jun 2026 08:00", timeout=WAIT)
    expect(page.locator(".notes")).to_contain_text("+08:00.")
    page.get_by_role("navigation").get_by_role("link", name="Journal").click()
    expect(page.locator("table.journal tbody tr").first).to_contain_text("9 Jun 2026 07:00", timeout=WAIT)
    # One that no browser knows is UTC, in words too.
    shown = "({ moment }) => moment(0, { zone: 'Mars/Base', step_seconds: 60 }, true)"
    assert page.evaluate(f"import('{BASE}/js/format.js').then({shown})") == "1 Jan 1970 00:00 UTC"


def test_an_ambiguous_date_is_asked_about_in_the_page(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "ambiguous.csv"
    _bars(pd.date_range("2024-01-01", periods=8, freq="MS"), "%d/%m/%Y").to_csv(path, index=False)
    page = visit("/data")
    page.locator("#file").set_input_files(path)
    row = page.locator("[data-source='ambiguous.csv']")
    expect(row).to_have_attribute("data-state", "question", timeout=WAIT)
    form = row.locator("form")
    assert [field.get_attribute("name") for field in form.locator("select, input, textarea").all()] == ["date_format"]
    form.locator("select").select_option("%d/%m/%Y")
    form.get_by_role("button", name="Read it so").click()
    expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
    expect(row).to_contain_text("1 Jan 2024 – 1 Aug 2024")


def test_what_files_say_stays_text(visit: Any, tmp_path: Path) -> None:
    names = ["<img src=x onerror=alert(1)>", "贵州茅台", "N" * 64]
    frames = [_bars(pd.date_range("2023-01-02", periods=90, freq="B")).assign(symbol=name) for name in names]
    path = tmp_path / "<b>odd & names.csv"
    pd.concat(frames).drop(columns="volume").to_csv(path, index=False)
    page = visit("/data")
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.locator("#file").set_input_files(path)
    row = page.locator("li.source", has_text="odd & names.csv")
    expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
    row.get_by_role("link", name="Open in chart").click()
    chart = page.locator("#chart")
    for name in names:
        page.locator("#symbol").fill(name[:6])
        page.get_by_role("option", name=name).click()
        expect(chart).to_have_attribute(
            "aria-label", f"Candle chart of {name}, 1 day bars, with its forecast", timeout=WAIT
        )
        expect(chart).to_have_attribute("data-volume", "0")
    assert page.locator("main img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert alerts == []


def test_a_file_that_cannot_be_read_says_why(visit: Any, tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    path.write_text("timestamp,open,high,low,close\n", encoding="utf-8")
    page = visit("/data")
    page.locator("#file").set_input_files(path)
    row = page.locator("[data-source='none.csv']")
    expect(row).to_have_attribute("data-state", "failed", timeout=WAIT)
    assert len(row.locator(".told").inner_text()) > 10
