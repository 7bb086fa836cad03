"""The folder of a job: what was ordered (job.json, settings.yaml), what it printed (log.txt), and what its supervisor says.

How it stands is read from these files, never remembered. The lock is held as long as the supervisor or the command lives: it
goes with them, however they end. A job that is to end is told by a file as well, so nobody signals a pid that may be another's.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chandler.serving.workspace import read_json, write_json

JOB, SETTINGS, LOG, RESULT, REPORT = "job.json", "settings.yaml", "log.txt", "result.json", "report.html"
PROCESS, STOP, EXIT, LOCK = "process.json", "stop.json", "exit.json", "lock"
Kind = Literal["finetune", "evaluate", "calibrate", "backtest", "preflight"]
State = Literal["queued", "running", "stopping", "finished", "stopped", "failed", "lost"]
INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a command that was asked to stop by someone else."""
UNBEGUN, KILLED = -1, -9
"""Those of a job that left the queue, and of a command that had no time to save."""
UNSAVED = {
    UNBEGUN: "It was taken from the queue before it began.",
    KILLED: "It was killed, and did not save: what it did since its last saved state is lost.",
}
REFUSED = 2
"""That of a command that says in a sentence why it cannot go on: the same command would say it again."""


@dataclass(frozen=True)
class Order:
    """What a job is to do; never changed."""

    id: str
    kind: Kind
    name: str
    created: int
    command: str
    """As a person would type it."""
    argv: list[str]
    """After `chandler`."""
    again: list[str]
    """The same for a job that goes on."""
    source_id: str | None = None
    bars: str | None = None
    """The name in this folder of a link to the source's bars, which stays when they are read anew."""
    model_ids: tuple[str, ...] = ()
    out: str | None = None
    """The folder that it writes."""
    keeps_output: bool = False
    """What the command prints is the result, and no part of the log; it runs in the job's folder."""
    memory: int | None = None
    """Bytes that the command may take."""
    grace: float = 60.0
    """Seconds that the command has to save and leave once it is asked to stop, before it is killed."""


class JobFolder:
    """One job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    def order(self) -> Order | None:
        """What was ordered; None where the folder is none of ours."""
        found = read_json(self.folder / JOB)
        return Order(**{**found, "model_ids": tuple(found["model_ids"])}) if found else None

    def write(self, order: Order) -> None:
        """Write down what is ordered."""
        write_json(self.folder / JOB, asdict(order))

    def held(self) -> bool:
        """Whether its supervisor or its command lives."""
        import fcntl

        try:
            descriptor = os.open(self.folder / LOCK, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # Shared: two who look do not take each other for the job.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def state(self, *, queued: bool) -> State:
        """How it stands; `queued`: it waits in the queue."""
        if self.held():
            return "stopping" if (self.folder / STOP).exists() else "running"
        if queued:
            return "queued"
        ended = self.ended()
        if not ended:
            return "lost"
        code = ended["code"]
        if code == 0 or (code == 1 and self._answered()):
            return "finished"  # `inspect` says with 1 that training would fail, which is a result
        return "stopped" if ended["asked"] or code in INTERRUPTED else "failed"

    def ended(self) -> dict[str, Any]:
        """How it ended: code, asked ("stop", "kill" or None), ended (seconds); {} where it has not, or nobody knows."""
        return read_json(self.folder / EXIT)

    def result(self) -> dict[str, Any] | None:
        """What the command printed, where that is its result; NaN, which JSON has not, as None."""
        if not self._answered():
            return None
        try:
            text = (self.folder / RESULT).read_text(encoding="utf-8")
            found = json.loads(text, parse_constant=lambda _: None)
        except ValueError:  # it ended in the middle of it
            return None
        return found if isinstance(found, dict) else None

    def _answered(self) -> bool:
        """Whether the command printed a result: the file is there from its start."""
        path = self.folder / RESULT
        return path.is_file() and path.stat().st_size > 0

    def process(self) -> dict[str, Any]:
        """When it was last started, and how long the log was then; {} where it never was."""
        return read_json(self.folder / PROCESS)

    def ask(self, how: Literal["stop", "kill"]) -> None:
        """Have the supervisor end it."""
        write_json(self.folder / STOP, {"how": how})

    def lines(self, after: int, most: int) -> tuple[list[str], int]:
        """Whole lines of the log from a byte on, and the byte after them."""
        try:
            with (self.folder / LOG).open("rb") as file:
                file.seek(after)
                text = file.read(most)
        except OSError:
            return [], after
        whole = text.rfind(b"\n") + 1
        if not whole and len(text) == most:
            whole = most  # a line that is longer than anyone reads
        return text[:whole].decode("utf-8", "replace").splitlines(), after + whole

    def tail(self, most: int) -> list[str]:
        """The last lines of the log since the last start, so many bytes of them."""
        path = self.folder / LOG
        size = path.stat().st_size if path.is_file() else 0
        return self.lines(max(int(self.process().get("log", 0)), size - most), most)[0]

    def said(self) -> str | None:
        """The sentence with which the command ended since its last start; None where it said none."""
        lines = self.tail(64 << 10)
        told = [number for number, line in enumerate(lines) if line.startswith("chandler: ")]
        return "\n".join(lines[told[-1] :]).removeprefix("chandler: ") if told else None
