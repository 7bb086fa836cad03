"""docs/tutorial.md: every block runs, in order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.shell import chandler

ROOT = Path(__file__).parents[1]


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "configs/demo.yaml", tmp_path)
    blocks = re.findall(
        r"```(python|sh)\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), flags=re.S
    )
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh", "python"]
    names: dict[str, Any] = {}
    for kind, block in blocks:
        if kind == "python":
            exec(block, names)
        else:
            assert chandler(*shlex.split(block)[1:]) == 0
    assert (tmp_path / "judged" / "report.html").is_file()
    assert names["forecast"].paths.shape == (20, 4, 6)
