"""The files around the code: workflows, citation, images. What the outside reads is whole and tells one version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import chandler

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_forms_are_whole(path: Path) -> None:
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.parent.name == "workflows":
        assert read["permissions"] == {"contents": "read"}
        for job in read["jobs"].values():
            assert {"runs-on", "steps"} <= set(job)
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    else:
        assert {"name", "description", "body"} <= set(read)


def test_workflows_call_targets_that_are_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    called = set()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for line in re.findall(r"run: make (.*)", path.read_text(encoding="utf-8")):
            called |= set(line.split())
    assert called
    assert called <= targets


def test_the_oldest_releases_that_are_allowed_are_those_that_are_tested() -> None:
    """`make test-oldest` has every dependency at its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["studio"]]
    pinned = re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements" / "oldest.txt").read_text(), re.M)
    tested = {name: version.split(".") for name, version in pinned}
    for one in allowed:
        name, bound = one.split(">=")
        least = bound.split(".")
        assert tested[name][: len(least)] == least, one
    assert len(tested) == len(allowed)


def test_the_citation_tells_the_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == chandler.__version__


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_images_are_pinned_and_run_as_nobody_special(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "USER 1000" in text
    assert "HEALTHCHECK" in text
    assert all(re.search(r":\d+\.\d+\.\d+", line) for line in re.findall(r"(?m)^FROM .*", text))
    (torch,) = re.findall(r"torch==\S+", text)
    assert torch in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
