"""Many files at once, results in the order given and few of them ahead of their time.

Large tables are read by threads: the engines that parse them work outside of Python's lock. Small files and JSON keep
Python itself busy, and take processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from chandler.data.reading.discovery import COLUMNAR, TEXT, Source

Item = TypeVar("Item")
Result = TypeVar("Result")
LARGE = 1 << 20
"""Bytes of a file, on average, from which threads serve."""
_THREAD, _PROCESS = 2 << 20, 32 << 20
"""Bytes of work that are worth a thread or a process: what one reads in a multiple of the time that it takes to start."""


def by_threads(sources: Sequence[Source]) -> bool:
    """Whether threads read these sources faster than processes would."""
    tables = all(one.suffix in (*TEXT, *COLUMNAR) for one in sources)
    return tables and size_of(sources) >= LARGE * len(sources)


def worker_count(sources: Sequence[Source]) -> int:
    """Threads or processes (see `by_threads`) that are worth their start: at most one per core and source."""
    share = _THREAD if by_threads(sources) else _PROCESS
    return max(1, min(cores(), len(sources), size_of(sources) // share))


def size_of(sources: Iterable[Source]) -> int:
    """Bytes of the files, packed or not; 0 for what cannot be looked at."""
    size = 0
    for path in {one.path for one in sources}:
        try:
            size += path.stat().st_size
        except OSError:
            continue  # reading it will say so
    return size


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def ordered_map(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Each item with its finished future; at most `ahead` items are on their way."""
    rest = iter(items)
    running: deque[tuple[Item, Future[Result]]] = deque()
    try:
        while True:
            while len(running) < ahead and (item := next(rest, None)) is not None:
                running.append((item, pool.submit(work, item)))
            if not running:
                return
            item, future = running.popleft()
            future.exception()  # waits
            yield item, future
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """`work` of each item, in order."""
    if threads <= 1:
        yield from map(work, items)
        return
    for _, future in ordered_map(ThreadPoolExecutor(threads, "chandler-read"), work, items, 2 * threads):
        yield future.result()
