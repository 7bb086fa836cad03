"""The chart as a reader uses it: a first visit, other origins, paths, models, and an address that restores all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from chandler.serving.page import BASE

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
"""Milliseconds that a forecast has beside everything else."""


def done(page: Any, count: int = 1) -> None:
    expect(page.locator("tr[data-model][data-state=done]")).to_have_count(count, timeout=WAIT)


def facts(page: Any) -> dict[str, str]:
    return page.locator("#chart").evaluate("element => ({...element.dataset})")


def asked(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = Request(f"{address}/api/v1{path}", headers={"Content-Type": "application/json", "Prefer": "wait=30"})
    if body is not None:
        request.data = json.dumps(body).encode()
    with urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize(("scheme", "size"), [("light", (1280, 900)), ("dark", (390, 844))])
def test_a_first_visit_shows_bars_and_a_forecast(
    visit: Any, scheme: str, size: tuple[int, int], tmp_path: Path
) -> None:
    page = visit("/", color_scheme=scheme, size=size)
    done(page)
    told = facts(page)
    assert (told["bars"], told["steps"], told["fan"], told["of"], told["volume"]) == ("600", "24", "25", "100", "1")
    assert told["models"] == "chandler-nano"
    credit = page.locator(".credit")
    expect(credit).to_contain_text("TradingView Lightweight Charts™")
    link = credit.get_by_role("link")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (
        "https://www.tradingview.com/",
        "noopener noreferrer",
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    # The fan is on the canvas, in the colour of the model as this scheme has it.
    blue = {"light": (0, 103, 166), "dark": (93, 180, 234)}[scheme]
    assert _pixels(page, blue) > 30
    page.screenshot(path=tmp_path / f"{scheme}.png")


def _pixels(page: Any, colour: tuple[int, int, int]) -> int:
    """Pixels of a colour on the canvases of the chart."""
    return page.evaluate(
        """colour => [...document.querySelectorAll("#chart canvas")].reduce((count, canvas) => {
            if (!canvas.width || !canvas.height) return count;
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let at = 0; at < data.length; at += 4)
              if (data[at + 3] > 200 && colour.every((one, part) => Math.abs(one - data[at + part]) < 12)) count++;
            return count;
        }, 0)""",
        list(colour),
    )


def test_an_origin_in_the_past_is_held_against_what_happened(visit: Any, server: Any) -> None:
    page = visit("/chart?h=6&n=20")
    done(page)
    last = int(facts(page)["last"])
    line = page.locator(".origin")
    line.press("ArrowLeft")
    line.press("Shift+ArrowLeft")
    expect(page.locator("#scores")).to_be_visible(timeout=WAIT)
    done(page)
    told = facts(page)
    origin = int(told["origin"])
    assert origin < last
    assert told["truth"] == "6"
    assert f"origin={origin}" in page.url
    # The scores are those of the paths that the API hands out, computed here anew.
    query = dict(part.split("=") for part in page.url.partition("?")[2].split("&"))
    body = {
        "source_id": query["source"],
        "symbols": [query["symbol"]],
        "model_id": query["models"],
        "horizon": 6,
        "paths": 20,
    }
    made = asked(server.address, "/forecasts", body | {"origin": origin})
    paths = np.array(asked(server.address, f"/forecasts/{made['id']}/paths?symbol={query['symbol']}&limit=50")["paths"])
    truth = np.array(made["series"][0]["truth"]["close"])
    spread = np.abs(paths[:, None] - paths[None]).sum(axis=(0, 1)) / (2 * len(paths) ** 2)
    fair = np.abs(paths - truth).mean(axis=0) - spread * len(paths) / (len(paths) - 1)
    shown = float(page.locator("#scores").get_attribute("data-crps"))
    assert shown == pytest.approx(fair.mean(), rel=1e-3) or shown == pytest.approx(
        (np.abs(paths - truth).mean(axis=0) - spread).mean(), rel=1e-3
    )
    # Dragged further back by hand.
    box, chart = line.bounding_box(), page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * 0.4, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.locator("#chart")).not_to_have_attribute("data-origin", str(origin), timeout=WAIT)
    assert int(facts(page)["origin"]) < origin
    # By its date, a Sunday: the bar before it.
    page.locator("#origin").fill("2012-06-03")
    page.locator("#origin").press("Tab")
    expect(page.locator("#chart")).to_have_attribute("data-origin", "1338508800", timeout=WAIT)
    page.locator("#now").click()
    expect(page.locator("#now")).to_be_disabled()
    expect(page.locator("#scores")).to_have_count(0, timeout=WAIT)


def test_paths_steps_and_seeds(visit: Any, server: Any) -> None:
    page = visit("/chart?h=8&n=40")
    done(page)
    page.locator("#chart").press("p")
    expect(page.locator("#chart")).to_have_attribute("data-lines", "40")
    page.get_by_role("button", name="Density").click()
    expect(page.locator("#chart")).to_have_attribute("data-dense", "1")
    page.get_by_role("button", name="As table").click()
    first = page.locator("table.steps").inner_text()
    page.get_by_role("button", name="Distribution of step 5").click()
    expect(page.locator("#step-title")).to_contain_text("Step 5")
    page.locator("#above").fill("57")
    page.locator("#above").press("Enter")
    answer = page.locator("#p-above")
    expect(answer).to_contain_text("above 57")
    query = dict(part.split("=") for part in page.url.partition("?")[2].split("&"))
    body = {
        "source_id": query["source"],
        "symbols": [query["symbol"]],
        "model_id": query["models"],
        "horizon": 8,
        "paths": 40,
    }
    made = asked(server.address, "/forecasts", body)
    paths = np.array(asked(server.address, f"/forecasts/{made['id']}/paths?symbol={query['symbol']}&limit=50")["paths"])
    assert float(answer.get_attribute("data-share")) == pytest.approx((paths[:, 4] > 57).mean())
    page.get_by_role("button", name="Other seed").click()
    expect(page).to_have_url(re.compile("seed=1"))
    expect(page.locator("table.steps")).not_to_have_text(first, use_inner_text=True, timeout=WAIT)
    done(page)
    page.go_back()
    done(page)
    expect(page.locator("table.steps")).to_have_text(first, use_inner_text=True, timeout=WAIT)


def test_models_side_by_side_and_an_address_that_restores_them(visit: Any, server: Any) -> None:
    page = visit("/chart?h=5&n=20")
    done(page)
    missing = page.locator("label.model", has_text="Kronos-mini")
    expect(missing).to_contain_text("not here")
    expect(missing.get_by_role("checkbox")).to_be_disabled()
    page.locator("label.model", has_text="twin").get_by_role("checkbox").check()
    done(page, 2)
    expect(page.locator("#chart")).to_have_attribute("data-models", "chandler-nano,twin")
    expect(page.locator(".legend")).to_contain_text("twin: 50, 80 and 90% of the paths")
    expect(page.locator(".legend")).to_contain_text("chandler-nano: 80% and median")
    page.get_by_role("button", name="Log", exact=True).click()
    page.locator("#symbol").fill("ms")
    page.get_by_role("option", name="MSFT").click()
    done(page, 2)
    expect(page.locator("#chart")).to_have_attribute("aria-label", re.compile("MSFT"))
    page.locator("#chart").press("-")
    page.wait_for_timeout(400)
    address = page.url.removeprefix(server.address)
    assert "symbol=MSFT" in address
    assert "log=1" in address
    told = facts(page)
    other = visit(address)
    done(other, 2)
    expect(other.get_by_role("button", name="Log", exact=True)).to_have_attribute("aria-pressed", "true")
    again = facts(other)
    assert [again[name] for name in ("models", "origin", "steps", "every")] == [
        told[name] for name in ("models", "origin", "steps", "every")
    ]
    spans = [[int(part) for part in re.search(r"view=(\d+)%2C(\d+)", url).groups()] for url in (page.url, other.url)]
    # To a bar of this level, which is a week.
    assert spans[0] == pytest.approx(spans[1], abs=8 * 86400), "the copied link shows other bars"


def test_a_running_forecast_is_opened_and_not_replaced(visit: Any, server: Any) -> None:
    page = visit("/chart?h=900&n=300&seed=9&lookback=256")
    expect(page.locator("tr[data-model][data-state=running]")).to_have_count(1, timeout=WAIT)

    def under_way() -> list[str]:
        return [one["id"] for one in asked(server.address, "/forecasts")["forecasts"] if one["state"] == "running"]

    before = under_way()
    page.locator(".tray > button").click()
    page.get_by_role("link", name="Forecast of").click()
    expect(page).to_have_url(re.compile("h=900&n=300&seed=9&lookback=256"))
    expect(page.locator("tr[data-model][data-state=running]")).to_have_count(1)
    assert under_way() == before
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel").click()
    assert under_way() == []


def test_models_beside_a_calibrated_one_are_sampled_alike(visit: Any) -> None:
    page = visit("/about")
    ask = """async ({ parse, request }) => {
        const state = parse(new URLSearchParams("t=0.5&top_p=0.9&top_k=3&calibrated=1"));
        const [plain, fitted] = [{ id: "a", calibrated: false }, { id: "b", calibrated: true }];
        return [request(state, plain, [plain]), request(state, plain, [plain, fitted]), request(state, fitted, [plain, fitted])]
            .map((one) => [one.calibrated, one.temperature, one.top_p, one.top_k]);
    }"""
    found = page.evaluate(f"import('{BASE}/js/chart/address.js').then({ask})")
    assert found == [[False, 0.5, 0.9, 3], [False, 1, 1, 0], [True, 1, 1, 0]]


def test_a_symbol_that_no_shell_can_name_is_told(visit: Any) -> None:
    page = visit("/about")
    ask = """({ unlike }) => {
        const request = { interval: null, origin: null, symbols: ["a,b", "c"] };
        return [unlike(request), unlike(request, []), unlike({ ...request, symbols: ["c"] })];
    }"""
    told, *others = page.evaluate(f"import('{BASE}/js/chart/command.js').then({ask})")
    assert "comma" in told
    assert others == [None, None]


def test_coarser_bars_are_in_no_journal_and_say_so(visit: Any, server: Any) -> None:
    before = asked(server.address, "/journal")["total"]
    page = visit("/chart?h=3&n=10&interval=1W", size=(390, 844))
    done(page)
    expect(page.locator(".notes")).to_contain_text("A forecast of coarser bars is in no journal")
    assert asked(server.address, "/journal")["total"] == before
    page.goto(f"{server.address}/chart?h=3&n=10&seed=77")
    done(page)
    expect(page.locator(".notes")).not_to_contain_text("in no journal")
    assert asked(server.address, "/journal")["total"] == before + 1


def test_a_model_that_is_gone_is_told_and_left_out(visit: Any, server: Any) -> None:
    [nano] = [one["id"] for one in asked(server.address, "/models")["models"] if one["kind"] == "bundled"]
    page = visit(f"/chart?h=4&n=10&models=mdl_0123456789ab,{nano}", size=(390, 844))
    done(page)
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("A model of this address is no longer here")
    notice.get_by_role("button", name="Leave out").click()
    expect(notice).to_have_count(0)
    assert "mdl_0123456789ab" not in page.url
    done(page)
