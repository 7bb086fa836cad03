"""Runs on the page: the table, one in full, several compared, one that goes on, its report in a frame without rights."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pandas as pd
import pytest
from tests.serving.browser.conftest import PATIENCE, Server

from chandler.serving.workspace import folder_id
from chandler.training.runs import read_mapping, read_records

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000
NANO = "mdl_978ce486f3e3"
DAY = 86_400
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs(finished_runs: Path) -> Path:
    return finished_runs


@pytest.fixture(scope="module")
def own(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: other tests count the models that there are."""
    folder = tmp_path_factory.mktemp("runs-page")
    (folder / "runs").symlink_to(runs)
    one = Server(folder / "workspace")
    one.start()
    urlopen(f"{one.address}/api/v1/health", timeout=PATIENCE).close()  # who asks before the app is there waits for it
    yield one
    one.stop()


@pytest.fixture
def at(own: Server, visit: Any) -> Any:
    return lambda path, **options: visit(path, at=own, **options)


@pytest.mark.slow
def test_a_run_says_what_came_of_it(at: Any, runs: Path) -> None:
    page = at("/runs")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3, timeout=WAIT)
    expect(page.locator("[data-run='half']")).to_contain_text(re.compile(r"unfinished\s*predictor, step \d of 4"))
    page.get_by_role("link", name="a", exact=True).click()
    run = page.locator("article.run")
    expect(run).to_have_attribute("data-records", str(len(read_records(runs / "a"))))
    stages = read_mapping(runs / "a" / "summary.json")["stages"]
    for name, said in stages.items():
        expect(run).to_contain_text(said["verdict"])
        curve = page.locator(f"[data-stage='{name}'] .drawing .curve")
        expect(curve).to_have_attribute("data-train", "4")
        expect(curve).to_have_attribute("data-validation", "3")
        expect(curve).to_have_attribute("data-start", str(said["start_score"]))
        expect(curve).to_have_attribute("data-best", str(said["best_step"]))
        expect(curve.locator("circle.best")).to_have_count(1)
        expect(curve.locator("line.start")).to_have_count(1)
    page.get_by_role("button", name="As table: Predictor").click()
    expect(page.locator("[data-stage='predictor'] figure tbody tr")).to_have_count(5)
    model = folder_id("run", runs / "a").replace("run_", "mdl_")
    expect(page.get_by_role("link", name="Use in chart")).to_have_attribute("href", f"/chart?models={model}")
    expect(page.get_by_role("link", name="Evaluate")).to_have_attribute("href", f"/judge?model={model}")


@pytest.mark.slow
def test_the_table_is_sorted_and_runs_are_compared(at: Any) -> None:
    page = at("/runs")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3, timeout=WAIT)
    names = lambda: rows.evaluate_all("all => all.map((row) => row.dataset.run)")  # noqa: E731
    page.get_by_role("button", name="Run", exact=True).click()
    assert names() == ["a", "group/b", "half"]
    page.get_by_role("button", name="Run").click()
    assert names() == ["half", "group/b", "a"]
    expect(page.get_by_role("columnheader", name="Run")).to_have_attribute("aria-sort", "descending")
    compare = page.get_by_role("button", name=re.compile("^Compare"))
    expect(compare).to_be_disabled()
    for name in ("a", "group/b"):
        page.get_by_role("checkbox", name=f"Compare: {name}").check()
    compare.click()
    comparison = page.locator("article.comparison")
    expect(comparison).to_have_attribute("data-runs", "2")
    curves = page.locator("[data-stage='predictor'] .drawing .curve")
    expect(curves).to_have_count(2)
    assert (
        len(set(curves.evaluate_all("all => all.map((one) => getComputedStyle(one).getPropertyValue('--line'))"))) == 2
    )
    expect(comparison.locator(".differences")).to_contain_text("predictor.learning_rate")
    expect(comparison.locator(".differences")).not_to_contain_text("data.lookback")
    expect(comparison).to_contain_text("the starting weights are kept")
    expect(page.locator("[data-stage='tokenizer']")).to_have_count(0), "only one of them trained it"
    page.reload()
    expect(comparison).to_have_attribute("data-runs", "2")
    page.go_back()
    expect(rows).to_have_count(3)


@pytest.mark.slow
def test_a_report_draws_and_reaches_nothing(at: Any, own: Server, runs: Path, watch: Any) -> None:
    watch.allowed = r"Refused to connect|Content Security Policy|violates the following|CSP connect-src"
    page = at(f"/runs?id={folder_id('run', runs / 'a')}")
    page.get_by_role("button", name="Show the report").click(timeout=WAIT)
    expect(page.locator("iframe.report")).to_have_attribute("sandbox", "allow-scripts")
    inside = page.frame_locator("iframe.report")
    expect(inside.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=WAIT)
    frame = next(one for one in page.frames if "/reports/" in one.url)
    assert frame.evaluate("origin") == "null"
    ask = "fetch('/api/v1/runs').then(() => 'answered', () => 'refused')"
    assert frame.evaluate(ask) == "refused"
    assert frame.evaluate("(() => { try { return parent.document.title } catch { return 'refused' } })()") == "refused"
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save").click()
    assert saved.value.suggested_filename == "a.html"


