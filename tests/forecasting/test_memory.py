"""What may be planned with: what the machine has free, and no more than a container's limit leaves."""

from pathlib import Path

import torch

from chandler.forecasting.memory import free_memory, left_in

GB = 10**9


def write(root: Path, **files: object) -> Path:
    for name, content in files.items():
        (root / name.replace("__", ".")).write_text(f"{content}\n")
    return root


def test_files_that_nobody_uses_count_as_free(tmp_path: Path) -> None:
    stat = f"anon {GB}\nfile {5 * GB}\ninactive_file {4 * GB}\nactive_file {GB}"
    write(tmp_path, memory__max=8 * GB, memory__current=6 * GB, memory__stat=stat)
    assert left_in(tmp_path) == 6 * GB  # of 6 in use, 4 are a cache that is given back
    write(tmp_path, memory__stat="anon 1")
    assert left_in(tmp_path) == 2 * GB
    write(tmp_path, memory__current=9 * GB)
    assert left_in(tmp_path) == 0


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert left_in(tmp_path) is None
    assert left_in(write(tmp_path, memory__max="max", memory__current=GB)) is None


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    stat = f"inactive_file 1\ntotal_inactive_file {2 * GB}"
    write(tmp_path, memory__limit_in_bytes=4 * GB, memory__usage_in_bytes=3 * GB, memory__stat=stat)
    assert left_in(tmp_path) == 3 * GB


def test_something_is_free_here() -> None:
    assert free_memory(torch.device("cpu")) > 10**7
