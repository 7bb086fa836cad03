"""What all routes share, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from chandler.serving.evaluations import EvaluationList
from chandler.serving.events import EventHub
from chandler.serving.forecasts import ForecastDesk
from chandler.serving.jobs import JobDesk, RecipeBook
from chandler.serving.looks import LookDesk
from chandler.serving.models import ModelList
from chandler.serving.runs import RunList
from chandler.serving.security import Credentials
from chandler.serving.settings import ServerSettings
from chandler.serving.sources import CoarserBars, SourceRegistry
from chandler.serving.worker import WorkerClient
from chandler.serving.workspace import Workspace


@dataclass(frozen=True)
class Server:
    """The parts of a running server."""

    settings: ServerSettings
    workspace: Workspace
    credentials: Credentials
    events: EventHub
    sources: SourceRegistry
    coarser: CoarserBars
    models: ModelList
    worker: WorkerClient
    desk: ForecastDesk
    looks: LookDesk
    runs: RunList
    jobs: JobDesk
    recipes: RecipeBook
    evaluations: EvaluationList


def _server(request: Request) -> Server:
    found: Server = request.app.state.server
    return found


The = Annotated[Server, Depends(_server)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[int, Query(ge=0, le=10**9, description="`next` of the page before.")]


def page_of(items: list[Any], limit: int, cursor: int) -> tuple[list[Any], int | None]:
    """So many items from a place on, and where the next page begins."""
    following = cursor + limit
    return items[cursor:following], following if following < len(items) else None
