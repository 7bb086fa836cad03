"""A job is ended by its supervisor in time, and what goes wrong is told in a sentence."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving.conftest import awaited

pytest.importorskip("fastapi")
pytest.importorskip("fcntl")

from chandler.serving.events import EventHub
from chandler.serving.jobs import JobDesk, PreflightRequest, Shop, looked_at
from chandler.serving.jobs.folder import LOCK, JobFolder, Order
from chandler.serving.models import ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace


def begun(job: JobFolder, order: Order) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """The supervisor of a job, and its command."""
    job.folder.mkdir()
    job.write(order)
    lock = os.open(job.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    command = [sys.executable, "-m", "chandler.serving.jobs.supervise", str(job.folder), str(lock)]
    supervisor = subprocess.Popen(command, pass_fds=(lock,))
    os.close(lock)
    for _ in range(600):
        if "pid" in (about := job.process()):
            return supervisor, psutil.Process(about["pid"])
        time.sleep(0.05)
    raise AssertionError("it did not begin")


def test_a_command_that_does_not_stop_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "job")
    order = Order("job", "evaluate", "x", 0, "", ["inspect", "chandler-stocks"], [], grace=1.0)
    supervisor, command = begun(job, order)
    command.suspend()  # it hears of nothing
    while command.status() != psutil.STATUS_STOPPED:  # until it is so, a signal would still reach it
        time.sleep(0.01)
    assert job.state(queued=False) == "running"
    job.ask("stop")
    assert job.state(queued=False) == "stopping"
    assert supervisor.wait(30) == 0
    assert not command.is_running()
    ended = job.ended()
    assert (ended["code"], ended["asked"]) == (-signal.SIGKILL, "stop")
    assert job.state(queued=False) == "stopped"
    assert Order("job", "evaluate", "x", 0, "", [], []).grace == 60


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def looked(workspace: Workspace, memory: int) -> dict[str, Any]:
    """How a preflight of the bundled bars ends that may take so much memory."""

    async def ended() -> dict[str, Any]:
        registry = SourceRegistry(workspace, (), 1, lambda source: None)
        runs = workspace.folder / "runs"
        models = ModelList(runs, {})
        shop = Shop(workspace, registry, models, runs, "cpu")
        order = looked_at(registry.list()[0].id, PreflightRequest(), shop)
        desk = JobDesk(workspace, registry, models, 1, EventHub())
        desk.open()
        try:
            id = desk.submit(replace(order, memory=memory))
            while (told := desk.describe(id, result=True))["state"] in ("queued", "running"):
                await asyncio.sleep(0.05)
            return told
        finally:
            await desk.close()

    with workspace.held():
        return awaited(asyncio.wait_for(ended(), 60))


def test_a_preflight_that_takes_too_much_memory_ends_in_one_message(workspace: Workspace) -> None:
    told = looked(workspace, 16_000_000)
    assert (told["state"], told["result"], told["resumable"]) == ("failed", None, False)
    assert told["message"] == (
        "It ended before it was done (exit code 1), most often since the bars need more memory than the 16 MB that it may "
        "take here; its log says more."
    )


def test_a_job_that_printed_half_a_result_has_none(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    (tmp_path / "exit.json").write_text('{"code": 1, "asked": null, "ended": 0}')
    (tmp_path / "result.json").touch()
    assert (job.state(queued=False), job.result()) == ("failed", None)
    (tmp_path / "result.json").write_text('{"ok": fal')
    assert job.result() is None
    (tmp_path / "result.json").write_text('{"ok": false, "share": NaN}')
    assert (job.state(queued=False), job.result()) == ("finished", {"ok": False, "share": None})
