"""Kills workers, and a driver, while parts are made; shared by the tests and the benchmark."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil


class PartWatch(threading.Thread):
    """Notes which file stands for each part, as long as it runs; `kills` workers of this process are killed meanwhile."""

    def __init__(self, folder: Path, kills: int = 0, pause: float = 0.5, seed: int = 0) -> None:
        super().__init__(daemon=True)
        self.folder, self.left, self.pause = folder, kills, pause
        self.rng, self.killed = random.Random(seed), 0
        self.seen: dict[str, set[tuple[int, int]]] = {}
        self.over = threading.Event()

    def run(self) -> None:
        due = time.monotonic() + 2 * self.pause
        while not self.over.is_set():
            note(self.folder, self.seen)
            if self.left and time.monotonic() > due:
                victim = self.rng.choice(workers() or [None])
                if victim is not None:
                    with suppress(psutil.Error):
                        victim.kill()
                        self.killed, self.left = self.killed + 1, self.left - 1
                due = time.monotonic() + self.rng.uniform(0.2, 2) * self.pause
            time.sleep(0.002)

    def stop(self) -> int:
        """Workers killed; nothing was written twice, or this raises."""
        self.over.set()
        self.join()
        doubled = {name: found for name, found in self.seen.items() if len(found) > 1}
        assert not doubled, f"written twice: {doubled}"
        return self.killed


def workers() -> list[psutil.Process]:
    """Processes of Ray's below this one that work on a call."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_call"):
                found.append(process)
    return found


def note(folder: Path, seen: dict[str, set[tuple[int, int]]]) -> None:
    """Add the files that stand for parts now."""
    with suppress(OSError):  # folders go while they are read
        for path in folder.glob("**/[0-9]*.parquet"):
            told = path.stat()
            seen.setdefault(path.name, set()).add((told.st_ino, told.st_mtime_ns))


def kill_drivers(command: Sequence[str | Path], parts: Path, kills: int, seed: int = 0) -> int:
    """Run `chandler COMMAND` and kill -9 it whenever it has made some parts, then let it finish; drivers killed.

    What a driver had written is not written again, or this raises."""
    rng, killed, seen = random.Random(seed), 0, dict[str, set[tuple[int, int]]]()
    while True:
        # No pipes: what Ray started here holds them open for seconds after the driver is gone.
        with tempfile.TemporaryFile("w+") as told:
            process = subprocess.Popen([sys.executable, "-m", "chandler", *map(str, command)], stdout=told, stderr=told)
            least = len(seen) + rng.randint(1, 2)
            while process.poll() is None:
                note(parts, seen)
                if killed < kills and len(seen) >= least:
                    process.kill()
                    killed += 1
                    break
                time.sleep(0.005)
            code = process.wait()
            assert all(len(found) == 1 for found in seen.values()), seen
            if code == 0:
                return killed
            told.seek(0)
            assert code == -9, told.read()
