"""FSDP on two processes: the losses of one process, states and checkpoints that any number of processes can use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.conftest import GOLDEN
from tests.training.ranks import in_two

from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.engine.distributed import make_accelerator
from chandler.training.engine.fsdp import make_plugin
from chandler.training.run import finetune
from chandler.training.runs.folder import Run

SCRIPT = """
import os, signal, sys
from chandler.training.engine.distributed import leave
from chandler.training.logging.console import RunProgress
from chandler.training.run import finetune
from chandler.training.engine.interrupts import Interrupted

class Stopped(RunProgress):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_validation(self, record):
        super().on_validation(record)
        if record["stage"] == "predictor" and record["step"] == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

# A run that ends takes the process group with it, so all but the last one are interrupted.
for config, step in ((sys.argv[2], 5), (sys.argv[1], 3)):
    try:
        finetune(config, progress=Stopped(step))
    except Interrupted as stopped:
        print(stopped)
finetune(sys.argv[1], resume=True)
leave(0)
"""


def records(run: Run) -> list[dict[str, Any]]:
    measured = [r for r in run.metrics() if r["kind"] != "begin"]  # one more for each time that a stage went on
    return [{k: v for k, v in r.items() if k not in ("time", "windows_per_second")} for r in measured]


@pytest.mark.slow
def test_two_processes_that_share_a_model_equal_one(config: dict[str, Any], tmp_path: Path) -> None:
    # 71 windows in steps of 2 x 16: the last step has 7, shared as 4 + 3. Fewer validation windows than it takes.
    config["data"] |= {"windows_per_epoch": 71, "validation_stride": 25}
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"batch_size": 16, "accumulation_steps": 2}
    config["predictor"] |= {"promote_on": "crps", "scoring": {"windows": 5, "paths": 4}}
    adapted = {
        **config, "out": config["out"] + "-lora", "tokenizer": {"start": str(GOLDEN / "tokenizer"), "enabled": False},
        "predictor": {"start": str(quiet(tmp_path)), "mode": "lora", "epochs": 1, "batch_size": 16, "learning_rate": 1e-3},
    }  # fmt: skip
    alone = [finetune(config), finetune(adapted)]
    paths = []
    for number, settings in enumerate((config, adapted)):
        shared = {**settings, "out": str(tmp_path / f"shared-{number}"), "distributed": "fsdp"}
        for stage in ("tokenizer", "predictor"):
            shared[stage] = {**settings[stage], "batch_size": 8}
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(yaml.safe_dump(shared))
    (tmp_path / "train.py").write_text(SCRIPT)
    done = in_two(tmp_path, str(tmp_path / "train.py"), *map(str, paths))
    assert done.codes == (0, 0), done.stderr
    assert "predictor: stopped at step 3 of 6, everything is saved." in done.stdout
    assert "going on after step 3" in done.stdout
    assert "Warning" not in done.stderr
    for run, folder in zip(alone, (tmp_path / "shared-0", tmp_path / "shared-1"), strict=True):
        a, b = records(run), records(Run(folder))
        assert [(r["stage"], r["kind"], r["step"]) for r in a] == [(r["stage"], r["kind"], r["step"]) for r in b]
        for x, y in zip(a, b, strict=True):
            for name in x.keys() & {"loss", "mse", "nll", "nll_horizon", "grad_norm"}:
                # Sums in another order; a norm adds up their differences.
                near = 1e-4 if name == "grad_norm" else 1e-5
                assert x[name] == pytest.approx(y[name], rel=near), (x["stage"], x["kind"], x["step"], name)
    for stage, model in (("tokenizer", KronosTokenizer), ("predictor", Kronos)):
        model.from_pretrained(tmp_path / "shared-0" / stage)
        weights = [load_file(f / stage / WEIGHTS_NAME) for f in (alone[0].folder, tmp_path / "shared-0")]
        for name in weights[0]:
            torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=2e-5)
    state = tmp_path / "shared-1" / "checkpoints" / "predictor" / "step-0000005"
    moments = load_file(state / "optimizer.safetensors")
    names = [n for n in load_file(state / "model.safetensors") if ".lora." in n]
    assert len(names) * 3 == len(moments), "whole, and of what is trained alone"


def quiet(folder: Path) -> Path:
    """The golden predictor without dropout, which each process draws for itself."""
    model = Kronos.from_pretrained(GOLDEN / "predictor")
    config = {name: 0.0 if name.endswith("dropout_p") else value for name, value in vars(model.config).items()}
    calm = Kronos(type(model.config)(**config))
    calm.load_state_dict(model.state_dict())
    return calm.save_pretrained(folder / "quiet")


def test_what_cannot_be_followed_is_refused(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(ConfigError, match=r"cannot keep weights on the CPU\. Unset FSDP_OFFLOAD_PARAMS"):
        make_plugin()
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "false")
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "false")
    assert make_plugin().reshard_after_forward is False
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="Set distributed: fsdp"):
        make_accelerator("cpu")


def test_one_process_has_nothing_to_share(config: dict[str, Any]) -> None:
    for stage in ("tokenizer", "predictor"):
        config[stage]["epochs"] = 1
    plain = finetune({**config, "out": config["out"] + "-plain"})
    assert records(finetune({**config, "distributed": "fsdp"})) == records(plain)
