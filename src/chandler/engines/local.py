"""What an engine is, and the one that needs nothing: all in this process, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chandler.errors import ConfigError

Item = tuple[Any, ...]
Smaller = Callable[[Item], Item]
"""Of an item for which memory did not suffice, or that ended its process again and again: the item to run instead.
Raises the error that says what to do where there is none."""


class Engine(Protocol):
    """Runs calls that do not depend on one another."""

    def spread(
        self, function: Callable[..., Any], items: Iterable[Item], common: Item = (), smaller: Smaller | None = None
    ) -> Iterator[Any]:
        """`function(*common, *item)` for each item: what they return, as it comes, in any order.

        Args:
            function: one of a module that every worker can import, which may be called twice for an item: where its work
                is done already, it returns at once.
            items: a tuple each; may be empty.
            common: what all calls get first.
            smaller: see `Smaller`; None: the failure itself is raised.

        Raises:
            Whatever a call raises, as it is. ConfigError: workers that differ from this process, or cannot be had.
        """
        ...


@dataclass(frozen=True)
class Local:
    """In this process, in turn."""

    def spread(
        self, function: Callable[..., Any], items: Iterable[Item], common: Item = (), smaller: Smaller | None = None
    ) -> Iterator[Any]:
        """As `Engine.spread`."""
        for item in items:
            while True:
                try:
                    found = function(*common, *item)
                    break
                except Exception as error:
                    if smaller is None or not ran_out_of_memory(error):
                        raise
                    item = smaller(item)
            yield found


@dataclass(frozen=True)
class FewerAtATime:
    """A `Smaller` for items that end with how many series are worked on at a time, each alone in the end."""

    noted: Callable[[Item], Path]
    """The file in which a call says whose series it works on alone."""

    def __call__(self, item: Item) -> Item:
        """An eighth as many. ConfigError: one alone is too much; says which."""
        *kept, batch = item
        if batch > 1:
            return (*kept, max(1, batch // 8))
        with suppress(OSError):
            name = self.noted(item).read_text(encoding="utf-8")
            raise ConfigError(
                f"{name}: its forecast alone ended its worker again and again, most likely for lack of memory. Give a worker "
                "more of it (fewer workers=), or lower paths=."
            )
        raise ConfigError(f"{item}: its worker ended again and again. Give a worker more memory (fewer workers=).")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, of the machine or of a GPU."""
    told = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return told or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
