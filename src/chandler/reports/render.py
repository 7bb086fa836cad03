"""One HTML file that loads nothing: a page's context put into its template, with styles, script and plotly.js inside.

A page is a frozen dataclass of numbers, texts and `Chart`s. NAME.html.j2 has its tables; NAME.txt.j2 has the sentences that
a terminal is told too, as macros. What comes from data is escaped by Jinja2 as it enters the page.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chandler.atomic import write_text
from chandler.measures import Comparison
from chandler.reports.charts import Figure
from chandler.text import count, duration
from chandler.training.runs import short

NAME = "report.html"
Pairs = Sequence[tuple[str, str]]
"""Names and values, or what a sentence is about and the sentence."""
_NEXT, _IS = "\x1e", "\x1f"


@dataclass(frozen=True)
class Chart:
    """A plotly figure in the colours of the page; `label` is read out to those who do not see it."""

    figure: Figure
    label: str
    title: str = ""


@dataclass(frozen=True)
class ToldVerdict:
    """A verdict as values, for those who draw it in another way: the headline, (about, sentence) pairs, and a table in words."""

    headline: str
    lines: Pairs
    table: pd.DataFrame | None = None
    unit: str = ""
    """What the table is in."""


def render(template: str, page: Any) -> str:
    """The whole file."""
    return environment().get_template(f"{template}.html.j2").render(page=page)


def write(template: str, page: Any, folder: Path) -> Path:
    """Write report.html into a folder, whole or not at all."""
    path = folder / NAME
    write_text(path, render(template, page))
    return path


def sentence(template: str, macro: str, *facts: Any) -> str:
    """What a macro of NAME.txt.j2 says of some facts, on one line."""
    module: Any = environment().get_template(f"{template}.txt.j2").module
    return re.sub(r"[ \n]+", " ", getattr(module, macro)(*facts)).strip(" ")


def sentences(template: str, macro: str, *facts: Any) -> Pairs:
    """The same of a macro that says several things, each behind what it is about: `{{ "Luck"|about }} ...`."""
    told = (one.partition(_IS) for one in sentence(template, macro, *facts).split(_NEXT)[1:])
    return [(about, text.strip(" ")) for about, _, text in told]


def terminal_text(headline: str, lines: Pairs) -> str:
    """A verdict for a terminal."""
    return "\n".join([headline, *(f"{about}: {text}" for about, text in lines)])


def written_with() -> str:
    """What the page was written with."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "pandas"))
    return f"page written with Python {platform.python_version()}, {versions}"


def day(moment: object) -> str:
    """A date, with the time if it has one: 14 Feb 2013."""
    time = pd.Timestamp(moment)  # type: ignore[arg-type]
    text = f"{time.day} {time:%b %Y}"
    return text if time == time.normalize() else f"{text} {time:%H:%M}"


def moment(time: pd.Timestamp) -> str:
    """A time with its zone, where it has one: 14 Feb 2013 09:30 EST."""
    return f"{day(time)} {time.tzname() or ''}".strip(" ")


def decimal(value: float | None, digits: int = 2, sign: str = "-") -> str:
    """With a true minus; "-" where there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 3) -> str:
    """+0.050"""
    return decimal(value, digits, "+")


def percent(share: float | None, digits: int = 0) -> str:
    """0.25 -> 25%"""
    text = decimal(None if share is None else 100 * share, digits)
    return text if text == "-" else f"{text}%"


def change(percents: float | None) -> str:
    """7.43 -> +7.4%"""
    text = signed(percents, 1)
    return text if text == "-" else f"{text}%"


def excess(share: float | None) -> str:
    """0.0743 -> +7.4%"""
    return change(None if share is None else 100 * share)


def number(value: float | None, digits: int = 3) -> str:
    """So many digits that matter: 4.88, 0.0538, 1,234."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")


def shares(c: Comparison) -> tuple[float, float, float]:
    """Difference, low and high of its interval, in % of the rival's loss; NaN where that is 0."""
    scale = c.mean_b / 100 if c.mean_b else float("nan")
    return c.difference / scale, c.low / scale, c.high / scale


def listed(parts: Sequence[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("chandler.reports"),
        autoescape=lambda name: name is None or not name.endswith((".txt.j2", ".md.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for one in (change, day, decimal, duration, excess, listed, moment, number, percent, shares, short, signed):
        made.filters[one.__name__] = one
    made.filters |= {
        "about": lambda what: f"{_NEXT}{what}{_IS}",
        "basename": lambda path: Path(str(path)).name,
        "count": lambda value: f"{value:,}",
        "date": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y}",
        "inert": _inert,
        "minutes": lambda span: pd.Timedelta(span) / pd.Timedelta(minutes=1),
        "of": count,
        "upfirst": _upfirst,
        "words": lambda text: " ".join(text.split()),
    }
    made.globals |= {"asset": _asset, "plotly": _plotly}
    return made


def _upfirst(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]


def _inert(figure: Figure) -> Markup:
    """JSON in which "<" is an escape: no text from the data can end the element."""
    return Markup(json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs  # five megabytes, needed only here

    return Markup(get_plotlyjs())


@cache
def _asset(name: str) -> Markup:
    """A file of the package: a page loads nothing, so what it looks like stands in it."""
    return Markup((Path(__file__).parents[1] / name).read_text(encoding="utf-8"))
