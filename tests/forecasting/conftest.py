"""Fixtures of the engine's tests."""

from __future__ import annotations

import pytest

from chandler.forecasting.engine import kernels


@pytest.fixture(params=["for a CPU", "for any device"])
def operators(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways through the engine: the operators that suit a CPU, and those that accelerators take."""
    if request.param == "for any device":
        monkeypatch.setattr(kernels, "suits_cpu", lambda device: False)
    return str(request.param)
