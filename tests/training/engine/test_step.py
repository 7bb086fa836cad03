"""A step that is captured and replayed is the step as it is written; what it came to is read later, and named rightly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import GOLDEN
from tests.graphs import graphs_on_cpu
from tests.training.conftest import ASSET, tiny_run

from chandler.data.reading.load import load_bars
from chandler.devices import GraphError, graphs
from chandler.errors import ConfigError, TrainingError
from chandler.hub import WEIGHTS_NAME
from chandler.training.engine import step
from chandler.training.run import finetune
from chandler.training.runs.folder import Run

DROPOUT = {"ffn_dropout_p": 0.2, "resid_dropout_p": 0.1, "attn_dropout_p": 0.1}
BAD_ROW = 1000
"""Of AAPL: in the training part."""


def uneven(folder: Path) -> dict[str, Any]:
    """71 windows in steps of 2 x 16: three an epoch, the last one of 7 windows."""
    config = tiny_run(folder)
    config["data"] |= {"windows_per_epoch": 71, "validation_stride": 60}
    config["tokenizer"]["architecture"] |= DROPOUT
    config["predictor"]["architecture"] |= {**DROPOUT, "token_dropout_p": 0.1}
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"accumulation_steps": 2, "learning_rate": 2e-3}
    return config


def golden(config: dict[str, Any], **mode: Any) -> None:
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"start": str(GOLDEN / stage), "architecture": None, **mode}


def everything(config: dict[str, Any]) -> None:
    config["data"] |= {"drop_volume": 0.5, "replay": {"path": str(ASSET), "symbols": ["GOOG"], "share": 0.25}}
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"least_lookback": 8, "schedule": "cosine"}
    config["predictor"] |= {"loss": "horizon", "condition": "true", "token_noise": 0.3}


WAYS: dict[str, Callable[[dict[str, Any]], None]] = {
    "plain": lambda config: None,
    "everything": everything,
    "lora": lambda config: golden(config, mode="lora", lora={"rank": 2, "dropout": 0.1, "targets": ["q_proj", "w2"]}),
    "head": lambda config: golden(config, mode="head"),
    "bfloat16": lambda config: config.update(precision="bfloat16"),
}


def replayed(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[int]]:
    """The run where the CPU has graphs; how often each of its captured steps was replayed."""
    counts: list[int] = []
    record = step.captured

    def counted(work: Any, device: Any) -> Any:
        replay, number = record(work, device), len(counts)
        counts.append(0)

        def once() -> None:
            counts[number] += 1
            replay()

        return once

    monkeypatch.setattr(step, "captured", counted)
    with graphs_on_cpu():
        return finetune(config), counts


def told(run: Run) -> list[dict[str, Any]]:
    """The records of a run but for the clock's."""
    clock = ("time", "windows_per_second")
    return [{k: v for k, v in r.items() if k not in clock} for r in run.metrics() if r["kind"] != "begin"]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {
        f"{stage}.{name}": tensor
        for stage in ("tokenizer", "predictor")
        for name, tensor in load_file(run.folder / stage / WEIGHTS_NAME).items()
    }


def assert_same(a: Run, b: Run) -> None:
    assert told(a) == told(b)
    mine, others = weights(a), weights(b)
    assert all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run as it is without graphs."""
    return finetune(uneven(tmp_path_factory.mktemp("eager") / "run"))


QUICK = {"plain", "everything", "bfloat16", "lora"}
"""The others are for `make test-long`."""


@pytest.mark.parametrize("way", [w if w in QUICK else pytest.param(w, marks=pytest.mark.slow) for w in WAYS])
def test_replayed_steps_are_the_steps_themselves(
    eager: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Each step's losses and norm, each validation and all weights: to the bit."""
    config = uneven(tmp_path / "replayed")
    WAYS[way](config)
    plain = eager if way == "plain" else finetune(config | {"out": str(tmp_path / "eager")})
    run, counts = replayed(config, monkeypatch)
    steps = [r["step"] for r in plain.metrics() if r["kind"] == "train"]
    assert steps == [*range(1, steps[-1] + 1)] * 2
    assert steps[-1] >= 6
    assert counts == [steps[-1] - 2] * 2, "all but the uneven one of each epoch"
    assert_same(plain, run)


@pytest.fixture
def damaged(tmp_path: Path) -> dict[str, Any]:
    """One price of AAPL is no number, in one window of 16 steps; what came of a step is read after ten."""
    store = load_bars(ASSET, symbols=["AAPL", "IBM"], adjust="auto")
    store.save(tmp_path / "store")
    values = np.load(tmp_path / "store" / "values.npy", mmap_mode="r+")
    values[BAD_ROW, 2] = np.nan
    values.flush()
    config = tiny_run(tmp_path / "run")
    config["data"] = {
        "path": str(tmp_path / "store"), "symbols": None, "lookback": 20, "horizon": 4,
        "stride": 24, "windows_per_epoch": None, "validation_stride": 40,
    }  # fmt: skip
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"epochs": 1, "on_nonfinite": "skip"}
    return config


