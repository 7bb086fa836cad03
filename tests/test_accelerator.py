"""All of it runs where a model is, on a device that is not the CPU: a stand-in that refuses to be mixed with it.

torch cannot forget a device type: `accelerator/` has the tests, which run in processes of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

FOLDER = Path(__file__).parent / "accelerator"


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this release of torch takes no device types from Python",
)
@pytest.mark.parametrize("part", ["forecasting", pytest.param("training", marks=pytest.mark.slow)])
def test_on_a_stand_in(part: str) -> None:
    # Not this session's: its workers and options are its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(FOLDER / f"{part}.py")],
        cwd=FOLDER.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
