"""What is trained: all, adapters, heads or patterns; the rest stays as it was, to the bit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import GOLDEN
from tests.training.killing import outcome, start
from tests.training.ranks import finetune_in_two

from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.nn.lora import adapters, load_adapters, merged
from chandler.nn.predictor import Kronos
from chandler.training.engine.parameters import select_parameters
from chandler.training.run import finetune
from chandler.training.settings import load_settings
from chandler.training.settings.stage import TokenizerSettings


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    """Both stages from the golden checkpoints, as from released ones."""
    config["tokenizer"] = {"start": str(GOLDEN / "tokenizer"), "enabled": False}
    config["predictor"] = {
        "start": str(GOLDEN / "predictor"), "epochs": 2, "batch_size": 16, "learning_rate": 3e-3,
    }  # fmt: skip
    return config


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS_NAME)


def changed(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_lora_changes_its_targets_only_and_saves_the_adapters_alone(config: dict[str, Any]) -> None:
    config["predictor"] |= {
        "mode": "lora",
        "lora": {"rank": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj", "w2"]},
    }
    run = finetune(config)
    base = Kronos.from_pretrained(GOLDEN / "predictor")
    before, after = base.state_dict(), weights(run.folder / "predictor")
    assert changed(before, after) == {n for n in before if n.endswith(("q_proj.weight", "w2.weight"))}
    summary = run.summary["stages"]["predictor"]
    assert summary["mode"] == "lora"
    assert summary["parameters"] == sum(p.numel() for p in base.parameters())
    names = load_adapters(base, run.folder / "adapters" / "predictor")
    assert summary["trained_parameters"] == sum(p.numel() for n, p in base.named_parameters() if ".lora." in n)
    assert len(names) == 2 * len(base.transformer) + 1
    assert not changed(merged(base).state_dict(), after)
    validations = [r for r in run.metrics() if r["kind"] == "validation"]
    assert summary["best"] < summary["start_score"] == validations[0]["nll"]


def test_the_start_of_a_lora_stage_scores_as_the_untouched_model(config: dict[str, Any]) -> None:
    config["predictor"]["epochs"] = 1
    full = finetune(config).summary["stages"]["predictor"]
    lora = finetune(dict(config, out=config["out"] + "2", predictor={**config["predictor"], "mode": "lora"}))
    assert lora.summary["stages"]["predictor"]["start_score"] == full["start_score"]
    assert full["trained_parameters"] == full["parameters"]


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_head_mode_trains_the_heads(config: dict[str, Any], stage: str) -> None:
    config["predictor"]["enabled"] = stage == "predictor"
    config[stage] |= {"enabled": True, "mode": "head", "epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    run = finetune(config)
    moved = changed(weights(GOLDEN / stage), weights(run.folder / stage))
    assert {name.split(".")[0] for name in moved} == ({"head"} if stage == "tokenizer" else {"head", "dep_layer"})


def test_train_and_freeze_patterns(config: dict[str, Any]) -> None:
    config["predictor"] |= {"train": ["transformer.1", "norm"], "freeze": ["*.bias"], "epochs": 1}
    run = finetune(config)
    moved = changed(weights(GOLDEN / "predictor"), weights(run.folder / "predictor"))
    assert moved == {
        n for n in weights(GOLDEN / "predictor")
        if n.startswith(("transformer.1.", "norm.")) and not n.endswith(("bias", "inv_freq"))
    }  # fmt: skip


def chosen(predictor: Kronos, **settings: Any) -> Any:
    stage = TokenizerSettings.model_validate(settings)  # what both stages share
    return select_parameters(predictor, "predictor", stage, torch.Generator().manual_seed(0))


def test_patterns_that_cannot_be_followed_say_why(predictor: Kronos) -> None:
    with pytest.raises(
        ConfigError, match=r"predictor\.freeze: 'transformr\.0' fits no .*did you mean 'transformer\.0'"
    ):
        chosen(predictor, freeze=["transformr.0"])
    with pytest.raises(ConfigError, match=r"q_proj\.weight would be trained but .*k_proj\.weight.*are one matrix"):
        chosen(predictor, train=["*.q_proj.weight"])
    with pytest.raises(ConfigError, match="leave no parameter to train"):
        chosen(predictor, freeze=["*"])


def test_what_is_frozen_gets_no_adapter(predictor: Kronos) -> None:
    lora = {"mode": "lora", "lora": {"targets": ["q_proj", "w2"]}}
    first, blocks = chosen(predictor, **lora, freeze=["transformer.0", "dep_layer"]), len(predictor.transformer)
    assert set(adapters(predictor)) == {
        f"transformer.{block}.{name}" for block in range(1, blocks) for name in ("self_attn.q_proj", "ffn.w2")
    }
    assert first.adapters == 2 * (blocks - 1)
    assert first.trained == sum(p.numel() for p in predictor.parameters() if p.requires_grad)


def test_freeze_that_leaves_no_adapter_is_refused(predictor: Kronos) -> None:
    with pytest.raises(ConfigError, match="leave no parameter to train"):
        chosen(predictor, mode="lora", lora={"targets": ["q_proj"]}, freeze=["*.q_proj.weight"])


def test_fixed_time_tables_stay_fixed(golden: Path) -> None:
    predictor = Kronos.from_pretrained(golden / "predictor-fixed-time")
    trained = chosen(predictor)
    fixed = sum(p.numel() for n, p in predictor.named_parameters() if n.startswith("time_emb"))
    assert trained.trained == trained.total - fixed
    assert str(trained).startswith(f"{trained.trained:,} parameters are trained (")


def test_adapters_need_trained_weights() -> None:
    minimal = {"out": "runs/x", "data": {"path": "bars.csv"}}
    with pytest.raises(ConfigError, match=r"predictor\.mode lora adapts trained weights, but .*start is random"):
        load_settings(minimal, ["predictor.start=random", "predictor.mode=lora"])
    with pytest.raises(ConfigError, match=r"predictor\.train replaces what mode: head would choose"):
        load_settings(minimal, ["predictor.mode=head", "predictor.train=[norm]"])


def test_a_killed_lora_run_ends_as_one_never_interrupted(config: dict[str, Any], tmp_path: Path) -> None:
    config["data"]["windows_per_epoch"] = 32
    config["predictor"] |= {"mode": "lora", "lora": {"dropout": 0.2}, "save_every": 2, "batch_size": 8}
    log, whole = tmp_path / "log", tmp_path / "whole"

    def finish(settings: dict[str, Any]) -> Path:
        # All in processes of one thread: sums in another order would differ in the last bit.
        process = start(settings, log)
        process.join()
        assert process.exitcode == 0, log.read_text()
        return Path(settings["out"])

    finish({**config, "out": str(whole)})
    process = start(config, log)
    while not list(Path(config["out"]).glob("checkpoints/predictor/step-0000004")):
        assert process.is_alive(), log.read_text()
        time.sleep(0.001)  # the run needs the processor
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    folder = finish(config)
    assert "going on after step" in log.read_text()
    assert outcome(folder) == outcome(whole)
    adapter = "adapters/predictor/adapter.safetensors"
    assert (folder / adapter).read_bytes() == (whole / adapter).read_bytes()


@pytest.mark.parametrize("mode", ["lora", "head"])
@pytest.mark.slow
def test_two_processes_equal_one(config: dict[str, Any], tmp_path: Path, mode: str) -> None:
    config["data"] |= {"windows_per_epoch": 40}
    config["predictor"] |= {"mode": mode, "epochs": 1, "batch_size": 16}
    # Dropout differs between ranks by design; without it the two runs must agree.
    start_folder = tmp_path / "start"
    quiet = Kronos.from_pretrained(GOLDEN / "predictor")
    quiet.save_pretrained(start_folder)
    shape = json.loads((start_folder / "config.json").read_text())
    shape |= {name: 0.0 for name in shape if name.endswith("dropout_p")}
    (start_folder / "config.json").write_text(json.dumps(shape))
    config["predictor"]["start"] = str(start_folder)
    one = finetune(config)
    config["predictor"]["batch_size"] = 8
    done = finetune_in_two({**config, "out": str(tmp_path / "two")}, tmp_path)
    assert done.codes == (0, 0), done.stderr
    a, b = weights(one.folder / "predictor"), weights(tmp_path / "two" / "predictor")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=2e-5)
