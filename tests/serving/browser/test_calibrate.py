"""A model without a calibration gets one from the chart: a run in its own folder, any other model as a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.browser.conftest import Server
from tests.serving.browser.test_chart import done, facts

from chandler.serving.workspace import folder_id

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT, LONG = 60_000, 180_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one finished run, of windows of 20 + 4 bars."""
    folder = tmp_path_factory.mktemp("calibrating")
    shutil.copytree(finished_runs / "a", folder / "runs" / "a")
    one = Server(folder / "workspace")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def at(own: Server, visit: Any) -> Any:
    return lambda path, **options: visit(path, at=own, **options)


def begin(page: Any, model: str, **fields: str) -> None:
    """Ask for a calibration, and leave the dialog."""
    page.get_by_role("button", name=f"Calibrate {model} …").click()
    for name, value in fields.items():
        page.locator(f"[name=fit-{name}]").fill(value)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("It was asked for", timeout=WAIT)
    page.keyboard.press("Escape")


def test_a_run_is_calibrated_where_it_lies(at: Any, own: Server) -> None:
    runs = own.workspace.parent / "runs"
    model = folder_id("run", runs / "a").replace("run_", "mdl_")
    page = at(f"/chart?symbol=IBM&models={model}&h=4&n=10")
    done(page)
    switch = page.locator("[name=calibrated]")
    expect(switch).to_be_disabled()
    expect(page.locator(".command code")).to_contain_text("--model runs/a ")
    page.get_by_role("button", name="Calibrate a …").click()
    expect(page.get_by_role("dialog")).to_contain_text("validated with")
    expect(page.locator("[name=fit-horizon]")).to_have_value("4")
    expect(page.locator("[name=fit-name]")).to_have_count(0)
    page.keyboard.press("Escape")
    begin(page, "a", origins="40", paths="20")
    expect(page.locator(".calibrating")).to_have_attribute("data-calibration", "running", timeout=WAIT)
    expect(page.locator("[data-running]")).to_contain_text("Activity · 1", timeout=WAIT)
    expect(page.get_by_role("button", name="Calibrate a …")).to_have_count(0)
    expect(switch).to_be_enabled(timeout=LONG)
    assert (runs / "a" / "calibration.json").is_file()
    expect(page.locator(".calibrating")).to_have_count(0)
    switch.check()
    page.get_by_role("button", name="Forecast", exact=True).click()
    expect(page.locator(".notes")).to_contain_text("What calibrated means here", timeout=WAIT)
    expect(page.locator(".legend")).to_contain_text("80% before calibration")
    assert facts(page)["models"] == "a"


def test_any_other_model_gets_a_copy_with_a_calibration(at: Any, own: Server, watch: Any) -> None:
    watch.allowed = "status of 409"  # a name that is taken
    page = at("/chart?symbol=IBM&h=4&n=10&lookback=32", size=(390, 844), color_scheme="dark")
    done(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Calibrate chandler-nano …").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("dialog")).to_contain_text("a model of its own")
    page.locator("[name=fit-name]").fill("a")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("of the name a already")
    page.keyboard.press("Escape")
    begin(page, "chandler-nano", origins="30", paths="20")
    expect(page.locator(".calibrating")).to_have_attribute("data-calibration", "running", timeout=WAIT)
    page.reload()  # it goes on without the page
    done(page)
    page.get_by_role("button", name="Settings").click()
    take = page.get_by_role("button", name="Use chandler-nano-calibrated")
    expect(take).to_be_visible(timeout=LONG)
    take.click()
    expect(page.locator("#chart")).to_have_attribute("data-models", "chandler-nano-calibrated", timeout=WAIT)
    expect(page.locator(".notes")).to_contain_text("What calibrated means here", timeout=WAIT)
    # What the model was trained on is known of its copy as well.
    expect(page.locator(".exposure")).to_contain_text("other symbols of these days were trained on")
    assert (own.workspace.parent / "runs" / "chandler-nano-calibrated" / "calibration.json").is_file()


def test_a_calibration_that_cannot_be_says_why(at: Any) -> None:
    page = at("/chart?symbol=IBM&models=mdl_978ce486f3e3&h=4&n=10&lookback=32")
    done(page)
    begin(page, "chandler-nano", origins="2", name="few")
    told = page.locator(".calibrating").get_by_role("alert")
    expect(told).to_contain_text("a calibration needs at least 30 windows", timeout=LONG)
    expect(page.get_by_role("button", name="Calibrate chandler-nano …")).to_be_visible()
