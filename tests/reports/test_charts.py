"""Figures of a run, as plotly takes them."""

from __future__ import annotations

from tests.reports.drawn import drawn

from chandler.reports import charts


def test_figures_are_valid_plotly() -> None:
    """plotly refuses unknown keys and values; the traces show what was given."""
    both = drawn(charts.losses([(5, 1.0)], [(0, 2.0), (10, 0.1)]))
    points = {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in both.data}
    assert points == {
        "training": [(5, 1.0)], "validation": [(0, 2.0), (10, 0.1)], "start": [(0, 2.0)], "best": [(10, 0.1)],
    }  # fmt: skip
    assert both.layout.yaxis.type == "log"  # it falls twentyfold
    alone = drawn(charts.losses([], [(0, 2.0)]))
    assert [(trace.name, trace.x, trace.y) for trace in alone.data] == [
        ("validation", (0,), (2.0,)), ("start, and best", (0,), (2.0,)),
    ]  # fmt: skip
    for figure in (both, alone):
        assert "--" not in figure.to_json()  # no variable is left without its colour
