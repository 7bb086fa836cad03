"""Folders of evaluations, tasks and backtests: what they read is never lost, and only what chandler wrote is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.shell import chandler

from chandler import load_bars
from chandler.evaluation.backtest.runner import BACKTEST as BACKTESTS
from chandler.evaluation.backtest.runner import load_backtest
from chandler.evaluation.tasks.generation import GENERATION
from chandler.evaluation.walk_forward.part_store import slug
from chandler.evaluation.walk_forward.settings import load_evaluation

GOLDEN = Path(__file__).parents[1] / "golden"
ASSET = Path(__file__).parents[2] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
MODEL = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
BACKTEST = ["--set", "random=0", "--set", "momentum=null", "--set", "reversal=null"]
MODELLED = [*BACKTEST, "--set", "data.start=2012-09-01", "--set", "data.end=2012-10-31", "--set", "lookback=20",
            "--set", "horizon=2", "--set", "paths=1", "--set", "every=15", "--set", "device=cpu"]  # fmt: skip
EVALUATE = ["--set", "lookback=24", "--set", "horizon=4", "--set", "origins=2", "--set", "paths=2", "--set", "device=cpu",
            "--set", "data.symbols=[AAPL, IBM]", "--set", "baselines=[last_close]"]  # fmt: skip
GENERATE = [*EVALUATE, "--set", "task=generation"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    rows = [(t, bars.symbol, v) for bars in load_bars(ASSET)
            for t, v in zip(bars.timestamps[-30:], np.sin(np.arange(30) + len(bars)), strict=True)]  # fmt: skip
    path = tmp_path / "given" / "signals.parquet"
    path.parent.mkdir()
    pd.DataFrame(rows, columns=["date", "symbol", "score"]).to_parquet(path)
    return path


@pytest.fixture
def traded(signals: Path, tmp_path: Path) -> Path:
    out = tmp_path / "bt"
    assert chandler("backtest", ASSET, "--signals", signals, "--out", out, *BACKTEST) == 0
    return out


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    out = tmp_path / "eval"
    assert chandler("evaluate", ASSET, "--models", f"m={MODEL}", "--out", out, *EVALUATE) == 0
    return out


@pytest.mark.parametrize("overwrite", [True, False])
def test_signals_within_the_folder_of_a_backtest_stay(
    overwrite: bool, traded: Path, signals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--overwrite"] if overwrite else []
    link = tmp_path / "link"
    link.symlink_to(traded)
    for out in (traded, link, signals.parent):
        given = signals if out == signals.parent else traded / "signals.parquet"
        before = snapshot(out)
        assert chandler("backtest", ASSET, "--signals", given, "--out", out, *BACKTEST, *flags) == 2
        err = capsys.readouterr().err
        assert "contains" in err or "something else than a backtest" in err
        assert snapshot(out) == before


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (["--model", "runs/typo", *MODELLED], "there is no such folder"),
        (["--signals", "none.csv", *BACKTEST], "no such file of signals"),
        (["--signals", "SIGNALS", *BACKTEST, "--set", "benchmark=SPY"], "neither 'equal' nor a symbol"),
        (["--model", MODEL, *MODELLED, "--set", "benchmark=SPY"], "neither 'equal' nor a symbol"),
        (["--signals", "SIGNALS", *BACKTEST, "--set", "data.symbols=[NONE]"], "no such symbol"),
        (["--signals", "LATE", *BACKTEST], "nothing can be traded"),
    ],
)
def test_what_cannot_be_backtested_leaves_the_earlier_one_whole(
    asked: list[str], match: str, traded: Path, signals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_parquet(signals)
    table[table["date"] == table["date"].max()].to_parquet(tmp_path / "late.parquet")
    filled = [one.replace("SIGNALS", str(signals)).replace("LATE", str(tmp_path / "late.parquet")) for one in asked]
    before = snapshot(traded)
    assert chandler("backtest", ASSET, "--out", traded, "--overwrite", *filled) == 2
    assert match in capsys.readouterr().err
    assert snapshot(traded) == before


def test_a_backtest_is_overwritten_with_another_kind(traded: Path) -> None:
    assert chandler("backtest", ASSET, "--model", MODEL, "--out", traded, *MODELLED, "--overwrite") == 0
    assert (traded / "parts" / "made_of.json").is_file()
    assert json.loads((traded / "summary.json").read_text())["signal"] == "model"


@pytest.mark.parametrize("command", ["backtest", "evaluate", "generation"])
def test_a_run_folder_is_not_taken_for_another_kind(
    command: str, run: Path, tmp_path: Path, signals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its summary.json, config.yaml and report.html have names that a backtest has as well."""
    out = tmp_path / "run"
    shutil.copytree(run, out)
    (out / "report.html").write_text("the report of the run")
    (out / "samples").mkdir()
    before = snapshot(out)
    if command == "backtest":
        asked = ["backtest", ASSET, "--signals", signals, *BACKTEST]
    else:
        asked = ["evaluate", ASSET, "--models", f"m={MODEL}", *(EVALUATE if command == "evaluate" else GENERATE)]
    assert chandler(*asked, "--out", out, "--overwrite") == 2
    assert "exists and holds" in capsys.readouterr().err
    assert snapshot(out) == before


