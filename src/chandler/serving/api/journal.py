"""The journal: every forecast that was made here, and what came of it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from chandler.serving.api.schema import JournalEntry, JournalList, JournalSummary, JournalTold
from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import Refusal, answers, without_paths

router = APIRouter(tags=["journal"])
CALIBRATED = " (calibrated)"
"""How `journal.Maker.name` ends where it is."""
PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class JournalFilter:
    """Which entries are asked for."""

    model: Annotated[str | None, Query(max_length=256)] = None
    symbol: Annotated[str | None, Query(max_length=256, description="A part of its name.")] = None
    state: Annotated[Literal["waiting", "scored"] | None, Query(description="scored: all of its bars are.")] = None
    live: bool | None = None

    def holds(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is one of them."""
        return (
            (self.model is None or entry["model"] == self.model)
            and (self.symbol is None or self.symbol.casefold() in entry["symbol"].casefold())
            and (self.live is None or entry["live"] == self.live)
            and (self.state is None or (entry["scored_steps"] >= entry["horizon"]) == (self.state == "scored"))
        )


class ScoreRequest(BaseModel):
    """Which bars the kept forecasts are held against."""

    model_config = ConfigDict(extra="forbid")
    source_id: str = Field(pattern=r"^src_[0-9a-f]{12}$")


def _named(server: Server, text: str) -> str:
    """What made a forecast as this server calls it: what the journal has may be a place on its disk."""
    base = text.removesuffix(CALIBRATED)
    names = {one.source: one.name for one in server.models.list()}
    return names.get(base, without_paths(base)) + text[len(base) :]


@router.get("/journal", response_model=JournalList, operation_id="listJournal", responses=answers(503))
async def entries(
    server: The,
    chosen: Annotated[JournalFilter, Depends()],
    limit: Limit = 100,
    cursor: Cursor = 0,
) -> JournalList:
    """Kept forecasts, the newest first."""
    found = [one | {"model": _named(server, one["model"])} for one in await server.looks.journal("entries")]
    some, following = page_of([one for one in found if chosen.holds(one)], limit, cursor)
    total, models = sum(map(chosen.holds, found)), sorted({one["model"] for one in found})
    return JournalList(entries=[JournalEntry(**one) for one in some], next=following, total=total, models=models)


@router.get("/journal/summary", response_model=JournalSummary, operation_id="journalSummary", responses=answers(503))
async def summary(server: The) -> JournalSummary:
    """Coverage and CRPS against the bootstrapped walk, by model and by when the bars came: of forecasts made before their bars."""
    found = await server.looks.journal("summary")
    rows = [row | {"model": _named(server, row["model"])} for row in found["rows"]]
    return JournalSummary(**found | {"rows": rows})


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


@router.post(
    "/journal/score", response_model=JournalTold, operation_id="scoreJournal", responses=answers(404, 409, 503)
)
async def score(server: The, request: ScoreRequest) -> JournalTold:
    """Score every kept forecast whose bars have come in a source. Scores once given stay. A source that was read is looked
    through by itself."""
    return JournalTold(lines=await server.looks.journal("score", server.sources.address(request.source_id)))
