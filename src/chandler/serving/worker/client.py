"""The server's end of the pipes: one request at a time, told as it goes; a child that died is started again."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chandler.serving.sources import child_environment

log = logging.getLogger("chandler.serving")
Tell = Callable[[dict[str, Any]], None]
PATIENCE = 5.0
"""Seconds that the child has to stop a forecast before it is killed."""
LINE = 1 << 24
"""Bytes of a message at most."""


class WorkerDied(Exception):
    """The child ended in the middle of a request; its message is for whoever asked."""


class WorkerClient:
    """A child, from outside."""

    def __init__(self, name: str, device: str, tell: Tell) -> None:
        """`name`: what it is for, "forecasts", as messages and lists of processes have it. `tell` hears of every change of `state`."""
        self._name, self._device, self._tell = name, device, tell
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: asyncio.Queue[dict[str, Any] | None] | None = None
        self._closed = False
        self._turn = asyncio.Lock()
        self.ready = asyncio.Event()
        """Set once it was ready for the first time."""
        self.state = "stopped"
        self.message: str | None = None
        self.about: dict[str, Any] = {}

    async def start(self) -> None:
        """Begin, where nobody who asked did already; it is ready when torch is loaded."""
        async with self._turn:
            await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        if self._reader is not None:
            await self._reader  # what ends the one before must not reach who asks the next one
        self._set("starting")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chandler.serving.worker", self._name, self._device,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE, start_new_session=True, env=child_environment(),
        )  # fmt: skip
        self._reader = asyncio.get_running_loop().create_task(self._read(self._process))
        return self._process

    async def _send(self, process: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
        assert process.stdin is not None
        with suppress(ConnectionError):  # it died: who waits is told
            process.stdin.write((json.dumps(message) + "\n").encode())
            await process.stdin.drain()

    async def ask(self, request: dict[str, Any], tell: Tell) -> dict[str, Any]:
        """Have one thing done, in turn. `tell` hears of progress and of parts; what is returned is the last message.

        Raises:
            WorkerDied: it did.
        """
        async with self._turn:
            process = await self._start()
            waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
            self._waiting = waiting
            try:
                await self._send(process, request)
                while (message := await waiting.get()) is not None:
                    if message["kind"] in ("done", "failed", "cancelled"):
                        return message
                    tell(message)
                raise WorkerDied(f"The process for {self._name} died. Try again: it starts anew.")
            finally:
                self._waiting = None

    async def cancel(self, id: str) -> None:
        """Stop a forecast: the child is asked to, and killed where it does not answer."""
        process, waiting = self._process, self._waiting
        if process is None or waiting is None:
            return
        await self._send(process, {"cancel": id})
        for _ in range(int(PATIENCE * 10)):
            await asyncio.sleep(0.1)
            if self._waiting is not waiting:
                return
        with suppress(ProcessLookupError):
            process.kill()

    async def close(self) -> None:
        """End the child."""
        self._closed = True
        process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 2)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        self.state = "stopped"

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                message = json.loads(line)
                if message["kind"] == "state":
                    self.about |= message.get("about", {})
                    self._set(message["state"])
                elif self._waiting is not None:
                    self._waiting.put_nowait(message)
        except Exception as error:  # a line that is too long, or none of ours: whoever waits is told that it died
            log.error("the process for %s said what nobody can read", self._name, exc_info=error)
            with suppress(ProcessLookupError):
                process.kill()
            while await process.stdout.read(LINE):  # what is left in the pipe would keep it from ending
                pass
        await process.wait()
        if self._waiting is not None:
            self._waiting.put_nowait(None)
        if not self._closed:
            log.warning("the process for %s ended with code %s", self._name, process.returncode)
            self._set("stopped", f"The process for {self._name} ended. Whoever asks next starts it again.")

    def _set(self, state: str, message: str | None = None) -> None:
        self.state, self.message = state, message
        if state == "ready":
            self.ready.set()
        self._tell({"worker": state})
