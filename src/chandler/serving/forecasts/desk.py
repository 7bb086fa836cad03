"""Takes forecasts in, one at a time goes to the child, those for a chart before those for a table."""

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
from chandler.serving.worker import WorkerClient, WorkerDied
from chandler.serving.workspace import Workspace, fresh_id, is_id, write_json

QUEUE = 64
State = Literal["waiting", "running", "preview", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
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
        self._running: Ticket | None = None
        self._keys: dict[str, str] = {}
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to work; what was kept before is known by its key, what was never finished is gone."""
        for kept in all_kept(self._workspace.folder / "forecasts"):
            if kept.done():
                self._keys.setdefault(kept.request().get("key", ""), kept.id)
            else:
                shutil.rmtree(kept.folder, ignore_errors=True)
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

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
        for ticket in (self._running, *self._waiting):
            if ticket is not None and ticket.key == key and ticket.state not in ENDED:
                return ticket.kept.id, False
        if len(self._waiting) >= QUEUE:
            raise Refusal(429, f"{QUEUE} forecasts wait already. Try again when some are done.")
        kept = Kept(self._workspace.place("forecasts", fresh_id("fc")))
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
        return Kept(self._workspace.place("forecasts", id))

    def finished(self, id: str) -> Kept:
        """The folder of a forecast that was made; Refusal 409 while it is not."""
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
            "id": id, "state": "done" if done else "failed", "position": None, "progress": None, "message": None, "error": None,
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
        pending = [one.kept.id for one in (self._running, *self._waiting) if one is not None]
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
        """Give up a forecast that is not made yet; Refusal 409 for one that is: what was said stays said."""
        kept, ticket = self.kept(id), self._tickets.get(id)
        if kept.done() or (ticket is not None and ticket.state in ENDED):
            raise Refusal(409, "This forecast has ended; what was said stays.")
        if ticket is None:
            raise Refusal(404, "There is no such forecast.")
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._end(ticket, "cancelled")
        else:
            await self._worker.cancel(id)
            await self.wait(id, 10)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            ticket = self._running = self._waiting.pop(0)
            try:
                await self._make(ticket)
            except OSError as error:  # a full disk ends this forecast, not the desk
                shutil.rmtree(ticket.kept.folder, ignore_errors=True)
                ticket.message = f"The forecast could not be written or begun ({error.strerror or error})."
                self._end(ticket, "failed")
            finally:
                self._running = None

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
            "do": "forecast", "id": kept.id, "folder": str(kept.folder),
            "model": ticket.model.source, "model_revision": ticket.model.revision,
            "bars": ticket.bars, "symbols": request.symbols, "preview": request.preview,
            "journal": str(self._workspace.folder / "journal"), "asked": {**asked, "settings": settings},
        }  # fmt: skip
        try:
            answer = await self._worker.ask(message, lambda told: self._hear(ticket, told))
        except WorkerDied:
            answer = {
                "kind": "failed",
                "error": "worker",
                "message": "The forecasting process died. Try again: it starts anew.",
            }
        if answer["kind"] == "done":
            write_json(kept.folder / DONE, {**answer, "made_at": int(time.time())})
            self._keys[ticket.key] = kept.id
            self._end(ticket, "done")
            return
        shutil.rmtree(kept.folder, ignore_errors=True)
        if answer["kind"] == "cancelled":
            self._end(ticket, "cancelled")
        else:
            ticket.message, ticket.error = without_paths(answer["message"]), answer["error"]
            self._end(ticket, "failed")

    def _hear(self, ticket: Ticket, told: dict[str, Any]) -> None:
        if told["kind"] == "preview":
            ticket.preview = told["series"]
            self._set(ticket, "preview")
        else:
            ticket.progress = {"done": told["done"], "total": told["total"]}
            self._set(ticket, ticket.state)

    def _set(self, ticket: Ticket, state: State) -> None:
        ticket.state = state
        self._events.publish("forecast", {"id": ticket.kept.id, "state": state, **(ticket.progress or {})})

    def _end(self, ticket: Ticket, state: State) -> None:
        ticket.preview = None
        self._set(ticket, state)
        ticket.ended.set()
