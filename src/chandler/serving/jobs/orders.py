"""What is wanted, as settings and a command line: paths come from ids and are set here; a path in a request is refused."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field

from chandler.atomic import write_text
from chandler.data.calendars import resolve_calendar
from chandler.data.datasets import CleaningSettings, SplitSettings
from chandler.errors import DataError
from chandler.serving.errors import Refusal
from chandler.serving.jobs.folder import REPORT, SETTINGS, JobFolder, Kind, Order
from chandler.serving.jobs.keys import Ask, require_no_paths
from chandler.serving.jobs.recipes import recipe
from chandler.serving.models import Model, ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace, clipped, fresh_id, typed_place
from chandler.settings import StrictModel, load

NAME = r"^\w[\w .-]{0,63}$"
OVERRIDES = 500
MEMORY = 0.5
"""Of the machine's, for a preflight."""


class Flags(BaseModel):
    """Switches of the command."""

    model_config = ConfigDict(extra="forbid")
    force: bool = False
    """Also forecast bars that a model has seen, and mark them."""
    overwrite: bool = False
    """Replace what the folder of this name holds."""


class JobRequest(BaseModel):
    """A job as it is asked for."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["finetune", "evaluate", "calibrate", "backtest"]
    name: str = Field(pattern=NAME)
    """Of the job, and of the folder that it writes."""
    source_id: str | None = Field(None, pattern=r"^src_[0-9a-f]{12}$")
    model_ids: list[str] = Field(default_factory=list, max_length=8)
    """Of a finetuning the start; of an evaluation any number; of a calibration and a backtest one."""
    recipe_id: str | None = Field(None, pattern=r"^[a-z0-9-]{1,64}$")
    overrides: dict[str, Any] = Field(default_factory=dict, max_length=OVERRIDES)
    """Dotted key -> value: {"predictor.epochs": 3}."""
    flags: Flags = Field(default_factory=Flags)


class PreflightRequest(BaseModel):
    """Windows, split and rules that bars are looked at with before a finetuning."""

    model_config = ConfigDict(extra="forbid")
    lookback: int = Field(90, ge=2, le=100_000)
    horizon: int = Field(10, ge=1, le=100_000)
    split: SplitSettings | None = None
    calendar: str | None = Field(None, max_length=64)
    cleaning: CleaningSettings | None = None
    max_gap: int | None = Field(None, ge=0, le=2**31)

    def arguments(self) -> list[str]:
        """As `chandler inspect` takes them."""
        given = self.model_dump(
            mode="json", exclude_unset=True, exclude={"lookback", "horizon", "calendar"}, exclude_none=True
        )
        made = [f"--lookback={self.lookback}", f"--horizon={self.horizon}"]
        if self.calendar is not None:
            made.append(f"--calendar={resolve_calendar(self.calendar)}")
        return [
            *made,
            *(word for name, value in given.items() for word in ("--set", f"data.{name}={json.dumps(value)}")),
        ]


@dataclass(frozen=True)
class Shop:
    """What orders are made of."""

    workspace: Workspace
    sources: SourceRegistry
    models: ModelList
    runs: Path
    device: str


async def ordered(request: JobRequest, shop: Shop, ask: Ask) -> Order:
    """The order of a request, its settings checked by the command's own rules and written into its folder.

    Raises:
        Refusal: 404 no such source, model or recipe; 409 a folder that is there; 422 settings that cannot be.
    """
    require_no_paths(request.overrides)
    models = [shop.models.get(id) for id in request.model_ids]
    draft = _Draft(request.kind, request, shop, models)
    if request.kind == "finetune":
        return await draft.finetune(ask)
    if request.recipe_id is not None:
        raise Refusal(
            422, f"recipe_id is of a finetuning: leave it out of a job of kind {request.kind}.", code="config"
        )
    if request.kind == "calibrate":
        return await draft.calibrate(ask)
    return await draft.judge(ask)


def looked_at(source_id: str, request: PreflightRequest, shop: Shop) -> Order:
    """The order of a preflight, which reads no more than its bars and has bounded memory.

    Raises:
        Refusal: 404 no such source, 409 one that is not read. DataError: no such calendar.
    """
    arguments = request.arguments()
    name = shop.sources.get(source_id).name
    draft = _Draft("preflight", JobRequest(kind="finetune", name="preflight", source_id=source_id), shop, [])
    data = draft.data()
    draft.open()
    # In its own folder: what is named there is named in the report, which says nothing of where things lie.
    argv = ["inspect", draft.bars or data, *arguments, "--json", "--html", REPORT]
    command = typed(["inspect", data, *arguments], shop)
    return Order(
        draft.id, "preflight", name, int(time.time()), command, argv, argv, source_id, draft.bars, keeps_output=True,
        memory=int(MEMORY * psutil.virtual_memory().total),
    )  # fmt: skip


class _Draft:
    """An order in the making."""

    def __init__(self, kind: Kind, request: JobRequest, shop: Shop, models: list[Model]) -> None:
        self.kind = kind
        self.request, self.shop, self.models = request, shop, models
        self.id = fresh_id("job")
        self.folder = shop.workspace.folder / "jobs" / self.id
        self.out = shop.runs.resolve() / slug(request.name)
        self.bars: str | None = None

    async def finetune(self, ask: Ask) -> Order:
        """Settings of a recipe (or the defaults), on the source's bars, from a model's weights."""
        if len(self.models) > 1:
            raise Refusal(422, "A finetuning starts from one model: give one of model_ids.", code="config")
        await self.settle(ask, {"out": str(self.out), "data.path": self.data()})
        begin = ["finetune", str(self.folder / SETTINGS), "--out", str(self.out)]
        return self.order(begin, [*begin, "--resume"])

    async def judge(self, ask: Ask) -> Order:
        """An evaluation of any number of models, or a backtest of one, on the source's bars."""
        if self.kind == "backtest" and len(self.models) != 1:
            raise Refusal(422, "A backtest trades the forecasts of one model: give one of model_ids.", code="config")
        await self.settle(ask, {"out": str(self.out), "data.path": self.data()})
        argv = [self.kind, "--config", str(self.folder / SETTINGS), "--out", str(self.out)]
        return self.order(argv, argv)

    async def calibrate(self, ask: Ask) -> Order:
        """Of a run on the bars that it was validated with, into its folder; of other models on the source's bars, into a new one."""
        if len(self.models) != 1:
            raise Refusal(422, "A calibration is of one model: give one of model_ids.", code="config")
        [model] = self.models
        own = model.kind == "run" and self.request.source_id is None
        if own:
            self.out = Path(model.source)
            self.refresh(self.out)
        options = CalibrateOptions.checked(self.request.overrides)
        place = [] if own else ["--data", self.data(), "--out", str(self.out)]
        if not own:
            self.require_free()
        self.open()
        argv = ["calibrate", model.source, *place, *options, *self.device()]
        return self.order(argv, argv)

    def refresh(self, run: Path) -> None:
        """Have the bars of a run that was made here lie where it read them, should they have been read anew since."""
        for job in (self.shop.workspace.folder / "jobs").iterdir():
            order = JobFolder(job).order()
            if order is not None and order.out == str(run) and order.kind == "finetune":
                point(job, order, self.shop.sources)

    def device(self) -> list[str]:
        """That of the server, where one was chosen."""
        return [] if self.shop.device == "auto" else [f"--device={self.shop.device}"]

    def data(self) -> str:
        """What the command reads the source's bars from: a link in the job's folder, which stays when they are read anew."""
        if self.request.source_id is None:
            raise Refusal(422, f"Which bars? A job of kind {self.kind} needs source_id.", code="config")
        address, name = (
            self.shop.sources.address(self.request.source_id),
            self.shop.sources.get(self.request.source_id).name,
        )
        if not Path(address).is_absolute():
            return address  # bundled
        self.bars = f"{slug(Path(name).name.partition('.')[0]).lstrip('-') or 'bars'}.store"
        return str(self.folder / self.bars)

    async def settle(self, ask: Ask, final: dict[str, Any]) -> None:
        """Have the settings checked, then make the folder with them."""
        self.require_free()
        begun_with = None if self.request.recipe_id is None else str(recipe(self.request.recipe_id).path)
        models = [(one.name, one.source) for one in self.models]
        settings = await ask(
            "settings.settled", self.kind, begun_with, models, self.shop.device, self.request.overrides, final
        )
        self.open()
        write_text(self.folder / SETTINGS, settings)

    def require_free(self) -> None:
        """Refusal 409: the folder of this name holds something, and is not to be replaced."""
        if self.request.flags.overwrite:
            return
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise Refusal(
                409,
                f"There is something of the name {self.out.name} already. Give another name, or replace it (overwrite).",
            )

    def open(self) -> None:
        """Make the job's folder."""
        self.folder.mkdir(mode=0o700)
        if self.bars is not None and self.request.source_id is not None:
            (self.folder / self.bars).symlink_to(self.shop.sources.address(self.request.source_id))

    def order(self, argv: list[str], again: list[str]) -> Order:
        """What is written down."""
        flags = self.request.flags
        force = ["--force"] if flags.force and self.kind != "finetune" else []
        first = [*argv, *force, *(["--overwrite"] if flags.overwrite and self.kind != "calibrate" else [])]
        return Order(
            self.id, self.kind, self.request.name, int(time.time()), typed(first, self.shop), first, [*again, *force],
            self.request.source_id, self.bars, tuple(self.request.model_ids), str(self.out),
        )  # fmt: skip


