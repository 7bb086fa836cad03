"""What is wanted, as settings and a command line: paths come from ids and are set here; a path in a request is refused."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field

from chandler.atomic import write_text
from chandler.serving.errors import Refusal
from chandler.serving.jobs.folder import SETTINGS, Order
from chandler.serving.models import Model, ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace, fresh_id

NAME = r"^\w[\w .-]{0,63}$"
PATHS = re.compile(
    r"(out|data\.(path|folder|sources|market)|data\.replay\.path|(tokenizer|predictor)\.start|(.+\.)?revision|models?|signals|head|trackers"
    r"|signal\.head)(\..*)?"
)
"""Settings that name places, or send something elsewhere: the server sets them, or nobody does."""
OVERRIDES = 500
Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Has the worker do something; refuses where it fails."""


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


@dataclass(frozen=True)
class Shop:
    """What orders are made of."""

    workspace: Workspace
    sources: SourceRegistry
    models: ModelList
    runs: Path
    device: str


def require_no_paths(overrides: Mapping[str, Any]) -> None:
    """Refusal 422 for a key that names a place."""
    for key in _keys(overrides):
        if PATHS.fullmatch(key):
            raise Refusal(422, f"{key} is set by the server and cannot be given here.", code="config")


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, those on the way among them."""
    for name, value in values.items():
        key = prefix + ".".join(part.strip() for part in name.split("."))
        yield key
        if isinstance(value, Mapping):
            yield from _keys(value, f"{key}.")


async def ordered(request: JobRequest, shop: Shop, ask: Ask) -> Order:
    """The order of a request, its settings checked by the command's own rules and written into its folder.

    Raises:
        Refusal: 404 no such source, model or recipe; 409 a folder that is there; 422 settings that cannot be.
    """
    require_no_paths(request.overrides)
    models = [shop.models.get(id) for id in request.model_ids]
    order = _Draft(request, shop, models)
    return await {
        "finetune": order.finetune,
    }[request.kind](ask)


class _Draft:
    """An order in the making."""

    def __init__(self, request: JobRequest, shop: Shop, models: list[Model]) -> None:
        self.request, self.shop, self.models = request, shop, models
        self.id = fresh_id("job")
        self.folder = shop.workspace.folder / "jobs" / self.id
        self.out = shop.runs.resolve() / slug(request.name)
        self.bars: str | None = None

    async def finetune(self, ask: Ask) -> Order:
        """Settings of a recipe (or the defaults), on the source's bars, from a model's weights."""
        if len(self.models) > 1:
            raise Refusal(422, "A finetuning starts from one model: give one of model_ids.", code="config")
        final = {"out": str(self.out), "data.path": self.data()}
        if self.shop.device != "auto" and "device" not in self.request.overrides:
            final["device"] = self.shop.device
        await self.settle(ask, final)
        begin = ["finetune", str(self.folder / SETTINGS), "--out", str(self.out)]
        return self.order(begin, [*begin, "--resume"])

    def data(self) -> str:
        """What the command reads the source's bars from: a link in the job's folder, which stays when they are read anew."""
        if self.request.source_id is None:
            raise Refusal(422, f"Which bars? A job of kind {self.request.kind} needs source_id.", code="config")
        address, name = (
            self.shop.sources.address(self.request.source_id),
            self.shop.sources.get(self.request.source_id).name,
        )
        if not Path(address).is_absolute():
            return address  # bundled
        self.bars = f"{slug(Path(name).name.partition('.')[0]) or 'bars'}.store"
        return str(self.folder / self.bars)

    async def settle(self, ask: Ask, final: dict[str, Any]) -> None:
        """Have the settings checked, then make the folder with them."""
        self.require_free()
        asked = {
            "do": "settings", "id": self.id, "kind": self.request.kind, "recipe": self.request.recipe_id,
            "models": [one.source for one in self.models], "overrides": self.request.overrides, "final": final,
        }  # fmt: skip
        found = await ask(asked)
        self.open()
        write_text(self.folder / SETTINGS, found["yaml"])

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
            point(self.folder / self.bars, self.shop.sources.address(self.request.source_id))

    def order(self, argv: list[str], again: list[str]) -> Order:
        """What is written down."""
        flags = self.request.flags
        force = ["--force"] if flags.force and self.request.kind != "finetune" else []
        first = [*argv, *force, *(["--overwrite"] if flags.overwrite and self.request.kind != "calibrate" else [])]
        return Order(
            self.id, self.request.kind, self.request.name, int(time.time()), typed(first, self.shop), first, [*again, *force],
            self.request.source_id, self.bars, tuple(self.request.model_ids), str(self.out),
        )  # fmt: skip


def point(link: Path, address: str) -> None:
    """Have a link lead to a source's bars as they were read last."""
    if link.is_symlink() and str(link.readlink()) == address:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(address)


def slug(name: str) -> str:
    """A name as that of a folder."""
    return re.sub(r"[^\w.-]+", "-", name.strip()).rstrip(".-")


def typed(argv: list[str], shop: Shop) -> str:
    """The command as a person types it where the server runs; of places elsewhere the last folders alone."""
    homes = [(shop.workspace.folder, shop.workspace.folder.name), (shop.runs.resolve(), shop.runs.name)]
    made = []
    for one in argv:
        path = Path(one)
        if path.is_absolute():
            known = [f"{name}/{path.relative_to(home)}" for home, name in homes if path.is_relative_to(home)]
            here = path.is_relative_to(Path.cwd())
            one = str(path.relative_to(Path.cwd())) if here else (known[0] if known else path.name)
        made.append(one)
    return shlex.join(["chandler", *made])


def share_of_memory(share: float) -> int:
    """Bytes of so much of the machine's memory."""
    return int(share * psutil.virtual_memory().total)
