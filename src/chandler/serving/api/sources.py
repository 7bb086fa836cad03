"""Sources of bars: listed, uploaded, read, cut into candles."""

from __future__ import annotations

import shutil
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response

from chandler.data import BarStore
from chandler.serving.api.schema import BarsAnswer, SourceAnswer, SourceList, SymbolAnswer, SymbolList, Uploaded
from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import NO_ROOM, Refusal, answers
from chandler.serving.sources import ReadingSettings, candles, ends, step_seconds, summary, upload_name
from chandler.serving.workspace import fresh_id

router = APIRouter(tags=["sources"])
ROOM = 256 << 20
"""Bytes that an upload leaves free on the disk."""
Seconds = Annotated[int | None, Query(ge=-(2**33), le=2**34)]


def _answer(server: Server, id: str) -> SourceAnswer:
    return SourceAnswer(**summary(server.sources, server.sources.get(id)))


@router.get("/sources", operation_id="listSources")
def list_sources(server: The, limit: Limit = 200, cursor: Cursor = 0) -> SourceList:
    """Bars that are offered: bundled, uploads, files of registered folders."""
    some, following = page_of(server.sources.list(), limit, cursor)
    return SourceList(sources=[SourceAnswer(**summary(server.sources, one)) for one in some], next=following)


@router.get("/sources/{id}", operation_id="getSource", responses=answers(404))
def get_source(server: The, id: str) -> SourceAnswer:
    """One source and how its reading stands."""
    return _answer(server, id)


@router.post("/uploads", status_code=201, operation_id="upload", responses=answers(409))
async def upload(server: The, request: Request, name: Annotated[str, Query(min_length=1, max_length=255)]) -> Uploaded:
    """Send a file of bars as the body, as application/octet-stream; reading begins at once."""
    file_name, limit = upload_name(name), server.settings.upload_bytes
    folder = server.workspace.folder / "uploads" / fresh_id("src")
    if shutil.disk_usage(folder.parent).free < ROOM + int(request.headers.get("content-length") or 0):
        raise Refusal(413, NO_ROOM)
    folder.mkdir(mode=0o700)
    taken = 0
    try:
        async with await anyio.open_file(folder / file_name, "xb") as file:
            async for piece in request.stream():
                taken += len(piece)
                if taken > limit:
                    raise Refusal(413, f"The file is larger than the {limit:,} bytes that are taken here.")
                await file.write(piece)
        if not taken:
            raise Refusal(422, f"{name[:80]}: the file is empty.", code="data")
        source = await anyio.to_thread.run_sync(server.sources.receive, name[:128], folder / file_name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    server.sources.begin(source)
    return Uploaded(source_id=source.id, bytes=taken)


@router.patch("/sources/{id}", status_code=202, operation_id="setReading", responses=answers(404, 409))
async def set_reading(server: The, id: str, options: ReadingSettings) -> SourceAnswer:
    """Read a source again, with these options."""
    server.sources.read(id, options)
    return _answer(server, id)


@router.post("/sources/{id}/refresh", status_code=202, operation_id="refreshSource", responses=answers(404, 409))
async def refresh(server: The, id: str) -> SourceAnswer:
    """Read a source, or read it again as it is now."""
    server.sources.read(id)
    return _answer(server, id)


@router.delete("/sources/{id}", status_code=204, operation_id="removeSource", responses=answers(404, 409))
async def remove(server: The, id: str) -> Response:
    """Remove an upload that no job and no forecast needs now; nothing else can be removed here."""
    server.sources.remove(id)
    return Response(status_code=204)


@router.get("/sources/{id}/symbols", operation_id="listSymbols", responses=answers(404, 409))
def symbols(
    server: The, id: str, q: Annotated[str, Query(max_length=64)] = "", limit: Limit = 100, cursor: Cursor = 0
) -> SymbolList:
    """Symbols of a source whose names hold `q`, those that begin with it first."""
    store, wanted = server.sources.store(id), q.casefold()
    names = list(store.symbols)
    if wanted:
        names = [name for name in names if wanted in name.casefold()]
        names.sort(key=lambda name: (not name.casefold().startswith(wanted), name.casefold() != wanted))
    some, following = page_of(names, limit, cursor)
    return SymbolList(symbols=[_symbol(store, name) for name in some], next=following, total=len(names))


def _symbol(store: BarStore, name: str) -> SymbolAnswer:
    number = store.number(name)
    first, last = ends(store, number)
    lo, hi = store.span(number)
    return SymbolAnswer(symbol=name, rows=hi - lo, first=first, last=last)


@router.get("/sources/{id}/bars", operation_id="bars", responses=answers(404, 409))
def bars(
    server: The,
    id: str,
    symbol: Annotated[str, Query(min_length=1, max_length=256)],
    start: Annotated[Seconds, Query(alias="from")] = None,
    end: Annotated[Seconds, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=10, le=5000)] = 2000,
    interval: Annotated[str | None, Query(max_length=16)] = None,
) -> BarsAnswer:
    """Candles: the last ones; from or up to a time; or all between two times, as many bars in each as `limit` makes necessary."""
    store = server.sources.store(id)
    number = store.number(symbol)
    if interval is not None:
        store, number = server.coarser.store(id, symbol, interval), 0
    found = candles(store, number, start, end, limit)
    first, last = ends(store, number)
    lo, hi = store.span(number)
    columns = found.values.T.tolist()
    return BarsAnswer(
        symbol=symbol, zone=store.zones[number], step_seconds=step_seconds(store, number), every=found.every,
        time=found.time.tolist(), open=columns[0], high=columns[1], low=columns[2], close=columns[3],
        volume=columns[4] if found.values[:, 4].any() else None, more_before=found.more_before, more_after=found.more_after,
        rows=hi - lo, first=first, last=last,
    )  # fmt: skip
