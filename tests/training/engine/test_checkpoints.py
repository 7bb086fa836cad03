"""An interrupted run ends as one that was never interrupted: the same bits, whatever the moment."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import tiny_run
from tests.training.killing import _train, context, kill_until_done, outcome, start

from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.training.run import finetune


def settings(folder: Path) -> dict[str, Any]:
    """Dropout on, records that straddle saves, enough steps to be hit."""
    config = tiny_run(folder)
    config["log_every"] = 3
    config["data"]["windows_per_epoch"] = 120
    for stage in ("tokenizer", "predictor"):
        config[stage] |= {"batch_size": 8, "epochs": 4, "save_every": 5}
    config["predictor"]["architecture"] |= {"ffn_dropout_p": 0.2, "token_dropout_p": 0.1}
    return config


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return settings(tmp_path / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(settings(folder / "run"), folder / "log")
    process.join()
    assert process.exitcode == 0, (folder / "log").read_text()
    return folder / "run"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed behind step 15 of its first stage."""
    folder = tmp_path_factory.mktemp("killed")
    process = wait_for(settings(folder / "run"), folder / "log", "checkpoints/tokenizer/step-0000015")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return folder / "run"


def test_kill_9_at_any_moment(config: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    hits = kill_until_done(config, tmp_path / "log", kills=6, longest=2.0, rng=random.Random(5))
    assert "save" in hits
    assert outcome(Path(config["out"])) == outcome(whole)
    assert not list((Path(config["out"]) / "checkpoints").iterdir())


def wait_for(config: dict[str, Any], log: Path, pattern: str) -> Any:
    """Start the run; return once `pattern` exists in its folder."""
    process = start(config, log)
    while not list(Path(config["out"]).glob(pattern)):
        assert process.is_alive(), log.read_text()
        time.sleep(0.005)
    return process


@pytest.mark.slow
def test_kill_9_after_the_state_of_step_0(config: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    process = wait_for(config, tmp_path / "log", "checkpoints/tokenizer/step-0000000")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    again = start(config, tmp_path / "log")
    again.join()
    assert "going on after step 0" in (tmp_path / "log").read_text()
    assert outcome(Path(config["out"])) == outcome(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signals_save_and_say_how_to_go_on(
    config: dict[str, Any], whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    process = wait_for(config, log, "checkpoints/predictor/step-0000005")
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 1
    assert "predictor: stopped at step" in log.read_text()
    assert "everything is saved" in log.read_text()
    again = start(config, log)
    again.join()
    assert "going on after step" in log.read_text()
    assert outcome(Path(config["out"])) == outcome(whole)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "checksums"])
def test_a_damaged_newest_state_is_named_and_the_one_before_is_used(
    config: dict[str, Any], whole: Path, killed: Path, tmp_path: Path, damage: str
) -> None:
    log = tmp_path / "log"
    shutil.copytree(killed, config["out"])
    saved = sorted(Path(config["out"]).glob("checkpoints/tokenizer/step-*"))
    assert len(saved) in (2, 3)  # two, or three if the kill came before the oldest was removed
    target = saved[-1] / ("checksums.json" if damage == "checksums" else "model.safetensors")
    content = target.read_bytes()
    if damage == "missing":
        target.unlink()
    elif damage == "flipped":
        target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        target.write_bytes(content[: len(content) // 2])
    again = start(config, log)
    again.join()
    assert f"warning: {saved[-1]} is damaged" in log.read_text()
    assert f"going on after step {int(saved[-2].name[5:])}" in log.read_text()
    assert outcome(Path(config["out"])) == outcome(whole)


def test_changed_settings_are_refused_with_their_names(config: dict[str, Any], killed: Path) -> None:
    shutil.copytree(killed, config["out"])
    config["tokenizer"]["learning_rate"] = 1e-3
    config["data"]["drop_volume"] = 0.1
    config["tokenizer"]["cuda_graph"] = "off"  # the same numbers
    with pytest.raises(
        ConfigError,
        match=r"data\.drop_volume 0\.0 -> 0\.1; tokenizer\.learning_rate 0\.0002 -> 0\.001.*resume=True, force=True",
    ):
        finetune(config, resume=True)
    finetune(config, resume=True, force=True)


def test_resuming_a_finished_run_changes_nothing(config: dict[str, Any], whole: Path) -> None:
    folder = Path(config["out"])
    shutil.copytree(whole, folder)
    finetune(config, resume=True)
    assert outcome(folder) == outcome(whole)
    assert (folder / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()


def _with_little_disk(config: dict[str, Any], log: str, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _train(config, log)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_leaves_what_was_saved(
    config: dict[str, Any], whole: Path, killed: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    shutil.copytree(killed, config["out"])
    # Writes beyond a small size fail, as on a full disk; the weights are larger than that.
    newest = max(Path(config["out"]).glob("checkpoints/tokenizer/step-*"))  # the oldest may be half removed
    size = (newest / WEIGHTS_NAME).stat().st_size
    small = context.Process(target=_with_little_disk, args=(config, str(log), size // 2))
    small.start()
    small.join()
    text = log.read_text()
    assert small.exitcode == 1
    assert "cannot be written" in text
    assert "is intact. Make room, then go on with resume=True." in text
    again = start(config, log)
    again.join()
    assert outcome(Path(config["out"])) == outcome(whole)
    shutil.rmtree(config["out"])
