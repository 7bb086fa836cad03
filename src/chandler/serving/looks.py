"""Short questions that need torch all the same: settings, recipes, verdicts, what a model knows, the journal. They have a child of
their own, so that none waits behind a forecast and none falls with one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from chandler.serving.errors import STATUS, Refusal, without_paths
from chandler.serving.events import EventHub
from chandler.serving.sources import SourceRegistry
from chandler.serving.tasks import Tasks
from chandler.serving.worker import WorkerClient, WorkerDied
from chandler.serving.workspace import Workspace


class LookDesk:
    """Asks the child that makes no forecasts."""

    def __init__(self, workspace: Workspace, sources: SourceRegistry, worker: WorkerClient, events: EventHub) -> None:
        self._workspace, self._sources, self._worker, self._events = workspace, sources, worker, events
        self._tasks = Tasks()

    def start_after(self, other: WorkerClient) -> None:
        """Have the child at hand once another is ready: two that load torch at once keep each other waiting."""

        async def start() -> None:
            await other.ready.wait()
            await self._worker.start()

        self._tasks.begin(start())

    async def ask(self, what: str, *given: Any) -> Any:
        """What a function of the room worker finds, "settings.checked". A child that dies is asked again, once: a look made twice
        finds the same.

        Raises:
            Refusal: 503, it died again; else what it refused, in its words.
        """
        request = {"do": what, "with": given}
        try:
            with suppress(WorkerDied):
                return self._found(await self._worker.ask(request, lambda told: None))
            return self._found(await self._worker.ask(request, lambda told: None))
        except WorkerDied as error:
            raise Refusal(503, str(error)) from None

    async def journal(self, what: str, *given: Any) -> Any:
        """What `worker.ledger` finds in the journal of the workspace; Refusal as of `ask`."""
        return await self.ask(f"ledger.{what}", str(self._workspace.folder / "journal"), *given)

    def score_soon(self, source: str) -> None:
        """Hold what the journal keeps against the bars of a source, which were just read."""
        if (self._workspace.folder / "journal").is_dir():
            self._tasks.begin(self._score(source))

    async def close(self) -> None:
        """Wait for no answer any more."""
        await self._tasks.close()

    def _found(self, answer: dict[str, Any]) -> Any:
        if answer["kind"] == "failed":
            known = (found for kind, found in STATUS.items() if kind.__name__ == answer["error"])
            status, code = next(known, (500, "internal"))
            raise Refusal(status, without_paths(answer["message"], self._workspace.folder), code=code)
        return answer["found"]

    async def _score(self, source: str) -> None:
        try:
            await self.journal("score", self._sources.address(source))
        except Refusal:  # it is gone, or read again
            return
        self._events.publish("journal", {"source_id": source})
