"""docs/adapters.md: every example runs, where its library is. Run by `make test-contrib`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOC = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")


def run(library: str) -> dict[str, Any]:
    """The names that the one example of a library leaves."""
    pytest.importorskip(library)
    (block,) = re.findall(r"```python\n(.*?)```", DOC.split(f"## {library}\n")[1].split("\n## ")[0], flags=re.S)
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_the_example_of_sktime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run("sktime")
    assert names["distribution"].shape == (2, 6)


def test_the_example_of_fev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = run("fev")
    assert names["summary"]["num_forecasts"] == 15
    assert 0 < names["summary"]["test_error"] < 0.2
