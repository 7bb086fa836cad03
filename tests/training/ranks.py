"""Two processes of one run, as torchrun starts them, from a server that has imported everything once.

What torchrun itself does - to start processes anew, to end those left when one dies - is tested with torchrun.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch.distributed import TCPStore

from tests.training.killing import context


@dataclass(frozen=True)
class Ended:
    """Exit codes by rank, and what the ranks wrote, one after another."""

    codes: tuple[int, ...]
    stdout: str
    stderr: str


def _rank(program: tuple[str, ...], environment: dict[str, str], outputs: tuple[str, str]) -> None:
    for number, path in zip((1, 2), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment)
    import torch

    torch.set_num_threads(1)
    if program[0] == "-m":
        sys.argv = list(program[1:])
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(program)
        runpy.run_path(program[0], run_name="__main__")


def in_two(folder: Path, *program: str, timeout: float = 300) -> Ended:
    """Run `-m MODULE ...` or `SCRIPT ...` as ranks 0 and 1; each has to end by itself.

    Raises:
        TimeoutError: a rank is still there after so many seconds; it is killed, and what was written is told.
    """
    # As torchrun does, the parent keeps the store that the ranks meet at: none of them takes it along when it ends.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks: list[Any] = []
    outputs = [(str(folder / f"rank-{number}.out"), str(folder / f"rank-{number}.err")) for number in (0, 1)]
    for number, paths in enumerate(outputs):
        environment = {
            "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "OMP_NUM_THREADS": "1",
            "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        ranks.append(context.Process(target=_rank, args=(program, environment, paths)))
        ranks[-1].start()
    deadline = time.monotonic() + timeout
    for process in ranks:
        process.join(max(0.0, deadline - time.monotonic()))
    late = [number for number, process in enumerate(ranks) if process.is_alive()]
    for number in late:
        ranks[number].kill()
        ranks[number].join()
    stdout, stderr = ("".join(Path(paths[one]).read_text() for paths in outputs) for one in (0, 1))
    if late:
        raise TimeoutError(f"ranks {late} did not end within {timeout:g} s\n{stdout}\n{stderr}")
    return Ended(tuple(process.exitcode for process in ranks), stdout, stderr)


def finetune_in_two(config: dict[str, Any], folder: Path) -> Ended:
    """`chandler finetune` with these settings, as two ranks."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return in_two(folder, "-m", "chandler", "finetune", str(path))
