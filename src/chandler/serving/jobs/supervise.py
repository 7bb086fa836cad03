"""Runs the command of one job, and writes down how it ended: `python -m chandler.serving.jobs.supervise FOLDER LOCK`.

It has a session of its own and outlives the server. LOCK is an open file that holds the lock. The command holds the lock
too, and is asked to stop if the supervisor is killed (Linux).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from chandler.serving.jobs.folder import EXIT, LOG, PROCESS, RESULT, STOP, JobFolder, Order
from chandler.serving.workspace import read_json, write_json

NICE = 5
LOOKS = 0.25
"""Seconds between two looks at the command and at what is asked of it."""
PDEATHSIG = 1


def supervise(folder: Path, lock: int) -> int:
    """Run the job of a folder, to its end; the exit code of its command."""
    job, log = JobFolder(folder), folder / LOG
    order, again = job.order(), bool(job.process().get("again"))
    assert order is not None
    with suppress(OSError):
        os.nice(NICE)
    asked: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append("stop")

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    about = {"again": again, "started": time.time(), "log": log.stat().st_size if log.exists() else 0}
    write_json(folder / PROCESS, about)
    with log.open("ab") as out, (folder / RESULT if order.keeps_output else Path(os.devnull)).open("wb") as result:
        child = subprocess.Popen(
            [sys.executable, "-m", "chandler", *(order.again if again else order.argv)],
            stdin=subprocess.DEVNULL, stdout=result if order.keeps_output else out, stderr=out,
            pass_fds=(lock,), process_group=0,
            cwd=folder if order.keeps_output else None, preexec_fn=_ends_with_us(order.memory),
        )  # fmt: skip
        write_json(folder / PROCESS, {**about, "pid": child.pid, "supervisor": os.getpid()})
        code = _waited(child, order, folder, asked)
    how = asked[-1] if asked else None
    write_json(folder / EXIT, {"code": code, "asked": how, "ended": time.time()})
    return code


def _waited(child: subprocess.Popen[bytes], order: Order, folder: Path, asked: list[str]) -> int:
    """Until the command has ended, by itself or because it is asked to."""
    told = 0.0
    while (code := child.poll()) is None:
        if how := read_json(folder / STOP).get("how"):
            asked.append(how)
        if asked and not told:
            told = time.monotonic()
            child.send_signal(signal.SIGTERM)
        if asked and (asked[-1] == "kill" or time.monotonic() - told > order.grace):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # the group is its own, and it was not waited for yet
        time.sleep(LOOKS)
    return code


def _ends_with_us(memory: int | None) -> Callable[[], None]:
    """What the child does before it becomes the command: have itself told when we die, and bound its memory."""
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(PDEATHSIG, signal.SIGTERM)
        if memory is not None:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    return prepare


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]))
