"""Run folders over the API: a table of all, one in full, several compared, metrics that are followed, reports in a cage."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.serving.conftest import Client, launch
from tests.serving.made_runs import age

from chandler.data import load_bars
from chandler.evaluation.walk_forward import SAYS
from chandler.serving.jobs.folder import JobFolder, Order
from chandler.serving.runs import MetricsReader
from chandler.serving.workspace import folder_id, fresh_id
from chandler.training.runs import read_mapping, read_records, run_size

A = "/api/v1"
CAGE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "frame-ancestors 'self'"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def runs(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "run"
    shutil.copytree(finished_runs / "half", elsewhere)
    (finished_runs / "link").symlink_to(elsewhere)
    yield finished_runs
    (finished_runs / "link").unlink()


@pytest.fixture(scope="module")
def api(home: Path, runs: Path) -> Iterator[Client]:
    one = launch(home, "--runs", str(runs))
    yield one
    one.process.kill()
    one.process.wait()


def named(api: Client) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in api.get("/runs")["runs"]}


def test_all_runs_are_told_with_what_came_of_them(api: Client, runs: Path) -> None:
    found = named(api)
    assert set(found) == {"a", "group/b", "half"}, "links that lead out are none"
    assert list(found)[-1] == "half", "what changed last comes first"
    assert {name: one["state"] for name, one in found.items()} == {
        "a": "finished",
        "group/b": "finished",
        "half": "unfinished",
    }
    shells = {one["name"]: one["shell"] for one in api.get("/models")["models"]}
    assert shells["group/b"] == f"{runs.name}/group/b", "as jobs name it"
    assert shells["chandler-nano"] == "chandler-nano"
    a, b, half = found["a"], found["group/b"], found["half"]
    stages = read_mapping(runs / "a" / "summary.json")["stages"]
    assert a["verdict"] == [one["verdict"] for one in stages.values()]
    for one, (name, said) in zip(a["stages"], stages.items(), strict=True):
        assert (one["name"], one["status"], one["score"]) == (name, "improved", said["measure"])
        assert (one["start"], one["best"], one["best_step"]) == (said["start_score"], said["best"], said["best_step"])
        assert (one["step"], one["steps"], one["epochs"], one["planned"]) == (4, 4, 2, 2)
        assert one["gain"].endswith("% lower")
    assert [one["status"] for one in b["stages"]] == ["off", "kept_start"]
    assert b["verdict"][0] == "tokenizer: switched off."
    assert b["verdict"][1].endswith("the starting weights are kept.")
    assert (half["stages"][1]["status"], half["stages"][1]["steps"], half["stages"][1]["gain"] is not None) == (
        "unfinished",
        4,
        True,
    )
    assert (half["model_id"], half["has_report"], half["verdict"]) == (None, False, a["verdict"][:1])
    assert a["id"] == folder_id("run", runs / "a")
    models = {one["id"]: one["name"] for one in api.get("/models")["models"]}
    assert [models[one["model_id"]] for one in (a, b)] == ["a", "group/b"]
    assert a["began"] == int(read_records(runs / "a")[0]["time"])
    first = api.get("/runs?limit=2")
    assert [one["name"] for one in first["runs"]] == list(found)[:2]
    assert [one["name"] for one in api.get(f"/runs?cursor={first['next']}")["runs"]] == ["half"]


def test_bars_that_a_run_knows_are_told_as_periods(api: Client, runs: Path) -> None:
    [source] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "bundled"]
    model = named(api)["a"]["model_id"]
    path = f"/models/{model}/exposure?source_id={source}"
    times = [int(pd.Timestamp(one.date()).timestamp()) for one in load_bars("chandler-stocks")["IBM"].timestamps]
    splits = read_mapping(runs / "a" / "summary.json")["data"]["splits"]
    trained, validated = (int(pd.Timestamp(splits[part]["last"]).timestamp()) for part in ("train", "val"))
    assert api.get(f"{path}&symbol=IBM")["periods"] == [
        {"from": times[0], "to": trained, "kind": "trained", "says": SAYS["trained"]},
        {"from": times[times.index(trained) + 1], "to": validated, "kind": "validated", "says": SAYS["validated"]},
    ]
    assert [one["kind"] for one in api.get(f"{path}&symbol=MSFT")["periods"]] == ["period"]
    # A forecast is marked as the bar that follows its origin is.
    asked = {"source_id": source, "model_id": model, "symbols": ["IBM"], "horizon": 2, "paths": 2, "lookback": 20}
    bar = times.index(trained)
    for origin, mark in ((times[bar - 1], "trained"), (trained, "validated"), (validated, None)):
        body = asked | {"origin": origin}
        [series] = api.call("POST", A + "/forecasts", body, {"Prefer": "wait=60"}).json["series"]
        assert series["exposure"] == (None if mark is None else {"mark": mark, "says": SAYS[mark]})


def test_sizes_are_counted_beside_the_requests(api: Client, runs: Path) -> None:
    for _ in range(50):
        found = named(api)
        if all(one["bytes"] for one in found.values()):
            break
        time.sleep(0.1)
    assert found["group/b"]["bytes"] == run_size(runs / "group" / "b")[0]


def test_one_run_in_full_names_no_place(api: Client, runs: Path) -> None:
    found = named(api)
    answer = api.call("GET", f"{A}/runs/{found['group/b']['id']}")
    assert str(runs.parent).encode() not in answer.body
    told = answer.json
    assert (told["settings"]["seed"], told["settings"]["predictor"]["learning_rate"]) == (7, 5.0)
    assert told["settings"]["predictor"]["start"] == "a/predictor"
    assert told["settings"]["data"]["path"] == "bokeh_stocks_1d.csv.gz"
    assert "out" not in told["settings"]
    assert told["command"] == "chandler finetune runs/group/b/config.yaml --out runs/group/b-2"
    assert told["report_id"] == told["id"]
    sizes = {one["name"]: one["bytes"] for one in told["files"]}
    assert sizes["report.html"] == (runs / "group/b/report.html").stat().st_size
    assert "predictor/model.safetensors" in sizes
    half = api.get(f"/runs/{found['half']['id']}")
    assert half["command"] == "chandler finetune runs/half/config.yaml --out runs/half --resume"
    assert half["report_id"] is None


def test_runs_differ_in_what_was_set(api: Client) -> None:
    found = named(api)
    a, b, half = (found[name]["id"] for name in ("a", "group/b", "half"))
    told = api.get(f"/runs/compare?ids={a},{b}")
    assert [one["id"] for one in told["runs"]] == [a, b]
    rows = {one["key"]: one["values"] for one in told["differences"]}
    assert rows["seed"] == [100, 7]
    assert rows["tokenizer.enabled"] == [True, False]
    assert rows["predictor.start"] == ["random", "a/predictor"]
    assert "data.lookback" not in rows
    assert "out" not in rows
    assert api.get(f"/runs/compare?ids={a},{half}")["differences"] == []
    for ids, status in (
        (a, 422),
        (f"{a},{a}", 422),
        (f"{a},run_000000000000", 404),
        ("", 422),
        (",".join("abcdefg"), 422),
    ):
        assert api.call("GET", f"{A}/runs/compare?ids={ids}").status == status, ids


def test_metrics_are_followed_over_the_api(api: Client, runs: Path) -> None:
    folder = runs / "followed"
    shutil.copytree(runs / "half", folder)
    log, id = folder / "metrics.jsonl", folder_id("run", folder)
    first = api.get(f"/runs/{id}/metrics")
    assert first["records"] == read_records(folder)
    assert first["records"][0]["kind"] == "begin"
    with log.open("a") as file:
        file.write(record("train", 99, stage="predictor"))
    second = api.get(f"/runs/{id}/metrics?after={first['next']}")
    assert (steps(second["records"], "train"), second["reset"]) == ([99], False)
    one = next(one for one in api.get("/runs")["runs"] if one["id"] == id)
    assert (one["state"], one["stages"][1]["step"]) == ("running", 99), "written to just now, by a shell"
    other = folder / "other"
    other.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    other.replace(log)
    third = api.get(f"/runs/{id}/metrics?after={second['next']}")
    assert (len(third["records"]), third["reset"]) == (3, True)
    shutil.rmtree(folder)
    assert api.call("GET", f"{A}/runs/{id}/metrics").status == 404
    assert id not in [one["id"] for one in api.get("/runs")["runs"]]


def test_a_job_knows_better_than_the_clock(api: Client, home: Path, runs: Path) -> None:
    folder = runs / "jobbed"
    shutil.copytree(runs / "half", folder)
    os.utime(folder / "metrics.jsonl")
    id = folder_id("run", folder)
    assert api.get(f"/runs/{id}")["state"] == "running"
    job = JobFolder(home / "workspace" / "jobs" / fresh_id("job"))
    job.folder.mkdir()
    job.write(Order(job.id, "finetune", "jobbed", 1, "chandler finetune", [], [], out=str(folder.resolve())))
    told = api.get(f"/runs/{id}")
    assert (told["job_id"], told["state"]) == (job.id, "unfinished"), "nobody holds its lock: lost"
    (job.folder / "exit.json").write_text(json.dumps({"code": 143, "asked": "stop", "ended": time.time() - 1000}))
    assert api.get(f"/runs/{id}")["state"] == "running", "someone went on with it in a shell since"
    age(folder, 2000)
    assert api.get(f"/runs/{id}")["state"] == "unfinished"
    shutil.rmtree(folder)
    shutil.rmtree(job.folder)


def test_reports_are_sent_in_a_cage(api: Client, runs: Path) -> None:
    found = named(api)
    report = api.call("GET", f"{A}/reports/{found['a']['id']}")
    assert (report.status, report.body) == (200, (runs / "a" / "report.html").read_bytes())
    assert report.headers["content-security-policy"] == CAGE
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert report.headers["content-disposition"].startswith("inline")
    assert (report.headers["x-content-type-options"], report.headers["cache-control"]) == ("nosniff", "no-store")
    saved = api.call("GET", f"{A}/reports/{found['group/b']['id']}?download=1")
    assert saved.headers["content-disposition"] == 'attachment; filename="group-b.html"'
    assert api.call("GET", f"{A}/reports/{found['a']['id']}", headers={"Authorization": None}).status == 401
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert api.call("GET", f"{A}/reports/{found['a']['id']}", headers=dict(cross)).status == 403
    missing = api.call("GET", f"{A}/reports/{found['half']['id']}")
    assert (missing.status, missing.json["error"]["message"]) == (
        404,
        "half has no report yet: it is written at the end.",
    )
    (runs / "half" / "report.html").symlink_to(runs / "a" / "config.yaml")
    assert api.call("GET", f"{A}/reports/{found['half']['id']}").status == 404
    (runs / "half" / "report.html").unlink()


@pytest.mark.parametrize(
    "id", ["..", "run_", "run_../../a", "a", "run_0123456789AB", "mdl_0123456789ab", "%00", "run_000000000000"]
)
def test_ids_are_no_places(api: Client, id: str) -> None:
    for path in (f"/runs/{id}", f"/runs/{id}/metrics", f"/reports/{id}"):
        assert api.call("GET", A + path.replace("/..", "/%2e%2e")).status == 404, path


def test_files_that_cannot_be_read_cost_no_list(api: Client, runs: Path) -> None:
    folder = runs / "broken"
    folder.mkdir()
    (folder / "config.yaml").write_text("tokenizer: [\x00")
    (folder / "metrics.jsonl").write_text('{"stage": "tokenizer", "kind": "new"}\nno json\n[]\n')
    (folder / "summary.json").write_text("{")
    id = folder_id("run", folder)
    assert api.get(f"/runs/{id}")["settings"] == {}
    assert len(api.get(f"/runs/{id}/metrics")["records"]) == 1
    shutil.rmtree(folder)


def record(kind: str, step: int, stage: str = "tokenizer", **more: Any) -> str:
    return json.dumps({"stage": stage, "kind": kind, "step": step, "epoch": 1, "time": 1.7e9 + step, **more}) + "\n"


def steps(records: list[dict[str, Any]], kind: str) -> list[int]:
    return [one["step"] for one in records if one["kind"] == kind]


def test_metrics_are_followed_without_gap_or_double(tmp_path: Path) -> None:
    log, reader = tmp_path / "metrics.jsonl", MetricsReader(tmp_path)
    assert reader.after() == reader.after("0-00000000")
    log.write_text(record("begin", 0, steps=20) + record("validation", 0, mse=1.0) + record("train", 5)[:20])
    first = reader.after()
    assert [one["kind"] for one in first.records] == ["begin", "validation"]
    assert first.reset is False
    with log.open("a") as file:
        file.write(record("train", 5)[20:] + "no json\n" + record("train", 10, mse=float("nan")))
    second = reader.after(first.next)
    assert (steps(second.records, "train"), second.reset) == ([5, 10], False)
    assert second.records[-1]["mse"] is None, "what is no number is no JSON"
    assert reader.after(second.next).records == []


def test_a_file_that_was_written_anew_is_read_from_the_first_record(tmp_path: Path) -> None:
    log, reader = tmp_path / "metrics.jsonl", MetricsReader(tmp_path)
    log.write_text(record("validation", 0) + record("train", 5) + record("train", 10))
    seen, early = reader.after(), reader.after()
    other = tmp_path / "other"  # a run goes on after step 5: longer than before, under the same name
    other.write_text(record("validation", 0) + record("train", 5) + record("begin", 5) * 9)
    other.replace(log)
    found = reader.after(seen.next)
    assert found.reset
    assert (steps(found.records, "train"), len(found.records)) == ([5], 11)
    assert early.next == seen.next
    assert MetricsReader(tmp_path).after(found.next) == reader.after(found.next), (
        "whoever reads: a server that was restarted"
    )
    for place in ("", "3", "99-00000000", "3-0000000g", "-1-00000000"):
        assert reader.after(place).reset, place
    log.write_text(record("validation", 0))  # the same file, shorter
    assert reader.after(found.next).reset
    log.write_text(record("validation", 0, mse=2.0) + record("train", 5))  # and longer
    assert steps(reader.after().records, "train") == [5]
    assert reader.after().records[0]["mse"] == 2.0
    log.unlink()
    assert reader.after(found.next).records == []


def test_a_long_run_is_thinned_and_validations_are_not(tmp_path: Path) -> None:
    lines = [record("begin", 0)]
    for step in range(1, 5002):
        lines.append(record("train", step))
        if step % 500 == 0:
            lines.append(record("validation", step))
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + record("train", 1, stage="predictor"))
    found = MetricsReader(tmp_path).after(None, most=1000).records
    mine = [one for one in found if one["stage"] == "tokenizer"]
    assert 800 < len(steps(mine, "train")) <= 1000
    assert steps(mine, "train")[-1] == 5001
    assert steps(mine, "validation") == list(range(500, 5001, 500))
    assert len(found) == len(mine) + 1
