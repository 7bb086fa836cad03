"""What workers are asked to do in tests: they import it from here."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch


def heavy(folder: Path, name: str, batch: int) -> int:
    """One name ends its process, however few series are worked on; another has room for one."""
    if batch == 1:
        (folder / name).write_text("TSLA")
    if name == "killer":
        os._exit(9)
    if name == "wide":
        torch.empty(batch - 1, 1 << 50)
    return batch


def wait(folder: Path, name: str, batch: int) -> None:
    """Works until it is ended."""
    (folder / "now").write_text("TSLA")
    with (folder / "asked").open("a") as asked:
        asked.write(f"{batch}\n")
    time.sleep(600)


def touch(folder: Path, number: int) -> int:
    """Leaves a file."""
    (folder / str(number)).touch()
    time.sleep(0.01)
    return number


def worker(number: int) -> tuple[int, int, int]:
    """Threads, workers that share the memory, and by how much others go first."""
    from chandler.engines import sharers

    return torch.get_num_threads(), sharers(), os.nice(0)


def nothing(number: int) -> int:
    """What a task costs."""
    return number
