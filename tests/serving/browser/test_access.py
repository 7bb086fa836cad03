"""For everyone: by keys alone, read out, in both schemes, on narrow windows; and while the server is away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.serving.browser.conftest import Server

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


def findings(page: Any) -> list[str]:
    """What axe holds to be serious."""
    page.evaluate(f"{AXE}; 0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((told) => told.violations)")
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_finding_of_axe(visit: Any, scheme: str) -> None:
    page = visit("/chart?h=4&n=20&table=1&paths=1&step=2&above=50", color_scheme=scheme)
    expect(page.locator("tr[data-state=done]")).to_have_count(1, timeout=WAIT)
    expect(page.locator(".histogram")).to_be_visible()
    assert findings(page) == []
    for name in ("Data", "Journal", "About"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        page.wait_for_timeout(300)
        assert findings(page) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert findings(page) == []


def test_the_chart_is_worked_by_keys_alone(visit: Any) -> None:
    page = visit("/data", reduced_motion="reduce")
    expect(page.get_by_role("heading", level=1, name="Data")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.locator("tr[data-state=done]")).to_have_count(1, timeout=WAIT)
    page.keyboard.press("/")
    expect(page.locator("#symbol")).to_be_focused()
    page.keyboard.type("ibm")
    expect(page.locator("#symbols [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("aria-label", re.compile("IBM"))
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "chart":
            break
    expect(chart).to_be_focused()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#said")).to_contain_text(re.compile(r"\d+ Feb 2013: open .*, close"))
    page.keyboard.press("o")
    expect(page.locator("#scores")).to_be_visible(timeout=WAIT)
    expect(page.locator("#finished")).to_contain_text("100 paths")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#step-title")).to_contain_text("Step 1")
    page.keyboard.press("t")
    expect(chart).to_have_attribute("data-truth", "0")
    page.keyboard.press("n")
    expect(page.locator("#now")).to_be_disabled()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_nothing_is_lost_at_twice_the_size_or_on_a_phone(visit: Any) -> None:
    for size in ((640, 450), (360, 740)):
        page = visit("/chart?h=4&n=20", size=size)
        expect(page.locator("tr[data-state=done]")).to_have_count(1, timeout=WAIT)
        for path in ("Chart", "Data", "Journal", "About"):
            page.get_by_role("navigation").get_by_role("link", name=path).click()
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, path)
        page.go_back()
        page.get_by_role("navigation").get_by_role("link", name="Chart").click()
        page.get_by_role("button", name="Settings").click()
        expect(page.get_by_role("spinbutton", name="Bars ahead")).to_be_visible()


def test_the_colours_are_chosen_and_kept(visit: Any) -> None:
    page = visit("/about", color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


def test_a_server_that_is_away_is_waited_for(visit: Any, watch: Any, tmp_path: Path) -> None:
    watch.allowed = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
    own = Server(tmp_path / "workspace")
    own.start()
    try:
        page = visit("/data", at=own)
        row = page.locator("[data-source='chandler-stocks']")
        expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        own.stop()
        banner = page.locator(".offline")
        expect(banner).to_contain_text("does not answer", timeout=10_000)
        page.get_by_role("navigation").get_by_role("link", name="Journal").click()
        page.get_by_role("navigation").get_by_role("link", name="Data").click()
        page.wait_for_timeout(4000)
        assert len([url for url in asked if "/api/" in url]) <= 8, asked
        own.start()
        expect(banner).to_have_count(0, timeout=20_000)
        expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
    finally:
        own.stop()
