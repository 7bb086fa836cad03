"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from tests.graphs import graphs_on_cpu

from chandler.forecasting.engine import batch, kernels, sampling

WAYS = ("for a CPU", "for any device", "for any device, replayed")


@pytest.fixture(params=WAYS[:2])
def operators(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The ways through the engine: operators that suit a CPU, and those that accelerators take, each launched anew."""
    with way_of(str(request.param), monkeypatch) as way:
        yield way


@pytest.fixture(params=WAYS)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """These, and the second with each step captured and replayed."""
    with way_of(str(request.param), monkeypatch) as way:
        yield way


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The last of these ways."""
    with way_of(WAYS[-1], monkeypatch):
        yield


@contextmanager
def way_of(way: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Within it the engine goes this way."""
    if way != "for a CPU":
        for module in (kernels, sampling):
            monkeypatch.setattr(module, "suits_cpu", lambda device: False)
    monkeypatch.setattr(batch, "GRAPH_STEPS", 1)
    with graphs_on_cpu() if way.endswith("replayed") else nullcontext():
        yield way
