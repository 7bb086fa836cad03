"""The app: routes behind the guard, and the page beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from chandler.serving.api import Server, evaluations, forecasts, jobs, journal, reports, runs, sources, system
from chandler.serving.errors import Refusal, answers, install, methods_of
from chandler.serving.evaluations import EvaluationList
from chandler.serving.events import EventHub
from chandler.serving.forecasts import ForecastDesk
from chandler.serving.jobs import JobDesk, RecipeBook
from chandler.serving.looks import LookDesk
from chandler.serving.models import ModelList
from chandler.serving.page import BASE, TYPES, Page
from chandler.serving.runs import RunList
from chandler.serving.security import Credentials, Guard
from chandler.serving.settings import LOOPBACK, ServerSettings
from chandler.serving.sources import CoarserBars, Source, SourceRegistry
from chandler.serving.worker import WorkerClient
from chandler.serving.workspace import Workspace
from chandler.version import __version__

API = "/api/v1"
BODY = 1 << 20
"""Bytes of a body that is no upload."""


def create_app(settings: ServerSettings, workspace: Workspace, credentials: Credentials) -> FastAPI:
    """The app of a server whose workspace is held. `credentials.port` is where it listens."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        events = EventHub()
        events.open()

        def changed(source: Source) -> None:
            events.publish("source", {"id": source.id, "state": source.state})
            if source.state == "ready":
                looks.score_soon(source.id)

        registry = SourceRegistry(workspace, settings.data, settings.upload_bytes, changed, settings.runs)
        models = ModelList(settings.runs, settings.models)
        worker = WorkerClient("forecasts", settings.device, lambda told: events.publish("system", told))
        looker = WorkerClient("looks", "cpu", lambda told: None)
        desk = ForecastDesk(workspace, registry, models, worker, events)
        looks = LookDesk(workspace, registry, looker, events)
        run_list = RunList(settings.runs)
        waiting = JobDesk(workspace, registry, models, settings.parallel_jobs, events)
        app.state.server = Server(
            settings,
            workspace,
            credentials,
            events,
            registry,
            CoarserBars(registry),
            models,
            worker,
            desk,
            looks,
            run_list,
            waiting,
            RecipeBook(),
            EvaluationList(settings.runs),
        )
        await worker.start()
        looks.start_after(worker)
        desk.open()
        waiting.open()
        run_list.open()
        try:
            yield
        finally:
            events.close()
            run_list.close()
            await waiting.close()
            await registry.close()
            await desk.close()
            await looks.close()
            await asyncio.gather(worker.close(), looker.close())

    app = FastAPI(
        title="chandler", version=__version__, summary="Bars in, distributions of bars to come out.", lifespan=life,
        openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None,
    )  # fmt: skip
    install(app)
    api = APIRouter(prefix=API, responses=answers(400, 401, 403, 413, 415, 422, 500))
    for router in (system, sources, forecasts, journal, jobs, runs, evaluations, reports):
        api.include_router(router)
    app.include_router(api)

    @app.get(API + "/{rest:path}", include_in_schema=False)
    def nowhere(request: Request) -> None:
        raise HTTPException(405 if methods_of(app, request.url.path) else 404)

    if settings.page:
        _add_page(app)
    names = _names(settings)
    limits = {f"{API}/uploads": settings.upload_bytes, "": BODY}
    app.add_middleware(Guard, credentials=credentials, origins=origins_of(settings, credentials.port), limits=limits)
    allowed = sorted(names | {_written(name) for name in names})
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed, www_redirect=False)
    return app


def origins_of(settings: ServerSettings, port: int) -> frozenset[str]:
    """How the page is reached, as a browser's Origin says it: without the port where that is the usual one."""
    scheme, usual = ("http", 80) if settings.certfile is None else ("https", 443)
    return frozenset(
        f"{scheme}://{_written(name)}{end}"
        for name in _names(settings)
        for end in ([f":{port}", ""] if port == usual else [f":{port}"])
    )


def _names(settings: ServerSettings) -> set[str]:
    return {*LOOPBACK, settings.host, *settings.allowed_hosts}


def _written(name: str) -> str:
    """A name as it stands in an address."""
    return f"[{name}]" if ":" in name else name


def _add_page(app: FastAPI) -> None:
    """The shell at every address of the page, and its modules."""
    whole = Page()
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}

    @app.get(BASE + "/{rest:path}", include_in_schema=False)
    async def module(rest: str) -> Response:
        if rest not in whole.files:
            raise Refusal(404, "There is nothing at this address.")
        return Response(whole.files[rest], media_type=TYPES[PurePosixPath(rest).suffix], headers=kept)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(whole.files["favicon.svg"], media_type=TYPES[".svg"])

    @app.get("/{rest:path}", include_in_schema=False)
    async def page(rest: str) -> HTMLResponse:
        if "." in rest.rpartition("/")[2]:
            raise Refusal(404, "There is nothing at this address.")
        return HTMLResponse(whole.shell(rest))
