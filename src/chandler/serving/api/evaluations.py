"""Evaluations and backtests: what there is, and what each comes to, in the sentences of its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from chandler.serving.api.reports import FINDERS
from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import answers, without_paths
from chandler.serving.evaluations import Evaluation

router = APIRouter(tags=["evaluations"])


class VerdictTable(BaseModel):
    """A table in words, as the command prints it."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class EvaluationLine(BaseModel):
    """One evaluation or backtest in the list."""

    id: str
    name: str
    kind: Literal["evaluation", "backtest"]
    made: int
    state: Literal["running", "finished", "unfinished"]
    models: list[str]
    headline: str | None
    """Where it was read before."""
    report_id: str | None
    job_id: str | None
    """Of the newest job that wrote it."""


class EvaluationAnswer(EvaluationLine):
    """What it comes to."""

    verdict: list[str]
    """The headline that the command prints, then the sentences of the report."""
    tables: list[VerdictTable]


class EvaluationAnswers(BaseModel):
    """A page of them, the newest first."""

    evaluations: list[EvaluationLine]
    next: int | None


def _line(server: Server, one: Evaluation, jobs: dict[Path, str]) -> dict[str, Any]:
    job = jobs.get(one.folder.resolve())
    going = job is not None and server.jobs.describe(job)["state"] in ("queued", "running", "stopping")
    known = server.evaluations.verdicts.get(one.id)
    return {
        "id": one.id, "name": one.name, "kind": one.kind, "made": one.made, "models": list(one.models), "job_id": job,
        "state": "running" if going else "finished" if one.finished else "unfinished",
        "headline": known[1]["verdict"][0] if known is not None and known[0] == one.revision else None,
        "report_id": one.id if one.has_report else None,
    }  # fmt: skip


@router.get("/evaluations", operation_id="listEvaluations")
def evaluations(server: The, limit: Limit = 100, cursor: Cursor = 0) -> EvaluationAnswers:
    """Evaluations and backtests below the folder of runs, wherever they were begun."""
    some, following = page_of(server.evaluations.all(), limit, cursor)
    jobs = server.jobs.by_folder()
    return EvaluationAnswers(evaluations=[EvaluationLine(**_line(server, one, jobs)) for one in some], next=following)


@router.get("/evaluations/{id}", operation_id="getEvaluation", responses=answers(404, 503))
async def evaluation(server: The, id: str) -> EvaluationAnswer:
    """One of them; its verdict and tables once it is finished."""
    one, kept = server.evaluations.get(id), server.evaluations.verdicts
    if one.finished and kept.get(id, ("", {}))[0] != one.revision:
        told = await server.looks.ask("verdict.verdict", str(one.folder))
        kept[id] = one.revision, {"verdict": list(map(without_paths, told["verdict"])), "tables": told["tables"]}
    found = kept[id][1] if one.finished else {"verdict": [], "tables": []}
    return EvaluationAnswer(**_line(server, one, server.jobs.by_folder()), **found)


def _page(server: Server, id: str) -> tuple[str, Path | None]:
    return server.evaluations.get(id).name, server.evaluations.report(id)


FINDERS["ev"] = _page
