"""Files that bars are read from: those below the folders that are offered, and what an upload is called on disk."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from chandler.data.reading import SUFFIXES
from chandler.data.store import META
from chandler.serving.errors import Refusal
from chandler.serving.workspace import clipped, name_below

DEPTH, FILES = 4, 10_000
"""How deep, and how many files of a folder are offered."""


def offered(root: Path, apart: Collection[Path] = ()) -> list[tuple[Path, str]]:
    """Files below a folder that bars are read from, and prepared stores, with their names.

    Links that lead out are none, nor is what cannot be looked at: it takes nothing else with it.

    Args:
        root: the folder, resolved.
        apart: resolved folders below it that are not looked into.
    """
    found: list[tuple[Path, str]] = []

    def look(path: Path, depth: int) -> None:
        if len(found) >= FILES or path.name.startswith("."):
            return
        if not (whole := path.resolve()).is_relative_to(root) or whole in apart:
            return
        if path.is_dir():
            if (path / META).is_file():
                found.append((path, name_below(path, root)))
            elif depth > 1:
                look_below(path, depth - 1)
        elif path.is_file() and path.name.lower().endswith(tuple(SUFFIXES)):
            found.append((path, name_below(path, root)))

    def look_below(folder: Path, depth: int) -> None:
        for path in sorted(folder.iterdir()):
            with suppress(OSError, RuntimeError):  # a folder of someone else's, links in a circle
                look(path, depth)

    with suppress(OSError):
        look_below(root, DEPTH)
    return found


def upload_name(name: str) -> str:
    """The name of an uploaded file on disk: letters and digits of what it was called, which is what its symbol is called.

    Raises:
        Refusal: 415, an ending that no bars have.
    """
    base = re.split(r"[\\/]", name)[-1]
    ending = next((one for one in sorted(SUFFIXES, key=len, reverse=True) if base.lower().endswith(one)), None)
    if ending is None:
        raise Refusal(
            415, f"{base[:80] or 'The file'}: bars are read from files that end in {', '.join(sorted(SUFFIXES))}."
        )
    stem = clipped(re.sub(r"[^\w -]", "", base[: -len(ending)]).strip()[:64])
    return (stem or "bars") + ending
