"""Which device the marked tests run on. They need CUDA; `CHANDLER_GPU_TESTS_ON=cpu` runs what a CPU can, to try the tests."""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = os.environ.get("CHANDLER_GPU_TESTS_ON", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the device every case is skipped, and says what would run it."""
    if DEVICE != "cuda" or torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device here: run `make test-gpu` where there is one"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The accelerator under test."""
    return torch.device(DEVICE)
