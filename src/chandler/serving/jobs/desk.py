"""Queues jobs, starts them one after the other, and tells what became of them; what it knows it reads from their folders."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from chandler.serving.errors import Refusal, without_paths
from chandler.serving.events import EventHub
from chandler.serving.jobs.folder import (
    EXIT,
    JOB,
    KILLED,
    LOCK,
    LOG,
    PROCESS,
    REFUSED,
    REPORT,
    STOP,
    UNBEGUN,
    UNSAVED,
    JobFolder,
    Order,
    State,
)
from chandler.serving.jobs.orders import point
from chandler.serving.jobs.progress import Gauge
from chandler.serving.models import ModelList, run_model
from chandler.serving.sources import SourceRegistry, child_environment
from chandler.serving.tasks import Tasks
from chandler.serving.workspace import Workspace, folder_id, is_id, read_json, write_json
from chandler.training.runs import run_folders

log = logging.getLogger("chandler.serving")
QUEUE = 64
QUICK = "preflight"
QUICK_AT_ONCE = 2
"""Preflights that run beside the others."""
TICK = 1.0
"""Seconds between two looks at jobs that run."""
LOG_BYTES = 256 << 10
"""Of a log that are sent at once."""
ACTIVE = ("queued", "running", "stopping")


class JobDesk:
    """All jobs of a server."""

    def __init__(
        self, workspace: Workspace, sources: SourceRegistry, models: ModelList, parallel: int, events: EventHub
    ) -> None:
        """`parallel`: how many run at once."""
        self._sources, self._models = sources, models
        self._root, self._place = workspace.folder, workspace.folder / "queue.json"
        self._limits = {QUICK: QUICK_AT_ONCE, "": parallel}
        self._events = events
        self._turn = threading.RLock()
        self._children: list[subprocess.Popen[bytes]] = []
        self._gauges: dict[str, Gauge] = {}
        self._told: dict[str, tuple[Any, ...]] = {}
        self._queue: list[str] = [id for id in read_json(self._place).get("jobs", []) if is_id(id, "job")]
        self._watched: set[str] = set()
        self._tasks = Tasks()
        self._more = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        sources.users.append(self._uses)

    def open(self) -> None:
        """Begin: find what runs from before, and start what waits."""
        self._loop = asyncio.get_running_loop()
        self._watched = {job.id for job in self._all() if job.held()} | set(self._queue)
        self._tasks.begin(self._watch())
        self._more.set()

    async def close(self) -> None:
        """Look no more; jobs go on."""
        await self._tasks.close()

    def require_free(self, out: Path | None) -> None:
        """Refusal: a full queue, or a job that writes that folder already."""
        with self._turn:
            if len(self._queue) >= QUEUE:
                raise Refusal(429, f"{QUEUE} jobs wait already. Try again when some are done.")
            for id in self._watched:
                order = self._job(id).order()
                if out is not None and order is not None and order.out == str(out) and self._state(id) in ACTIVE:
                    raise Refusal(409, f"{out.name}: the job {order.name} writes there. Give another name.")

    def submit(self, order: Order) -> str:
        """Take a job in, whose folder is there; its id."""
        with self._turn:
            try:
                self.require_free(None if order.out is None else Path(order.out))
            except Refusal:
                shutil.rmtree(self._job(order.id).folder, ignore_errors=True)
                raise
            self._job(order.id).write(order)
            self._enqueue(order.id)
        return order.id

    def ids(self) -> list[str]:
        """Ids, the newest first."""
        return [job.id for job in self._all()]

    def describe(self, id: str, *, result: bool = False) -> dict[str, Any]:
        """All that is known of a job, its result if so asked, which may be long; Refusal 404."""
        with self._turn:
            job, order = self._known(id)
            state = self._state(id)
            process, ended = job.process(), job.ended()
            gone = state not in ACTIVE
            if gone and id in self._watched:  # before anyone hears of its end: what it made can be asked for then
                self._models.forget()
            return {
                "id": id, "kind": order.kind, "name": order.name, "state": state, "resumable": self._resumable(job, order, state),
                "created": order.created,
                "started": int(process["started"]) if "started" in process and state != "queued" else None,
                "ended": int(ended["ended"]) if gone and ended else None,
                "position": self._queue.index(id) + 1 if state == "queued" else None,
                "source_id": order.source_id, "model_ids": list(order.model_ids),
                "progress": self._gauge(job, order).read() if state in ("running", "stopping") else None,
                "command": order.command,
                "run_id": self._run(order), "model_id": self._model(order),
                "evaluation_id": folder_id("ev", Path(order.out)) if order.out and order.kind in ("evaluate", "backtest") else None,
                "message": self._message(job, order, state),
                "result": job.result() if result and state == "finished" else None,
            }  # fmt: skip

    def _run(self, order: Order) -> str | None:
        """The run that a job writes or adds to, once it is there."""
        if order.out is None or order.kind not in ("finetune", "calibrate") or not any(run_folders(Path(order.out), 0)):
            return None
        return folder_id("run", Path(order.out))

    def _model(self, order: Order) -> str | None:
        """The model that a job makes or calibrates, once it is whole."""
        if order.out is None or order.kind not in ("finetune", "calibrate"):
            return None
        return run_model(Path(order.out))

    def log(self, id: str, after: int) -> dict[str, Any]:
        """Lines of the log from a byte on."""
        job, _ = self._known(id)
        size = (job.folder / LOG).stat().st_size if (job.folder / LOG).is_file() else 0
        reset = after > size
        lines, following = job.lines(0 if reset else after, LOG_BYTES)
        return {"lines": [self._plain(line) for line in lines], "next": following, "reset": reset}

    def report(self, id: str) -> Path | None:
        """The page that a job of its own has, which is a preflight's; None where there is none."""
        path = self._root / "jobs" / id / REPORT
        return path if is_id(id, "job") and path.is_file() else None

    def by_folder(self) -> dict[Path, str]:
        """Folder -> the newest job that wrote, or writes, it; those that calibrated a run add to it alone."""
        orders = [order for job in reversed(self._all()) if (order := job.order()) is not None]
        return {Path(order.out): order.id for order in orders if order.out is not None and order.kind != "calibrate"}

    def end(self, id: str, how: Literal["stop", "kill"]) -> None:
        """Ask a job to save and leave, or have it killed; one that waits leaves the queue. Refusal 409 where there is nothing to end."""
        with self._turn:
            job, _ = self._known(id)
            state = self._state(id)
            if state == "queued":
                self._queue.remove(id)
                self._save()
                if not job.ended():
                    write_json(job.folder / EXIT, {"code": UNBEGUN, "asked": how, "ended": time.time()})
            elif state == "running" or (state == "stopping" and how == "kill"):
                job.ask(how)
            else:
                raise Refusal(409, f"This job is {state}.")
        self._wake(id)

    def resume(self, id: str) -> None:
        """Have a job go on from where it stopped; Refusal 409 for one that has nothing to go on with."""
        with self._turn:
            job, order = self._known(id)
            state = self._state(id)
            if not self._resumable(job, order, state):
                raise Refusal(409, f"This job is {state}: there is nothing to go on with.")
            self.require_free(None if order.out is None else Path(order.out))
            self._enqueue(id)

    def _uses(self) -> list[tuple[str, str]]:
        """Sources of jobs that wait or run, and where their links lead."""
        found = []
        with self._turn:
            for id in list(self._watched):
                job, order = self._job(id), self._job(id).order()
                if order is not None and order.source_id is not None and self._state(id) in ACTIVE:
                    link = job.folder / (order.bars or "")
                    found.append((order.source_id, str(link.readlink()) if link.is_symlink() else ""))
        return found

    def _enqueue(self, id: str) -> None:
        self._queue.append(id)
        self._save()
        self._wake(id)

    def _wake(self, id: str) -> None:
        self._watched.add(id)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._more.set)

    def _save(self) -> None:
        write_json(self._place, {"jobs": self._queue})

    def _job(self, id: str) -> JobFolder:
        return JobFolder(self._root / "jobs" / id)

    def _known(self, id: str) -> tuple[JobFolder, Order]:
        job = self._job(id)
        order = job.order() if is_id(id, "job") else None
        if order is None:
            raise Refusal(404, "There is no such job.")
        return job, order

    def _all(self) -> list[JobFolder]:
        """All jobs, the newest first."""
        there = [path for path in (self._root / "jobs").iterdir() if is_id(path.name, "job") and (path / JOB).is_file()]
        times = {path: (path / JOB).stat().st_mtime_ns for path in there}
        return [JobFolder(path) for path in sorted(there, key=lambda one: (times[one], one.name), reverse=True)]

    def _state(self, id: str) -> State:
        return self._job(id).state(queued=id in self._queue)

    def _gauge(self, job: JobFolder, order: Order) -> Gauge:
        return self._gauges.setdefault(job.id, Gauge(job, order))

    def _resumable(self, job: JobFolder, order: Order, state: State) -> bool:
        if order.kind == QUICK or state not in ("stopped", "failed", "lost"):
            return False
        return state != "failed" or job.ended()["code"] != REFUSED

    def _message(self, job: JobFolder, order: Order, state: State) -> str | None:
        """Why it failed, in the words of the command; of one that was stopped what is not saved, if anything."""
        if state == "lost":
            return "It ended without a word: it was killed, or the machine went down." + (
                " What was saved is there: resume it." if self._resumable(job, order, state) else ""
            )
        if state not in ("failed", "stopped"):
            return None
        code = job.ended()["code"]
        if state == "stopped":
            return UNSAVED.get(code)
        if code == REFUSED and (said := job.said()):
            return self._plain(said)
        if order.memory is not None:
            return (
                f"It ended before it was done (exit code {code}), most often since the bars need more memory than the "
                f"{order.memory / 1e6:,.0f} MB that it may take here; its log says more."
            )
        if code == KILLED:
            return "It was killed by the system, most often for want of memory."
        return f"It failed (exit code {code}); its log says more."

    def _plain(self, text: str) -> str:
        return without_paths(text, self._root, Path.cwd())

    async def _watch(self) -> None:
        """While jobs wait or run: start what may, tell what changed."""
        while True:
            if not self._watched:
                self._more.clear()
                await self._more.wait()
            try:
                await asyncio.to_thread(self._tick)
            except Exception as error:  # a full disk, most likely: what waits goes on waiting
                log.error("jobs could not be looked after", exc_info=error)
                await asyncio.sleep(10 * TICK)
            with suppress(TimeoutError):
                self._more.clear()
                await asyncio.wait_for(self._more.wait(), TICK)

    def _tick(self) -> None:
        with self._turn:
            self._children = [one for one in self._children if one.poll() is None]  # reaped, else they stay as zombies
            self._start_what_may()
            for id in list(self._watched):
                if self._job(id).order() is None:  # somebody removed its folder
                    self._forget(id)
                    continue
                told = self.describe(id)
                progress = told["progress"] or {}
                now = (told["state"], told["position"], progress.get("stage"), progress.get("done"))
                if self._told.get(id) != now:
                    self._told[id] = now
                    self._events.publish("job", {"id": id, "state": told["state"], "kind": told["kind"]})
                if told["state"] not in ACTIVE:
                    self._forget(id)

    def _forget(self, id: str) -> None:
        self._watched.discard(id)
        self._gauges.pop(id, None)
        self._told.pop(id, None)

    def _start_what_may(self) -> None:
        running = [order.kind for id in self._watched if (job := self._job(id)).held() and (order := job.order())]
        for id in list(self._queue):
            job, order = self._job(id), self._job(id).order()
            if order is None or job.held():  # a server died between the start and the queue
                self._queue.remove(id)
                self._save()
                continue
            lane = QUICK if order.kind == QUICK else ""
            if sum((kind == QUICK) == bool(lane) for kind in running) < self._limits[lane]:
                self._start(job, order)
                self._queue.remove(id)
                self._save()
                running.append(order.kind)

    def _start(self, job: JobFolder, order: Order) -> None:
        """Start a supervisor. It inherits the lock, so there is no moment in which the job seems lost."""
        import fcntl

        point(job.folder, order, self._sources)
        for name in (EXIT, STOP):
            (job.folder / name).unlink(missing_ok=True)
        self._gauges.pop(job.id, None)
        lock = os.open(job.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What was begun is gone on with; when, its supervisor will say.
            write_json(job.folder / PROCESS, {"again": bool(job.process())})
            with (job.folder / LOG).open("ab") as out:
                child = subprocess.Popen(
                    [sys.executable, "-m", "chandler.serving.jobs.supervise", str(job.folder), str(lock)],
                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(lock,), start_new_session=True,
                    env=child_environment() | {"PYTHONUNBUFFERED": "1"},
                )  # fmt: skip
        finally:
            os.close(lock)
        self._children.append(child)
