"""The desk of jobs without a server around it: what it says of the bars that jobs need, and of folders that others removed."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.conftest import awaited, bars

from chandler.serving.errors import Refusal
from chandler.serving.events import EventHub
from chandler.serving.jobs import JobDesk, PreflightRequest, Shop, looked_at
from chandler.serving.jobs.folder import EXIT
from chandler.serving.jobs.orders import slug
from chandler.serving.models import ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace, fresh_id, write_json


def test_an_upload_that_a_job_needs_stays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")

    async def read(registry: SourceRegistry, file: Path) -> str:
        source = registry.receive("A.csv", file)
        registry.begin(source)
        while registry.get(source.id).state == "reading":
            await asyncio.sleep(0.02)
        return source.id

    with workspace.held():
        file = workspace.folder / "uploads" / fresh_id("src") / "A.csv"
        file.parent.mkdir()
        bars(300).to_csv(file, index=False)
        models, registry = ModelList(tmp_path / "runs", {}), SourceRegistry(workspace, (), 1 << 20, lambda source: None)
        desk = JobDesk(workspace, registry, models, 1, EventHub())
        id = awaited(read(registry, file))
        shop = Shop(workspace, registry, models, tmp_path / "runs", "cpu")
        job = desk.submit(looked_at(id, PreflightRequest(), shop))
        with pytest.raises(Refusal, match="needed by a job"):
            registry.remove(id)
        desk.end(job, "stop")
        registry.remove(id)


def test_a_job_that_was_ended_says_what_is_lost_and_one_that_was_removed_is_forgotten(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    with workspace.held():
        models, registry = ModelList(tmp_path / "runs", {}), SourceRegistry(workspace, (), 1, lambda source: None)
        desk = JobDesk(workspace, registry, models, 0, EventHub())  # none may run
        [bundled] = registry.list()
        shop = Shop(workspace, registry, models, tmp_path / "runs", "cpu")
        gone, stays = (looked_at(bundled.id, PreflightRequest(), shop) for _ in range(2))
        for order in (gone, stays):
            desk.submit(replace(order, kind="evaluate"))
        desk.end(gone.id, "stop")
        assert desk.describe(gone.id)["message"] == "It was taken from the queue before it began."
        for code, asked, saved in ((-9, "kill", False), (-9, "stop", False), (143, "stop", True)):
            write_json(workspace.folder / "jobs" / gone.id / EXIT, {"code": code, "asked": asked, "ended": 0.0})
            told = desk.describe(gone.id)
            assert told["state"] == "stopped"
            assert (told["message"] is None) == saved
        shutil.rmtree(workspace.folder / "jobs" / gone.id)
        desk._tick()
        assert desk.ids() == [stays.id]
        assert desk.describe(stays.id)["position"] == 1


def test_a_name_of_many_bytes_is_that_of_a_folder(tmp_path: Path) -> None:
    name = slug("\U00020000" * 64)
    (tmp_path / f"{name}.store").mkdir()
    assert len(name) == 50
