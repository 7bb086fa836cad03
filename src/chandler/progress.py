"""Shows how far work is: a bar on a terminal, a line every ten seconds elsewhere; what a stream lacks is spelled otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from chandler.printing import printable

Report = Callable[[int, int], None]
"""Called with (work done so far, work in all)."""
PATIENCE = 2.0
"""Seconds without a bar of a forecast: most are done by then."""
_PLAIN_SECONDS = 10.0
"""Between two plain lines."""


def plain_console(**how: Any) -> Console:
    """A console, made with these arguments, that shows texts as they are: names may hold [b] and :100:, rich's markup and
    emoji."""
    return Console(**how, markup=False, emoji=False, highlight=False)


class Progress:
    """Notes and bars on one console: by default that of stderr."""

    def __init__(self, console: Console | None = None, *, bars: bool | None = None, keep: bool = False) -> None:
        """`bars`: rather than lines, by default on a terminal; `keep`: they stay there when all is done."""
        self.console = console or plain_console(stderr=True, soft_wrap=True)
        self._wants_bars = self.console.is_terminal if bars is None else bars
        self._keep = keep
        self._bars: Bars | None = None

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(printable(text, self.console.encoding), markup=False, emoji=False)

    @contextmanager
    def track(self, label: str, total: int, done: int = 0, unit: str = "windows") -> Iterator[Callable[[int], None]]:
        """What is yielded is called with the number of units that were just finished."""
        counter = self.start(label, total, done, unit)
        try:
            yield counter.advance
        finally:
            self.close()

    def start(self, label: str, total: int, done: int = 0, unit: str = "") -> Counter:
        """Count something; without a unit it is shown in percent, and where there is a bar alone."""
        if self._wants_bars and self._bars is None:
            fields = (TextColumn("{task.fields[count]}"), TextColumn("{task.fields[detail]}", markup=False))
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), *fields, TimeRemainingColumn())
            self._bars = Bars(*columns, console=self.console, transient=not self._keep)
            self._bars.start()
        return Counter(self, self._bars, label, total, done, unit)

    def close(self) -> None:
        """Take the bars off the terminal."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class Counter:
    """How far one thing is, of those that a `Progress` shows."""

    def __init__(self, progress: Progress, bars: Bars | None, label: str, total: int, done: int, unit: str) -> None:
        self.progress, self.label, self.total, self.done, self.unit = progress, label, total, done, unit
        self.first, self.begun, self.said = done, time.monotonic(), time.monotonic()
        self.bars = bars
        if bars is not None:
            text = printable(label, progress.console.encoding)
            self.task = bars.add_task(text, total=total, completed=done, count=self._count(), detail="")

    def advance(self, more: int) -> None:
        """So many units more are finished."""
        self.update(self.done + more)

    def update(self, done: int, *, detail: str = "", line: Callable[[float], str] | None = None) -> None:
        """So many units are finished; `detail` goes beside the bar, `line` makes the plain line of the seconds left."""
        self.done = done
        if self.bars is not None:
            self.bars.update(self.task, completed=done, total=self.total, count=self._count(), detail=detail)
            return
        now = time.monotonic()
        if self.unit and now - self.said >= _PLAIN_SECONDS and done < self.total:
            self.said = now
            left = (now - self.begun) / max(done - self.first, 1) * (self.total - done)
            usual = f"{self.label}: {done:,} of {self.total:,} {self.unit}, about {left:,.0f} s left"
            self.progress.note(usual if line is None else line(left))

    def end(self) -> None:
        """Take its bar away; those of other counters stay."""
        if self.bars is not None:
            self.bars.remove_task(self.task)

    def _count(self) -> str:
        if self.unit:
            return f"{self.done:,}/{self.total:,}"
        return f"{self.done / max(self.total, 1):.0%}"


@contextmanager
def patient_bar(label: str, show: bool | Report | None = None) -> Iterator[Report | None]:
    """A bar on stderr, by default on a terminal only and when the work takes long. What is yielded moves it.

    Args:
        label: shown beside the bar.
        show: True shows it at once, wherever stderr leads; False never (None is yielded then); None on a
            terminal only, after two seconds. A function is called instead of any bar.
    """
    if callable(show):
        yield show
        return
    console = plain_console(stderr=True)
    if show is False or (show is None and not console.is_terminal):
        yield None
        return
    progress, begun = Progress(console, bars=True, keep=True), time.monotonic()
    counter: Counter | None = None

    def report(done: int, total: int) -> None:
        nonlocal counter
        if counter is None and (show or time.monotonic() - begun > PATIENCE):
            counter = progress.start(label, total)
        if counter is not None:
            counter.update(done)

    try:
        yield report
    finally:
        progress.close()
