"""Shows how far a forecast is: a bar on stderr, by default only on a terminal and only when it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chandler.printing import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Report = Callable[[int, int], None]
"""Called with (work done so far, work in all)."""
PATIENCE = 2.0
"""Seconds without a bar: most forecasts are done by then."""


@contextmanager
def progress_bar(task: str, show: bool | None = None) -> Iterator[Report | None]:
    """What is yielded moves the bar.

    Args:
        task: shown beside the bar.
        show: True shows it at once, wherever stderr leads; False never (None is yielded then); None on a
            terminal only, after two seconds.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if show is False or (show is None and not console.is_terminal):
        yield None
        return
    begun = time.monotonic()
    bar: Progress | None = None
    number: TaskID | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar, number
        if bar is None and (show or time.monotonic() - begun > PATIENCE):
            from rich.markup import escape
            from rich.progress import Progress

            bar = Progress(console=console)
            bar.start()
            number = bar.add_task(escape(printable(task, console.encoding)), total=total)
        if bar is not None and number is not None:
            bar.update(number, completed=done, total=total)

    try:
        yield report
    finally:
        if bar is not None:
            bar.stop()
