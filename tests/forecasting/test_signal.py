"""A signal head as a file: what is written is read back, and nothing reads other weights than its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chandler import Forecaster, Kronos, KronosTokenizer, load_bars
from chandler.errors import CheckpointError, ConfigError
from chandler.forecasting import SignalHead, model_hash

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"], device="cpu", max_context=32)


@pytest.fixture
def head(forecaster: Forecaster) -> SignalHead:
    generator, width = np.random.default_rng(0), forecaster.predictor.config.d_model
    tensors = {"mean": np.zeros(width), "std": np.ones(width) * 2, "bias": np.ones(2)}
    tensors["weight"] = generator.standard_normal((2, width))
    floats = {name: one.astype(np.float32) for name, one in tensors.items()}
    return SignalHead(floats, 3, 12, model_hash(forecaster), {"verdict": "It shows nothing."})


def test_what_is_written_is_read_back(forecaster: Forecaster, head: SignalHead, tmp_path: Path) -> None:
    assert head.save(tmp_path / "out") == tmp_path / "out" / "signal"
    again = SignalHead.load(tmp_path / "out")
    assert (again.horizon, again.lookback, again.predictor) == (3, 12, head.predictor)
    assert again.about == {"verdict": "It shows nothing."}
    states = np.random.default_rng(1).standard_normal((5, head.tensors["mean"].shape[0]))
    np.testing.assert_array_equal(again.read(states), head.read(states))
    by_hand = [(states / 2) @ head.tensors["weight"][member].astype(float) + 1 for member in range(2)]
    np.testing.assert_allclose(head.members(states), by_hand)
    np.testing.assert_allclose(head.read(states), np.mean(by_hand, axis=0))


def test_a_hidden_layer_reads_as_torch_does(head: SignalHead) -> None:
    width, generator = len(head.tensors["mean"]), torch.Generator().manual_seed(0)
    inner, inner_bias, outer = (torch.randn(*shape, generator=generator) for shape in ((1, 5, width), (1, 5), (1, 5)))
    tensors = {"mean": head.tensors["mean"], "std": head.tensors["std"] / 2, "inner": inner.numpy(), "weight": outer.numpy(),
               "inner_bias": inner_bias.numpy(), "bias": np.zeros(1, np.float32)}  # fmt: skip
    states = torch.randn(7, width, generator=generator)
    made = torch.nn.functional.silu(states @ inner[0].T + inner_bias[0]) @ outer[0]
    np.testing.assert_allclose(SignalHead(tensors, 3, 12, "").read(states.numpy()), made.numpy(), rtol=1e-4)


def test_scores_along_the_bars(forecaster: Forecaster, head: SignalHead) -> None:
    store = load_bars("chandler-stocks", start="2012-10-01", end="2012-11-30")
    made = head.score(forecaster, store, every=2)
    states = forecaster.embed(store, lookback=12, every=2)
    assert made.name == "score"
    pd.testing.assert_index_equal(made.index, states.index)
    np.testing.assert_allclose(made, head.read(states.to_numpy()))


def test_a_head_of_other_weights_is_refused(forecaster: Forecaster, head: SignalHead) -> None:
    head.require(forecaster)
    bars = load_bars("chandler-stocks", symbols=["IBM"], start="2012-10-01", end="2012-11-30")
    nano = Forecaster.from_pretrained("chandler-nano", device="cpu")
    with pytest.raises(CheckpointError, match=r"belongs to other weights \(.*\) than those of chandler-nano"):
        head.score(nano, bars)
    predictor = Kronos.from_pretrained(GOLDEN / "predictor")
    with torch.no_grad():
        predictor.norm.weight[0] += 1e-3
    other = Forecaster(KronosTokenizer.from_pretrained(GOLDEN / "tokenizer"), predictor, device="cpu", max_context=32)
    with pytest.raises(CheckpointError, match="it would read noise"):
        head.score(other, bars)


def test_what_cannot_be_read_says_so(head: SignalHead, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no signal/head\.json\. Fit a head with chandler signal"):
        SignalHead.load(tmp_path)
    head.save(tmp_path)
    about, weights = tmp_path / "signal" / "head.json", tmp_path / "signal" / "head.safetensors"
    whole = about.read_text()
    facts = json.loads(whole)
    for broken in ("{", "[]", json.dumps({**facts, "horizon": "soon"}), json.dumps({**facts, "weights": "other"})):
        about.write_text(broken)
        with pytest.raises(CheckpointError, match="the signal head cannot be read"):
            SignalHead.load(tmp_path)
    about.write_text(whole)
    weights.unlink()
    with pytest.raises(CheckpointError, match="the signal head cannot be read"):
        SignalHead.load(tmp_path)


def test_only_its_own_files_are_replaced(head: SignalHead, tmp_path: Path) -> None:
    (tmp_path / "signal").mkdir()
    (tmp_path / "signal" / "head.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="no sign that chandler wrote a signal head there"):
        head.save(tmp_path)
    assert (tmp_path / "signal" / "head.json").read_text() == '{"mine": 1}'
    (tmp_path / "signal" / "head.json").unlink()
    (tmp_path / "signal" / "head.safetensors").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="no sign that chandler wrote a signal head there"):
        head.save(tmp_path)
    (tmp_path / "signal" / "head.safetensors").unlink()
    (tmp_path / "model.txt").write_text("mine")
    head.save(tmp_path)
    (tmp_path / "signal" / "other.txt").write_text("mine")
    head.save(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "model.txt", "other.txt", "head.json", "head.safetensors",
    }  # fmt: skip
