"""A torch out of range is told in words, before anything of it is imported."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

import chandler
from chandler.errors import ConfigError
from chandler.version import TORCH, require_torch
from tests.shell import chandler as run

ROOT = Path(__file__).parents[1]


def installed(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)


@pytest.mark.parametrize("version", ["2.5.1", "1.13.1+cu117", "2.0.0a0+git1"])
def test_an_old_torch_is_told_by_the_command(
    version: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch, version)
    assert run("runs") == 2
    assert capsys.readouterr().err == (
        f"chandler: chandler needs torch 2.6 or newer, and torch {version} is installed. "
        "In the same environment: pip install 'torch>=2.6'\n"
    )


def test_and_by_the_first_public_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "2.5.1")
    with pytest.raises(ConfigError, match=r"torch 2\.5\.1 is installed"):
        _ = chandler.Forecaster


@pytest.mark.parametrize("version", ["2.6.0", "2.13.0+cpu", "3.0"])
def test_a_torch_in_range_is_not_mentioned(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, version)
    require_torch()


def test_the_range_is_the_one_that_pip_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"torch>={TORCH}" in project["dependencies"]
