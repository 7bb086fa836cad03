"""One HTML file that loads nothing: a page's context put into its template, with styles, script and plotly.js inside.

A page is a frozen dataclass of texts, `Table`s and `Chart`s; its template, of the same name, says the sentences. What
comes from data is escaped by Jinja2.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chandler.atomic import write_text
from chandler.reports.charts import Figure

NAME = "report.html"
Pairs = Sequence[tuple[str, str]]
"""Names and values, or what a sentence is about and the sentence."""


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text: `kind` is its CSS class, `note` stands small beside the text."""

    text: str
    kind: str = ""
    note: str = ""


Row = tuple[str, Sequence[str | Cell]]
"""What a row of a table is about, and its cells."""


@dataclass(frozen=True)
class Table:
    """Names of the columns, and rows. `groups` span the columns after the first, evenly."""

    head: Sequence[str]
    rows: Sequence[Row]
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """A plotly figure in the colours of the page; `label` is read out to those who do not see it."""

    figure: Figure
    label: str
    title: str = ""


def render(template: str, page: Any) -> str:
    """The whole file."""
    return _environment().get_template(f"{template}.html.j2").render(page=page)


def write(template: str, page: Any, folder: Path) -> Path:
    """Write report.html into a folder, whole or not at all."""
    path = folder / NAME
    write_text(path, render(template, page))
    return path


def day(moment: object) -> str:
    """A date, with the time if it has one: 14 Feb 2013."""
    time = pd.Timestamp(moment)  # type: ignore[arg-type]
    text = f"{time.day} {time:%b %Y}"
    return text if time == time.normalize() else f"{text} {time:%H:%M}"


def signed(value: float | None, digits: int = 3) -> str:
    """With its sign, and a true minus; "-" where there is none."""
    return "-" if value is None or value != value else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def written_with() -> str:
    """What the page was written with."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "pandas"))
    return f"page written with Python {platform.python_version()}, {versions}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("chandler.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"inert": _inert, "count": _count, "percent": _percent}
    made.globals |= {"asset": _asset, "plotly": _plotly}
    return made


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{share:.{digits}%}"


def _inert(figure: Figure) -> Markup:
    """JSON in which "<" is an escape: no text from the data can end the element."""
    return Markup(json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs  # five megabytes, needed only here

    return Markup(get_plotlyjs())


@cache
def _asset(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))
