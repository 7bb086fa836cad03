"""`chandler inspect`: text, JSON and page, and exit code 1 when training would fail."""

import json
from importlib.resources import files

import pytest
from typer.testing import CliRunner

from chandler.cli import app

STOCKS = str(files("chandler") / "assets" / "bokeh_stocks_1d.csv.gz")


def run(*arguments):
    return CliRunner().invoke(app, ["inspect", *arguments])


def test_text_and_page(tmp_path):
    page = tmp_path / "r.html"
    result = run(STOCKS, "--calendar", "xnys", "--html", str(page))
    assert result.exit_code == 0
    assert "calendar XNYS; trades Mon-Fri" in result.stdout
    assert "Training would begin." in result.stdout
    assert "before the end of June 2024" in result.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_is_all_that_is_printed():
    report = json.loads(run(STOCKS, "--json").stdout)
    assert report["ok"] is True
    assert [one["symbol"] for one in report["symbols"]] == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_exit_code_1_when_training_would_fail():
    result = run(STOCKS, "--symbols", "FB")
    assert result.exit_code == 1
    assert "PROBLEM: the validation split has no window" in result.stdout


def test_the_settings_of_a_run_are_taken(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"out: x\ndata:\n  path: {STOCKS}\n  lookback: 20\n  horizon: 4\n  resample: 1W\n  calendar: XNYS\n"
                    "  split: {train: 0.6, val: 0.2, test: 0.2, purge: 4}\n")  # fmt: skip
    result = run(STOCKS, "--config", str(path))
    assert result.exit_code == 0
    assert "interval 7d" in result.stdout
    assert "20 lookback + 4 horizon" in result.stdout


@pytest.mark.parametrize("name", ["XNYZ", "nyse exchange"])
def test_unknown_calendars_are_one_message(name):
    result = run(STOCKS, "--calendar", name)
    assert "is not known" in str(result.exception)
