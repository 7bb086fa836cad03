"""What evaluations, tasks and backtests write into their folders, and what they read, which must lie elsewhere."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from chandler.data.reading.load import opened
from chandler.data.sources import SourceSettings
from chandler.places import existing


def inputs(data: SourceSettings, models: Iterable[str]) -> dict[str, list[Path]]:
    """The files and folders that are opened, by what names them; of models as `contenders.open_model` takes them."""
    found = {"data.path": opened(data.path)}
    for source in models:
        found[f"model {source}"] = existing([source, *source.replace("+", ",").split(",")])
    return found


def slug(name: str) -> str:
    """A contender's name as that of a file or folder, within the one that it is put in: no two names share one."""
    safe = re.sub(r"[^\w.-]", "_", name)
    return safe if safe == name and safe.strip(".") else f"{safe}-{zlib.crc32(name.encode()):08x}"
