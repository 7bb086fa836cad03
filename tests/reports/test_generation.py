"""The page of the generation task: numbers and sentences, text of the data stays text, and no script."""

from __future__ import annotations

import re

from chandler.reports.generation import generation_page
from chandler.reports.render import render

EVIL = "<b>&\"'</script>"


def test_the_page_of_a_generation_task_needs_no_script() -> None:
    one = {
        "discriminative": 0.25,
        "discriminative_low": 0.2,
        "discriminative_high": 0.3,
        "tstr_mae": 0.5,
        "tstr_rank_ic": -0.1,
    }
    names = ("shuffled_bars", "past_stretch", EVIL)
    result = {
        "results": [{"name": name, **one} for name in names], "models": [EVIL], "seen": False, "notes": [], "windows": 50,
        "test_windows": 15, "lookback": 20, "horizon": 4, "symbols": 5,
        "real": {"mae": 0.4, "rank_ic": 0.2, "no_change_mae": 0.6},
    }  # fmt: skip
    page = generation_page(result, "g")
    html = render("generation", page)
    cells = "<td>0.250</td><td>0.200 to 0.300</td><td>0.5000</td><td>\N{MINUS SIGN}0.100</td>"
    assert re.search(f'<th scope="row">&lt;b&gt;[^<]*</th>{cells}', html)
    assert "the first 70% of the windows train" in html
    assert "<script" not in html
    assert EVIL not in html
