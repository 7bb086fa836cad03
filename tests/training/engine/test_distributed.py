"""Two processes are one process with the same global batch; rank 0 alone writes and prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.training.ranks import finetune_in_two, in_two

from chandler.training.engine.distributed import has_bfloat16, make_accelerator
from chandler.training.run import finetune


def metrics(folder: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("condition", [pytest.param("sampled", marks=pytest.mark.slow), "true"])
def test_two_processes_equal_one_with_the_same_global_batch(
    config: dict[str, Any], tmp_path: Path, condition: str
) -> None:
    # 71 windows in global batches of 16: the last one has 7, shared as 4 + 3.
    config["data"]["windows_per_epoch"] = 71
    config["predictor"] |= {"condition": condition, "token_noise": 0.2}
    one = finetune(config)
    for stage in ("tokenizer", "predictor"):
        config[stage]["batch_size"] = 8
    config["out"] = str(tmp_path / "two")
    done = finetune_in_two(config, tmp_path)
    assert done.codes == (0, 0), done.stderr
    a, b = metrics(one.folder), metrics(config["out"])
    assert [(r["stage"], r["kind"], r["step"]) for r in a] == [(r["stage"], r["kind"], r["step"]) for r in b]
    for x, y in zip(a, b, strict=True):
        for name in x.keys() - {"time", "windows_per_second", "stage", "kind", "best"}:
            assert x[name] == pytest.approx(y[name], rel=1e-4), (x["stage"], x["kind"], x["step"], name)
    assert done.stdout.count("predictor: validation at step 0") == 1
    assert done.stdout.count("Report:") == 1


@pytest.mark.slow
def test_a_dead_rank_takes_the_others_down_and_a_restart_goes_on(config: dict[str, Any], tmp_path: Path) -> None:
    """Rank 1 is killed twice in the second stage: alone, where the other has to find out by itself; and under torchrun,
    which starts both again, and they go on from the last state."""
    config["data"]["windows_per_epoch"] = 64
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"batch_size": 8, "epochs": 3, "save_every": 2}
    one = finetune_in_two({**config, "out": str(tmp_path / "whole")}, tmp_path)
    assert one.codes == (0, 0), one.stderr
    path, program = tmp_path / "config.yaml", tmp_path / "dies_once.py"
    path.write_text(yaml.safe_dump(config))
    # It dies from within, before a step, for a kill from outside may come after the end.
    program.write_text("""
import os, signal, sys
from chandler.cli import main
from chandler.training.engine.trainer import Trainer

train_step, last = Trainer._train_step, int(sys.argv.pop())

def die(self):
    if self.stage.name == "predictor" and self.state.step == last:
        os.kill(os.getpid(), signal.SIGKILL)
    train_step(self)

if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    Trainer._train_step = die
main()
""")
    # Seconds on an idle machine; half an hour if the other rank waited for the dead one until gloo gives up.
    alone = in_two(tmp_path, str(program), "finetune", str(path), "3", timeout=400)
    assert alone.codes == (2, -signal.SIGKILL), alone.stderr
    assert alone.stderr.count("lost contact: another process of this run has ended") == 1
    assert "Traceback" not in alone.stdout + alone.stderr
    # The one test that goes through torchrun itself.
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1",
        str(program), "finetune", str(path), "--resume", "6",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Traceback" not in text
    for step in (2, 4):
        assert f"predictor: 3 epochs, 12 steps, 64 windows an epoch; going on after step {step}" in text
    assert "tokenizer: kept the result of an earlier run" in text
    for stage in ("tokenizer", "predictor"):
        a, b = (root / stage / "model.safetensors" for root in (tmp_path / "whole", tmp_path / "run"))
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.slow
def test_a_failure_is_told_once_and_ends_every_rank(config: dict[str, Any], tmp_path: Path) -> None:
    config["data"]["path"] = str(tmp_path / "none.csv")
    done = finetune_in_two(config, tmp_path)  # within its timeout
    assert done.codes == (2, 2)
    assert done.stderr.count("chandler: ") == 1
    assert "none.csv" in done.stderr


def test_auto_is_bfloat16_where_a_gpu_computes_in_it(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    assert make_accelerator("cpu", "auto").mixed_precision == "no"
    asked: list[bool] = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or True
    )
    assert has_bfloat16(torch.device("cuda"))
    assert not has_bfloat16(torch.device("cpu"))
    assert asked == [False]
    config["predictor"]["enabled"] = False
    assert finetune(config).summary["precision"] == "float32"


def test_a_process_may_train_in_one_precision_and_then_in_another() -> None:
    assert [make_accelerator("cpu", kind).mixed_precision for kind in ("float32", "bfloat16", "float32")] == [
        "no",
        "bf16",
        "no",
    ]


def test_a_process_may_train_again_and_keeps_a_group_of_its_own(tmp_path: Path) -> None:
    """Under torchrun: within a group that the script opened, which stays; then twice in groups opened for the run."""
    program = tmp_path / "script.py"
    program.write_text("""
import os, torch, torch.distributed as dist
from chandler.training.engine.distributed import close, leave, make_accelerator, sum_over_ranks

def run():
    accelerator = make_accelerator("cpu")
    total = sum_over_ranks(accelerator, torch.tensor([accelerator.process_index + 1.0]))
    close(accelerator)
    # One write: the lines of two processes must not run into each other.
    os.write(1, f"sum {total.item()} still open {dist.is_initialized()}\\n".encode())

dist.init_process_group("gloo")
run()
dist.destroy_process_group()
run()
run()
leave(0)
""")
    done = in_two(tmp_path, str(program))
    assert done.codes == (0, 0), done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("sum")) == [
        *["sum 3.0 still open False"] * 4,
        *["sum 3.0 still open True"] * 2,
    ]
