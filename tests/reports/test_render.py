"""What all pages are made of: numbers written one way, text that stays text, one style sheet."""

from __future__ import annotations

import math
import re

from tests.reports.drawn import STYLE

from chandler.reports.render import change, decimal, environment, listed, number, percent, signed


def test_a_cell_is_escaped_and_its_note_stands_beside_it() -> None:
    template = environment().from_string(
        '{% from "macros.html.j2" import table, row, mark, noted %}'
        '{% call table("t", "a", ["", "Inside", "Width"], ["50% band"]) %}'
        '{{ row("a < b", [mark("<i>", "better"), noted("3", "(1 & 2)")]) }}{% endcall %}'
    )
    html = str(template.render())
    assert '<th scope="row">a &lt; b</th><td><span class="mark better">&lt;i&gt;</span></td>' in html
    assert "<td>3 <small>(1 &amp; 2)</small></td>" in html
    assert '<th scope="colgroup" colspan="2">50% band</th>' in html


def test_numbers_are_written_one_way() -> None:
    nothing = [form(value) for form in (decimal, signed, percent, change, number) for value in (None, math.nan)]
    assert nothing == ["-"] * 10
    assert [decimal(-1234.5, 1), signed(0.05), percent(0.256, 1), change(-7.43)] == [
        "\N{MINUS SIGN}1,234.5", "+0.050", "25.6%", "\N{MINUS SIGN}7.4%",
    ]  # fmt: skip
    assert [number(value) for value in (4.8765, 0.05375, 12.0, 1234.6)] == ["4.88", "0.0537", "12.0", "1,235"]
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_every_class_of_the_templates_has_a_style() -> None:
    style = STYLE.read_text()
    used = set()
    for template in STYLE.parent.glob("*.j2"):
        for names in re.findall(r'class="([a-z ]+)"', template.read_text()):
            used |= set(names.split())
    assert {"verdict", "legend", "sortable", "facts", "scroll"} <= used
    assert {name for name in used if f".{name}" not in style} <= {"history"}  # the plain candle
