"""Pages that commands wrote, in a cage: they may draw, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from chandler.serving.api.state import Server, The
from chandler.serving.errors import Refusal, answers
from chandler.serving.security import REPORT_CSP

router = APIRouter(tags=["reports"])


def _of_run(server: Server, id: str) -> tuple[str, Path | None]:
    return server.runs.get(id).name, server.runs.report(id)


def _of_job(server: Server, id: str) -> tuple[str, Path | None]:
    return str(server.jobs.describe(id)["name"]), server.jobs.report(id)


FINDERS: dict[str, Callable[[Server, str], tuple[str, Path | None]]] = {"run": _of_run, "job": _of_job}
"""Kind of an id -> what finds the name and the page of one of them (Refusal 404 where there is none); None: no page was written yet."""


@router.get("/reports/{id}", response_class=FileResponse, operation_id="report", responses=answers(404))
def report(server: The, id: str, download: Annotated[str | None, Query(max_length=8)] = None) -> FileResponse:
    """The page of a run, an evaluation or a job (`?download`: to be saved). It has scripts of its own, and reaches nothing."""
    find = FINDERS.get(id.partition("_")[0])
    if find is None:
        raise Refusal(404, "There is no such report.")
    name, path = find(server, id)
    if path is None:
        raise Refusal(404, f"{name} has no report yet: it is written at the end.")
    shown = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "report"
    return FileResponse(
        path, media_type="text/html; charset=utf-8", filename=f"{shown}.html",
        content_disposition_type="inline" if download is None else "attachment",
        headers={"Content-Security-Policy": REPORT_CSP, "Cache-Control": "no-store"},
    )  # fmt: skip
