"""The answers, as OpenAPI has them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

WorkerState = Literal["starting", "ready", "busy", "stopped"]
ForecastState = Literal["waiting", "running", "preview", "done", "failed", "cancelled"]


class Health(BaseModel):
    """Whether the server answers, and whether forecasts can be made at once."""

    status: Literal["ok"]
    version: str
    ready: bool


class Token(BaseModel):
    """The token that the server printed."""

    model_config = {"extra": "forbid"}
    token: str


class System(BaseModel):
    """What serves."""

    version: str
    page: bool
    jobs: bool
    """Whether finetunings and evaluations can be begun here."""
    device: str | None
    cpu: int
    memory_free: int
    worker: WorkerState
    worker_message: str | None
    limits: dict[str, int]
    offline: bool
    boot: str
    workspace: str


class Question(BaseModel):
    """What the reader of a source needs to be told: fields of its reading options."""

    options: list[str]


class SourceAnswer(BaseModel):
    """One source of bars; numbers once it is read."""

    id: str
    name: str
    kind: Literal["bundled", "folder", "upload"]
    state: Literal["new", "reading", "ready", "question", "failed", "deleted"]
    message: str | None
    question: Question | None
    notes: list[str]
    options: dict[str, Any]
    changed: int
    rows: int | None = None
    symbols: int | None = None
    first: int | None = None
    last: int | None = None
    step_seconds: int | None = None
    zone: str | None = None


class SourceList(BaseModel):
    """A page of sources."""

    sources: list[SourceAnswer]
    next: int | None


class Uploaded(BaseModel):
    """What became of a file that was sent."""

    source_id: str
    bytes: int


class SymbolAnswer(BaseModel):
    """One symbol; first and last as the chart has times."""

    symbol: str
    rows: int
    first: int
    last: int


class SymbolList(BaseModel):
    """A page of symbols."""

    symbols: list[SymbolAnswer]
    next: int | None
    total: int


class BarsAnswer(BaseModel):
    """Candles in columns, oldest first."""

    symbol: str
    zone: str | None
    step_seconds: int
    every: int
    time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float] | None
    more_before: bool
    more_after: bool
    rows: int
    first: int
    last: int


class ModelAnswer(BaseModel):
    """One model that can be asked; `shell`: what a command calls it."""

    id: str
    name: str
    shell: str
    kind: Literal["bundled", "run", "release", "registered"]
    max_context: int | None
    lookback: int | None
    calendar: str | None
    calibrated: bool
    available: bool
    why_not: str | None


class ModelListAnswer(BaseModel):
    """All of them."""

    models: list[ModelAnswer]


class KnownPeriod(BaseModel):
    """Bars of a symbol of which one thing is to be said: `from` and `to`, the first and the last of them, in the times of /bars."""

    from_: int = Field(alias="from")
    to: int
    kind: Literal["trained", "validated", "released", "period", "unknown"]
    """The model was trained on these bars or later ones; they chose its checkpoint; its release may have seen them; other symbols of
    these days were trained on; nobody knows. Of each bar the first of these that applies."""
    says: str


class KnownAnswer(BaseModel):
    """What a model knows of a symbol's bars, in order of time; bars of no period are clean."""

    periods: list[KnownPeriod]


class ForecastTicket(BaseModel):
    """A forecast that was taken in."""

    id: str
    state: ForecastState
    position: int | None


class Exposure(BaseModel):
    """What the model may know of the bars that it forecasts."""

    mark: str
    says: str


class Band(BaseModel):
    """Two lines, a number a step."""

    lower: list[float]
    upper: list[float]


class Truth(BaseModel):
    """The bars that came, as many as there are of the horizon."""

    time: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]


class Scores(BaseModel):
    """What the truth says of a forecast."""

    steps: int
    crps: float
    crps_by_step: list[float]
    error: float
    inside: dict[str, float]
    rank: float


class Series(BaseModel):
    """The forecast of one symbol."""

    symbol: str
    origin_time: int
    last_close: float
    zone: str | None
    step_seconds: int
    time: list[int]
    dated_by: str
    notes: list[str]
    paths: int
    levels: list[float]
    quantiles: list[list[float]]
    mean: dict[str, list[float]]
    p_up: list[float]
    volatility: float
    mean_return: float
    median_return: float
    exposure: Exposure | None
    raw80: Band | None
    truth: Truth | None
    scores: Scores | None


