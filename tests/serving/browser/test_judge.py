"""Judging from the page: a model against naive, bars it knows refused, the verdict of the command, the report in its cage."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.serving.browser.test_access import findings
from tests.serving.browser.test_chart import asked

from chandler.evaluation.walk_forward import Results
from chandler.reports import backtest_text, evaluation_text

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 90_000
LONG = 400_000
FEW = {"horizon": "3", "lookback": "40", "origins": "4", "paths": "8"}

pytestmark = pytest.mark.slow


def begin(page: Any, name: str, fields: dict[str, str], kind: str = "Evaluate") -> Any:
    """Fill in the form and send it; the job's article."""
    if kind == "Backtest":
        page.get_by_role("group", name="What is to be done").get_by_role("button", name="Backtest").click()
    else:
        page.locator("select[name=calibration]").select_option("off")
        for slow in ("dlinear", "volume_by_time_of_day", "ewma", "gaussian_walk"):
            page.locator(f"input[value={slow}]").uncheck()
    for key, value in fields.items():
        page.locator(f"input[name='{key}']").fill(value)
    page.locator("#name").fill(name)
    page.locator("#start").click()
    return page.locator("article.job")


def test_an_evaluation_from_the_form_to_the_report(visit: Any, watch: Any, server: Any) -> None:
    watch.allowed = "connect-src|Content Security Policy"  # what the report is made to try
    page = visit("/judge")
    expect(page.locator("#start")).to_be_visible(timeout=WAIT)
    job = begin(page, "first look", FEW | {"start": "2012-06-01"})
    expect(job).to_have_attribute("data-state", "finished", timeout=LONG)
    folder = server.workspace.parent / "runs" / "first-look"
    printed = evaluation_text(Results(folder)).splitlines()
    expect(page.locator("#headline")).to_have_text(printed[0], timeout=WAIT)
    expect(page.locator("#sentences")).to_contain_text("Weight.")
    row = page.locator("table.judged tr", has_text="chandler-nano")
    shown = [cell for cell in row.locator("td").all_inner_texts() if cell]
    line = next(one for one in printed if one.startswith("chandler-nano "))
    assert shown
    assert all(cell in line for cell in shown)
    assert findings(page) == []
    page.get_by_role("button", name="Show the report").click()
    frame = page.locator("iframe.report")
    expect(frame).to_have_attribute("sandbox", "allow-scripts")
    inside = page.frame_locator("iframe.report")
    expect(inside.get_by_role("heading", level=1)).to_have_text("first-look", timeout=WAIT)
    expect(inside.locator(".js-plotly-plot").first).to_be_visible(timeout=WAIT)
    [framed] = [one for one in page.frames if "/reports/" in one.url]
    assert framed.evaluate("fetch('/api/v1/sources').then(() => 'answered', () => 'refused')") == "refused"
    # In the list, with its headline; and again from there.
    page.get_by_role("link", name="All evaluations").click()
    entry = page.locator("[data-evaluation]", has_text="first-look")
    expect(entry).to_contain_text(printed[0], timeout=WAIT)
    entry.get_by_role("link").click()
    expect(page.locator("#headline")).to_have_text(printed[0], timeout=WAIT)
    expect(page).to_have_url(re.compile(r"/judge\?id=ev_"))


def test_no_window_is_of_nothing(visit: Any) -> None:
    page = visit("/judge")
    for key, bad, good in (("horizon", "0", "1"), ("lookback", "1", "2"), ("origins", "0", "1")):
        field = page.locator(f"input[name='{key}']")
        field.fill(bad, timeout=WAIT)
        assert field.evaluate("one => one.validity.rangeUnderflow"), key
        field.fill(good)
        assert field.evaluate("one => one.validity.valid"), key


def test_a_calibration_that_comes_first_is_shown(visit: Any) -> None:
    page = visit("/judge", size=(390, 844))
    expect(page.locator("#start")).to_be_visible(timeout=WAIT)
    fields = {"horizon": "6", "lookback": "60", "origins": "3", "paths": "400", "start": "2012-06-01"}
    page.locator("#name").fill("calibrates")
    for key, value in fields.items():
        page.locator(f"input[name='{key}']").fill(value)
    page.locator("#start").click()
    going = page.locator("article.job .going")
    expect(going).to_contain_text("Calibrating chandler-nano on the bars before", timeout=WAIT)
    expect(going).to_contain_text(re.compile(r"before · \d+ of \d+ forecasts · about "), timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Kill", exact=True).click()
    page.get_by_role("button", name="Kill it").click()
    expect(page.locator("article.job")).to_have_attribute("data-state", "stopped", timeout=WAIT)


def test_bars_that_the_model_knows_are_refused(visit: Any, watch: Any, server: Any, finished_runs: Path) -> None:
    watch.allowed = "status of 422"  # a name with a comma
    run = server.workspace.parent / "runs" / "trained"
    shutil.copytree(finished_runs / "a", run)
    try:
        while "trained" not in {one["name"] for one in asked(server.address, "/models")["models"]}:
            time.sleep(0.2)  # runs of a shell are looked for every few seconds
        page = visit("/judge")
        model = page.locator("label.check:has([name=model])", has_text="trained").get_by_role("checkbox")
        expect(model).to_be_visible(timeout=WAIT)
        model.check()
        page.locator("label.check:has([name=model])", has_text="chandler-nano").get_by_role("checkbox").uncheck()
        few = FEW | {"lookback": "20", "start": "2003-01-01", "end": "2003-06-01"}
        job = begin(page, "known bars", few)
        expect(job).to_have_attribute("data-state", "failed", timeout=LONG)
        said = page.locator("#message")
        expect(said).to_contain_text("a forecast of bars that a model knows proves nothing")
        expect(said).to_contain_text("--force")
        page.get_by_role("link", name="All evaluations").click()
        expect(model).to_be_visible(timeout=WAIT)
        model.check()
        page.locator("label.check:has([name=model])", has_text="chandler-nano").get_by_role("checkbox").uncheck()
        page.locator("input[name=force]").check()
        expect(page.locator(".notice.warning")).to_contain_text("proves nothing")
        job = begin(page, "known bars, forced", few)
        expect(page.locator("#refused")).to_contain_text("name")
        page.locator("#name").fill("known bars forced")
        page.locator("#start").click()
        expect(job).to_have_attribute("data-state", "finished", timeout=LONG)
        expect(page.locator("#sentences")).to_contain_text("the model was trained on these bars", timeout=WAIT)
        expect(page.locator(".command code")).to_contain_text("--force")
    finally:
        shutil.rmtree(run)


def test_a_backtest_and_its_verdict(visit: Any, server: Any) -> None:
    page = visit("/judge", color_scheme="dark", size=(390, 844))
    expect(page.locator("#start")).to_be_visible(timeout=WAIT)
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    few = {"horizon": "3", "lookback": "40", "paths": "4", "every": "20", "random": "3", "start": "2012-10-01"}
    job = begin(page, "trade", few, "Backtest")
    expect(job).to_have_attribute("data-state", "finished", timeout=LONG)
    first, *lines = backtest_text(server.workspace.parent / "runs" / "trade").splitlines()
    expect(page.locator("#headline")).to_have_text(first, timeout=WAIT)
    shown = page.locator("#sentences li").all_inner_texts()
    assert [one.partition(". ")[2] for one in shown] == [one.partition(": ")[2] for one in lines]
    assert findings(page) == []
