"""Evaluations and backtests over the API are those of the folders, in the sentences that the commands print."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.serving.conftest import Client, launch

from chandler.data import load_bars
from chandler.evaluation.backtest import backtest, load_backtest
from chandler.evaluation.walk_forward import Results, evaluate, load_evaluation
from chandler.reports import backtest_text, evaluation_text, write_report

A = "/api/v1"


def judge(runs: Path) -> None:
    """An evaluation of baselines, one that was stopped, and a backtest of signals, as the commands leave them."""
    asked = {
        "data": {"path": "chandler-stocks"}, "baselines": ["last_close", "bootstrap"], "horizon": 3, "lookback": 60,
        "origins": 4, "start": "2012-06-01", "paths": 8, "calibration": "off", "out": str(runs / "group" / "walk"),
    }  # fmt: skip
    folder = evaluate(load_evaluation(asked))
    write_report(folder)
    half = runs / "half"
    shutil.copytree(folder, half, ignore=shutil.ignore_patterns("scores.parquet", "report.html"))
    state = json.loads((half / "evaluation.json").read_text())
    (half / "evaluation.json").write_text(json.dumps(state | {"finished": False}))
    store = load_bars("chandler-stocks")
    times = store["IBM"].timestamps[-60:]
    rows = [(time, symbol, float(n)) for time in times for n, symbol in enumerate(store.symbols)]
    signals = runs.parent / "signals.csv"
    pd.DataFrame(rows, columns=["timestamp", "symbol", "score"]).to_csv(signals, index=False)
    traded = {
        "data": {"path": "chandler-stocks"}, "signals": str(signals), "random": 3, "momentum": None, "reversal": None,
        "portfolio": {"k": 2, "n_drop": 1}, "out": str(runs / "trade"),
    }  # fmt: skip
    write_report(backtest(load_backtest(traded)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    judge(folder / "runs")
    return folder


@pytest.fixture(scope="module")
def judged(home: Path) -> Iterator[Client]:
    one = launch(home)
    yield one
    one.process.kill()
    one.process.wait()


def by_name(api: Client) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in api.get("/evaluations")["evaluations"]}


def test_all_of_them_are_listed(judged: Client) -> None:
    found = by_name(judged)
    assert {name: (one["kind"], one["state"]) for name, one in found.items()} == {
        "group/walk": ("evaluation", "finished"),
        "half": ("evaluation", "unfinished"),
        "trade": ("backtest", "finished"),
    }
    assert all(one["id"].startswith("ev_") and one["job_id"] is None for one in found.values())
    assert found["half"]["report_id"] is None
    first = judged.get("/evaluations?limit=2")
    assert [len(first["evaluations"]), first["next"]] == [2, 2]


def test_the_verdict_of_an_evaluation_is_that_of_the_command(judged: Client, home: Path) -> None:
    id = by_name(judged)["group/walk"]["id"]
    told = judged.get(f"/evaluations/{id}")
    printed = evaluation_text(Results(home / "runs" / "group" / "walk"))
    assert told["verdict"][0] == printed.splitlines()[0]
    page = (home / "runs" / "group" / "walk" / "report.html").read_text(encoding="utf-8")
    assert any(line.startswith("Weight: ") for line in told["verdict"])
    assert all(line.partition(": ")[2][:40] in page for line in told["verdict"][1:] if "'" not in line)
    [table] = told["tables"]
    assert table["title"] in printed
    assert {row[0] for row in table["rows"]} == {"last close", "bootstrapped walk"}
    for row in table["rows"]:
        assert all(cell in printed for cell in row)
    assert by_name(judged)["group/walk"]["headline"] == told["verdict"][0]


def test_the_verdict_of_a_backtest_is_that_of_the_command(judged: Client, home: Path) -> None:
    told = judged.get(f"/evaluations/{by_name(judged)['trade']['id']}")
    assert "\n".join(told["verdict"]) == backtest_text(home / "runs" / "trade")
    assert told["tables"][0]["columns"][1] == "Return"
    assert str(home) not in json.dumps(told)


def test_what_has_not_finished_has_no_verdict(judged: Client) -> None:
    told = judged.get(f"/evaluations/{by_name(judged)['half']['id']}")
    assert (told["verdict"], told["tables"], told["state"]) == ([], [], "unfinished")
    assert judged.call("GET", A + "/evaluations/ev_000000000000").status == 404
    assert judged.call("GET", A + "/evaluations/..%2f..%2fsecret").status == 404


def test_a_report_is_sent_in_its_cage(judged: Client) -> None:
    found = by_name(judged)
    sent = judged.call("GET", f"{A}/reports/{found['trade']['report_id']}")
    assert sent.status == 200
    assert sent.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert b"<html" in sent.body[:300]
    assert judged.call("GET", f"{A}/reports/{found['half']['id']}").status == 404
    saved = judged.call("GET", f"{A}/reports/{found['trade']['id']}?download=1")
    assert saved.headers["content-disposition"].startswith("attachment")
