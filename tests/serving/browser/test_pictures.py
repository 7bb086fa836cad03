"""The pictures of docs/studio.md: taken of a real page, into docs/ where CHANDLER_PICTURES names that folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.serving.browser.conftest import Server
from tests.serving.browser.test_chart import done

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
SIZE = (1280, 860)

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(os.environ.get("CHANDLER_PICTURES") or tmp_path)


def test_a_forecast_with_the_truth_over_it(visit: Any, folder: Path) -> None:
    page = visit("/chart?symbol=IBM&origin=1346716800", size=SIZE)
    done(page)
    expect(page.locator("#chart")).to_have_attribute("data-truth", re.compile("[1-9]"))
    page.screenshot(path=folder / "studio-chart.png")
    assert (folder / "studio-chart.png").stat().st_size > 20_000


def test_a_run_with_its_curves(visit: Any, server: Server, finished_runs: Path, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "runs").symlink_to(finished_runs)
    own = Server(tmp_path / "workspace")
    own.start()
    try:
        page = visit("/runs", at=own, size=SIZE)
        page.get_by_role("link", name="a", exact=True).click()
        expect(page.locator(".drawing .curve circle.best")).to_have_count(2, timeout=WAIT)
        page.screenshot(path=folder / "studio-run.png")
        assert (folder / "studio-run.png").stat().st_size > 20_000
        page.close()
    finally:
        own.stop()
