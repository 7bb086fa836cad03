"""Fixtures that many tests share: the golden checkpoints and the bundled market data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer

GOLDEN = Path(__file__).parent / "golden"
# Two workers share two cores: more threads each would wait for one another. Who asks for more gets them.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)
# One of the settings of `make test-processors`: processors without oneDNN round otherwise.
if os.environ.get("CHANDLER_TEST_MKLDNN") == "off":
    torch.backends.mkldnn.set_flags(False)
# Busy machines are slow at random moments; time is no claim of these tests.
settings.register_profile("chandler", deadline=None)
settings.load_profile("chandler")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference inputs and outputs."""
    return GOLDEN


@pytest.fixture
def tokenizer() -> KronosTokenizer:
    """The golden tokenizer: 6 + 6 bits, d_model 32."""
    return KronosTokenizer.from_pretrained(GOLDEN / "tokenizer")


@pytest.fixture(params=["predictor", "predictor-fixed-time"])
def predictor_name(request: pytest.FixtureRequest) -> str:
    """Both golden predictors: learned and fixed time embeddings."""
    return str(request.param)


@pytest.fixture
def predictor(predictor_name: str) -> Kronos:
    """The golden predictor of `predictor_name`."""
    return Kronos.from_pretrained(GOLDEN / predictor_name)
