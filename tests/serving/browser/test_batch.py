"""Tables of many symbols as a reader uses them: rows as they are made, in the order and the choice that is asked for."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import pytest
from tests.serving.browser.test_access import findings
from tests.serving.test_batch import universe

from chandler import Forecaster
from chandler.forecasting import forecasts_to_frame

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
LONG = 600_000
"""Milliseconds that a table of hundreds has beside everything else."""
ROWS = ".big tbody tr[data-symbol]"


def asked(address: str, path: str, body: bytes | None = None) -> Any:
    kind = "application/octet-stream" if body else "application/json"
    with urlopen(Request(f"{address}/api/v1{path}", data=body, headers={"Content-Type": kind})) as answer:
        return json.load(answer)


def uploaded(address: str, name: str, frame: pd.DataFrame) -> str:
    """The id of a source that is read."""
    body = io.BytesIO()
    frame.to_parquet(body)
    source: str = asked(address, f"/uploads?name={name}", body.getvalue())["source_id"]
    for _ in range(600):
        if asked(address, f"/sources/{source}")["state"] == "ready":
            return source
        time.sleep(0.2)
    raise AssertionError("still reading")


def shown(page: Any, column: str) -> list[str]:
    """What a column says, of the rows that are drawn."""
    return page.locator(f"{ROWS} {'th' if column == 'symbol' else f'td.c-{column}'}").all_inner_texts()


@pytest.mark.slow
def test_a_table_is_sorted_filtered_and_restored_by_its_address(visit: Any, server: Any) -> None:
    page = visit("/batch")
    page.get_by_role("spinbutton", name="Bars ahead").fill("2")
    page.get_by_role("spinbutton", name="Paths").fill("5")
    page.get_by_role("button", name="Forecast", exact=True).click()
    expect(page.locator("[data-table][data-state=done]")).to_have_count(1, timeout=WAIT)
    expect(page.locator(ROWS)).to_have_count(5)
    page.get_by_role("button", name="P(up)").click()
    expect(page.get_by_role("columnheader", name="P(up)")).to_have_attribute("aria-sort", "descending")
    ups = [int(one.rstrip("%")) for one in shown(page, "p_up")]
    assert ups == sorted(ups, reverse=True)
    page.get_by_label("Filter").fill("ibm")
    expect(page.locator(ROWS)).to_have_count(1)
    address = page.url.removeprefix(server.address)
    other = visit(address)
    expect(other.locator(ROWS)).to_have_count(1, timeout=WAIT)
    expect(other.get_by_label("Filter")).to_have_value("ibm")
    expect(other.get_by_role("spinbutton", name="Bars ahead")).to_have_value("2")
    other.get_by_label("Filter").fill("foo > 1")
    expect(other.locator("#filtered")).to_contain_text("There is no column foo.")
    other.get_by_label("Filter").fill("ibm")
    other.get_by_role("link", name="IBM").click()
    expect(other).to_have_url(re.compile(r"/chart\?.*symbol=IBM"))
    expect(other.locator("tr[data-model][data-state=done]")).to_have_count(1, timeout=WAIT)
    other.go_back()
    expect(other.locator(ROWS)).to_have_count(1, timeout=WAIT)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Any, scheme: str) -> None:
    page = visit("/batch", color_scheme=scheme, size=(390, 844) if scheme == "dark" else (1280, 900))
    expect(page.locator(".empty")).to_be_visible(timeout=WAIT)
    assert findings(page) == []
    if scheme == "dark":
        page.get_by_role("button", name="Settings").click()
    page.get_by_role("spinbutton", name="Bars ahead").fill("2")
    page.get_by_role("spinbutton", name="Paths").fill("5")
    page.get_by_role("button", name="Forecast", exact=True).click()
    expect(page.locator("[data-table][data-state=done]")).to_have_count(1, timeout=WAIT)
    expect(page.locator(ROWS)).to_have_count(5)
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_five_hundred_symbols(visit: Any, server: Any, tmp_path: Path) -> None:
    data = universe(500)
    source = uploaded(server.address, "universe.parquet", data)
    page = visit(f"/batch?source={source}&h=2&n=5")
    page.locator("label.model", has_text="chandler-nano").get_by_role("checkbox").check()
    page.get_by_role("button", name="Forecast", exact=True).click()
    table = page.locator("[data-table]")
    # Rows come as their parts are made.
    counts: list[int] = []
    while table.get_attribute("data-state", timeout=LONG) != "done":
        counts.append(int(table.get_attribute("data-done")))
        page.wait_for_timeout(100)
    assert len(set(counts)) > 5, counts
    assert counts == sorted(counts)
    expect(page.locator("#filtered")).to_have_attribute("data-shown", "500")
    assert page.locator(ROWS).count() < 80, "rows that nobody sees are drawn"
    expect(page.locator("tr[data-symbol=S002]")).to_contain_text("1 row of history")
    # Sorted from the greatest down, what has no number last; a condition, and a name.
    page.get_by_role("button", name="Median").click()
    medians = [float(one.replace("−", "-").rstrip("%")) for one in shown(page, "median")]
    assert medians == sorted(medians, reverse=True)
    page.get_by_label("Filter").fill("p_up > 0.5 and S1")
    id = re.search(r"ids=(\w+)", page.url)[1]  # type: ignore[index]
    rows = pd.DataFrame(asked(server.address, f"/forecasts/{id}/table?limit=5000")["rows"])
    wanted = rows[(rows["p_up"] > 0.5) & rows["symbol"].str.contains("S1")]
    wanted = wanted.sort_values("median_return", ascending=False, kind="stable")
    expect(page.locator("#filtered")).to_have_attribute("data-shown", str(len(wanted)))
    # What is saved is what is shown, with whole numbers.
    with page.expect_download() as loading:
        page.get_by_role("button", name="Rows shown (CSV)").click()
    loading.value.save_as(tmp_path / "rows.csv")
    saved = list(csv.DictReader((tmp_path / "rows.csv").open(newline="")))
    assert [one["symbol"] for one in saved] == list(wanted["symbol"])
    assert [float(one["median_return"]) for one in saved] == list(wanted["median_return"])
    assert {one["failed"] for one in saved} == {""}
    assert shown(page, "symbol") == [one["symbol"] for one in saved][: page.locator(ROWS).count()]
    # All paths are those of `to_frame`.
    with page.expect_download() as loading:
        page.get_by_role("link", name="All paths (Parquet)").click()
    loading.value.save_as(tmp_path / "paths.parquet")
    frame = pd.read_parquet(tmp_path / "paths.parquet")
    assert frame["symbol"].nunique() == 499
    some = ["S000", "S001", "S077", "S499"]
    own = forecasts_to_frame(
        Forecaster.from_pretrained("chandler-nano", device="cpu").forecast_many(
            data[data["symbol"].isin(some)], horizon=2, paths=5
        )
    )
    pd.testing.assert_frame_equal(
        frame[frame["symbol"].isin(some)].reset_index(drop=True), own, rtol=1e-5, check_flags=False
    )
    # By keys alone: down to a row, to its chart, and back.
    grid = page.get_by_role("grid")
    grid.focus()
    for key in ("End", "Home", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(grid).to_have_attribute("aria-activedescendant", "row-2")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/chart.*symbol={saved[2]['symbol']}"))
    page.go_back()
    expect(page.locator("#filtered")).to_have_attribute("data-shown", str(len(wanted)), timeout=WAIT)


@pytest.mark.slow
def test_a_chart_goes_first_and_what_was_made_before_a_cancel_stays(visit: Any, server: Any) -> None:
    source = uploaded(server.address, "more.parquet", universe(500))
    page = visit(f"/batch?source={source}&h=4&n=50&seed=8")
    page.get_by_role("button", name="Forecast", exact=True).click()
    table = page.locator("[data-table]")
    expect(table).not_to_have_attribute("data-done", "0", timeout=WAIT)
    chart = visit(f"/chart?source={source}&symbol=S010&h=2&n=5")
    begun = time.monotonic()
    expect(chart.locator("#chart")).to_have_attribute("data-bars", "60", timeout=10_000)
    expect(chart.locator("tr[data-model][data-state=done]")).to_have_count(1, timeout=30_000)
    print(f"a chart beside a table took {time.monotonic() - begun:.1f} s")
    expect(table).to_have_attribute("data-state", "running")
    page.get_by_role("button", name="Cancel").click()
    expect(table).to_have_attribute("data-state", "cancelled", timeout=30_000)
    expect(table).to_contain_text("cancelled after")
    made = int(table.get_attribute("data-done"))
    assert 0 < made < 500
    page.reload()
    expect(table).to_have_attribute("data-done", str(made), timeout=WAIT)
    expect(page.locator("#filtered")).to_have_attribute("data-shown", str(made))
