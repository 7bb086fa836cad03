"""A folder per forecast: request.json as it came, series-*.json what was said, paths-*.parquet every path, done.json at the end.

Files are written whole and never changed: an answer is what was said when it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chandler.serving.worker import PATHS, SERIES
from chandler.serving.workspace import is_id, read_json

REQUEST, DONE = "request.json", "done.json"


@dataclass(frozen=True)
class Kept:
    """A forecast that lies in a folder."""

    folder: Path

    @property
    def id(self) -> str:
        """Its name."""
        return self.folder.name

    def request(self) -> dict[str, Any]:
        """What was asked for, with when and by what key: {} where the folder is none of ours."""
        return read_json(self.folder / REQUEST)

    def done(self) -> dict[str, Any]:
        """How it ended; {} while it has not."""
        return read_json(self.folder / DONE)

    def series(self, offset: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """What was said of each symbol, in order, as far as it is there."""
        found: list[dict[str, Any]] = []
        for path in self.parts():
            found += [one for one in read_json(path).get("series", []) if "failed" not in one]
            if limit is not None and len(found) >= offset + limit:
                break
        return found[offset : None if limit is None else offset + limit]

    def parts(self) -> list[Path]:
        """Files of what was said of some symbols each, in order."""
        return sorted(self.folder.glob(SERIES))

    def path_files(self) -> list[Path]:
        """Tables of paths as `Forecast.to_frame` has them."""
        return sorted(self.folder.glob(PATHS))


def all_kept(folder: Path) -> Iterator[Kept]:
    """Every forecast below a folder, the newest first."""
    there = [path for path in folder.iterdir() if is_id(path.name, "fc") and (path / REQUEST).is_file()]
    times = {path: (path / REQUEST).stat().st_mtime_ns for path in there}
    yield from (Kept(path) for path in sorted(there, key=lambda one: (times[one], one.name), reverse=True))


def paths_of(kept: Kept, symbol: str, column: str) -> NDArray[np.float64]:
    """One column of a symbol's paths, (P, H); empty where there are none."""
    for path in kept.path_files():
        table = pq.read_table(path, columns=["path", "step", column], filters=[("symbol", "=", symbol)])
        if table.num_rows:
            steps = int(np.asarray(table["step"]).max())
            return np.asarray(table[column], np.float64).reshape(-1, steps)
    return np.empty((0, 0))
