"""Jobs: begun, followed, ended, gone on with."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from chandler.serving.api.state import Cursor, Limit, Server, The, page_of
from chandler.serving.errors import Refusal, answers
from chandler.serving.jobs import JobRequest, PreflightRequest, Shop, checked, looked_at, ordered, recipe_list

State = Literal["queued", "running", "stopping", "finished", "stopped", "failed", "lost"]


class Progress(BaseModel):
    """How far a job is since it was last started."""

    stage: str | None
    """Of a finetuning tokenizer or predictor; else what is being forecast, or calibrated before."""
    done: int
    """Steps of the stage; of an evaluation windows of all contenders, of a calibration its own."""
    total: int | None
    """None while it is not known yet."""
    epoch: int | None
    epochs: int | None
    rate: float | None
    """Windows a second."""
    seconds_left: float | None
    """Of the stage, from what was done since the last start."""


class Job(BaseModel):
    """One job, as its files say it stands."""

    id: str
    kind: Literal["finetune", "evaluate", "calibrate", "backtest", "preflight"]
    name: str
    state: State
    resumable: bool
    created: int
    started: int | None
    ended: int | None
    position: int | None
    """In the queue, from 1."""
    source_id: str | None
    model_ids: list[str]
    progress: Progress | None
    command: str
    run_id: str | None
    model_id: str | None
    """The model that a finetuning or a calibration made or added to, once it is whole."""
    evaluation_id: str | None
    message: str | None
    result: dict[str, Any] | None
    """Of a preflight, and in the answer of GET /jobs/{id} alone: it may be long."""


class JobList(BaseModel):
    """A page of jobs."""

    jobs: list[Job]
    next: int | None


class RecipeLine(BaseModel):
    """What a finetuning can begin with."""

    id: str
    title: str
    about: str


class RecipeList(BaseModel):
    """All recipes, the quickest first."""

    recipes: list[RecipeLine]


class RecipeAnswer(RecipeLine):
    """One recipe, and what else can be set."""

    start: str
    """The model that it starts from, by its name."""
    values: dict[str, Any]
    """Its settings over the defaults, nested."""
    schema_: dict[str, Any] = Field(alias="schema")
    """JSON schema of all settings; descriptions say what they set."""
    main: list[str]
    """Dotted keys that are shown first."""


class CheckRequest(BaseModel):
    """Settings to be looked at before a job is begun with them."""

    model_config = ConfigDict(extra="forbid")
    overrides: dict[str, Any] = Field(default_factory=dict, max_length=500)
    """Dotted key -> value."""
    text: str | None = Field(None, max_length=80_000)
    """Instead of overrides, all settings as YAML; what is left out is the recipe's."""
    # So many characters fit into a body even if JSON writes each as two escapes.


class CheckAnswer(BaseModel):
    """What a recipe becomes."""

    values: dict[str, Any] | None
    """All settings, nested; null where something is wrong."""
    message: str | None
    """What is wrong, as the command says it."""


class LogAnswer(BaseModel):
    """Lines of a log; `reset`: the log is shorter than `after`, these are its first lines."""

    lines: list[str]
    next: int
    reset: bool


def _taken(server: The) -> None:
    """Refuse where the server takes no jobs."""
    if find_spec("fcntl") is None:
        raise Refusal(404, "Jobs need a system whose locks go with a process: Linux or macOS.")
    if not server.settings.jobs:
        raise Refusal(404, "This server takes no jobs. Start it with: chandler serve --jobs, or chandler studio.")


router = APIRouter(tags=["jobs"], dependencies=[Depends(_taken)])


def _shop(server: Server) -> Shop:
    return Shop(server.workspace, server.sources, server.models, server.settings.runs, server.settings.device)


@router.post("/jobs", status_code=201, operation_id="beginJob", responses=answers(404, 409, 424, 429, 503))
async def begin(server: The, request: JobRequest) -> Job:
    """Begin a job, or have it wait for its turn. Its settings are checked before: what is wrong with them is said here."""
    order = await ordered(request, _shop(server), server.looks.ask)
    return Job(**await anyio.to_thread.run_sync(lambda: server.jobs.describe(server.jobs.submit(order))))


@router.get("/jobs", operation_id="listJobs", responses=answers(404))
def jobs(server: The, limit: Limit = 100, cursor: Cursor = 0) -> JobList:
    """Jobs, the newest first."""
    some, following = page_of(server.jobs.ids(), limit, cursor)
    return JobList(jobs=[Job(**server.jobs.describe(id)) for id in some], next=following)


@router.get("/jobs/{id}", operation_id="getJob", responses=answers(404))
def job(server: The, id: str) -> Job:
    """One job, with its result."""
    return Job(**server.jobs.describe(id, result=True))


@router.post("/jobs/{id}/stop", status_code=202, operation_id="stopJob", responses=answers(404, 409))
def stop(server: The, id: str) -> Job:
    """Ask a job to save and leave; after a minute it is killed."""
    server.jobs.end(id, "stop")
    return Job(**server.jobs.describe(id))


@router.post("/jobs/{id}/kill", status_code=202, operation_id="killJob", responses=answers(404, 409))
def kill(server: The, id: str) -> Job:
    """End a job at once; what it did since it last saved is lost."""
    server.jobs.end(id, "kill")
    return Job(**server.jobs.describe(id))


@router.post("/jobs/{id}/resume", status_code=202, operation_id="resumeJob", responses=answers(404, 409, 429))
def resume(server: The, id: str) -> Job:
    """Go on with a job that was stopped, killed or lost, from what it saved."""
    server.jobs.resume(id)
    return Job(**server.jobs.describe(id))


@router.get("/jobs/{id}/log", operation_id="jobLog", responses=answers(404))
def job_log(
    server: The, id: str, after: Annotated[int, Query(ge=0, le=2**40, description="`next` of the answer before.")] = 0
) -> LogAnswer:
    """What a job printed, from a byte on."""
    return LogAnswer(**server.jobs.log(id, after))


@router.post("/sources/{id}/preflight", status_code=202, operation_id="preflight", responses=answers(404, 409, 429))
def preflight(server: The, id: str, request: PreflightRequest) -> Job:
    """Look at a source's bars before a finetuning. The `result` of the job, once it has finished, is what `chandler inspect --json`
    prints: `ok` says whether training can begin. Its page is the report of the job."""
    return Job(**server.jobs.describe(server.jobs.submit(looked_at(id, request, _shop(server)))))


@router.get("/recipes", operation_id="listRecipes", responses=answers(404))
def recipes() -> RecipeList:
    """What a finetuning can begin with."""
    return RecipeList(recipes=[RecipeLine(id=one.id, title=one.title, about=one.about) for one in recipe_list()])


@router.get("/recipes/{id}", operation_id="getRecipe", responses=answers(404, 503))
async def recipe(server: The, id: str) -> RecipeAnswer:
    """The settings of a recipe, and the form of all settings. Places are none of them: the server sets those."""
    return RecipeAnswer(**await server.recipes.open(id, server.looks.ask))


@router.post("/recipes/{id}/check", operation_id="checkSettings", responses=answers(404, 503))
async def check(server: The, id: str, request: CheckRequest) -> CheckAnswer:
    """What a recipe becomes with other settings, or what is wrong with these; nothing is begun."""
    found = await checked(id, request.overrides, request.text, server.looks.ask)
    return CheckAnswer(**found)
