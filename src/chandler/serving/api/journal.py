"""The journal: every forecast that was made here, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from chandler.serving.api.schema import JournalEntry, JournalList, JournalSummary, JournalTold
from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import Refusal, answers, without_paths
from chandler.serving.worker import WorkerDied

router = APIRouter(tags=["journal"])


class ScoreRequest(BaseModel):
    """Which bars the kept forecasts are held against."""

    model_config = ConfigDict(extra="forbid")
    source_id: str = Field(pattern=r"^src_[0-9a-f]{12}$")


async def _ask(server: Server, what: str, **rest: Any) -> Any:
    """Have the child look into the journal: its room needs torch."""
    request = {"do": what, "id": what, "journal": str(server.workspace.folder / "journal"), **rest}
    try:
        answer = await server.worker.ask(request, lambda told: None)
    except WorkerDied:
        raise Refusal(503, "The forecasting process died. Try again: it starts anew.") from None
    if answer["kind"] == "failed":
        raise Refusal(422, without_paths(answer["message"]), code="data")
    return answer["found"]


@router.get("/journal", response_model=JournalList, operation_id="listJournal", responses=answers(503))
async def entries(
    server: The,
    model: Annotated[str | None, Query(max_length=256)] = None,
    symbol: Annotated[str | None, Query(max_length=256)] = None,
    live: bool | None = None,
    limit: Limit = 100,
    cursor: Cursor = 0,
) -> JournalList:
    """Kept forecasts, the newest first."""
    found = await _ask(server, "entries")
    wanted = {"model": model, "symbol": symbol, "live": live}
    found = [one for one in found if all(value is None or one[key] == value for key, value in wanted.items())]
    some, following = page_of(found, limit, cursor)
    return JournalList(entries=[JournalEntry(**one) for one in some], next=following, total=len(found))


@router.get("/journal/summary", response_model=JournalSummary, operation_id="journalSummary", responses=answers(503))
async def summary(server: The) -> JournalSummary:
    """Coverage and CRPS against the bootstrapped walk, by model and by when the bars came: of forecasts made before their bars."""
    return JournalSummary(**await _ask(server, "summary"))


@router.post(
    "/journal/score", response_model=JournalTold, operation_id="scoreJournal", responses=answers(404, 409, 503)
)
async def score(server: The, request: ScoreRequest) -> JournalTold:
    """Score every kept forecast whose bars have come in a source. Scores once given stay."""
    bars = server.sources.address(request.source_id)
    return JournalTold(lines=await _ask(server, "score", bars=bars))
