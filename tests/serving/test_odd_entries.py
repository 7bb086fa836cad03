"""One odd entry below the folders of a server takes nothing else with it: it is left out, or listed as far as it can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from tests.serving.conftest import bars, launch

from chandler.serving.evaluations import EvaluationList
from chandler.serving.models import ModelList
from chandler.serving.runs import RunList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names and permissions of this kind are Linux's")
LOOKS = """
import os, sys
from pathlib import Path
from chandler.serving.evaluations import EvaluationList
from chandler.serving.runs import RunList
from chandler.serving.sources import SourceRegistry
from chandler.serving.workspace import Workspace
root = Path(sys.argv[1])
os.setgid(65534); os.setuid(65534)
print([one.name for one in SourceRegistry(Workspace(root / "studio"), (root / "data",), 1, print).list()])
print([one.name for one in RunList(root / "runs").all()], [one.name for one in EvaluationList(root / "runs").all()])
"""


def _run(folder: Path, summary: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "summary.json").write_text(json.dumps({"stages": {}, **summary}))


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others may look into: those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_folders_of_someone_else_are_left_out(shared: Path) -> None:
    closed = [shared / "data" / "lost", shared / "runs" / "lost"]
    for place in closed:
        place.mkdir(parents=True)
    (shared / "data" / "A.csv").touch()
    _run(shared / "runs" / "one", {})
    _run(shared / "runs" / "walk", {})
    (shared / "runs" / "walk" / "evaluation.json").write_text("{}")
    # Root reads everything, so somebody else has to look.
    script = LOOKS if os.geteuid() == 0 else LOOKS.replace("os.setgid(65534); os.setuid(65534)", "")
    for place in closed:
        place.chmod(0)
    try:
        done = subprocess.run([sys.executable, "-c", script, str(shared)], capture_output=True, text=True)
    finally:
        for place in closed:
            place.chmod(0o755)
    assert done.stdout.splitlines() == ["['chandler-stocks', 'A.csv']", "['one', 'walk'] ['walk']"], done.stderr


def test_links_in_a_circle_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "A.csv").touch()
    (tmp_path / "data" / "loop.csv").symlink_to("loop.csv")
    registry = SourceRegistry(Workspace(tmp_path / "studio"), (tmp_path / "data",), 1, lambda source: None)
    assert [one.name for one in registry.list()] == ["chandler-stocks", "A.csv"]


def test_a_name_that_is_no_utf8_is_listed_and_remembered(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / os.fsdecode(b"caf\xe9.csv")).write_text(bars(50).to_csv(index=False))
    _run(tmp_path / "runs" / os.fsdecode(b"caf\xe9"), {})
    (tmp_path / "runs" / os.fsdecode(b"caf\xe9") / "evaluation.json").write_text("{}")
    api = launch(tmp_path, "--data", str(data))
    try:
        [found] = [one for one in api.get("/sources")["sources"] if one["kind"] == "folder"]
        assert found["name"] == "caf\ufffd.csv"
        assert [one["name"] for one in api.get("/runs")["runs"]] == ["caf\ufffd"]
        assert [one["name"] for one in api.get("/evaluations")["evaluations"]] == ["caf\ufffd"]
        assert api.get("/models")["models"]
        assert api.call("POST", f"/api/v1/sources/{found['id']}/refresh").status == 202
        read = api.settled(found["id"])
        assert (read["state"], "UTF-8" in read["message"]) == ("failed", True)
    finally:
        api.process.kill()
        api.process.wait()
    again = SourceRegistry(Workspace(tmp_path / "workspace"), (data,), 1, lambda source: None).get(found["id"])
    assert (again.name, again.message) == (read["name"], read["message"])


def test_files_that_say_what_no_run_does_hide_no_other(tmp_path: Path) -> None:
    _run(tmp_path / "list", {"stages": [1]})
    _run(tmp_path / "part", {"stages": {"predictor": 1}})
    _run(tmp_path / "forecast", {"forecast": [1], "signal": 3})
    _run(tmp_path / "odd", {})
    (tmp_path / "odd" / "config.yaml").write_text("signal: [1]\n")
    (tmp_path / "odd" / "evaluation.json").write_text('{"settings": [1]}')
    _run(tmp_path / "good", {})
    runs = RunList(tmp_path)
    assert {one.name for one in runs.all()} == {one.name for one in runs.all()} == {"list", "part", "forecast", "good"}
    assert [one.name for one in EvaluationList(tmp_path).all()] == ["odd"]
    for part in ("tokenizer", "predictor"):
        (tmp_path / "forecast" / part).mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / "forecast" / part / name).touch()
    assert "forecast" in [one.name for one in ModelList(tmp_path, {}).list()]


def test_whoever_asks_during_the_first_look_hears_of_all_files(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.csv").touch()
    registry, begin = SourceRegistry(Workspace(tmp_path / "studio"), (tmp_path,), 1, lambda source: None), Barrier(4)

    def look() -> int:
        begin.wait()
        return len(registry.list())

    with ThreadPoolExecutor(4) as pool:
        assert {one.result() for one in [pool.submit(look) for _ in range(4)]} == {501}


def test_releases_are_there_where_the_client_of_the_hub_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "huggingface" / "hub" / "models--NeoQuasar--Kronos-mini" / "snapshots").mkdir(parents=True)
    told = """
from pathlib import Path
from chandler.serving.models import ModelList
print(*(one.name for one in ModelList(Path("nowhere"), {}).list() if one.kind == "release" and one.available))
"""
    ours = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_CACHE", "HF_HOME")}
    environment = ours | {"XDG_CACHE_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", told], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["NeoQuasar/Kronos-mini"]