class CalibrateOptions(StrictModel):
    """The numbers of `chandler calibrate`."""

    horizon: int | None = Field(None, ge=1)
    lookback: int | None = Field(None, ge=2)
    stride: int | None = Field(None, ge=1)
    origins: int | None = Field(None, ge=1)
    paths: int = Field(100, ge=20)
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0)

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> list[str]:
        """As the command takes them. ConfigError: an unknown one, or one that cannot be."""
        found = load(cls, given).model_dump(exclude_unset=True, exclude_none=True)
        return [f"--{name.replace('_', '-')}={value}" for name, value in found.items()]


def point(folder: Path, order: Order, sources: SourceRegistry) -> None:
    """Have a job's link lead to its bars as they were read last; where the source is gone, it stays as it is."""
    if order.bars is None or order.source_id is None:
        return
    link = folder / order.bars
    with suppress(Refusal, DataError):
        address = sources.address(order.source_id)
        if not link.is_symlink() or str(link.readlink()) != address:
            link.unlink(missing_ok=True)
            link.symlink_to(address)


def slug(name: str) -> str:
    """A name as that of a folder."""
    return clipped(re.sub(r"[^\w.-]+", "-", name.strip())).rstrip(".-")


def typed(argv: list[str], shop: Shop) -> str:
    """The command as a person types it where the server runs."""
    homes = [shop.workspace.folder, shop.runs.resolve()]
    made = [typed_place(Path(one), homes) if Path(one).is_absolute() else one for one in argv]
    return shlex.join(["chandler", *made])
