"""The shell as a user meets it: what works prints something worth reading, what fails says one message and exits 2."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.shell import chandler

from chandler import load_bars
from chandler.data import write_qlib

README = (Path(__file__).parents[2] / "README.md").read_text()
ASSET = Path(__file__).parents[2] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
TINY_TOKENIZER = "{d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4, n_enc_layers: 2, n_dec_layers: 2}"
TINY_PREDICTOR = "{d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4, n_layers: 1}"
SMALL_RUN = [
    "--set", "device=cpu",
    "--set", "data.lookback=20", "--set", "data.horizon=4", "--set", "data.windows_per_epoch=32",
    "--set", "data.validation_stride=20", "--set", "data.calendar=XNYS",
    "--set", "tokenizer.start=random", "--set", f"tokenizer.architecture={TINY_TOKENIZER}",
    "--set", "predictor.start=random", "--set", f"predictor.architecture={TINY_PREDICTOR}",
    "--set", "tokenizer.epochs=1", "--set", "predictor.epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain CSV of one symbol, as a user has it."""
    frame = pd.read_csv(ASSET).query("symbol == 'IBM'").drop(columns=["symbol", "adj_close"]).tail(400)
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(bars: Path) -> Path:
    """A finetuned run by the README's command on the shipped CSV recipe, made small."""
    out = bars.parent / "mine"
    assert f"chandler finetune configs/csv.yaml --set data.path={bars.name} --out runs/mine" in README
    code = chandler("finetune", "configs/csv.yaml", "--set", f"data.path={bars}", "--out", out, *SMALL_RUN)
    assert code == 0
    return out


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def test_every_command_has_help_for_a_first_time_reader(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "inspect", "finetune", "forecast"):
        assert chandler(command, "--help") == 0
        assert "Usage:" in capsys.readouterr().out
    for name in re.findall(r"^chandler (\w+)", README, flags=re.M):
        assert chandler(name, "--help") == 0


