"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from tests.graphs import graphs_on_cpu

from chandler.forecasting.engine import generation, kernels, sampling


@pytest.fixture(params=["for a CPU", "for any device", "for any device, replayed"])
def operators(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ways through the engine: operators that suit a CPU; those that accelerators take, each launched anew; the same
    with each step captured and replayed."""
    way = str(request.param)
    if way != "for a CPU":
        for module in (kernels, sampling):
            monkeypatch.setattr(module, "suits_cpu", lambda device: False)
    monkeypatch.setattr(generation, "GRAPH_STEPS", 1)
    with graphs_on_cpu() if way.endswith("replayed") else nullcontext():
        yield way
