"""Parts are made once, whole or not at all, and joined in order."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from chandler.evaluation.walk_forward.part_store import PartStore, chunks_of, in_chunks, join, model_parts
from chandler.progress import Progress

SILENT = Progress(Console(file=io.StringIO()))


def test_chunks_hold_every_window_once() -> None:
    assert [chunk.tolist() for chunk in chunks_of(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    track = SILENT.track("x", 7)
    assert list(in_chunks(chunks_of(7, 3), len, track)) == [3, 3, 1]


def test_what_is_missing_is_made_and_nothing_else(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def make(windows: np.ndarray) -> pa.Table:
        if 4 in windows and len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(windows.tolist())
        return pa.table({"window": windows})

    store = PartStore(tmp_path / "parts", chunks_of(7, 3))
    with pytest.raises(KeyboardInterrupt):
        store.fill(make, SILENT, "x")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000000.parquet"]
    asked.append([])  # as if called again
    assert store.fill(make, SILENT, "x") == 4
    assert asked == [[0, 1, 2], [], [3, 4, 5], [6]]
    assert store.fill(make, SILENT, "x") == 0
    join(store.tables(), tmp_path / "all.parquet")
    assert pq.read_table(tmp_path / "all.parquet")["window"].to_pylist() == list(range(7))
    (tmp_path / "parts" / "notes.txt").write_text("mine")
    store.clear()
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["notes.txt"]


def test_a_model_is_named_by_a_folder_or_by_a_pair(tmp_path: Path) -> None:
    assert model_parts("NeoQuasar/Kronos-small") == ["NeoQuasar/Kronos-small"]
    assert model_parts("a/tok+a/pred") == model_parts("a/tok,a/pred") == ["a/tok", "a/pred"]
    odd = tmp_path / "a+b"
    odd.mkdir()
    assert model_parts(str(odd)) == [str(odd)]
