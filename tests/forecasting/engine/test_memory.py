"""What may be planned with: what the machine has free, and no more than a container's limit leaves."""

import os
from pathlib import Path

import pytest
import torch

from chandler.forecasting.engine import memory
from chandler.forecasting.engine.memory import cgroup_available, free_memory

GB = 10**9


def write(root: Path, **files: object) -> Path:
    for name, content in files.items():
        (root / name.replace("__", ".")).write_text(f"{content}\n")
    return root


def test_files_that_nobody_uses_count_as_free(tmp_path: Path) -> None:
    stat = f"anon {GB}\nfile {5 * GB}\ninactive_file {4 * GB}\nactive_file {GB}"
    write(tmp_path, memory__max=8 * GB, memory__current=6 * GB, memory__stat=stat)
    assert cgroup_available(tmp_path) == 6 * GB  # of 6 in use, 4 are a cache that is given back
    write(tmp_path, memory__stat="anon 1")
    assert cgroup_available(tmp_path) == 2 * GB
    write(tmp_path, memory__current=9 * GB)
    assert cgroup_available(tmp_path) == 0


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert cgroup_available(tmp_path) is None
    assert cgroup_available(write(tmp_path, memory__max="max", memory__current=GB)) is None


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    stat = f"inactive_file 1\ntotal_inactive_file {2 * GB}"
    write(tmp_path, memory__limit_in_bytes=4 * GB, memory__usage_in_bytes=3 * GB, memory__stat=stat)
    assert cgroup_available(tmp_path) == 3 * GB


def test_what_is_free_here_is_less_than_the_machine_has_and_than_a_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, installed = torch.device("cpu"), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = free_memory(cpu)
    print(f"{free / GB:.1f} of {installed / GB:.1f} GB are free")
    assert 0 < free < installed
    write(tmp_path, memory__max=10**6, memory__current=4 * 10**5)
    monkeypatch.setattr(memory, "_CGROUPS", (tmp_path, tmp_path / "nothing"))
    assert free_memory(cpu) == 6 * 10**5
    write(tmp_path, memory__max=10 * installed)
    assert 0 < free_memory(cpu) < installed
