"""Forecasts: asked for, awaited, read in parts, exported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.background import BackgroundTask

from chandler.serving.api.schema import (
    DensityAnswer,
    ForecastAnswer,
    ForecastLine,
    ForecastList,
    ForecastTicket,
    PathsAnswer,
    StepAnswer,
    TableAnswer,
    TableRows,
)
from chandler.serving.api.state import Cursor, Limit, The, page_of
from chandler.serving.errors import Refusal, answers
from chandler.serving.forecasts import COLUMNS, ForecastRequest, Kept, csv_lines, paths_of, rows, write_parquet
from chandler.serving.worker import LEVELS

router = APIRouter(tags=["forecasts"])
WAIT = 60
"""Seconds that a request may wait for its forecast."""
BINS = 24
LOOKED = 2000
"""Forecasts that are looked through for those of many symbols."""
TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
Symbol = Annotated[str, Query(min_length=1, max_length=256)]


@router.post(
    "/forecasts", status_code=202, response_model=ForecastTicket, operation_id="forecast",
    responses={200: {"model": ForecastAnswer}, **answers(404, 409, 424, 429)},
)  # fmt: skip
async def ask(server: The, request: ForecastRequest, prefer: Annotated[str, Header(max_length=64)] = "") -> Response:
    """Ask for a forecast. It is taken in, 202; with `Prefer: wait=30` it is awaited so many seconds, and answered with 200 if
    it is made by then. The same request of the same bars and model was made before: it is answered at once."""
    id, cached = server.desk.ask(request)
    seconds = prefer.replace(" ", "").removeprefix("wait=")
    if seconds.isdecimal() and not cached:
        await server.desk.wait(id, min(int(seconds), WAIT))
    told = server.desk.describe(id, series=False)
    if told["state"] == "done" and (cached or seconds.isdecimal()):
        return JSONResponse(ForecastAnswer(**server.desk.describe(id), cached=cached).model_dump())
    return JSONResponse(ForecastTicket(id=id, state=told["state"], position=told["position"]).model_dump(), 202)


@router.get("/forecasts", operation_id="listForecasts")
def list_forecasts(server: The, limit: Limit = 100, cursor: Cursor = 0, many: bool = False) -> ForecastList:
    """Forecasts: those under way, then the newest. `many`: of the newest 2,000 those of more than one symbol."""
    ids = server.desk.list()
    if many:
        ids = [id for id in ids[:LOOKED] if server.desk.describe(id, series=False)["total"] > 1]
    some, following = page_of(ids, limit, cursor)
    lines = []
    for id in some:
        told = server.desk.describe(id, series=False)
        asked = told["request"] or {}
        lines.append(
            ForecastLine(
                id=id,
                state=told["state"],
                made_at=told["made_at"],
                model=told["model"]["name"],
                source_id=asked.get("source_id"),
                symbols=told["total"],
                first_symbol=next(iter(asked.get("symbols", [])), None),
                horizon=asked.get("horizon"),
                live=told["live"],
            )
        )
    return ForecastList(forecasts=lines, next=following)


@router.get("/forecasts/{id}", operation_id="getForecast", responses=answers(404))
def get_forecast(server: The, id: str, limit: Limit = 500, cursor: Cursor = 0) -> ForecastAnswer:
    """A forecast, as far as it is made: ten paths come first where a preview was asked for; of many symbols, those that are done."""
    return ForecastAnswer(**server.desk.describe(id, offset=cursor, limit=limit))


@router.get("/forecasts/{id}/table", operation_id="forecastTable", responses=answers(404))
def table(
    server: The,
    id: str,
    after: Annotated[int, Query(ge=0, le=10**6, description="`next` of the answer before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> TableAnswer:
    """A forecast of many symbols as a table, a row each in the order that was asked for, as far as it is made."""
    told = server.desk.describe(id, series=False)
    there = rows(server.desk.kept(id))
    found = there[after : after + limit]
    columns = zip(*found, strict=True) if found else [() for _ in COLUMNS]
    return TableAnswer(
        id=id, state=told["state"], message=told["message"], next=min(after, len(there)) + len(found), done=len(there),
        total=told["total"], rows=TableRows(**dict(zip(COLUMNS, map(list, columns), strict=True))),
    )  # fmt: skip


@router.delete("/forecasts/{id}", status_code=204, operation_id="cancelForecast", responses=answers(404, 409))
async def cancel(server: The, id: str) -> Response:
    """Give up a forecast that waits or is being made. If others asked for the same one it goes on, until the last gives it up."""
    await server.desk.cancel(id)
    return Response(status_code=204)


@router.get("/forecasts/{id}/paths", operation_id="forecastPaths", responses=answers(404, 409))
def paths(
    server: The,
    id: str,
    symbol: Symbol,
    column: Literal["open", "high", "low", "close", "volume", "amount"] = "close",
    limit: Annotated[int, Query(ge=1, le=50)] = 50,
    offset: Annotated[int, Query(ge=0, le=1000)] = 0,
) -> PathsAnswer:
    """Some of the sampled paths of a symbol."""
    found = _paths(server.desk.finished(id), symbol, column)
    return PathsAnswer(paths=found[offset : offset + limit].tolist(), total=len(found))


@router.get("/forecasts/{id}/density", operation_id="forecastDensity", responses=answers(404, 409))
def density(server: The, id: str, symbol: Symbol, bins: Annotated[int, Query(ge=10, le=200)] = 60) -> DensityAnswer:
    """Where the closes of all paths lie, step by step: how many in each of `bins` equal parts from low to high."""
    found = _paths(server.desk.finished(id), symbol, "close")
    low, high = float(found.min()), float(found.max())
    high = high if high > low else low + 1e-9 * max(abs(low), 1)
    counts = [np.histogram(found[:, step], bins, (low, high))[0].tolist() for step in range(found.shape[1])]
    return DensityAnswer(low=low, high=high, counts=counts)


@router.get("/forecasts/{id}/step", operation_id="forecastStep", responses=answers(404, 409))
def step(
    server: The,
    id: str,
    symbol: Symbol,
    step: Annotated[int, Query(ge=1, le=4096)],
    above: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> StepAnswer:
    """The closes of all paths at one step: a histogram, quantiles, and the share above a price."""
    found = _paths(server.desk.finished(id), symbol, "close")
    if step > found.shape[1]:
        raise Refusal(422, f"step is 1 to {found.shape[1]}, found {step}.", code="config")
    closes = found[:, step - 1]
    counts, edges = np.histogram(closes, BINS)
    quantiles = dict(zip((f"{level:g}" for level in LEVELS), np.quantile(closes, LEVELS).tolist(), strict=True))
    share = None if above is None else float((closes > above).mean())
    return StepAnswer(step=step, edges=edges.tolist(), counts=counts.tolist(), p_above=share, quantiles=quantiles)


@router.get(
    "/forecasts/{id}/export", response_class=Response, operation_id="exportForecast",
    responses={200: {"content": {kind: {} for kind in TYPES.values()}}, **answers(404, 409)},
)  # fmt: skip
def export(
    server: The, id: str, format: Literal["csv", "parquet"] = "csv", what: Literal["bands", "paths", "rows"] = "bands"
) -> Response:
    """Bands of all symbols, every path as `Forecast.to_frame` has them, or the rows of the table, as a file."""
    kept = server.desk.finished(id)
    if not kept.path_files():
        raise Refusal(409, "None of its symbols could be forecast.")
    name = {"Content-Disposition": f"attachment; filename*=UTF-8''{id}-{what}.{format}"}
    if format == "csv":
        return StreamingResponse(csv_lines(kept, what), media_type=TYPES[format], headers=name)
    with tempfile.NamedTemporaryFile(suffix=".parquet", delete=False) as scratch:
        try:
            write_parquet(kept, what, scratch)
        except BaseException:
            os.unlink(scratch.name)
            raise
    gone = BackgroundTask(Path(scratch.name).unlink, missing_ok=True)
    return FileResponse(scratch.name, media_type=TYPES[format], headers=name, background=gone)


def _paths(kept: Kept, symbol: str, column: str) -> np.ndarray:
    found = paths_of(kept, symbol, column)
    if not found.size:
        raise Refusal(404, f"{symbol}: this forecast has no such symbol.")
    return found
