"""A finetune on workers of Ray: torchrun's bits, also where one of two workers was killed; mistakes are not repeated."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks.soak import settings as small_run

from chandler import DataError
from chandler.engines import RayEngine
from chandler.scale import finetune
from chandler.training.settings import load_settings
from tests.training.killing import outcome
from tests.training.ranks import finetune_in_two

pytest.importorskip("ray")


def _kill_one(folder: Path, killed: list[int]) -> None:
    """Kill a worker when the predictor has saved a state."""
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline:
        if next(folder.glob("checkpoints/predictor/step-*"), None):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "RayTrainWorker" in " ".join(process.cmdline()):
                        process.kill()
                        killed.append(process.pid)
                        return
        time.sleep(0.05)


@pytest.mark.parametrize("distributed", ["ddp", "fsdp"])
def test_workers_have_the_bits_of_torchrun_and_survive_a_kill(
    ray: Any, tmp_path: Path, distributed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = {**small_run(tmp_path / "torchrun"), "distributed": distributed}
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"epochs": 2}
    done = finetune_in_two(config, tmp_path)
    assert done.codes == (0, 0), done.stderr
    config["out"], killed = str(tmp_path / "ray"), list[int]()
    killer = threading.Thread(target=_kill_one, args=(tmp_path / "ray", killed), daemon=True)
    killer.start()
    run = finetune(load_settings(config), engine=RayEngine(workers=2), retries=1)
    killer.join()
    assert killed
    told = capfd.readouterr().out
    assert "workers were lost (" in told
    assert "raylet" not in told
    weights, records = outcome(run.folder)
    expected, written = outcome(tmp_path / "torchrun")
    assert weights.keys() == expected.keys()
    assert all(weights[name] == expected[name] for name in weights)
    assert records == written
    assert not (tmp_path / "ray-ray").exists()


def test_a_mistake_is_told_once(ray: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_run(tmp_path / "run")
    config["data"]["path"] = "nothing-here.csv"
    with pytest.raises(DataError, match=r"nothing-here\.csv"):
        finetune(load_settings(config), engine=RayEngine(workers=2), retries=3)
    assert "more tries" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
