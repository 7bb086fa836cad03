"""The desk of jobs without a server around it: what it says of the bars that jobs need, and of folders that others removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.serving.conftest import awaited, bars

from chandler.serving.errors import Refusal
from chandler.serving.events import EventHub
from chandler.serving.jobs import JobDesk, PreflightRequest, Shop, looked_at
from chandler.serving.models import ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace, fresh_id


def test_an_upload_that_a_job_needs_stays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")

    async def read(registry: SourceRegistry, file: Path) -> str:
        source = registry.receive("A.csv", file)
        registry.begin(source)
        while registry.get(source.id).state == "reading":
            await asyncio.sleep(0.02)
        return source.id

    with workspace.held():
        file = workspace.place("uploads", fresh_id("src")) / "A.csv"
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
