"""Checkpoints chosen by real forecasts: the forecaster's own paths, the same questions each time, by any number of ranks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import GOLDEN
from tests.training.conftest import ASSET
from tests.training.killing import outcome

from chandler.data.datasets.windows import Windows
from chandler.data.reading.load import load_bars
from chandler.errors import ConfigError
from chandler.forecasting.forecaster import Forecaster
from chandler.measures import crps, gain, is_better, rank_correlation
from chandler.nn.lora import adapters, add_adapters, merged
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.datasets.batching import derive_seed
from chandler.training.datasets.sources import load_sources
from chandler.training.engine.forecast_validation import ForecastScorer, aggregate_scores, evenly_spaced
from chandler.training.engine.interrupts import Interrupted
from chandler.training.logging.console import RunProgress
from chandler.training.run import finetune
from chandler.training.settings import load_settings
from chandler.training.settings.stage import ScoringSettings

LOOKBACK, HORIZON = 30, 5


@pytest.fixture
def windows() -> Windows:
    store = load_bars(ASSET, symbols=["AAPL", "IBM"], adjust="auto")
    return Windows(store, np.column_stack([store.offsets[:-1], store.offsets[1:]]), LOOKBACK, HORIZON, stride=50)


def model() -> Kronos:
    return Kronos.from_pretrained(GOLDEN / "predictor")


def make(
    windows: Windows, tokenizer: KronosTokenizer, part: tuple[int, int] = (0, 1), **settings: Any
) -> ForecastScorer:
    scoring = ScoringSettings(**{"windows": 6, "paths": 8, **settings})
    return ForecastScorer(windows, tokenizer, 64, scoring, "reference", seed=3, part=part)


def test_questions_are_answered_as_the_forecaster_would(windows: Windows, tokenizer: KronosTokenizer) -> None:
    exam = make(windows, tokenizer)
    table = exam.answer(model())
    symbol, _, _ = windows.describe(int(exam.indices[0]))
    bars = windows.store[symbol]
    first = int(windows.starts(exam.indices[:1])[0] - windows.store.offsets[windows.store.number(symbol)])
    past, came = bars.slice(first, first + LOOKBACK), bars.slice(first + LOOKBACK, first + LOOKBACK + HORIZON)
    # The first question has the random numbers of a series that is forecast alone.
    forecast = Forecaster(tokenizer, model(), device="cpu", max_context=64).forecast(
        past, HORIZON, 8, top_p=1.0, seed=3, timestamps=came.timestamps, lookback=LOOKBACK
    )
    last, closes = past.values[-1, 3], forecast.paths[:, :, 3]
    assert table[0, 0] == pytest.approx(100 * crps(closes, came.values[:, 3]).mean() / last, rel=1e-4)
    assert table[0, 1] == pytest.approx(closes[:, -1].mean() / last - 1, rel=1e-4)
    assert table[0, 2] == pytest.approx(came.values[-1, 3] / last - 1, rel=1e-6)


def test_answers_repeat_and_do_not_depend_on_the_number_of_ranks(windows: Windows, tokenizer: KronosTokenizer) -> None:
    one = make(windows, tokenizer).answer(model().train())
    assert (one == make(windows, tokenizer).answer(model())).all()
    parts = [make(windows, tokenizer, (rank, 4)).answer(model()) for rank in range(4)]
    np.testing.assert_allclose(sum(parts), one, rtol=1e-6)
    assert all((part != 0).any(axis=1).sum() <= 2 for part in parts)


def test_adapters_are_examined_as_they_will_be_merged(windows: Windows, tokenizer: KronosTokenizer) -> None:
    adapted = model()
    add_adapters(adapted, ["q_proj", "w2"], rank=2, alpha=4)
    for lora in adapters(adapted).values():
        lora.up.data.normal_(0, 0.3)
    exam = make(windows, tokenizer)
    assert (exam.answer(adapted) == exam.answer(merged(adapted))).all()
    assert (exam.answer(adapted) != exam.answer(model())).any()


def test_questions_are_evenly_spaced_and_drawn_by_the_seed() -> None:
    assert evenly_spaced(5, 64, 0).tolist() == [0, 1, 2, 3, 4]
    asked = evenly_spaced(1000, 10, 7)
    assert set(np.diff(asked)) == {100}
    assert 0 <= asked[0] < 100
    assert (evenly_spaced(1000, 10, 8) != asked).all()
    assert len(set(evenly_spaced(101, 64, 1).tolist())) == 64


def test_scores_by_hand() -> None:
    paths = np.array([[0.0], [1.0], [2.0], [3.0]])
    # Mean distance to 1: (1 + 0 + 1 + 2) / 4; mean distance of two different paths: (1 + 2 + 3 + 1 + 2 + 1) / 6.
    assert crps(paths, np.array([1.0])).tolist() == pytest.approx([1.0 - 10 / 6 / 2])
    random = np.random.default_rng(0)
    paths, truth = random.normal(size=(3, 9, 4)), random.normal(size=(3, 4))
    apart = np.abs(paths[:, :, None] - paths[:, None]).sum(axis=(1, 2)) / (9 * 8)
    assert crps(paths, truth) == pytest.approx(np.abs(paths - truth[:, None]).mean(axis=1) - apart / 2)
    assert crps(paths[:, :1], truth) == pytest.approx(np.abs(paths[:, 0] - truth))
    assert rank_correlation(np.array([1.0, 9.0, 4.0]), np.array([-3.0, 8.0, 0.5])) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.9486833)
    assert rank_correlation(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])) == 0.0
    assert aggregate_scores(np.array([[1.0, 0.1, 0.3], [2.0, 0.0, -0.2]])) == {
        "crps": 1.5,
        "rank_ic": pytest.approx(1.0),
    }


def test_a_rank_correlation_is_to_rise_and_an_error_to_fall() -> None:
    assert is_better("rank_ic", 0.2, than=0.1)
    assert not is_better("rank_ic", 0.1, than=0.1)
    assert is_better("crps", 0.1, than=0.2)
    assert gain("crps", 2.0, 1.5) == "25.0% lower"
    assert gain("rank_ic", -0.01, 0.02) == "0.03 higher"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    """Golden checkpoints, four validations, few forecasts."""
    config["tokenizer"] = {"start": str(GOLDEN / "tokenizer"), "enabled": False}
    config["predictor"] = {
        "start": str(GOLDEN / "predictor"), "epochs": 3, "batch_size": 16, "learning_rate": 3e-3,
        "scoring": {"windows": 12, "paths": 4},
    }  # fmt: skip
    return config


@pytest.mark.parametrize("measure", ["loss", "crps", "rank_ic"])
def test_the_chosen_checkpoint_is_the_best_by_what_was_asked(config: dict[str, Any], measure: str) -> None:
    config["predictor"]["promote_on"] = measure
    run = finetune(config)
    name = "nll" if measure == "loss" else measure
    records = [r for r in run.metrics() if r["kind"] == "validation"]
    assert [r["step"] for r in records] == [0, 4, 8, 12]
    assert all({"nll", "nll_horizon", "crps", "rank_ic"} <= r.keys() for r in records)
    assert all(list(r)[4] == name for r in records), "what chooses comes first"
    best = (max if measure == "rank_ic" else min)(records, key=lambda r: r[name])
    summary = run.summary["stages"]["predictor"]
    assert (summary["measure"], summary["best_step"], summary["best"]) == (name, best["step"], best[name])
    assert summary["start_score"] == records[0][name]
    assert summary["at_best"]["crps"] == best["crps"]
    assert ("chosen by " + name in summary["verdict"]) == (measure != "loss")
    published = Kronos.from_pretrained(run.folder / "predictor")
    sources_exam = _exam_of(run.settings, run.folder)
    assert aggregate_scores(sources_exam.answer(published)) == pytest.approx(
        {k: best[k] for k in ("crps", "rank_ic")}, rel=1e-6
    )


def _exam_of(settings: Any, folder: Path) -> ForecastScorer:
    tokenizer = KronosTokenizer.from_pretrained(folder / "tokenizer")
    seed = derive_seed(derive_seed(settings.seed, 1), 0, 0, 4)
    validation = load_sources(settings).validation
    return ForecastScorer(
        validation, tokenizer, settings.context(), settings.predictor.scoring, settings.positions(), seed
    )


def test_forecasts_are_not_scored_unless_asked_for(config: dict[str, Any]) -> None:
    config["predictor"] |= {"scoring": None, "epochs": 1}
    assert all("crps" not in record for record in finetune(config).metrics())


def test_a_tokenizer_makes_no_forecast() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.promote_on: a tokenizer makes no forecast.*loss, found 'crps'"):
        load_settings({"out": "x", "data": {"path": "y"}}, ["tokenizer.promote_on=crps"])


class StoppedAt(RunProgress):
    """Sends this process a SIGTERM once a validation has been shown."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_validation(self, record: dict[str, Any]) -> None:
        super().on_validation(record)
        if record["step"] == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupted_run_asks_the_same_questions(config: dict[str, Any]) -> None:
    config["predictor"]["promote_on"] = "crps"
    whole = finetune({**config, "out": config["out"] + "-whole"})
    with pytest.raises(Interrupted, match="stopped at step 8 of 12"):
        finetune(config, progress=StoppedAt(8))
    changed = {**config, "predictor": {**config["predictor"], "promote_on": "rank_ic"}}
    with pytest.raises(
        ConfigError, match=r"predictor\.promote_on crps -> rank_ic cannot be taken over by a run that goes"
    ):
        finetune(changed, resume=True, force=True)
    with pytest.raises(ConfigError, match="seed 100 -> 101 cannot be taken over"):
        finetune({**config, "seed": 101}, resume=True, force=True)
    run = finetune(config, resume=True)
    assert outcome(run.folder) == outcome(whole.folder)