def test_inspect_prints_what_was_understood(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chandler("inspect", bars, "--lookback", "20", "--horizon", "5") == 0
    out = capsys.readouterr().out
    for part in ("bars", "400", "2011-07-28", "2013-03-01", "volume"):
        assert part in out, part


def test_inspect_takes_the_windows_of_a_config(bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The recipe validates from 2023 on; these bars end in 2013, so training would fail and inspect says so.
    assert chandler("inspect", bars, "--config", "configs/daily-panel.yaml") == 1
    assert "90" in capsys.readouterr().out


def test_finetune_leaves_a_run_folder_with_a_report(run: Path) -> None:
    assert {"config.yaml", "metrics.jsonl", "summary.json", "report.html", "tokenizer", "predictor"} <= {
        p.name for p in run.iterdir()
    }
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["lookback"] == 20


def test_changed_settings_are_accepted_when_asked_and_by_the_old_name_with_a_warning(
    run: Path, bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    command = ["finetune", "configs/csv.yaml", "--set", f"data.path={bars}", "--out", folder, *SMALL_RUN, "--resume"]
    changed = [*command, "--set", "predictor.learning_rate=0.5"]
    assert chandler(*changed) == 2
    assert "--resume --accept-changed-settings" in capsys.readouterr().err
    assert chandler(*changed, "--accept-changed-settings") == 0
    assert "--force" not in capsys.readouterr().err
    assert chandler(*command, "--force") == 0
    assert "--force is called --accept-changed-settings now" in capsys.readouterr().err


def test_forecast_writes_paths_and_a_picture(run: Path, bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, picture = run.parent / "f.parquet", run.parent / "f.png"
    command = ["forecast", bars, "--model", run, "--horizon", "6", "--paths", "5", "--out", table, "--plot", picture]
    assert chandler(*command) == 0
    out = capsys.readouterr().out
    assert "5 paths of 6 bars from 20 bars of history, seed 0; calendar: XNYS" in out
    frame = pd.read_parquet(table)
    assert frame.attrs["calendar"] == {"bars": "XNYS"}
    assert len(frame) == 30
    assert list(frame.columns[:4]) == ["symbol", "path", "step", "timestamp"]
    assert frame["timestamp"].dt.day_of_week.max() < 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert chandler(*command[:-4], "--out", run.parent / "f.csv") == 0
    assert pd.read_csv(run.parent / "f.csv")["close"].to_numpy() == pytest.approx(frame["close"].to_numpy())
    pair = [f"{run}/tokenizer{sign}{run}/predictor" for sign in "+,"]
    for model in pair:
        assert chandler("forecast", bars, "--model", model, "--horizon", "1", "--paths", "1") == 0


def test_forecast_goes_by_the_calendar_of_the_run_or_by_another(
    run: Path, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bars end on Friday 1 March 2013; exchanges in New York closed on Good Friday, 29 March."""
    holiday = {}
    for calendar, told in ((None, "XNYS"), ("inferred", "inferred (Mon-Fri)"), ("xnys", "XNYS"), ("24/7", "24/7")):
        table = run.parent / "c.parquet"
        flags = [] if calendar is None else ["--calendar", calendar]
        command = ["forecast", bars, "--model", run, "--horizon", "20", "--paths", "1", "--out", table, *flags]
        assert chandler(*command) == 0
        assert f"calendar: {told}\n" in capsys.readouterr().out
        holiday[told] = (pd.read_parquet(table)["timestamp"] == "2013-03-29").any()
    assert holiday == {"XNYS": False, "inferred (Mon-Fri)": True, "24/7": False}  # 24/7: it ends on the 21st


def test_forecast_takes_dates_and_symbols(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["forecast", ASSET, "--model", run, "--horizon", "2", "--paths", "2", "--start", "2010-01-01"]
    assert chandler(*command, "--end", "2012-07-02", "--symbols", "IBM,GOOG") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["IBM", "GOOG"]
    assert "2012-07-05" in lines[1]  # the exchange is closed on the 4th
    assert chandler(*command, "--market", "csi300") == 2
    assert "are of Qlib folders" in capsys.readouterr().err


def test_the_python_of_the_readme_runs(run: Path, bars: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    first = next(b for b in blocks if "forecast.quantiles" in b)
    picture = run.parent / "readme.png"
    code = (
        first.replace('"runs/mine"', repr(str(run)))
        .replace('"bars.csv"', repr(str(bars)))
        .replace("paths=100", "paths=4")
        .replace('"forecast.png"', repr(str(picture)))
    )
    names: dict[str, object] = {}
    exec(code, names)
    assert names["forecast"].paths.shape == (4, 24, 6)  # type: ignore[attr-defined]
    assert picture.is_file()
    exec(next(b for b in blocks if "chandler.compat" in b), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forecast", "BARS", "--model", "./runs/none"], "no such folder"),
        (["forecast", "BARS", "--model", "RUN", "--horizon", "0"], "horizon"),
        (["forecast", "BARS", "--model", "RUN", "--paths", "0"], "paths"),
        (["forecast", "BARS", "--model", "RUN", "--top-p", "1.5"], "top_p"),
        (["forecast", "BARS", "--model", "RUN", "--temperature", "0"], "temperature"),
        (["forecast", "BARS", "--model", "RUN", "--out", "f.xlsx"], "must end in .parquet or .csv"),
        (["forecast", "BARS", "--model", "RUN", "--memory", "0"], "its memory budget leaves 0.0 MB"),
        (["forecast", "none.csv", "--model", "RUN"], "none.csv"),
        (["forecast", "BARS", "--model", "RUN", "--calendar", "XNSY"], "near names are XNYS"),
        (["inspect", "BARS", "--column", "close"], "expected NAME=VALUE, as in --column close=ClosePrice"),
        (["inspect", "none.csv"], "none.csv"),
        (["finetune", "none.yaml"], "no such file"),
        (["finetune", "configs/csv.yaml", "--set", "tokeniser.epochs=1"], "did you mean tokenizer?"),
        (["finetune", "configs/csv.yaml", "--out", "runs/x"], "YOUR.csv"),
    ],
)  # fmt: skip
def test_failures_are_one_message_and_exit_code_2(
    arguments: list[str], message: str, run: Path, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [a.replace("BARS", str(bars)).replace("RUN", str(run)) for a in arguments]
    assert chandler(*filled) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("chandler: ")
    assert "Traceback" not in captured.err
    assert captured.err.count("\n") == 1


def test_outputs_are_not_written_over_what_is_read(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    table = folder / "bars.parquet"
    pd.read_csv(bars).to_parquet(table)
    (folder / "run.yaml").write_text("# mine\nout: x\ndata: {path: in}\n")
    (tmp_path / "link.parquet").symlink_to(table)
    prepared = tmp_path / "bars.store"
    assert chandler("prepare", bars, prepared) == 0
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for place in (folder, prepared) for path in place.iterdir() if path.is_file()}
    capsys.readouterr()
    for command in (
        ["forecast", table, "--out", table],
        ["forecast", folder, "--out", "bars.parquet"],
        ["forecast", folder / "*.parquet", "--out", table],
        ["forecast", ".", "--out", tmp_path / "link.parquet"],
        ["forecast", tmp_path / "link.parquet", "--out", table],
        ["forecast", bars, table, "--out", "../in/bars.parquet"],
        ["inspect", table, "--html", table],
        ["inspect", prepared, "--html", prepared],
        ["inspect", table, "--config", "run.yaml", "--html", "run.yaml"],
    ):
        assert chandler(*command) == 2, command
        assert "which is read (" in capsys.readouterr().err, command
    assert {path: path.read_bytes() for path in before} == before


def test_wrong_usage_exits_2(bars: Path, tmp_path: Path) -> None:
    assert chandler("forecast") == 2
    few = ["--out", str(tmp_path / "calibrated"), "--horizon", "2", "--origins", "40", "--paths", "20", "--seed", "-1"]
    assert chandler("calibrate", "chandler-nano", "--data", str(bars), *few) == 2
    assert chandler("finetune", "a.yaml", "--no-such-option") == 2


def test_debug_shows_the_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chandler", "--debug", "inspect", "none.csv"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_importing_chandler_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys, chandler; print([m for m in ('torch', 'pandas', 'plotly', 'accelerate') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("first", "given", "expected"),
    [
        ("", {}, "1000 None"),
        ("", {"GOMP_SPINCOUNT": "7"}, "7 None"),
        ("", {"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
        ("import torch; ", {}, "None None"),  # too late: torch has read it
    ],
)
def test_a_script_is_protected_from_spinning_threads_as_the_command_is(
    first: str, given: dict[str, str], expected: str
) -> None:
    env = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = f"import os; {first}import chandler; print(*map(os.environ.get, ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**env, **given}
    )
    assert done.stdout.strip() == expected


def test_forecasting_loads_no_training_code() -> None:
    code = "import sys; from chandler import Forecaster; print([m for m in sys.modules if m in ('chandler.training', 'accelerate')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_prepare_then_inspect_and_bad_files_on_request(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    rows = "".join(f"{day:%d/%m/%Y},10,12,9,11,100\n" for day in pd.date_range("2024-01-01", periods=200))
    (data / "A.csv").write_text("date,open,high,low,close,volume\n" + rows)
    (data / "B.csv").write_text("nothing\n")
    store = tmp_path / "bars.store"
    assert chandler("prepare", data, store) == 2
    assert "B.csv: missing columns" in capsys.readouterr().err
    assert chandler("prepare", data, store, "--skip-bad") == 0
    out, err = capsys.readouterr()
    assert "1 symbol, 200 rows" in out
    assert "skipped: " in err
    assert chandler("inspect", store, "--lookback", "10", "--horizon", "2") == 0
    text = capsys.readouterr().out
    assert "columns: timestamp from 'date'" in text
    assert "read the dates as day/month/year, because of '13/01/2024'" in text
    assert chandler("inspect", data, "--lookback", "10", "--horizon", "2", "--skip-bad") == 0
    assert chandler("prepare", data) == 2
    assert "give the data and the folder to write" in capsys.readouterr().err


def test_prepare_takes_dates_and_symbols_as_inspect_and_forecast_do(tmp_path, capsys):
    store = tmp_path / "bars.store"
    asked = ["--symbols", "IBM,GOOG", "--start", "2010-01-01", "--end", "2010-12-31"]
    assert chandler("prepare", ASSET, store, *asked) == 0
    assert "2 symbols, 504 rows" in capsys.readouterr().out
    prepared = load_bars(store)
    read = load_bars(ASSET, symbols=["GOOG", "IBM"], start="2010-01-01", end="2010-12-31")
    assert prepared.symbols == read.symbols
    assert np.array_equal(prepared.values, read.values)
    assert np.array_equal(prepared.timestamps, read.timestamps)
    assert chandler("prepare", ASSET, store, "--symbols", "IBM,GOOG") == 2
    assert "was prepared with other options (start, end)" in capsys.readouterr().err
    assert chandler("prepare", ASSET, tmp_path / "other.store", "--symbols", "IBN") == 2
    assert "nothing to prepare of {'symbols': ('IBN',)}" in capsys.readouterr().err
    assert chandler("prepare", ASSET, tmp_path / "third.store", "--market", "csi300") == 2
    assert "are of Qlib folders" in capsys.readouterr().err


def test_prepare_takes_a_qlib_folder_by_market(tmp_path, capsys):
    whole = load_bars(ASSET)
    folder = write_qlib(whole.select(["IBM", "MSFT"]), tmp_path / "q", market="two")
    command = ["prepare", f"qlib:{folder}", tmp_path / "bars.store", "--market", "two", "--end", "2010-12-31"]
    assert chandler(*command) == 0
    assert f"2 symbols, {2 * 2727:,} rows" in capsys.readouterr().out
    read = load_bars(f"qlib:{folder}", market="two", end="2010-12-31")
    assert np.array_equal(load_bars(tmp_path / "bars.store").values, read.values)
    manifest = (tmp_path / "bars.store" / "manifest.jsonl").read_text()
    assert chandler(*command) == 0  # again: nothing has changed
    assert (tmp_path / "bars.store" / "manifest.jsonl").read_text() == manifest
