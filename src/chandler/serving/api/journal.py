"""The journal: every forecast that was made here, and what came of it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from chandler.serving.api.schema import JournalList, JournalSummary, JournalTold
from chandler.serving.api.state import Cursor, Limit, Server, The
from chandler.serving.errors import Refusal, answers

router = APIRouter(tags=["journal"])
PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class JournalFilter:
    """Which entries are asked for."""

    model: Annotated[str | None, Query(max_length=256)] = None
    symbol: Annotated[str | None, Query(max_length=256, description="A part of its name.")] = None
    state: Annotated[Literal["waiting", "scored"] | None, Query(description="scored: all of its bars are.")] = None
    live: bool | None = None


class ScoreRequest(BaseModel):
    """Which bars the kept forecasts are held against."""

    model_config = ConfigDict(extra="forbid")
    source_id: str = Field(pattern=r"^src_[0-9a-f]{12}$")


def _names(server: Server) -> dict[str, str]:
    """What this server calls its models, by what they are loaded from."""
    return {one.source: one.name for one in server.models.list()}


@router.get("/journal", operation_id="listJournal", responses=answers(503))
async def entries(
    server: The,
    chosen: Annotated[JournalFilter, Depends()],
    limit: Limit = 100,
    cursor: Cursor = 0,
) -> JournalList:
    """Kept forecasts, the newest first."""
    found = await server.looks.journal("entries", _names(server), asdict(chosen), cursor, limit)
    following = cursor + limit
    return JournalList(**found, next=following if following < found["total"] else None)


@router.get("/journal/summary", operation_id="journalSummary", responses=answers(503))
async def summary(server: The) -> JournalSummary:
    """Coverage and CRPS against the bootstrapped walk, by model and by when the bars came: of forecasts made before their bars."""
    return JournalSummary(**await server.looks.journal("summary", _names(server)))


@router.get(
    "/journal/export", response_class=FileResponse, operation_id="exportJournal",
    responses={200: {"content": {PARQUET: {}}}, **answers(409, 503)},
)  # fmt: skip
async def export(server: The) -> FileResponse:
    """Every scored step, with the facts of its forecast, as Parquet."""
    folder = Path(tempfile.mkdtemp(prefix="chandler-journal-"))
    try:
        if not await server.looks.journal("export", str(folder / "journal.parquet")):
            raise Refusal(409, "Nothing was kept here yet.")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(folder / "journal.parquet", media_type=PARQUET, filename="journal.parquet", background=gone)


@router.post("/journal/score", operation_id="scoreJournal", responses=answers(404, 409, 503))
async def score(server: The, request: ScoreRequest) -> JournalTold:
    """Score every kept forecast whose bars have come in a source. Scores once given stay. A source that was read is looked
    through by itself."""
    return JournalTold(lines=await server.looks.journal("score", server.sources.address(request.source_id)))
