"""Two stages in order, the untouched start first, the best kept, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.forecasting import Forecaster
from chandler.hub import WEIGHTS_NAME
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.datasets import load_sources
from chandler.training.engine import Evaluator, TokenizerStage, make_accelerator
from chandler.training.logging import RunProgress
from chandler.training.run import finetune
from chandler.training.runs import RunHistory
from chandler.training.settings import load_settings


def rows(folder: str | Path, stage: str, kind: str) -> list[dict[str, Any]]:
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["stage"] == stage and r["kind"] == kind]


def test_a_run_leaves_two_released_checkpoints_and_its_record(config: dict[str, Any]) -> None:
    run = finetune(config)
    assert {p.name for p in run.folder.iterdir()} == {
        "config.yaml", "metrics.jsonl", "summary.json", "checkpoints", "tokenizer", "predictor",
    }  # fmt: skip
    assert run.settings == load_settings(config)
    tokenizer = KronosTokenizer.from_pretrained(run.folder / "tokenizer")
    predictor = Kronos.from_pretrained(run.folder / "predictor")
    assert tokenizer.config.s1_bits == predictor.config.s1_bits == 4
    assert not list((run.folder / "checkpoints").iterdir())
    for stage, score in (("tokenizer", "mse"), ("predictor", "nll")):
        validations = rows(run.folder, stage, "validation")
        assert [v["step"] for v in validations] == [0, 4, 8]
        summary = run.summary["stages"][stage]
        assert summary["start_score"] == validations[0][score]
        assert summary["best"] == min(v[score] for v in validations)
        assert summary["status"] == "improved"
        assert [r["step"] for r in rows(run.folder, stage, "train")] == list(range(1, 9))
    last = rows(run.folder, "predictor", "validation")[-1]
    assert last["nll"] == pytest.approx(last["nll_s1"] + last["nll_s2"], rel=1e-6)


def test_the_published_checkpoint_is_the_best_not_the_last(config: dict[str, Any]) -> None:
    # A learning rate that first helps and then wrecks the weights.
    config["tokenizer"] |= {"epochs": 3, "learning_rate": 0.5, "clip": 1e9}
    config["predictor"]["enabled"] = False
    run = finetune(config)
    scores = [v["mse"] for v in rows(run.folder, "tokenizer", "validation")]
    stage = TokenizerStage(KronosTokenizer.from_pretrained(run.folder / "tokenizer"))
    again = Evaluator(stage, load_sources(run.settings), 7, make_accelerator("cpu")).evaluate(0)
    assert again["mse"] == pytest.approx(min(scores), rel=1e-6)


def test_a_stage_that_never_beats_its_start_keeps_it_and_says_so(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = finetune(config)
    again = dict(config, out=config["out"] + "2")
    again["tokenizer"] = {"start": str(first.folder / "tokenizer"), "enabled": False}
    again["predictor"] = {
        "start": str(first.folder / "predictor"),
        "epochs": 2, "batch_size": 16, "learning_rate": 5.0, "clip": 1e9,
    }  # fmt: skip
    run = finetune(again)
    summary = run.summary["stages"]["predictor"]
    assert summary["status"] == "kept_start"
    assert summary["best_step"] == 0
    assert "no checkpoint beat the starting weights" in summary["verdict"]
    said = capsys.readouterr().out
    assert "the starting weights are kept" in said
    assert said.count("validation takes these bars to their end") == 2  # once a run
    for stage in ("tokenizer", "predictor"):
        assert (first.folder / stage / WEIGHTS_NAME).read_bytes() == (run.folder / stage / WEIGHTS_NAME).read_bytes()


def test_a_run_that_leaves_bars_to_evaluate_on_says_nothing_of_them(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config["data"]["split"] = {"train": 0.8, "val": 0.1, "test": 0.1}
    config["predictor"]["enabled"] = False
    finetune(config)
    assert "to their end" not in capsys.readouterr().out


def test_the_tokenizer_is_frozen_while_the_predictor_learns(config: dict[str, Any]) -> None:
    both = finetune(config)
    config["out"] += "-tokenizer-only"
    config["predictor"]["enabled"] = False
    alone = finetune(config)
    a, b = ((r.folder / "tokenizer" / WEIGHTS_NAME).read_bytes() for r in (both, alone))
    assert a == b
    assert not (alone.folder / "predictor").exists()
    assert alone.summary["stages"]["predictor"] == {"status": "off"}
    with pytest.raises(CheckpointError, match=r"whose predictor was switched off.*Give a pair"):
        Forecaster.from_pretrained(alone.folder)
    assert Forecaster.from_pretrained((alone.folder, both.folder), device="cpu").max_context == 24


def test_finished_stages_are_kept_when_asked(config: dict[str, Any]) -> None:
    first = finetune(config)
    weights = (first.folder / "tokenizer" / WEIGHTS_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"already holds a run.*overwrite=True"):
        finetune(config)
    first_summary = first.summary
    config["seed"] = 7
    config["tokenizer"]["skip_existing"] = True
    before = (first.folder / "predictor" / WEIGHTS_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"has a result of its predictor, which is not to be kept.*overwrite=True"):
        finetune(config)
    assert (first.folder / "predictor" / WEIGHTS_NAME).read_bytes() == before
    shutil.rmtree(first.folder / "predictor")
    run = finetune(config)
    again = dict(run.summary["stages"]["tokenizer"])
    assert again.pop("reused")
    assert again == first_summary["stages"]["tokenizer"]
    assert "reused" not in run.summary["stages"]["predictor"]
    assert (run.folder / "tokenizer" / WEIGHTS_NAME).read_bytes() == weights


def test_a_result_of_other_data_or_settings_is_not_kept_as_that_of_these(config: dict[str, Any]) -> None:
    run = finetune(config)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    for stage in ("tokenizer", "predictor"):
        config[stage]["skip_existing"] = True
    other = {
        r"predictor\.learning_rate 4e-05 -> 0\.1": {"predictor": {**config["predictor"], "learning_rate": 0.1}},
        r"data\.horizon 4 -> 5; training 5,838 windows": {"data": {**config["data"], "horizon": 5}},
        r"seed 100 -> 7": {"seed": 7},
    }
    for told, change in other.items():
        with pytest.raises(ConfigError, match=rf"finished tokenizer and predictor of other.*{told}.*choose another"):
            finetune(config | change)
    assert finetune(config).folder == run.folder
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    # One stage stays and the other is trained anew: what is told of the first stays true.
    started = run.summary["starts"]["tokenizer"]
    shutil.rmtree(run.folder / "predictor")
    with pytest.raises(ConfigError, match=r"finished tokenizer of other.*tokenizer\.epochs 2 -> 3"):
        finetune(config | {"tokenizer": {**config["tokenizer"], "epochs": 3}})
    again = finetune(config | {"predictor": {**config["predictor"], "learning_rate": 0.1}})
    assert again.summary["starts"]["tokenizer"] == started
    assert again.settings.predictor.learning_rate == 0.1


def test_states_of_a_stage_that_is_under_way_are_not_dropped(config: dict[str, Any]) -> None:
    class Stopped(RunProgress):
        def on_step(self, record: dict[str, Any]) -> None:
            if (record["stage"], record["step"]) == ("predictor", 6):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(config, progress=Stopped())
    states = Path(config["out"]) / "checkpoints" / "predictor"
    before = {path: path.stat().st_mtime_ns for path in states.rglob("*")}
    for stage in ("tokenizer", "predictor"):
        config[stage]["skip_existing"] = True
    with pytest.raises(ConfigError, match=r"has saved states of its predictor.*Go on with resume=True"):
        finetune(config)
    assert {path: path.stat().st_mtime_ns for path in states.rglob("*")} == before
    run = finetune(config, resume=True, force=True)
    assert [one.begin["step"] for one in RunHistory.read(run.folder).stages] == [0, 4]


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone(
    config: dict[str, Any],
) -> None:
    config["predictor"]["architecture"]["ffn_dropout_p"] = 0.2
    state = torch.random.get_rng_state()
    first = finetune(config)
    assert torch.equal(state, torch.random.get_rng_state())
    second = finetune(dict(config, out=config["out"] + "2"))
    third = finetune(dict(config, out=config["out"] + "3", seed=1))
    weights = [(r.folder / "predictor" / WEIGHTS_NAME).read_bytes() for r in (first, second, third)]
    assert weights[0] == weights[1] != weights[2]


def test_patience_stops_early(config: dict[str, Any]) -> None:
    config["tokenizer"] |= {"epochs": 20, "learning_rate": 1e-12, "patience": 2}
    config["predictor"]["enabled"] = False
    # So small a step moves no float32 weight far enough to count as a gain for long.
    summary = finetune(config).summary["stages"]["tokenizer"]
    assert summary["stopped_early"]
    assert summary["epochs"] < 20


def test_validation_every_so_many_steps(config: dict[str, Any]) -> None:
    config["tokenizer"]["validate_every"] = 3
    config["predictor"]["enabled"] = False
    assert [v["step"] for v in rows(finetune(config).folder, "tokenizer", "validation")] == [0, 3, 6, 8]


def test_an_empty_split_is_an_error_before_training(config: dict[str, Any]) -> None:
    config["data"]["split"] = {"train": 0.999, "val": 0.001}
    with pytest.raises(DataError, match="validation split has no window"):
        finetune(config)
    assert not Path(config["out"]).exists()


@pytest.mark.parametrize("condition", ["sampled", "true"])
def test_accumulation_equals_a_larger_batch(config: dict[str, Any], condition: str) -> None:
    # 70 windows in steps of 32 end in a smaller step; the last batch of it is smaller again.
    # (The tokenizer is left out: its codebook entropy is that of one batch.)
    config["data"]["windows_per_epoch"] = 70
    config["predictor"] |= {"batch_size": 32, "condition": condition}
    whole = finetune(config)
    config["predictor"] |= {"batch_size": 8, "accumulation_steps": 4}
    parts = finetune(dict(config, out=config["out"] + "2"))
    for a, b in zip(rows(whole.folder, "predictor", "train"), rows(parts.folder, "predictor", "train"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)


def test_a_run_resamples_and_cleans_as_its_settings_say(tmp_path):
    import numpy as np
    import pandas as pd

    from chandler.data.sources import load_clean

    index = pd.date_range("2024-01-01", periods=400, freq="h").delete(range(200, 240))
    price = 10 + 0.01 * (np.arange(len(index)) % 2)
    frame = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0}, index=index)
    frame.rename_axis("timestamp").to_csv(tmp_path / "bars.csv")
    data = {"path": str(tmp_path / "bars.csv"), "resample": "2h", "max_gap": 3, "calendar": "24/7"}
    settings = load_settings(
        {"out": "unused", "data": data}, ["data.cleaning.enabled=true", "data.cleaning.min_rows=90"]
    )
    store, report = load_clean(settings.data)
    assert store.rows == 180
    # Every two-hour bar closes alike, so the stagnant rule would take all of them: it is switched off.
    settings = load_settings(settings.model_dump(), ["data.cleaning.stagnant=false"])
    store, report = load_clean(settings.data)
    assert store.segments.tolist() == [[0, 100]]  # the 80 rows after the hole are fewer than 90
    assert report.to_dict()["removed"]["short"] == {"times": 1, "rows": 80, "symbols": 1}


def test_prices_in_another_unit_are_learned_alike(config: dict[str, Any], tmp_path: Path) -> None:
    """A token at 3e-9 and the same series at 3: the same windows, the same scores."""
    close = 3 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 300)))
    opens, volume = np.append(3.0, close[:-1]), np.linspace(1e4, 3e4, 300)
    index = pd.date_range("2022-01-01", periods=300, freq="D")
    scores = []
    for name, unit in (("usual", 1.0), ("tiny", 1e-9)):
        prices = {
            "open": opens,
            "high": np.maximum(opens, close) * 1.01,
            "low": np.minimum(opens, close) * 0.99,
            "close": close,
        }
        frame = pd.DataFrame({"time": index, **{key: one * unit for key, one in prices.items()}})
        frame.assign(volume=volume, amount=volume * 3).to_csv(tmp_path / f"{name}.csv", index=False)
        data = {**config["data"], "path": str(tmp_path / f"{name}.csv"), "symbols": None}
        run = finetune({**config, "data": data, "out": str(tmp_path / name)})
        scores.append([v[key] for stage, key in (("tokenizer", "mse"), ("predictor", "nll"))
                       for v in rows(run.folder, stage, "validation")])  # fmt: skip
    assert scores[1] == pytest.approx(scores[0], rel=2e-3)
