"""Sweeps by Ray Tune: the trials of a local sweep, whatever is killed; the hopeless stopped by the same rule (make test-ray)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from chandler.engines import RayEngine
from chandler.scale.sweep import SweepSettings, sweep
from tests.scale.conftest import read_book
from tests.training.conftest import tiny_run

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")
EIGHT = ["predictor.learning_rate=1e-3,1e-1", "seed=1..4"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Workers have one thread each: so has what they are held against."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def asked(folder: Path, params: list[str], **more: Any) -> SweepSettings:
    return SweepSettings(config=tiny_run(folder / "x"), out=str(folder / "sweep"), params=params, **more)


def outcome(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("0*/*/model.safetensors"))}
    return found | {"table": (folder / "sweep.parquet").read_bytes()}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep(asked(tmp_path_factory.mktemp("local"), EIGHT))


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    return [one for one in process.children(recursive=True) if one.name().startswith("ray::ImplicitF")]


def test_eight_trials_are_equal_to_the_bit_and_a_killed_worker_goes_on(
    local: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        while not (tmp_path / "sweep/002/checkpoints/predictor").exists():
            time.sleep(0.05)
        for one in workers_of(psutil.Process())[:1]:
            one.kill()
            killed.append(one.pid)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    folder = sweep(asked(tmp_path, EIGHT), engine=RayEngine(workers=2))
    thread.join(1)
    assert killed
    assert "raylet" not in capfd.readouterr().out
    assert outcome(folder) == outcome(local)
    assert not (folder / "ray").exists()
    assert [one.state for one in read_book(folder)["trials"]] == ["finished"] * 8


def test_the_same_command_goes_on_after_its_driver_was_killed(local: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(json.dumps(tiny_run(tmp_path / "x")))
    params = [text for one in EIGHT for text in ("--param", one)]
    command = [sys.executable, "-m", "chandler", "sweep", "run.yaml", *params, "--out", "sweep", "--engine", "ray",
               "--workers", "2"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "sweep/002/checkpoints/predictor").exists():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = [one.number for one in read_book(tmp_path / "sweep")["trials"] if one.state == "finished"]
    assert len(done) < 8
    before = {number: (tmp_path / f"sweep/{number:03d}/summary.json").stat().st_mtime_ns for number in done}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert outcome(tmp_path / "sweep") == outcome(local)
    assert {number: (tmp_path / f"sweep/{number:03d}/summary.json").stat().st_mtime_ns for number in done} == before


def test_the_hopeless_are_stopped_and_failures_are_told_once(tmp_path: Path) -> None:
    params = ["predictor.learning_rate=1e-1,1e-2,1e-9,1e30"]
    given = {"early_stop": "asha", "overrides": ["predictor.clip=1e30"]}
    folder = sweep(asked(tmp_path, params, **given), engine=RayEngine(workers=1))
    trials = read_book(folder)["trials"]
    assert [one.state for one in trials] == ["finished", "finished", "stopped", "failed"]
    assert "was behind 2 of 2 others" in trials[2].message
    assert "not finite" in trials[3].message
    records = [json.loads(line) for line in (folder / "002/metrics.jsonl").read_text().splitlines()]
    assert max(one["epoch"] for one in records) == 1  # not a step after its verdict
