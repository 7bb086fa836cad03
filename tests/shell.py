"""The `chandler` command, run in the process of a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chandler.cli import main


def chandler(*arguments: str | Path) -> int:
    """Run the command; its exit code."""
    saved = sys.argv
    sys.argv = ["chandler", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as done:
            main()
    finally:
        sys.argv = saved
    assert isinstance(done.value.code, int)
    return done.value.code
