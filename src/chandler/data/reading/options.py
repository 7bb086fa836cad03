"""How bars are read and which of them are wanted: one value, checked once, that reading passes on whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from chandler.data.bars import Adjust, Bars, Decimal, Missing, TableKeywords, Unsorted, moment_of, rows_between
from chandler.errors import DataError

Function = TypeVar("Function", bound=Callable[..., Any])


_CHOICES = {
    name: get_args(kinds)
    for name, kinds in (("unsorted", Unsorted), ("decimal", Decimal), ("adjust", Adjust), ("missing", Missing))
}
OF_TABLES = ("columns", "where", "timezone", "date_format", "decimal", "price_scale")
"""What says how the rows of a table are written, or which of its columns: nothing of it is in a Qlib folder."""
OF_FILES = (*OF_TABLES, "adjust")
"""Nor in bars that were read before. (`missing` and `unsorted` have nothing to do there: prices are whole, times in order.)"""
LeftOut = tuple[str, str] | None
"""Why a symbol has no rows: none of them lies in the period asked for, and these are its ends; None: it was not asked for."""


class ReadingKeywords(TableKeywords, total=False):
    """The options of `load_bars` and `prepare`, which says what they are."""

    symbols: Sequence[str] | None
    start: Any
    end: Any
    market: str
    freq: str
    join: bool
    skip_bad: bool


@dataclass(frozen=True)
class ReadingOptions:
    """The options of `load_bars`, as plain values, so that other processes can be told.

    Raises DataError for a value that none of them has.
    """

    columns: Mapping[str, str] | None = None
    where: Mapping[str, str] | None = None
    timezone: str | None = None
    date_format: str | None = None
    adjust: Adjust = "auto"
    missing: Missing = "error"
    decimal: Decimal = "auto"
    price_scale: float | None = None
    unsorted: Unsorted = "error"
    symbols: Sequence[str] | None = None
    start: Any = None
    end: Any = None
    market: str = "all"
    freq: str = "day"
    join: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.symbols is not None:
            names = [self.symbols] if isinstance(self.symbols, str) else self.symbols
            if (wrong := next((one for one in names if not isinstance(one, str)), None)) is not None:
                raise DataError(
                    f"symbols={list(names)!r:.100}: symbols are text, but {wrong!r} is none. Quote it: '000001', not 1."
                )
            object.__setattr__(self, "symbols", tuple(dict.fromkeys(names)))
        for name, kinds in _CHOICES.items():
            value = getattr(self, name)
            if value not in kinds:
                known = [repr(kind) for kind in kinds]
                raise DataError(f"{name}={value!r} is not known: say {', '.join(known[:-1])} or {known[-1]}.")
        if self.price_scale is not None and not 0 < self.price_scale < float("inf"):
            raise DataError(
                f"price_scale={self.price_scale} is not above 0: say what prices are divided by, such as 10000."
            )
        moment_of(self.start)
        moment_of(self.end)

    def refuse(self, names: Iterable[str], what: str) -> None:
        """DataError where one of these options is given, for `what` cannot honour them."""
        given = [f"{name}=" for name in names if (value := getattr(self, name)) and value != getattr(type(self), name)]
        if given:
            raise DataError(
                f"{what} has bars that are no table to be read: nothing comes of {' and '.join(given)}. Leave that out, or give "
                "the files that it was made of."
            )

    def select(self, bars: Iterable[Bars], left: dict[str, LeftOut] | None = None) -> list[Bars]:
        """The wanted symbols, cut to the wanted dates; what has no row then is left out, and told in `left`."""
        kept = []
        for one in bars:
            if self.symbols is not None and one.symbol not in self.symbols:
                ends = None
            else:
                cut = one.slice(*rows_between(one.timestamps, self.start, self.end))
                if len(cut):
                    kept.append(cut)
                    continue
                ends = (str(one.timestamps[0]), str(one.timestamps[-1])) if len(one) else None
            if left is not None:
                left[one.symbol] = ends
        return kept


def takes_options(function: Function) -> Function:
    """Let `help` and notebooks show the options and their defaults in place of `**options`."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    options = inspect.signature(ReadingOptions).parameters.values()
    shown = [*own, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in options)]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return function
