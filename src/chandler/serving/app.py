"""The app: routes behind the guard, and the page beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from chandler.serving.api import Server, evaluations, forecasts, jobs, journal, reports, runs, sources, system
from chandler.serving.errors import Refusal, answers, install, methods_of
from chandler.serving.evaluations import EvaluationList
from chandler.serving.events import EventHub
from chandler.serving.forecasts import ForecastDesk
from chandler.serving.jobs import JobDesk, RecipeBook
from chandler.serving.models import ModelList
from chandler.serving.runs import RunList
from chandler.serving.security import Credentials, Guard
from chandler.serving.settings import LOOPBACK, ServerSettings
from chandler.serving.sources import Source, SourceRegistry
from chandler.serving.worker import WorkerClient
from chandler.serving.workspace import Workspace
from chandler.version import __version__

API = "/api/v1"
BODY = 1 << 20
"""Bytes of a body that is no upload."""
STATIC = Path(__file__).parent / "static"
PALETTE = Path(__file__).parents[1] / "assets" / "palette.css"
"""The colours, which reports share."""
TYPES = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml",
    ".png": "image/png", ".json": "application/json", ".ico": "image/x-icon", ".txt": "text/plain",
}  # fmt: skip
"""Ours, not the system's: with nosniff a wrong type stops the page."""


def create_app(settings: ServerSettings, workspace: Workspace, credentials: Credentials) -> FastAPI:
    """The app of a server whose workspace is held. `credentials.port` is where it listens."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        events = EventHub()
        events.open()

        def changed(source: Source) -> None:
            events.publish("source", {"id": source.id, "state": source.state})
            if source.state == "ready":
                desk.score_soon(source.id)

        registry = SourceRegistry(workspace, settings.data, settings.upload_bytes, changed)
        models = ModelList(settings.runs, settings.models)
        worker = WorkerClient(settings.device, lambda told: events.publish("system", told))
        desk = ForecastDesk(workspace, registry, models, worker, events)
        run_list = RunList(settings.runs)
        waiting = JobDesk(workspace, registry, models, settings.parallel_jobs, events)
        app.state.server = Server(
            settings,
            workspace,
            credentials,
            events,
            registry,
            models,
            worker,
            desk,
            run_list,
            waiting,
            RecipeBook(),
            EvaluationList(settings.runs),
        )
        await worker.start()
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
            await worker.close()

    app = FastAPI(
        title="chandler", version=__version__, summary="Bars in, distributions of bars to come out.", lifespan=life,
        openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None, max_body_size=settings.upload_bytes,
    )  # fmt: skip
    install(app)
    api = APIRouter(prefix=API)
    for router in (system, sources, forecasts, journal, jobs, runs, evaluations, reports):
        api.include_router(router)
    app.include_router(api)

    @app.get(API + "/{rest:path}", include_in_schema=False)
    def nowhere(request: Request) -> None:
        raise HTTPException(405 if methods_of(app, request.url.path) else 404)

    if settings.page:
        _add_page(app)
    names = {*LOOPBACK, settings.host, *settings.allowed_hosts}
    scheme = "http" if settings.certfile is None else "https"
    written = {f"[{name}]" if ":" in name else name for name in names}
    origins = frozenset(f"{scheme}://{name}:{credentials.port}" for name in written)
    limits = {f"{API}/uploads": settings.upload_bytes, "": BODY}
    app.add_middleware(Guard, credentials=credentials, origins=origins, limits=limits)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(names | written), www_redirect=False)
    return app


def _add_page(app: FastAPI) -> None:
    """The shell at every address of the page, and its modules, which browsers may keep for ever under their version."""
    base = f"/static/{__version__}"
    shell = (STATIC / "index.html").read_text(encoding="utf-8").replace("{{static}}", base)
    root = STATIC.resolve()

    @app.get(base + "/{rest:path}", include_in_schema=False)
    def module(rest: str) -> FileResponse:
        path = PALETTE if rest == PALETTE.name else (root / rest).resolve()
        if not (path == PALETTE or path.is_relative_to(root)) or not path.is_file() or path.suffix not in TYPES:
            raise Refusal(404, "There is nothing at this address.")
        return FileResponse(
            path, media_type=TYPES[path.suffix], headers={"Cache-Control": "public, max-age=31536000, immutable"}
        )

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> FileResponse:
        return FileResponse(STATIC / "favicon.svg", media_type=TYPES[".svg"])

    @app.get("/{rest:path}", include_in_schema=False, responses=answers(404))
    def page(rest: str) -> HTMLResponse:
        if "." in rest.rpartition("/")[2]:
            raise Refusal(404, "There is nothing at this address.")
        return HTMLResponse(shell)
