"""`chandler inspect`: text, JSON and page, and exit code 1 when training would fail."""

import json
from importlib.resources import files

import pytest
from typer.testing import CliRunner

from chandler.cli import app
from chandler.data import load_bars, write_qlib
from chandler.errors import DataError

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


def test_dates_and_symbols_are_picked_and_flags_go_before_the_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        f"out: x\ndata:\n  path: {STOCKS}\n  lookback: 20\n  horizon: 4\n  start: 2005-01-01\n  symbols: [IBM]\n"
    )
    whole = run("--config", str(path))  # the YAML names the data
    assert "1 symbol, 2,054 rows, 2005-01-03 00:00 to 2013-03-01 00:00" in whole.stdout
    cut = run("--config", str(path), "--end", "2010-12-31", "--symbols", "IBM,AAPL", "--lookback", "30")
    assert "2 symbols, 3,022 rows, 2005-01-03 00:00 to 2010-12-31 00:00" in cut.stdout
    assert "30 lookback + 4 horizon" in cut.stdout
    plain = run(STOCKS, "--start", "2005-01-01", "--end", "2010-12-31", "--symbols", "IBM")
    assert "1 symbol, 1,511 rows" in plain.stdout


def test_a_yaml_of_many_sources_needs_the_one_to_inspect(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"out: x\ndata:\n  sources: [{{path: {STOCKS}}}]\n  lookback: 20\n  horizon: 4\n")
    assert "has many sources; give the one to inspect" in str(run("--config", str(path)).exception)
    assert "20 lookback + 4 horizon" in run(STOCKS, "--config", str(path)).stdout


def test_a_qlib_folder_by_market_and_interval(tmp_path):
    store = load_bars(STOCKS)
    folder = write_qlib(store.select(["IBM", "MSFT"]), tmp_path / "q", market="two")
    result = run(f"qlib:{folder}", "--market", "two", "--freq", "day", "--start", "2010-01-01", "--json")
    assert [one["symbol"] for one in json.loads(result.stdout)["symbols"]] == ["IBM", "MSFT"]
    assert "no market 'three' in instruments/" in str(run(f"qlib:{folder}", "--market", "three").exception)
    assert "are of Qlib folders" in str(run(STOCKS, "--market", "two").exception)


def test_any_key_of_the_data_can_be_set():
    walk = ["--set", "data.split.walk={folds: 3, test: 250, val: 150}"]
    result = run(STOCKS, *walk, "--set", "data.split.purge=10", "--set", "data.cleaning.enabled=true")
    assert (
        "counted after cleaning (12,006 of"
        in run(STOCKS, "--adjust", "none", "--set", "data.cleaning.enabled=true").stdout
    )
    assert result.exit_code == 0
    assert "folds of the walk forward" in result.stdout
    assert "2 *   2000-03-01 to 2011-07-13" in result.stdout
    report = json.loads(
        run(STOCKS, "--set", "data.split.walk={folds: 3, fold: 0, test: 250, val: 150}", "--json").stdout
    )
    assert (report["fold"], len(report["folds"])) == (0, 3)
    assert "unknown key data.split.folds" in str(run(STOCKS, "--set", "data.split.folds=3").exception)
    assert "give the data" in str(run().exception)


@pytest.mark.parametrize("name", ["XNYZ", "nyse exchange"])
def test_unknown_calendars_are_one_message(name):
    result = run(STOCKS, "--calendar", name)
    assert "is not known" in str(result.exception)


TINY = """
out: {out}
device: cpu
data:
  path: {data}
  symbols: [IBM]
  start: 2012-01-03
  lookback: 20
  horizon: 4
  windows_per_epoch: 8
  validation_stride: 40
  split: {split}
tokenizer: {{start: random, epochs: 1, batch_size: 8, architecture: {{
  d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4, n_enc_layers: 2, n_dec_layers: 2}}}}
predictor: {{start: random, epochs: 1, batch_size: 8, architecture: {{
  d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4, n_layers: 1}}}}
"""


@pytest.mark.parametrize(
    ("split", "problem"),
    [
        ("{train_end: 2012-08-31, val_end: 2013-01-31}", None),  # 19 rows are left to test on
        ("{train_end: 2012-08-31, val_end: 2013-03-01}", None),  # none: the last day
        ("{train: 0.6, val: 0.35, test: 0.05}", None),
        ("{train_end: 2012-08-31, val_end: 2012-09-20}", "the validation split has no window"),
        ("{train_end: 2013-03-01, val_end: 2013-03-04}", "the validation split has no window"),
        ("{train_end: 2012-01-20, val_end: 2012-09-20}", "the training split has no window"),
    ],
)
def test_inspect_and_finetune_agree_on_what_fails(tmp_path, split, problem):
    path = tmp_path / "run.yaml"
    path.write_text(TINY.format(out=tmp_path / "run", data=STOCKS, split=split))
    looked = run("--config", str(path))
    trained = CliRunner().invoke(app, ["finetune", str(path)])
    if problem is None:
        assert (looked.exit_code, trained.exit_code) == (0, 0)
        assert "WARNING: the test split has no window: training does without" in looked.stdout
        assert (tmp_path / "run" / "predictor" / "model.safetensors").is_file()
        return
    assert looked.exit_code == 1
    assert isinstance(trained.exception, DataError)
    assert str(trained.exception).startswith(problem)
    assert f"PROBLEM: {trained.exception}" in " ".join(looked.stdout.split())
    assert not (tmp_path / "run").exists()
