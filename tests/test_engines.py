"""Engines without Ray: calls in turn, what is said where Ray is missing, and that nothing else imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chandler import ConfigError
from chandler.cli.options import EngineOptions
from chandler.engines import Local, RayEngine, engine_of
from tests.shell import chandler

ASSET = Path(__file__).parents[1] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"


def _power(base: int, exponent: int) -> int:
    if exponent > 2:
        raise MemoryError
    return base**exponent


def test_local_calls_in_turn_and_makes_items_smaller() -> None:
    assert list(Local().spread(_power, [(1,), (2,)], (3,))) == [3, 9]
    assert list(Local().spread(_power, [(5,), (1,)], (3,), smaller=lambda item: (item[0] - 1,))) == [9, 3]
    with pytest.raises(MemoryError):
        list(Local().spread(_power, [(5,)], (3,)))


def test_engines_by_name() -> None:
    assert engine_of("local") == Local()
    assert engine_of("ray") == RayEngine()
    with pytest.raises(ConfigError, match="there are local and ray"):
        engine_of("dask")
    with pytest.raises(ConfigError, match="at least one worker"):
        RayEngine(workers=0)
    with pytest.raises(ConfigError, match="--workers, --gpus: for workers of Ray, give --engine ray"):
        EngineOptions(workers=2, gpus=1.0).chosen()


def test_a_missing_ray_is_said_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert chandler("forecast", ASSET, "--engine", "ray") == 2
    told = capsys.readouterr().err
    assert told == 'chandler: --engine ray needs Ray, which is not installed: pip install "chandler-kronos[ray]".\n'


def test_nothing_imports_ray_before_it_is_asked_for() -> None:
    code = "import sys, chandler.cli, chandler.scale; print('ray' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
