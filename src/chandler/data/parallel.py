"""Many files at once, results in the order given and few of them ahead of their time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
