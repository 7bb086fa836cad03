"""A reader finds the old content or the new, never half of it, and nothing stays beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chandler.atomic import atomic_file, atomic_folder, stands_for, write_text


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("failure", [OSError("no space left"), KeyboardInterrupt()])
def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old ü\n")

    def fails() -> None:
        with atomic_file(path) as scratch:
            scratch.write_text("half")
            assert path.read_text(encoding="utf-8") == "old ü\n"
            raise failure

    with pytest.raises(type(failure)):
        fails()
    assert path.read_text(encoding="utf-8") == "old ü\n"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_takes_the_place_of_the_old_one_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "a.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("sync", [True, False])
def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path: Path, sync: bool) -> None:
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "store", sync=sync) as scratch:
            (scratch / "inner").mkdir()
            (scratch / "inner" / content).write_text(content)
    assert names(tmp_path) == ["store"]
    assert names(tmp_path / "store" / "inner") == ["two"]


def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "store") as scratch:
        (scratch / "a").write_text("whole")

    def fails() -> None:
        with atomic_folder(tmp_path / "store") as scratch:
            (scratch / "a").write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fails()
    assert names(tmp_path) == ["store"]
    assert (tmp_path / "store" / "a").read_text() == "whole"


@pytest.mark.usefixtures("umask")
def test_who_may_read_is_what_the_user_set(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    with atomic_folder(tmp_path / "store"):
        pass
    assert mode(tmp_path / "a.txt") == 0o640
    assert mode(tmp_path / "store") == 0o750


def test_links_stay_and_what_they_lead_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "a-link.txt").symlink_to("real/a.txt")
    write_text(tmp_path / "a-link.txt", "new")
    assert (tmp_path / "real" / "a.txt").read_text() == "new"
    with atomic_folder(tmp_path / "link") as scratch:
        (scratch / "b.txt").write_text("newer")
    assert names(tmp_path / "real") == ["b.txt"]
    assert names(tmp_path) == ["a-link.txt", "link", "real"]
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "ahead.txt").symlink_to("not/yet.txt")
    write_text(tmp_path / "ahead.txt", "made")
    assert (tmp_path / "not" / "yet.txt").read_text() == "made"


def test_a_leftover_says_what_it_stood_for(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.b.txt") as scratch:
        assert scratch.name != "a.b.txt"
        assert stands_for(scratch.name) == "a.b.txt"
    for name in ("a.txt", ".hidden", ".env.local", ".a.0A1B2C3D", "a.0a1b2c3d"):
        assert stands_for(name) == name
