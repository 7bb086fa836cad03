"""A node is lost, or memory: what Ray does then, and what a user is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.scale import losing
from tests.scale.conftest import universe
from tests.scale.killing import PartWatch

pytest.importorskip("ray")

from tests.scale.test_ray import expected


def lose(what: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Ray reads its settings once."""
    command = [sys.executable, "-m", "tests.scale.losing", what, str(folder)]
    told = subprocess.run(command, env={**os.environ, **settings}, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told


def test_a_cluster_of_another_version_is_said_and_a_lost_node_loses_nothing(tmp_path: Path) -> None:
    watch = PartWatch(tmp_path)
    watch.start()
    told = lose("node", tmp_path, RAY_AUTH_MODE="disabled")
    watch.stop()
    assert len(watch.seen) == losing.SYMBOLS // losing.CHUNK
    one = expected(universe(losing.SYMBOLS), losing.HORIZON, tmp_path / "whole.parquet")
    pd.testing.assert_frame_equal(one, pd.read_parquet(tmp_path / "f.parquet"), check_exact=True)
    assert "raylet" not in told.stdout + told.stderr
    assert "does not take us: Version mismatch" in told.stdout
    assert "Ray: 2.99" in told.stdout


def test_a_worker_that_ray_kills_for_memory_works_on_less_and_names_the_symbol(tmp_path: Path) -> None:
    # Ray looks every 20 s: a worker that starts after one look has begun to work before the next.
    told = lose("memory", tmp_path, RAY_memory_usage_threshold="0.01", RAY_memory_monitor_refresh_ms="20000")
    assert (tmp_path / "asked").read_text().split() in (["8", "1"], ["1"])
    assert told.stdout.startswith("TSLA: its forecast alone ended its worker again and again")
    assert told.stderr == ""
