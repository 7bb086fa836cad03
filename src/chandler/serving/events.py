"""What changed, told to whoever listens; what is true they ask for themselves."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

KEPT = 1000
"""Events that a page may have missed and is told again."""
RESYNC = "resync"


@dataclass(frozen=True)
class Event:
    """One change."""

    id: str
    type: str
    data: dict[str, Any]


class EventHub:
    """A ring of the last events, and everyone who waits for the next."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def open(self) -> None:
        """From here on events are told on this loop."""
        self._loop = asyncio.get_running_loop()

    def publish(self, type: str, data: dict[str, Any]) -> None:
        """Tell an event, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, type, data)

    def close(self) -> None:
        """End all streams: uvicorn waits for them."""
        self.closed = True
        self._wake()

    async def follow(self, after: str | None) -> AsyncIterator[Event]:
        """Events after an id: those that were missed, then those to come. An id that is not known gets `resync` first."""
        number = self._known(after)
        if number is None:
            number = self._number
            yield Event(f"{self.boot}-{number}", RESYNC, {})
        while not self.closed:
            changed = self._changed  # before the ring is looked at: what comes meanwhile sets it
            for found, event in list(self._ring):
                if found > number:
                    number = found
                    yield event
            await changed.wait()

    def _add(self, type: str, data: dict[str, Any]) -> None:
        self._number += 1
        self._ring.append((self._number, Event(f"{self.boot}-{self._number}", type, data)))
        self._wake()

    def _wake(self) -> None:
        """Let everyone go on who waits, once."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _known(self, after: str | None) -> int | None:
        """The number of an id, if nothing after it was forgotten; a new listener has missed nothing."""
        if after is None:
            return self._number
        boot, _, text = after.partition("-")
        if boot != self.boot or not text.isdecimal():
            return None
        number = int(text)
        oldest = self._ring[0][0] if self._ring else self._number + 1
        return number if oldest - 1 <= number <= self._number else None
