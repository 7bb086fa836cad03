"""What a reader may rely on in the source itself. Imports are held by import-linter (`make check`)."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import chandler

SRC = Path(chandler.__file__).parent
ROOM = 12
"""Modules in a folder at most, the ground among the folders."""
NO_MODULES = {"__init__", "__main__", "version"}
"""The door, what `python -m` starts, and a number."""
ARGUMENTS = 7
"""Arguments of a call at most."""
PUBLIC = {"forecast_many", "forecast_parts", "predict_batch", "generate", "walk_forward"}
"""Functions whose arguments are those that users type: a command, settings or the reference's names pass them on one by one."""
FOREIGN = {"plot"}
"""Methods of libraries that are called like ours."""


def _parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        yield path.relative_to(SRC), ast.parse(path.read_text(encoding="utf-8"))


def test_no_room_has_more_than_a_dozen_modules() -> None:
    rooms = [SRC, *(folder for folder in SRC.rglob("*") if (folder / "__init__.py").is_file())]
    assert len(rooms) > 15
    counts = {str(room.relative_to(SRC)): len({one.stem for one in room.glob("*.py")} - NO_MODULES) for room in rooms}
    assert {room: count for room, count in counts.items() if count > ROOM} == {}


def test_every_room_says_what_happens_there() -> None:
    for path, tree in _parsed():
        if path.name == "__init__.py":
            assert len(ast.get_docstring(tree) or "") > 40, path


def test_no_call_of_the_inside_has_more_than_seven_arguments() -> None:
    """Values that are constructed have as many as they have fields; functions take few, some of them such values."""
    functions = {
        node.name
        for _, tree in _parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = []
    for path, tree in _parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) + len(node.keywords) > ARGUMENTS:
                name = ast.unparse(node.func).rpartition(".")[2]
                if name in functions - PUBLIC - FOREIGN:
                    long.append(f"{path}:{node.lineno}: {name}")
    assert long == []


def test_front_doors_hand_out_what_they_list() -> None:
    for room in sorted(path.parent for path in SRC.rglob("__init__.py")):
        name = ".".join(("chandler", *room.relative_to(SRC).parts))
        door = __import__(name, fromlist=["*"])
        for one in getattr(door, "__all__", ()):
            assert hasattr(door, one), f"{name}.{one}"
        assert inspect.getdoc(door), name