def test_a_step_left_out_is_named_when_it_is_read(
    damaged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    eager = finetune(copy.deepcopy(damaged))
    lines = sorted(
        line for line in " ".join(capsys.readouterr().out.split()).split("warning: ") if "left out (" in line
    )
    later = damaged | {"out": str(tmp_path / "replayed"), "log_every": 10}
    run, counts = replayed(later, monkeypatch)
    assert all(counts)
    again = " ".join(capsys.readouterr().out.split())
    for line in lines:
        assert line.split(" the step was left out")[0] in again
    assert len(lines) == 2
    for stage in ("tokenizer", "predictor"):
        assert run.summary["stages"][stage]["skipped"] == eager.summary["stages"][stage]["skipped"] == 1
    mine, others = weights(eager), weights(run)
    assert all(torch.equal(mine[name], others[name]) for name in mine)


def test_a_run_that_stops_names_the_step_and_window_that_stopped_it(
    damaged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged["tokenizer"]["on_nonfinite"] = "stop"
    with pytest.raises(TrainingError, match=r"^tokenizer: the loss or its gradient is not finite at step") as eager:
        finetune(copy.deepcopy(damaged))
    seen: list[bool] = []
    monkeypatch.setattr(torch.optim.AdamW, "step", _watched(torch.optim.AdamW.step, seen))
    later = damaged | {"out": str(tmp_path / "replayed"), "log_every": 1000}
    with pytest.raises(TrainingError) as replay:
        replayed(later, monkeypatch)
    assert str(replay.value).split(". The last good")[0] == str(eager.value).split(". The last good")[0]
    assert seen[-1]
    assert seen == sorted(seen), "from the offending step on every update is left out"
    assert seen.count(True) > 1


def _watched(plain: Any, seen: list[bool]) -> Any:
    def watched(self: Any, *given: Any) -> Any:
        trained = [p for group in self.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in trained]
        plain(self, *given)
        seen.append(all(map(torch.equal, before, trained)))

    return watched


def test_what_cannot_be_captured_is_done_as_it_is(
    eager: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = uneven(tmp_path / "run")

    def full(work: Any, device: Any) -> Any:
        work()
        raise GraphError("there is no memory for it")

    monkeypatch.setattr(step, "captured", full)
    with graphs_on_cpu():
        assert_same(eager, finetune(config))
        text = " ".join(capsys.readouterr().out.split())
        for stage in ("tokenizer", "predictor"):
            assert text.count(f"{stage}: steps are launched one operation at a time") == 1
        config["predictor"]["cuda_graph"] = "on"
        with pytest.raises(
            TrainingError, match=r"^predictor: a step cannot be captured: there is no memory.*cuda_graph"
        ):
            finetune(config, overwrite=True)


def test_memory_beside_a_captured_step_can_be_had_back(
    eager: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compute = step.TrainStep._compute

    def tight(self: Any, batches: Any, micros: Any) -> Any:
        if self._captured is not None:
            raise torch.OutOfMemoryError("no room")
        return compute(self, batches, micros)

    monkeypatch.setattr(step.TrainStep, "_compute", tight)
    run, counts = replayed(uneven(tmp_path / "run"), monkeypatch)
    assert counts == [2, 2], "until the uneven step at the end of the first epoch"
    assert_same(eager, run)
    assert capsys.readouterr().out.count("a captured step was given up") == 2


@pytest.mark.parametrize(
    ("way", "where"), [({}, False), ({"gradient_checkpointing": True}, True)], ids=["on a CPU", "checkpointing"]
)
def test_a_graph_that_cannot_be_had_is_refused_at_once(
    config: dict[str, Any], way: dict[str, Any], where: bool
) -> None:
    config["predictor"] |= {"cuda_graph": "on", **way}
    if where:
        graphs.CAPTURES["cpu"] = graphs.CAPTURES["cuda"]
    try:
        with pytest.raises(ConfigError, match=r"predictor\.cuda_graph: on needs a CUDA device.*cuda_graph: auto"):
            finetune(config)
    finally:
        graphs.CAPTURES.pop("cpu", None)
    assert not Path(config["out"]).exists()


@pytest.mark.slow
def test_blocks_are_compiled_once_for_all_and_not_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        made.append(graph)
        return graph.forward

    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compile_module(self, backend=backend, **how))
    config = uneven(tmp_path / "eager")
    for stage, layers in (("tokenizer", {"n_enc_layers": 3, "n_dec_layers": 3}), ("predictor", {"n_layers": 2})):
        rates = dict.fromkeys((*DROPOUT, *(["token_dropout_p"] if stage == "predictor" else [])), 0.0)
        config[stage]["architecture"] |= layers | rates
    plain = finetune(copy.deepcopy(config))
    for stage in ("tokenizer", "predictor"):
        config[stage]["compile"] = "on"
    run = finetune(config | {"out": str(tmp_path / "compiled")})
    assert len(made) == 3, "encoder, decoder (whose batch is twice as large) and predictor, of two blocks each"
    assert weights(run).keys() == weights(plain).keys()
    for a, b in zip(told(plain), told(run), strict=True):
        assert all(
            b[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
            for name, value in a.items()
        )
