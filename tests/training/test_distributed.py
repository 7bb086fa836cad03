"""Two processes are one process with the same global batch; rank 0 alone writes and prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chandler.training.run import finetune


def torchrun(config: dict[str, Any], folder: Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        "-m", "chandler", "finetune", str(path),
    ]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def metrics(folder: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("condition", ["sampled", "true"])
def test_two_processes_equal_one_with_the_same_global_batch(
    config: dict[str, Any], tmp_path: Path, condition: str
) -> None:
    # 71 windows in global batches of 16: the last one has 7, shared as 4 + 3.
    config["data"]["windows_per_epoch"] = 71
    config["predictor"]["condition"] = condition
    one = finetune(config)
    for stage in ("tokenizer", "predictor"):
        config[stage]["batch_size"] = 8
    config["out"] = str(tmp_path / "two")
    done = torchrun(config, tmp_path)
    assert done.returncode == 0, done.stderr
    a, b = metrics(one.folder), metrics(config["out"])
    assert [(r["stage"], r["kind"], r["step"]) for r in a] == [(r["stage"], r["kind"], r["step"]) for r in b]
    for x, y in zip(a, b, strict=True):
        for name in x.keys() - {"time", "windows_per_second", "stage", "kind", "best"}:
            assert x[name] == pytest.approx(y[name], rel=1e-4), (x["stage"], x["kind"], x["step"], name)
    assert done.stdout.count("predictor: validation at step 0") == 1
    assert done.stdout.count("Report:") == 1
