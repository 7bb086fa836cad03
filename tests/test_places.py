"""Outputs that are or contain inputs are refused, and only what chandler wrote is ever removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from chandler.errors import ConfigError
from chandler.places import Layout, existing, require_apart

THING = Layout(
    "a thing",
    ("config.yaml", "sum.json", "model/weights.bin", "parts/*/[0-9]*.bin", "logs/[0-9]*/**"),
    {"config.yaml": "thing", "sum.json": "total"},
)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    folder = tmp_path / "thing"
    write(folder, "model/weights.bin", "parts/a/0001.bin", "logs/0/deep/er.log", ".sum.json.0a1b2c3d")
    write(folder, "parts/.a.0a1b2c3d/.tmpAbCdEf")  # a library's own, in a folder that was being made
    (folder / "config.yaml").write_text(yaml.safe_dump({"thing": {"a": 1}, "list": [1, 2]}))
    (folder / "sum.json").write_text(json.dumps({"total": 1}))
    return folder


def test_an_output_apart_from_its_inputs_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path, "in/a.csv", "out/b.csv")
    for output in ("out", "in/sub", "in/b.csv", "new/deep", "in2"):
        require_apart(tmp_path / output, {"DATA": [tmp_path / "in", tmp_path / "in" / "a.csv"]})


@pytest.mark.parametrize("way", ["same", "relative", "dot", "link to the input", "link to the output", "above", "hard"])
def test_an_output_that_is_or_contains_an_input_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "runs/mine/predictor/model.bin", "elsewhere/x")
    monkeypatch.chdir(tmp_path / "runs" / "mine")
    source, output = tmp_path / "runs" / "mine" / "predictor", tmp_path / "runs" / "mine"
    told = "contains"
    if way == "same":
        output, told = source, "is"
    elif way == "relative":
        output = Path("../mine")
    elif way == "dot":
        output = Path(".")
    elif way == "link to the input":
        (tmp_path / "link").symlink_to(source)
        source = tmp_path / "link"
    elif way == "link to the output":
        (tmp_path / "link").symlink_to(output)
        output = tmp_path / "link"
    elif way == "above":
        output = tmp_path
    else:
        os.link(source / "model.bin", tmp_path / "hard.bin")
        source, output, told = source / "model.bin", tmp_path / "hard.bin", "is"
    with pytest.raises(ConfigError, match=rf" {told} .*which is read \(predictor\.start\)"):
        require_apart(output, {"data": [tmp_path / "elsewhere" / "x"] if way != "above" else [],
                               "predictor.start": [source]})  # fmt: skip


def test_links_within_an_output_count_as_it(tmp_path: Path) -> None:
    write(tmp_path, "good/model.bin", "run/config.yaml")
    (tmp_path / "run" / "predictor").symlink_to(tmp_path / "good")
    require_apart(tmp_path / "run", {"start": [tmp_path / "good"]})
    with pytest.raises(ConfigError, match="is read"):
        require_apart(tmp_path / "run", {"start": [tmp_path / "good"]}, entries=["config.yaml", "predictor"])


def test_names_of_repositories_are_no_places(tmp_path: Path) -> None:
    assert existing([tmp_path, "NeoQuasar/Kronos-small", tmp_path / "none"]) == [tmp_path]


def test_clearing_removes_all_that_was_written_and_nothing_else(thing: Path) -> None:
    write(thing, "notes.txt", "evaluation/a.txt")
    THING.require_own(thing)
    THING.clear(thing, but=["sum.json"])
    assert tree(thing) == ["evaluation/a.txt", "notes.txt", "sum.json"]
    assert sorted(path.name for path in thing.iterdir()) == ["evaluation", "notes.txt", "sum.json"]


@pytest.mark.parametrize(
    "foreign", ["model/notes.txt", "model/.git/HEAD", "parts/a/b/0001.bin", "parts/readme.md", "logs/mine/0.log"]
)
def test_what_is_not_ours_is_named_and_stays(foreign: str, thing: Path) -> None:
    write(thing, foreign)
    before = tree(thing)
    with pytest.raises(ConfigError, match=rf"{foreign} is not of a thing that chandler wrote: it is not removed"):
        THING.require_own(thing)
    assert tree(thing) == before
    THING.clear(thing)  # whoever does not ask loses nothing either
    assert tree(thing) == [foreign]


def test_links_are_not_ours(thing: Path, tmp_path: Path) -> None:
    write(tmp_path, "mine/weights.bin")
    (thing / "model" / "weights.bin").unlink()
    (thing / "model").rmdir()
    (thing / "model").symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="model is not of a thing"):
        THING.require_own(thing)
    THING.clear(thing)
    assert tree(tmp_path) == ["mine/weights.bin", "thing/model"]


@pytest.mark.parametrize(
    "text", ["# my settings\nthing: 1\n", "thing: {a: 1}\n", "other: 1\n", "no yaml: [\n", "", '{"thing": 1}']
)
def test_a_config_that_a_person_wrote_is_not_replaced(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    for check in (THING.require, THING.require_own):
        with pytest.raises(ConfigError, match=r"Choose another|choose another"):
            check(tmp_path)


def test_a_folder_with_other_things_is_not_claimed(thing: Path, tmp_path: Path) -> None:
    THING.claim(thing, "other things")
    THING.claim(tmp_path / "new" / "deep", "other things")
    assert (tmp_path / "new" / "deep").is_dir()
    write(tmp_path, "left/.config.yaml.0a1b2c3d")  # of a process that was killed before it had written anything
    THING.claim(tmp_path / "left", "other things")
    write(tmp_path, "theirs/sum.json", "file")
    for place in ("theirs", "file"):
        with pytest.raises(ConfigError, match="exists and holds other things"):
            THING.claim(tmp_path / place, "other things")
    write(thing, "notes.txt")
    with pytest.raises(ConfigError, match="exists and holds other things"):
        THING.claim(thing, "other things")
