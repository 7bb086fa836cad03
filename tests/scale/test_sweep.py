"""A sweep of tiny trials: equal to single runs, goes on after kill -9, stops the hopeless, tells failures, ends in a verdict."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chandler.errors import ConfigError, TrainingError
from chandler.reports import sweep_text, write_report
from chandler.reports.sweep import _names
from chandler.scale.sweep import SweepSettings, Trial, sweep, sweep_verdict
from chandler.training import finetune
from chandler.training.settings import Settings, load_settings
from tests.scale.conftest import read_book
from tests.shell import chandler
from tests.training.conftest import tiny_run
from tests.training.killing import context

RATES = "predictor.learning_rate=1e-4,1e-2,1e-1"


def asked(folder: Path, **changes: Any) -> SweepSettings:
    given = {"config": tiny_run(folder / "x"), "out": str(folder / "sweep"), "params": [RATES, "seed=1..2"]}
    return SweepSettings(**{**given, **changes})


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("0*/*/model.safetensors"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep(asked(tmp_path_factory.mktemp("finished")))


def test_trials_are_runs_like_any_other(finished: Path, tmp_path: Path) -> None:
    book = read_book(finished)
    assert [one.state for one in book["trials"]] == ["finished"] * 6
    assert len(weights(finished)) == 12
    alone = load_settings(finished / "003" / "config.yaml").model_dump(mode="json") | {"out": str(tmp_path / "alone")}
    run = finetune(Settings.model_validate(alone))
    for part in ("tokenizer", "predictor"):
        assert (run.folder / part / "model.safetensors").read_bytes() == (
            finished / "003" / part / "model.safetensors"
        ).read_bytes()
    summary = run.summary["stages"]["predictor"]
    assert (book["trials"][3].start, book["trials"][3].best) == (summary["start_score"], summary["best"])
    table = pd.read_parquet(finished / "sweep.parquet")
    assert list(table["predictor.learning_rate"]) == [1e-4, 1e-4, 1e-2, 1e-2, 1e-1, 1e-1]
    assert table["best"].tolist() == [one.best for one in book["trials"]]


def test_the_verdict_is_of_settings_over_their_seeds(finished: Path) -> None:
    verdict = read_book(finished)["verdict"]
    assert [one["parameters"]["predictor.learning_rate"] for one in verdict["settings"]] == [1e-1, 1e-2, 1e-4]
    assert verdict["best"] in (4, 5)
    text = sweep_text(finished)
    assert "learning_rate=0.1" in text
    assert "flatters itself" in text
    assert re.search(r"Next: chandler evaluate \S+ --models after=\S+/00[45] --out", text)


def test_keys_that_end_alike_are_told_whole() -> None:
    keys = ["tokenizer.learning_rate", "predictor.learning_rate", "seed"]
    assert list(_names(keys).values()) == [*keys[:2], "seed"]
    assert _names(keys[1:])["predictor.learning_rate"] == "learning_rate"


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_is_one_file_and_says_what_it_does_not_show(finished: Path) -> None:
    page = write_report(finished).read_text(encoding="utf-8")
    parser = _Loads()
    parser.feed(page)
    assert not parser.found
    for said in ("What this does not show", "flatters itself", "chandler evaluate", "Scatter"):
        assert said in page
    assert page.count('<script type="application/json">') == 3


def test_the_same_command_does_nothing_twice_and_another_one_is_refused(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")}
    sweep(asked(finished.parent))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")} == before
    for changes, told in (
        ({"params": [RATES, "seed=1..3"]}, "6 -> 9 trials"),
        ({"params": [RATES, "seed=2..3"]}, "seed 1 -> 2"),
        ({"early_stop": "asha"}, "early stopping off -> on"),
        ({"overrides": ["predictor.batch_size=8"]}, r"predictor\.batch_size 16 -> 8"),
    ):
        with pytest.raises(ConfigError, match=rf"{told}.*overwrite=True"):
            sweep(asked(finished.parent, **changes))


def test_only_what_a_sweep_wrote_is_replaced(tmp_path: Path) -> None:
    given = {"params": ["seed=1..2"], "overrides": ["predictor.epochs=1", "tokenizer.epochs=1"]}
    folder = sweep(asked(tmp_path, **given))
    (folder / "mine.txt").write_text("kept")
    (folder / "001" / "notes.txt").write_text("kept")
    with pytest.raises(ConfigError, match=r"notes\.txt is not of a sweep"):
        sweep(asked(tmp_path, **given | {"params": ["seed=3..4"]}), overwrite=True)
    (folder / "001" / "notes.txt").unlink()
    sweep(asked(tmp_path, **given | {"params": ["seed=3,4"]}), overwrite=True)
    assert (folder / "mine.txt").read_text() == "kept"
    assert [one.parameters for one in read_book(folder)["trials"]] == [{"seed": 3}, {"seed": 4}]
    other = tmp_path / "other"
    other.mkdir()
    (other / "sweep.json").write_text("{}")
    with pytest.raises(ConfigError, match="no sign that chandler wrote a sweep"):
        sweep(asked(tmp_path, out=str(other), **given), overwrite=True)


def _run(given: Mapping[str, Any]) -> None:
    import torch

    torch.set_num_threads(1)
    sweep(SweepSettings(**given))


@pytest.mark.slow
def test_it_goes_on_after_kill_9(finished: Path, tmp_path: Path) -> None:
    given = asked(tmp_path).model_dump()
    for seen in ("sweep/001/metrics.jsonl", "sweep/004/checkpoints/predictor"):
        process = context.Process(target=_run, args=(given,))
        process.start()
        while process.is_alive() and not (tmp_path / seen).exists():
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not (tmp_path / "sweep" / "sweep.parquet").exists()
    folder = sweep(asked(tmp_path))
    assert {name: one for name, one in weights(folder).items() if "predictor" in name} == {
        name: one for name, one in weights(finished).items() if "predictor" in name
    }
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "sweep.parquet"), pd.read_parquet(finished / "sweep.parquet")
    )


def test_the_hopeless_are_stopped_and_it_is_written_by_what(tmp_path: Path) -> None:
    params = ["predictor.learning_rate=1e-1,1e-2,1e-9,1e-10"]
    folder = sweep(asked(tmp_path, params=params, early_stop="asha"))
    trials = read_book(folder)["trials"]
    assert [one.state for one in trials] == ["finished", "finished", "stopped", "stopped"]
    assert re.fullmatch(r"after 1 of 2 epochs its nll of \S+ was behind 2 of 2 others", trials[2].message)
    assert set(trials[2].rungs) == {"1"}
    assert trials[2].epochs == 1
    assert not (folder / "002" / "predictor").exists()
    assert "Stopped early: 2 trials" in sweep_text(folder)
    before = (folder / "sweep.parquet").read_bytes()
    sweep(asked(tmp_path, params=params, early_stop="asha"))
    assert (folder / "sweep.parquet").read_bytes() == before


def test_a_trial_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "params": ["predictor.learning_rate=1e-3,1e30"],
        "overrides": ["predictor.clip=1e30", "predictor.epochs=2"],
    }
    folder = sweep(asked(tmp_path, **given))
    ok, failed = read_book(folder)["trials"]
    assert (ok.state, failed.state) == ("finished", "failed")
    assert "not finite" in failed.message
    assert "001 failed" in capsys.readouterr().out
    assert "Failed: 001: " in sweep_text(folder)
    assert read_book(folder)["verdict"]["best"] == 0
    write_report(folder)
    from chandler.scale.sweep import trial

    def out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(trial, "finetune", out_of_memory)
    alone = ["tokenizer.enabled=false", "tokenizer.start=chandler-nano", "tokenizer.architecture=null"]
    with pytest.raises(TrainingError, match="RuntimeError: CUDA out of memory"):
        sweep(asked(tmp_path, params=["seed=1..2"], out=str(tmp_path / "none"), overrides=alone))


def test_bars_of_their_own_make_models_of_their_own(tmp_path: Path) -> None:
    folder = sweep(
        asked(tmp_path, params=["data.symbols=[AAPL],[IBM]"], overrides=["predictor.epochs=1", "tokenizer.epochs=1"])
    )
    assert read_book(folder)["verdict"]["best"] is None
    text = sweep_text(folder)
    assert "no best is named" in text
    assert "rows of its own" in text
    page = write_report(folder).read_text(encoding="utf-8")
    assert "not compared" in page
    assert "[AAPL]" in page
    assert "the same validation rows" not in page


def trials(scores: Mapping[float, list[float | None]]) -> list[Trial]:
    made: list[Trial] = []
    for rate, row in scores.items():
        for seed, score in enumerate(row):
            state = "failed" if score is None else "finished"
            made.append(Trial(len(made), {"lr": rate, "seed": seed}, state, start=9.0, best=score, best_step=5))  # type: ignore[arg-type]
    return made


def test_a_setting_that_lost_trials_does_not_lead() -> None:
    verdict = sweep_verdict(trials({1.0: [5.0, 5.1, 5.2], 2.0: [1.0, None, None], 3.0: [7.0, 7.1, 7.2]}), "nll", "")
    assert [one.parameters["lr"] for one in verdict.settings] == [1.0, 3.0, 2.0]
    assert verdict.best == 0
    assert [one and one.shown for one in verdict.differences] == [None, True, False]


def test_of_rank_ic_the_highest_leads_and_luck_is_counted() -> None:
    verdict = sweep_verdict(trials({1.0: [0.1, 0.2], 2.0: [0.3, 0.4]}), "rank_ic", "")
    assert verdict.settings[0].parameters["lr"] == 2.0
    assert verdict.best == 3
    assert verdict.scatter == pytest.approx(0.0707, abs=1e-4)
    assert verdict.luck == pytest.approx(0.0707 * 1.05, rel=0.03)


CONFIG = """
out: x
device: cpu
data: {path: chandler-stocks, symbols: [IBM], lookback: 20, horizon: 4, windows_per_epoch: 16, validation_stride: 40}
tokenizer: {enabled: false, start: chandler-nano}
predictor: {start: chandler-nano, epochs: 1, batch_size: 16}
"""


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(CONFIG)
    assert chandler("sweep", "run.yaml", "--param", "predictor.learning_rate=1e-5,1e-4", "--out", "s") == 0
    told = capfd.readouterr().out
    assert "s/000" in told or "s/001" in told
    assert "before=chandler-nano,after=s/00" in told
    assert json.loads(Path("s/sweep.json").read_text())["verdict"]
    assert chandler("report", "s") == 0
    assert chandler("sweep", "run.yaml", "--param", "seed=1..2", "--out", "s") == 2
    assert "--overwrite" in capfd.readouterr().err
    for arguments, said in (
        (["--param", "predictor.epoch=1,2"], "did you mean epochs"),
        (["--param", "seed=1..2", "--samples", "2"], "--samples 2 draws from nothing"),
        (["--param", "seed=1..2", "--set", "predictor.epochs=x"], "predictor.epochs"),
        (["--param", "seed=1..2", "--workers", "2"], "--engine ray"),
    ):
        assert chandler("sweep", "run.yaml", *arguments, "--out", "t") == 2
        assert said in capfd.readouterr().err
    assert not Path("t").exists()