@pytest.mark.slow
def test_a_run_that_goes_on_is_followed_without_gap_or_double(at: Any, runs: Path) -> None:
    folder = runs / "going"
    shutil.copytree(runs / "half", folder)
    log = folder / "metrics.jsonl"
    whole = log.read_text().splitlines(keepends=True)
    log.write_text("".join(whole[:6]))
    try:
        page = at(f"/runs?id={folder_id('run', folder)}")
        run = page.locator("article.run")
        expect(run).to_have_attribute("data-state", "running", timeout=WAIT)
        expect(run).to_have_attribute("data-records", "6")
        for line in whole[6:9]:
            with log.open("a") as file:
                file.write(line)
        expect(run).to_have_attribute("data-records", "9", timeout=WAIT)
        again = folder / "again"  # a resume takes the last steps back
        again.write_text(
            "".join(whole[:5]) + json.dumps({"stage": "tokenizer", "kind": "begin", "step": 3, "steps": 4}) + "\n"
        )
        again.replace(log)
        expect(run).to_have_attribute("data-records", "6", timeout=WAIT)
        with log.open("a") as file:
            file.write("".join(whole[5:]))
        expect(run).to_have_attribute("data-records", str(len(whole) + 1), timeout=WAIT)
        drawn = page.locator("[data-stage='tokenizer'] .drawing .curve")
        train = [one for one in map(json.loads, whole) if one["stage"] == "tokenizer" and one["kind"] == "train"]
        expect(drawn).to_have_attribute("data-train", str(len(train)))
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_the_chart_shades_the_bars_that_a_run_knows(at: Any, runs: Path) -> None:
    model = folder_id("run", runs / "a").replace("run_", "mdl_")
    splits = read_mapping(runs / "a" / "summary.json")["data"]["splits"]
    trained, validated = (int(pd.Timestamp(splits[part]["last"]).timestamp()) for part in ("train", "val"))
    view = f"{trained - 60 * DAY},{trained + 60 * DAY}"  # the training's bars are on the left, the validation's on the right
    page = at(f"/chart?symbol=IBM&models={model},{NANO}&h=4&n=10&lookback=20&origin={trained - 7 * DAY}&view={view}")
    chart, legend = page.locator("#chart"), page.locator(".legend")
    expect(chart).to_have_attribute("data-known", f"trained {trained},validated {validated}", timeout=WAIT)
    expect(legend.locator("[data-known=trained]")).to_contain_text("was trained on bars up to 8 Nov 2011")
    expect(legend.locator("[data-known=validated]")).to_contain_text("checkpoint was chosen on bars up to 1 Mar 2013")
    expect(page.locator(".exposure")).to_contain_text("the model was trained on these bars", timeout=WAIT)
    left, right = (hatched(page, *part) for part in ((0.02, 0.4), (0.6, 0.95)))
    assert left > 1.5 * right > 0, "told apart by how much is hatched"
    page.locator("#origin").fill(str(pd.Timestamp(trained, unit="s").date()))
    page.locator("#origin").press("Tab")
    expect(page.locator(".exposure")).to_contain_text("chose the model's checkpoint", timeout=WAIT)
    page.locator("#now").click()
    expect(page.locator(".exposure")).to_have_count(0, timeout=WAIT)
    # Nothing is shaded for a model that never saw the symbol, nor of a symbol that the run never saw.
    page.get_by_role("radio", name="Show chandler-nano in full").check()
    expect(chart).to_have_attribute("data-known", "")
    expect(legend.locator("[data-known]")).to_have_count(0)
    assert hatched(page, 0.02, 0.4) < left / 3
    page.get_by_role("radio", name="Show a in full").check()
    expect(chart).to_have_attribute("data-known", re.compile("^trained"))
    page.locator("#symbol").fill("msft")
    page.get_by_role("option", name="MSFT").click()
    expect(chart).to_have_attribute("aria-label", re.compile("MSFT"))
    expect(chart).to_have_attribute("data-known", "", timeout=WAIT)


def hatched(page: Any, start: float, end: float) -> float:
    """The share of pixels that differ from their surroundings, in a strip above the candles between two places of the chart's width."""
    found: float = page.evaluate(
        """([start, end]) => {
            const [canvas] = [...document.querySelectorAll("#chart canvas")].sort((a, b) => b.width * b.height - a.width * a.height);
            const { width } = canvas;
            const { data } = canvas.getContext("2d").getImageData(width * start, 2, width * (end - start), 36);
            const values = [];
            for (let at = 0; at < data.length; at += 4) values.push(data[at] + data[at + 1] + data[at + 2]);
            const ground = [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.9)];
            return values.filter((value) => value < ground - 12).length / values.length;
        }""",
        [start, end],
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_axe_and_nothing_lost_on_a_phone(at: Any, runs: Path, scheme: str) -> None:
    a, b = (folder_id("run", runs / name) for name in ("a", "group/b"))
    for path, there in (
        ("/runs", "table.runs"),
        (f"/runs?id={a}", "svg[role=img]"),
        (f"/runs?compare={a},{b}", "svg[role=img]"),
    ):
        page = at(path, color_scheme=scheme, size=(1280, 900) if scheme == "light" else (390, 800))
        expect(page.locator(there).first).to_be_visible(timeout=WAIT)
        for one in page.locator("summary").all():
            one.click()
        for one in page.get_by_role("button", name=re.compile("^As table")).all():
            one.click()
        page.evaluate(f"{AXE}; 0")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((told) => told.violations)")
        serious = [
            f"{one['id']}: {node['html'][:120]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert serious == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@pytest.mark.slow
def test_by_keys_alone(at: Any) -> None:
    page = at("/about")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.locator("tbody tr")).to_have_count(3, timeout=WAIT)
    for name in ("a", "group/b"):
        page.get_by_role("checkbox", name=f"Compare: {name}").focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Compare 2 runs").focus()
    page.keyboard.press("Enter")
    expect(page.locator("article.comparison")).to_have_attribute("data-runs", "2")
    page.get_by_role("link", name="a", exact=True).first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("article.run")).to_have_attribute("data-run", "a")
    page.get_by_role("button", name="Calibrate").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("corrects its bands")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
