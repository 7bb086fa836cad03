"""Takes forecasts in, one at a time goes to the child; those for a chart come before those for a table, and between its parts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

from chandler.serving.errors import Refusal, without_paths
from chandler.serving.events import EventHub
from chandler.serving.forecasts.folder import DONE, REQUEST, Kept, all_kept
from chandler.serving.forecasts.request import ForecastRequest
from chandler.serving.models import Model, ModelList
from chandler.serving.sources import SourceRegistry
from chandler.serving.tasks import Tasks
from chandler.serving.worker import WorkerClient, WorkerDied
from chandler.serving.workspace import Workspace, fresh_id, is_id, write_json

QUEUE = 64
State = Literal["waiting", "running", "preview", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
FIRST, MOST, PART_SECONDS = 8, 64, 3.0
"""Symbols of a table that go to the child together: the first, at most, and how long a part should take, since a chart waits so long."""
TELL_SECONDS = 0.2
REMEMBERED = 1000
"""Forecasts whose end is kept in memory where no file tells it."""


@dataclass
class Ticket:
    """A forecast that was asked for since the server began."""

    kept: Kept
    request: ForecastRequest
    model: Model
    bars: dict[str, str]
    key: str
    state: State = "waiting"
    progress: dict[str, int] | None = None
    message: str | None = None
    error: str | None = None
    preview: list[dict[str, Any]] | None = None
    made: int = 0
    """Symbols that are done, and those that are with the child now."""
    part: int = 1
    askers: int = 1
    """How many asked for it and did not give it up."""
    unwanted: bool = False
    told: float = 0.0
    """When its progress was told last."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ForecastDesk:
    """All forecasts of a server."""

    def __init__(
        self, workspace: Workspace, sources: SourceRegistry, models: ModelList, worker: WorkerClient, events: EventHub
    ) -> None:
        self._workspace, self._sources, self._models, self._worker, self._events = (
            workspace,
            sources,
            models,
            worker,
            events,
        )
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []
        """What is being made; a forecast for a chart, between two parts of one for a table, comes first."""
        self._keys: dict[str, str] = {}
        self._more = asyncio.Event()
        self._tasks = Tasks()
        sources.users.append(
            lambda: [(one.request.source_id, one.bars["path"]) for one in (*self._running, *self._waiting)]
        )

    def open(self) -> None:
        """Begin to work; what was kept before is known by its key, what was never finished is gone."""
        for kept in all_kept(self._workspace.folder / "forecasts"):
            done = kept.done()
            if done.get("kind") == "done":
                self._keys.setdefault(kept.request().get("key", ""), kept.id)
            elif not done and kept.parts():
                self._close(kept, {"kind": "failed", "message": "The server was stopped before all of it was made."})
            elif not done:
                shutil.rmtree(kept.folder, ignore_errors=True)
        self._tasks.begin(self._work())

    async def close(self) -> None:
        """Stop."""
        await self._tasks.close()

    def ask(self, request: ForecastRequest) -> tuple[str, bool]:
        """Take a forecast in; its id, and whether it was made before.

        Raises:
            Refusal: no such source, symbol or model, bars that are not read yet, a full queue.
        """
        model, store = self._models.get(request.model_id), self._sources.store(request.source_id)
        for symbol in dict.fromkeys(request.symbols):
            store.number(symbol)
        if len(set(request.symbols)) < len(request.symbols):
            raise Refusal(422, "A symbol is asked for twice.", code="config")
        if request.calibrated and not model.calibrated:
            raise Refusal(422, f"{model.name} has no calibration. Fit one: chandler calibrate.", code="config")
        bars = {"path": self._sources.address(request.source_id), "revision": self._sources.revision(request.source_id)}
        asked = {**request.model_dump(exclude={"preview"}), "bars": bars["revision"], "weights": model.revision}
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        if (there := self._keys.get(key)) is not None and self.kept(there).done():
            return there, True
        for ticket in (*self._running, *self._waiting):
            if ticket.key == key and ticket.state not in ENDED and not ticket.unwanted:
                ticket.askers += 1
                return ticket.kept.id, False
        if len(self._waiting) >= QUEUE:
            raise Refusal(429, f"{QUEUE} forecasts wait already. Try again when some are done.")
        kept = Kept(self._workspace.folder / "forecasts" / fresh_id("fc"))
        ticket = Ticket(kept, request, model, bars, key)
        self._tickets[kept.id] = ticket
        while len(self._tickets) > REMEMBERED and next(iter(self._tickets.values())).state in ENDED:
            self._tickets.popitem(last=False)
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda one: len(one.request.symbols) > 1)
        self._more.set()
        return kept.id, False

    def kept(self, id: str) -> Kept:
        """The folder of an id."""
        if not is_id(id, "fc"):
            raise Refusal(404, "There is no such forecast.")
        return Kept(self._workspace.folder / "forecasts" / id)

    def finished(self, id: str) -> Kept:
        """The folder of a forecast that was made, as far as it ever will be; Refusal 409 while it is not."""
        kept = self.kept(id)
        if not kept.done():
            told = self.describe(id, series=False)
            raise Refusal(409, told["message"] or f"This forecast is {told['state']}.")
        return kept

    def describe(self, id: str, *, series: bool = True, offset: int = 0, limit: int = 500) -> dict[str, Any]:
        """All that is known of a forecast; Refusal 404."""
        kept, ticket = self.kept(id), self._tickets.get(id)
        written, done = kept.request(), kept.done()
        if ticket is None and not written:
            raise Refusal(404, "There is no such forecast.")
        told: dict[str, Any] = {
            "id": id, "state": done.get("kind", "failed"), "position": None, "progress": None, "message": done.get("message"),
            "error": done.get("error"),
            "request": written.get("request"), "made_at": done.get("made_at"), "live": done.get("live"),
            "seconds": done.get("seconds"), "model": {"name": written.get("model"), "digest": done.get("digest")},
            "says": done.get("says"), "series": [], "total": len((written.get("request") or {}).get("symbols", [])),
        }  # fmt: skip
        if ticket is not None and not done:
            told |= {
                "state": ticket.state, "progress": ticket.progress, "message": ticket.message, "error": ticket.error,
                "request": ticket.request.model_dump(), "total": len(ticket.request.symbols),
                "position": self._waiting.index(ticket) + 1 if ticket in self._waiting else None,
                "model": {"name": ticket.model.name, "digest": None},
            }  # fmt: skip
        if series:
            told["series"] = kept.series(offset, limit)
            if not told["series"] and ticket is not None and ticket.preview is not None:
                told["series"] = ticket.preview
        return told

    def list(self) -> list[str]:
        """Ids, those that are not done first, then the newest."""
        pending = [one.kept.id for one in (*self._running, *self._waiting)]
        return [
            *pending,
            *(kept.id for kept in all_kept(self._workspace.folder / "forecasts") if kept.id not in pending),
        ]

    async def wait(self, id: str, seconds: float) -> None:
        """Until a forecast has ended, or so long."""
        ticket = self._tickets.get(id)
        if ticket is not None:
            try:
                await asyncio.wait_for(ticket.ended.wait(), seconds)
            except TimeoutError:
                return

    async def cancel(self, id: str) -> None:
        """Give up a forecast that is not made yet: the last of those who asked for it ends it. Refusal 409 for one that is made:
        what was said stays said, also in part."""
        kept, ticket = self.kept(id), self._tickets.get(id)
        if kept.done() or (ticket is not None and ticket.state in ENDED):
            raise Refusal(409, "This forecast has ended; what was said stays.")
        if ticket is None:
            raise Refusal(404, "There is no such forecast.")
        ticket.askers -= 1
        if ticket.askers > 0:
            return
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._end(ticket, "cancelled")
        else:
            ticket.unwanted = True
            if self._running[0] is ticket:
                await self._worker.cancel(id)
                await self.wait(id, 10)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            await self._take(self._waiting.pop(0))

    async def _take(self, ticket: Ticket) -> None:
        """Make one; whatever becomes of it, the desk goes on."""
        self._running.insert(0, ticket)
        try:
            await self._make(ticket)
        except OSError as error:  # a full disk ends this forecast, not the desk
            shutil.rmtree(ticket.kept.folder, ignore_errors=True)
            ticket.message = f"The forecast could not be written or begun ({error.strerror or error})."
            self._end(ticket, "failed")
        finally:
            self._running.remove(ticket)

    async def _make(self, ticket: Ticket) -> None:
        request, kept = ticket.request, ticket.kept
        kept.folder.mkdir(mode=0o700)
        write_json(
            kept.folder / REQUEST,
            {
                "request": request.model_dump(),
                "model": ticket.model.name,
                "key": ticket.key,
                "asked_at": int(time.time()),
            },
        )
        self._set(ticket, "running")
        settings = request.model_dump(
            include={"temperature", "top_p", "top_k", "lookback", "overflow", "precision", "repair"}
        )
        asked = request.model_dump(include={"horizon", "paths", "origin", "interval", "seed", "calibrated", "calendar"})
        message = {
            "do": "forecast", "id": kept.id, "folder": str(kept.folder), "many": len(request.symbols) > 1,
            "model": ticket.model.source, "model_revision": ticket.model.revision, "bars": ticket.bars,
            "preview": request.preview, "journal": str(self._workspace.folder / "journal"), "asked": {**asked, "settings": settings},
            "request": request.model_dump(exclude={"symbols", "preview"}),
        }  # fmt: skip
        answer = await self._parts(ticket, message)
        if kept.parts():
            self._close(kept, answer)
        else:
            shutil.rmtree(kept.folder, ignore_errors=True)
        if answer["kind"] == "done":
            self._keys[ticket.key] = kept.id
        elif answer["kind"] == "failed":
            ticket.message, ticket.error = answer["message"], answer["error"]
        self._end(ticket, answer["kind"])

    async def _parts(self, ticket: Ticket, message: dict[str, Any]) -> dict[str, Any]:
        """Have the child make all symbols, some at a time, and charts that were asked for in between; how it ended."""
        symbols, size = ticket.request.symbols, FIRST
        whole: dict[str, Any] = {"kind": "done", "live": True, "seconds": 0.0}
        for number in range(len(symbols)):
            while len(symbols) > 1 and self._waiting and len(self._waiting[0].request.symbols) == 1:
                await self._take(self._waiting.pop(0))
            if ticket.unwanted:
                return whole | {"kind": "cancelled"}
            part = symbols[ticket.made : ticket.made + size]
            begun, ticket.part = time.monotonic(), len(part)
            try:
                asked = {**message, "number": number, "symbols": part}
                answer = await self._worker.ask(asked, lambda told: self._hear(ticket, told))
            except WorkerDied as error:
                return whole | {"kind": "failed", "error": "worker", "message": str(error)}
            if answer["kind"] == "failed":
                return whole | {**answer, "message": without_paths(answer["message"])}
            if answer["kind"] == "cancelled":
                return whole | answer
            live, seconds = whole["live"] and answer["live"], round(whole["seconds"] + answer["seconds"], 3)
            says = max(whole.get("says") or "", answer["says"] or "", key=len) or None  # what speaks against some stays
            whole |= {**answer, "live": live, "seconds": seconds, "says": says}
            ticket.made += len(part)
            if ticket.made == len(symbols):
                break
            self._told(ticket, {"done": ticket.made, "total": len(symbols)})
            size = max(1, min(MOST, 2 * size, round(size * PART_SECONDS / max(time.monotonic() - begun, 1e-3))))
        return whole

    @staticmethod
    def _close(kept: Kept, answer: dict[str, Any]) -> None:
        """Write how it ended: from here on nothing of it changes."""
        write_json(kept.folder / DONE, {"error": "", **answer, "made_at": int(time.time())})

    def _hear(self, ticket: Ticket, told: dict[str, Any]) -> None:
        if told["kind"] == "preview":
            ticket.preview = told["series"]
            self._set(ticket, "preview")
            return
        if len(ticket.request.symbols) > 1:
            done = ticket.made + ticket.part * told["done"] / max(told["total"], 1)
            told = {"done": int(done), "total": len(ticket.request.symbols)}
        self._told(ticket, {"done": told["done"], "total": told["total"]})

    def _told(self, ticket: Ticket, progress: dict[str, int]) -> None:
        """Progress is told a few times a second, not of every bar."""
        ticket.progress = progress
        if time.monotonic() - ticket.told > TELL_SECONDS:
            ticket.told = time.monotonic()
            self._set(ticket, ticket.state)

    def _set(self, ticket: Ticket, state: State) -> None:
        ticket.state = state
        self._events.publish("forecast", {"id": ticket.kept.id, "state": state, **(ticket.progress or {})})

    def _end(self, ticket: Ticket, state: State) -> None:
        ticket.preview = None
        self._set(ticket, state)
        ticket.ended.set()
