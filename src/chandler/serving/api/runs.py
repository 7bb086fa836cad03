"""Runs: all below the folder of runs, one in full, its metrics as they come, several held against each other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import Refusal, answers
from chandler.serving.models import run_model
from chandler.serving.runs import RunFacts

router = APIRouter(tags=["runs"])
COMPARED = 6
"""Runs that are held against each other at most."""
LATER = 5
"""Seconds after the end of a job in which its run is still being written."""


class StageAnswer(BaseModel):
    """One stage of a run; `status` as in summary.json, "unfinished" while it has no result."""

    name: str
    status: str
    start: float | None
    best: float | None
    score: str | None
    gain: str | None
    rises: bool
    best_step: int | None
    epochs: int
    planned: int | None
    step: int | None
    steps: int | None


class RunAnswer(BaseModel):
    """One run. `running` of a run that was begun in a shell means that its files changed lately."""

    id: str
    name: str
    state: Literal["running", "finished", "unfinished"]
    began: int | None
    changed: int
    bytes: int | None
    stages: list[StageAnswer]
    verdict: list[str]
    model_id: str | None
    job_id: str | None
    has_report: bool
    calibrated: bool


class RunFile(BaseModel):
    """A file of a run."""

    name: str
    bytes: int


class RunDetails(RunAnswer):
    """One run in full."""

    settings: dict[str, Any]
    files: list[RunFile]
    report_id: str | None
    command: str | None


class RunListAnswer(BaseModel):
    """A page of runs, the one that changed last first."""

    runs: list[RunAnswer]
    next: int | None


class MetricsAnswer(BaseModel):
    """Records of metrics.jsonl after a place; `reset`: the file was written anew, these are all."""

    records: list[dict[str, Any]]
    next: str
    reset: bool


class Difference(BaseModel):
    """A setting that is not the same in all runs: a value each."""

    key: str
    values: list[Any]


class Comparison(BaseModel):
    """Several runs beside each other."""

    runs: list[RunAnswer]
    differences: list[Difference]


def _answers(server: Server, runs: list[RunFacts]) -> list[dict[str, Any]]:
    """What is told of some runs: their files, and the jobs that wrote them."""
    writers, told = server.jobs.by_folder(), []
    for run in runs:
        folder = server.runs.folder(run.id)
        job = writers.get(folder.resolve())
        state = _state(run, server.jobs.describe(job)) if job is not None and run.state != "finished" else run.state
        told.append({**vars(run), "state": state, "model_id": run_model(folder), "job_id": job})
    return told


def _state(run: RunFacts, job: dict[str, Any]) -> str:
    """That of a run which is not finished, and which a job wrote: the job knows, unless someone else went on with it since."""
    if job["state"] in ("running", "stopping"):
        return "running"
    since = job["ended"] is not None and run.changed > job["ended"] + LATER
    return run.state if since else "unfinished"


@router.get("/runs", operation_id="listRuns")
def list_runs(server: The, limit: Limit = 200, cursor: Cursor = 0) -> RunListAnswer:
    """Runs below the folder of runs, those begun in a shell as well."""
    some, following = page_of(server.runs.all(), limit, cursor)
    return RunListAnswer.model_validate({"runs": _answers(server, some), "next": following})


@router.get("/runs/compare", operation_id="compareRuns", responses=answers(404))
def compare(
    server: The, ids: Annotated[str, Query(max_length=200, description="Two to six ids, separated by commas.")]
) -> Comparison:
    """Several runs, and the settings in which they differ."""
    wanted = list(dict.fromkeys(ids.split(",")))
    if not 2 <= len(wanted) <= COMPARED:
        raise Refusal(422, f"ids: give 2 to {COMPARED} different runs, separated by commas.", code="config")
    found = [server.runs.get(id) for id in wanted]
    return Comparison.model_validate({"runs": _answers(server, found), "differences": server.runs.differences(wanted)})


@router.get("/runs/{id}", operation_id="getRun", responses=answers(404))
def get_run(server: The, id: str) -> RunDetails:
    """One run: what came of it, its settings, its files."""
    run, runs = server.runs.get(id), server.runs
    [told] = _answers(server, [run])
    told |= {"settings": runs.settings(id), "files": runs.files(id)}
    told |= {"report_id": id if run.has_report else None, "command": runs.command(id)}
    return RunDetails.model_validate(told)


@router.get("/runs/{id}/metrics", operation_id="runMetrics", responses=answers(404))
def metrics(
    server: The,
    id: str,
    after: Annotated[str | None, Query(max_length=64, description="`next` of the last answer.")] = None,
) -> MetricsAnswer:
    """What training and validation measured, since a place: 2,000 training records of a stage at most, evenly chosen."""
    found = server.runs.metrics(id).after(after)
    return MetricsAnswer(records=found.records, next=found.next, reset=found.reset)
