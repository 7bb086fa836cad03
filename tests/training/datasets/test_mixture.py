"""Replay, weighting and dropped volumes: right shares, no window twice, the same on any number of ranks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import ASSET
from tests.training.ranks import finetune_in_two

from chandler.data.bars import Bars
from chandler.data.datasets.windows import Windows, epoch_order, normalise
from chandler.data.store.store import BarStore
from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.training.datasets.augment import Batch, drop_volume
from chandler.training.datasets.batching import BatchPlan
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.datasets.sources import load_sources
from chandler.training.run import finetune
from chandler.training.settings import load_settings


def windows(*rows: int, level: float = 100.0) -> Windows:
    """Windows of 6 rows over symbols of so many rows; prices from `level`."""
    generator = np.random.default_rng(len(rows))
    bars = []
    for number, count in enumerate(rows):
        close = level + generator.normal(size=count).cumsum() * 0.1
        values = np.column_stack([close, close + 0.2, close - 0.2, close, np.full(count, 5.0), np.full(count, 500.0)])
        bars.append(Bars(f"S{number}", pd.date_range("2024-01-01", periods=count, freq="D"), values, "", ()))
    store = BarStore.from_bars(bars)
    return Windows(store, np.column_stack([store.offsets[:-1], store.offsets[1:]]), 4, 1)


def test_a_plain_mixture_is_its_windows() -> None:
    mixture = TrainingSet(windows(30, 20), limit=17)
    assert mixture.drawn == 17
    assert (mixture.order(3, 2) == epoch_order(len(mixture.main), seed=3, epoch=2, limit=17)).all()


@pytest.mark.parametrize(("batch", "ranks"), [(10, 1), (5, 2), (3, 1)])
def test_every_batch_replays_its_share(batch: int, ranks: int) -> None:
    mixture = TrainingSet(windows(65), windows(200), share=0.3)
    plan = BatchPlan(mixture.drawn, 6, batch, 1, ranks, seed=1)
    order = mixture.order(1, 1)
    assert mixture.drawn == 60 + round(60 * 3 / 7) == len(set(order.tolist()))
    for index in range(plan.steps_per_epoch):
        micros = [micro for rank in range(ranks) for micro in plan.step(order, index, rank, step=index)]
        drawn = np.concatenate([micro.indices for micro in micros])
        assert abs((drawn >= 60).sum() - 0.3 * len(drawn)) <= 1


def test_replayed_windows_come_once_a_pass_over_epochs() -> None:
    mixture = TrainingSet(windows(25), windows(22), share=0.4)  # 20 windows and 17; 13 replayed an epoch
    orders = [mixture.order(5, epoch) for epoch in range(1, 9)]
    assert all(sorted(order[order < 20]) == list(range(20)) for order in orders)
    stream = np.concatenate([order[order >= 20] for order in orders])
    assert len(stream) == 8 * 13
    for lo in range(0, len(stream) - 16, 17):
        assert sorted(stream[lo : lo + 17]) == list(range(20, 37))
    assert (mixture.order(5, 3) == orders[2]).all(), "an epoch does not depend on those before it"


def test_windows_of_both_stores_are_gathered_in_order() -> None:
    main, replay = windows(20, level=100.0), windows(20, level=9000.0)
    mixture = TrainingSet(main, replay, share=0.5)
    cpu = torch.device("cpu")
    values, stamps = mixture.fetch(np.array([3, len(main) + 2, 0, len(main)]), cpu)()
    for place, (source, index) in enumerate([(main, 3), (replay, 2), (main, 0), (replay, 0)]):
        one = source.gather(np.array([index]))
        assert (values[place].numpy() == one.values[0]).all()
        assert (stamps[place].numpy() == one.stamps[0]).all()
    indices, rows = np.array([3, len(main) + 2, 0, len(main)]), np.array([4, 3, 2, 4])
    values, _ = mixture.fetch(indices, cpu, rows)()
    for place, (source, index) in enumerate([(main, 3), (replay, 2), (main, 0), (replay, 0)]):
        assert (values[place].numpy() == source.gather(np.array([index]), rows[[place]]).values[0]).all()
    assert mixture.describe(len(main))[0] == "S0 (replay)"
    assert mixture.describe(0)[0] == "S0"


def test_weighting_evens_symbols_out() -> None:
    mixture = TrainingSet(windows(205, 55), temperature=0.0, limit=60)
    order = mixture.order(1, 1)
    assert Counter((order >= 200).tolist()) == {False: 30, True: 30}
    assert len(set(order.tolist())) == 60


def test_a_weighting_without_effect_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"draws every one of the 250 windows.*windows_per_epoch.*example 125"):
        TrainingSet(windows(205, 55), temperature=0.5)
    TrainingSet(windows(205), temperature=0.5)  # of one symbol there is nothing to weigh


def test_weightings_that_are_none() -> None:
    minimal = {"out": "runs/x", "data": {"path": "bars.csv"}}
    assert load_settings(minimal, ["data.weighting=equal"]).data.temperature == 0.0
    assert load_settings(minimal, ["data.weighting=0.5"]).data.temperature == 0.5
    for bad in ("evenly", "1.5", "true"):
        with pytest.raises(ConfigError, match=r'data\.weighting: give "rows", "equal" or a number from 0'):
            load_settings(minimal, [f"data.weighting={bad}"])


def test_a_dropped_volume_is_what_zeros_normalise_to() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (2, 6, 6)).astype(np.float32)
    without = rows.copy()
    without[0, :, 4:] = 0.0
    values, chances = torch.from_numpy(normalise(rows, 4)[0]), torch.tensor([0.01, 0.9])
    batch = Batch(values, torch.zeros(2, 6, 5), torch.zeros(2, 6), chances=chances)
    dropped = drop_volume(batch, 0.05)
    assert torch.equal(dropped.values, torch.from_numpy(normalise(without, 4)[0]))
    assert drop_volume(batch, 0.0) is batch


def test_the_share_of_dropped_volumes_and_its_independence_of_the_sharding() -> None:
    def chances(batch: int, ranks: int) -> dict[int, float]:
        plan = BatchPlan(2000, 6, batch, 1, ranks, seed=5)
        order = epoch_order(2000, seed=5, epoch=1)
        return {
            int(i): float(chance)
            for index in range(plan.steps_per_epoch)
            for rank in range(ranks)
            for micro in plan.step(order, index, rank, step=index)
            for i, chance in zip(micro.indices, micro.chances, strict=True)
        }

    one = chances(100, 1)
    assert one == chances(50, 2)
    assert np.mean([chance < 0.05 for chance in one.values()]) == pytest.approx(0.05, abs=0.02)


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    config["data"] |= {
        "windows_per_epoch": 40, "weighting": "equal", "drop_volume": 0.3,
        "replay": {"path": str(ASSET), "symbols": ["GOOG", "IBM"], "share": 0.25, "validation_windows": 10},
    }  # fmt: skip
    config["tokenizer"]["epochs"] = config["predictor"]["epochs"] = 1
    return config


def test_a_run_with_replay_reports_what_is_forgotten(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config["data"]["replay"]["split"] = {"train": 0.95, "val": 0.05}
    run = finetune(config)
    for stage, measure in (("tokenizer", "mse"), ("predictor", "nll")):
        validations = [r for r in run.metrics() if r["kind"] == "validation" and r["stage"] == stage]
        assert validations[0]["forgetting"] == 0
        replayed = [v[f"replay_{measure}"] for v in validations]
        assert validations[-1]["forgetting"] == pytest.approx(replayed[-1] - replayed[0])
        summary = run.summary["stages"][stage]
        assert (summary["replay_start"], summary["replay_best"]) == (replayed[0], replayed[-1])
        assert "on the replayed bars" in summary["verdict"]
        assert len([r for r in run.metrics() if r["kind"] == "train" and r["stage"] == stage]) == -(-53 // 16)
    assert run.summary["data"]["replay"]["share"] == 0.25
    text = " ".join(capsys.readouterr().out.split())
    assert "25% of each batch replayed from" in text
    assert "the replayed bars of IBM reach into the period that validates" in text


def test_replay_validation_windows_are_thinned(config: dict[str, Any]) -> None:
    replay = load_sources(load_settings(config)).replay_validation
    assert replay is not None
    assert 2 <= len(replay) <= 12


@pytest.mark.slow
def test_two_processes_equal_one(config: dict[str, Any], tmp_path: Path) -> None:
    one = finetune(config)
    for stage in ("tokenizer", "predictor"):
        config[stage]["batch_size"] = 8
    done = finetune_in_two({**config, "out": str(tmp_path / "two")}, tmp_path)
    assert done.codes == (0, 0), done.stderr
    for stage in ("tokenizer", "predictor"):
        a, b = (load_file(f / stage / WEIGHTS_NAME) for f in (one.folder, tmp_path / "two"))
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=2e-5)
