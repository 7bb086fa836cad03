"""One HTML file that loads nothing: its styles, its script, plotly.js once, and figures drawn from JSON in the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources

from chandler.reports.charts import Figure


class Page:
    """Collects the figures of a page; the script draws each into its place."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def chart(self, figure: Figure, label: str, *, tall: bool = False) -> str:
        """The element that a figure will be drawn into; `label` is read out to those who do not see it."""
        self.figures.append(figure)
        size = "chart tall" if tall else "chart"
        return (
            f'<div class="{size}" role="img" aria-label="{escape(label)}"></div>'
            f'<script type="application/json">{_inert(figure)}</script>'
        )

    def html(self, title: str, body: str) -> str:
        """The whole file. `title` is text, `body` is HTML."""
        scripts = ""
        if self.figures:
            scripts += f"\n<script>{_plotly()}</script>\n<script>{_asset('report.js')}</script>"
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title>\n<style>{_asset('report.css')}</style>\n</head>\n<body>\n<main>\n{body}\n"
            "<noscript><p>The charts need JavaScript; every number is in the tables.</p></noscript>\n"
            f"</main>\n{scripts}\n</body>\n</html>\n"
        )


def table(
    caption: str, head: Sequence[Sequence[str]], rows: Iterable[tuple[str, Sequence[str]]], *, summary: bool = False
) -> str:
    """A table of numbers that scrolls by itself on a narrow screen.

    Args:
        caption: HTML.
        head: header rows of HTML cells; "text|2" spans two columns.
        rows: the text that names a row, and its other cells as HTML.
        summary: the last row sums up the others.
    """
    body = [
        f'<th scope="row">{escape(name)}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) for name, cells in rows
    ]
    kinds = [""] * len(body)
    if summary and body:
        kinds[-1] = ' class="mean"'
    lines = "".join(f"<tr{kind}>{cells}</tr>" for kind, cells in zip(kinds, body, strict=True))
    heads = "".join(f"<tr>{''.join(map(_header, cells))}</tr>" for cells in head)
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead>{heads}</thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, both as text, one below the other."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in pairs)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _header(cell: str) -> str:
    text, _, span = cell.partition("|")
    return f'<th scope="colgroup" colspan="{span}">{text}</th>' if span else f'<th scope="col">{text}</th>'


def _inert(figure: Figure) -> str:
    """JSON in which "<" is an escape: no text from the data can end the element."""
    return json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # five megabytes, needed only here

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (resources.files("chandler") / "reports" / "templates" / name).read_text(encoding="utf-8")


def keys(pairs: Sequence[tuple[str, str]]) -> str:
    """A legend as HTML from (class of the sample, text) pairs."""
    items = "".join(f'<li><i class="{kind}"></i>{escape(text)}</li>' for kind, text in pairs)
    return f'<ul class="legend">{items}<li class="note">hollow: the bar closed above its open; filled: below</li></ul>'