class ModelName(BaseModel):
    """What made a forecast."""

    name: str | None
    digest: str | None


class ForecastAnswer(BaseModel):
    """A forecast, as far as it is made."""

    id: str
    state: ForecastState
    position: int | None
    progress: dict[str, int] | None
    message: str | None
    error: str | None
    request: dict[str, Any] | None
    made_at: int | None
    live: bool | None
    seconds: float | None
    cached: bool = False
    model: ModelName
    says: str | None
    series: list[Series]
    total: int


class TableRows(BaseModel):
    """Rows in columns. Returns and bands are to the last bar of the horizon; `failed` says why a symbol has no forecast."""

    symbol: list[str]
    origin_time: list[int | None]
    last_close: list[float | None]
    median_return: list[float | None]
    mean_return: list[float | None]
    low50: list[float | None]
    high50: list[float | None]
    low80: list[float | None]
    high80: list[float | None]
    p_up: list[float | None]
    volatility: list[float | None]
    exposure: list[str | None]
    notes: list[str]
    seconds: list[float | None]
    failed: list[str | None]


class TableAnswer(BaseModel):
    """Rows of a forecast of many symbols; `next`: the `after` of those that are not made yet or not sent; `done` of `total`
    symbols are made."""

    id: str
    state: ForecastState
    message: str | None
    rows: TableRows
    next: int
    done: int
    total: int


class ForecastLine(BaseModel):
    """A forecast in a list."""

    id: str
    state: str
    made_at: int | None
    model: str | None
    source_id: str | None
    symbols: int
    first_symbol: str | None
    horizon: int | None
    live: bool | None


class ForecastList(BaseModel):
    """A page of forecasts."""

    forecasts: list[ForecastLine]
    next: int | None


class PathsAnswer(BaseModel):
    """Some of the sampled paths of one column."""

    paths: list[list[float]]
    total: int


class DensityAnswer(BaseModel):
    """Where the closes of all paths lie: a histogram a step."""

    low: float
    high: float
    counts: list[list[int]]


class StepAnswer(BaseModel):
    """The closes of all paths at one step."""

    step: int
    edges: list[float]
    counts: list[int]
    p_above: float | None
    quantiles: dict[str, float]


class Coverage(BaseModel):
    """Share of the closes inside a band, with its 95% interval."""

    value: float | None
    low: float | None
    high: float | None
    origins: int
    """That it is of: scores of before the 50% band was kept lack it."""


class JournalPit(BaseModel):
    """Where in their forecast distributions the closes lay."""

    shares: list[float]
    """Of the closes in each tenth, lowest first; empty without one."""
    origins: int
    """That they are of: older scores lack a PIT."""
    enough: bool
    """Whether ten of these share no time."""


class JournalRow(BaseModel):
    """What came of the forecasts of one model whose bars came within one age."""

    model: str
    details: str
    age: str
    forecasts: int
    origins: int
    enough: bool
    coverage: dict[str, Coverage]
    """By the share of the paths that a band holds, in %: 50, 80, 90."""
    pit: JournalPit
    crps: float | None
    """In % of the last close, as that of the bootstrapped walk."""
    naive_crps: float | None
    crps_against_naive: float | None
    verdict: str


class JournalSummary(BaseModel):
    """The record; `late` were made after the fact and count nowhere, `older` scored before there were a 50% band and a PIT."""

    kept: int
    scored: int
    older: int
    late: int
    waiting: int
    due: int
    revised: int
    rows: list[JournalRow]


class JournalLine(BaseModel):
    """One thing to be said of a look at new bars."""

    about: str
    text: str


class JournalTold(BaseModel):
    """What came of it."""

    lines: list[JournalLine]


class JournalEntry(BaseModel):
    """One forecast that the journal keeps."""

    id: str
    made_at: int
    model: str
    symbol: str
    origin_time: int
    zone: str | None
    step_seconds: int
    horizon: int
    live: bool
    calibrated: bool
    scored_steps: int
    last_close: float
    request: dict[str, Any]
    """What it was asked with, as of POST /forecasts, without its symbols; of one that was kept by a command not all is known."""


class JournalList(BaseModel):
    """A page of entries, the newest first; `models`: names of all that are kept."""

    entries: list[JournalEntry]
    models: list[str]
    next: int | None
    total: int
