"""The stand-in devices, for every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from chandler.devices import has_float64
from tests.accelerator.standin import NAME, register, standing_in
from tests.training.conftest import config

__all__ = ["config"]

register()  # before the first backward pass of the process


@pytest.fixture(autouse=True)
def device() -> Iterator[torch.device]:
    """The first of the two; both are there in every test."""
    with standing_in():
        yield torch.device(NAME, 0)


@pytest.fixture
def without_float64() -> Iterator[None]:
    """Devices as MPS: no numbers of 64 bits."""
    has_float64.cache_clear()
    with standing_in(float64=False):
        yield
    has_float64.cache_clear()
