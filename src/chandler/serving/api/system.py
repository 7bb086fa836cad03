"""Health, sessions, what serves, and the stream of changes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated

import psutil
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from huggingface_hub import constants

from chandler.serving.api.schema import Health, KnownAnswer, ModelAnswer, ModelListAnswer, System, Token
from chandler.serving.api.state import The
from chandler.serving.errors import Refusal, answers
from chandler.serving.forecasts import ForecastRequest
from chandler.serving.security import set_session
from chandler.version import __version__

router = APIRouter(tags=["system"])


@router.get("/health", operation_id="health")
def health(server: The) -> Health:
    """Whether the server answers. Needs no session."""
    return Health(status="ok", version=__version__, ready=server.worker.state in ("ready", "busy"))


@router.post("/session", status_code=204, operation_id="openSession")
def sign_in(server: The, token: Token) -> Response:
    """Open a session in a browser: the token becomes a cookie."""
    if not server.credentials.knows(bearer=token.token, session=""):
        raise Refusal(401, "This is not the token that the server printed.")
    answer = Response(status_code=204)
    set_session(answer, server.credentials)
    return answer


@router.delete("/session", status_code=204, operation_id="closeSession")
def sign_out(server: The) -> Response:
    """Close the session of this browser."""
    answer = Response(status_code=204)
    answer.delete_cookie(server.credentials.cookie, path="/")
    return answer


@router.get("/system", operation_id="system")
def system(server: The) -> System:
    """Version, device, limits, and how the forecasting process is."""
    fields = ForecastRequest.model_json_schema()["properties"]
    return System(
        version=__version__,
        page=server.settings.page,
        jobs=server.settings.jobs,
        device=server.worker.about.get("device"),
        cpu=os.cpu_count() or 1,
        memory_free=psutil.virtual_memory().available,
        worker=server.worker.state,
        worker_message=server.worker.message,
        limits={
            "upload_bytes": server.settings.upload_bytes,
            "bars": 5000,
            "paths": fields["paths"]["maximum"],
            "horizon": fields["horizon"]["maximum"],
            "symbols": fields["symbols"]["maxItems"],
        },
        offline=constants.HF_HUB_OFFLINE,
        boot=server.events.boot,
        workspace=server.workspace.folder.name,
    )


@router.get("/models", operation_id="listModels")
def models(server: The) -> ModelListAnswer:
    """Models that can be asked for forecasts: bundled, finished runs, registered folders, releases."""
    return ModelListAnswer(
        models=[ModelAnswer.model_validate(one, from_attributes=True) for one in server.models.list()]
    )


@router.get("/models/{id}/exposure", operation_id="exposure", responses=answers(404, 409, 424, 503))
async def exposure(
    server: The,
    id: str,
    source_id: Annotated[str, Query(pattern=r"^src_[0-9a-f]{12}$")],
    symbol: Annotated[str, Query(min_length=1, max_length=256)],
) -> KnownAnswer:
    """What a model knows of a symbol's bars, by the rules of `chandler evaluate`: a forecast of these proves nothing."""
    model, store = server.models.get(id), server.sources.store(source_id)
    store.number(symbol)
    bars = {"path": server.sources.address(source_id), "revision": server.sources.revision(source_id)}
    return KnownAnswer(periods=await server.looks.ask("exposed.periods", model.source, bars, symbol))


@router.get("/events", response_class=EventSourceResponse, operation_id="events")
async def events(
    server: The,
    request: Request,
    after: Annotated[str | None, Query(max_length=64, description="The id of the last event that was seen.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What changes, as it changes: source, forecast, system; `resync` where events were missed. State is always a GET."""
    async for event in server.events.follow(last_event_id or after):
        yield ServerSentEvent(data=event.data, event=event.type, id=event.id)
