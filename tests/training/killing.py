"""Runs a finetuning in a process of its own and kills it; shared by the tests and the soak."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

context = multiprocessing.get_context("forkserver")
# The server imports once, and each run is forked from it before torch has started a thread.
context.set_forkserver_preload(["chandler.training.run", "accelerate"])


def _train(config: dict[str, Any], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import torch

    torch.set_num_threads(1)
    from chandler.training.run import finetune

    finetune(config, resume=True)


def start(config: dict[str, Any], log: Path) -> Any:
    """A process that resumes (or starts) the run."""
    process = context.Process(target=_train, args=(config, str(log)))
    process.start()
    return process


def outcome(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What must not depend on interruptions: every tensor file and every metric but the clock's."""
    weights = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("*/*.safetensors"))}
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = [r for r in records if r["kind"] != "begin"]  # one more for each time that a stage went on
    return weights, [{k: v for k, v in r.items() if k not in ("time", "windows_per_second")} for r in measured]


def kill_until_done(config: dict[str, Any], log: Path, *, kills: int, longest: float, rng: random.Random) -> list[str]:
    """Kill -9 the run again and again, at random moments and in the middle of saves; then let it finish.

    Returns where each kill hit: "start", a stage, or "save".
    """
    folder = Path(config["out"])
    hits = []
    for number in range(kills):
        process = start(config, log)
        deadline = time.monotonic() + rng.uniform(0.2, longest)
        in_save = number % 3 == 2
        while process.is_alive():
            saving = next(folder.glob("checkpoints/*/.step-*"), None) if in_save else None
            if (saving and rng.random() < 0.2) or (not in_save and time.monotonic() > deadline):
                os.kill(process.pid, signal.SIGKILL)
                stages = [p.name for p in folder.glob("checkpoints/*/")]
                hits.append("save" if saving else stages[-1] if stages else "start")
                break
            time.sleep(0.001 if in_save else 0.02)
        process.join()
        if process.exitcode == 0:
            return hits
        assert process.exitcode == -signal.SIGKILL, log.read_text()
    process = start(config, log)
    process.join()
    assert process.exitcode == 0, log.read_text()
    return hits