def test_foreign_files_among_the_parts_are_named_and_stay(
    traded: Path, evaluated: Path, signals: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, asked in (
        (traded, ["backtest", ASSET, "--signals", signals, *BACKTEST]),
        (evaluated, ["evaluate", ASSET, "--models", f"m={MODEL}", *EVALUATE, "--set", "seed=3"]),
    ):
        note = out / "parts" / "notes.txt"
        note.parent.mkdir(exist_ok=True)
        note.write_text("years of work")
        before = snapshot(out)
        assert chandler(*asked, "--out", out, "--overwrite") == 2
        assert "parts/notes.txt is not of" in capsys.readouterr().err
        assert snapshot(out) == before
        note.unlink()
        assert chandler(*asked, "--out", out, "--overwrite") == 0


def test_notes_beside_an_evaluation_do_not_cost_it(evaluated: Path) -> None:
    (evaluated / "notes.txt").write_text("mine")
    asked = ["evaluate", ASSET, "--models", f"m={MODEL}", "--out", evaluated, *EVALUATE, "--set", "seed=3"]
    assert chandler(*asked, "--overwrite") == 0
    assert (evaluated / "notes.txt").read_text() == "mine"
    assert json.loads((evaluated / "evaluation.json").read_text())["settings"]["seed"] == 3


def test_an_evaluation_is_not_written_over_its_model_or_data(
    evaluated: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, evaluated / "run")
    shutil.copy(ASSET, evaluated / "bars.csv.gz")
    before = snapshot(evaluated)
    for data, model, told in (
        (ASSET, f"m={evaluated / 'run'}", f"model {evaluated / 'run'}"),
        (ASSET, f"m={evaluated / 'run' / 'tokenizer'}+{evaluated / 'run' / 'predictor'}", "run/predictor"),
        (evaluated / "bars.csv.gz", f"m={MODEL}", "data.path"),
    ):
        for task in (EVALUATE, GENERATE):
            asked = ["evaluate", data, "--models", model, "--out", evaluated, *task, "--force", "--overwrite"]
            assert chandler(*asked) == 2
            err = capsys.readouterr().err
            assert (f"which is read ({told}" in err or told in err) if task is EVALUATE else "something else" in err
    assert snapshot(evaluated) == before


def test_generation_names_a_model_that_cannot_be_loaded_before_it_removes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g"
    (out / "samples").mkdir(parents=True)
    (out / "samples" / "m.npz").write_bytes(b"hours of work")
    (out / "generation.json").write_text('{"test_windows": 3}')
    before = snapshot(out)
    asked = ["evaluate", ASSET, "--models", f"m={tmp_path / 'none'}", "--out", out, *GENERATE, "--overwrite"]
    assert chandler(*asked) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert snapshot(out) == before


def test_settings_are_known_again_in_any_script(tmp_path: Path) -> None:
    data = {"path": "行情 数据/平安银行: 日线 # 1.csv"}
    (tmp_path / "bt").mkdir()
    (tmp_path / "g").mkdir()
    settings = load_backtest({"data": data, "model": "runs/微调"})
    (tmp_path / "bt" / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    BACKTESTS.require_free(tmp_path / "bt", "more")
    other = load_evaluation({"data": data, "models": {"模型": "runs/微调"}, "task": "generation"})
    (tmp_path / "g" / "config.yaml").write_text(other.to_yaml(), encoding="utf-8")
    GENERATION.require_free(tmp_path / "g", "more")


def test_a_name_is_no_way_out_of_the_folder(tmp_path: Path) -> None:
    names = ["mine", "a b", "a_b", "a/b", "..", ".", "../../x", "平安", "mine "]
    assert [slug(name) for name in names[:1]] == ["mine"]
    assert slug("平安") == "平安"
    assert len({slug(name) for name in names}) == len(names)
    for name in names:
        assert (tmp_path / slug(name)).parent.resolve() == tmp_path.resolve()
        assert (tmp_path / slug(name)).resolve() != tmp_path.resolve()


def test_models_of_dots_do_not_cost_the_folder(tmp_path: Path) -> None:
    """`..` within parts/ is the folder itself: other weights under that name removed all of it."""
    out = tmp_path / "eval"
    for predictor in ("predictor", "predictor-fixed-time"):
        model = f"..={GOLDEN / 'tokenizer'}+{GOLDEN / predictor}"
        assert chandler("evaluate", ASSET, "--models", model, "--out", out, *EVALUATE) == 0
    assert {"config.yaml", "evaluation.json", "scores.parquet", "parts"} <= {path.name for path in out.iterdir()}
