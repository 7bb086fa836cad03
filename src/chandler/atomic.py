"""Files and folders that appear whole or not at all: made beside their place, put on disk, then renamed.

Whatever fails in between, a full disk or an interruption, leaves what stood there before, and nothing beside it. Only
a process that is killed leaves what it was writing, as `.NAME.` and eight hexadecimal digits: nothing reads that, and it
goes where chandler removes what it wrote under NAME. Links are followed: they stay, what they lead to is replaced.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR)
"""What systems say that do not open or sync folders; renames are theirs to keep."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to, which takes its place when the block ends well, and vanishes when it
    fails. Folders above are made.

    Raises:
        OSError: there is no room, or the place cannot be written.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _beside(path)
    try:
        scratch.open("xb").close()
        yield scratch
        _sync(scratch)
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8. OSError as `atomic_file`."""
    with atomic_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(folder: Path, *, sync: bool = True) -> Iterator[Path]:
    """A folder beside `folder` to fill, which takes its place when the block ends well, and vanishes when it fails.
    Folders above are made.

    What stood there before, all of it, is moved aside first and removed last, so an interruption at any moment leaves a
    whole folder under one of the two names: for folders that hold nothing but what chandler wrote. `sync=False` lets
    the system put the files on disk when it likes: for very many small ones that can be made again.

    Raises:
        OSError: as `atomic_file`.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch, old = _beside(folder), _beside(folder)
    try:
        scratch.mkdir()
        yield scratch
        if sync:
            for path in scratch.rglob("*"):
                if path.is_file():
                    _sync(path)
        if folder.exists():
            os.replace(folder, old)
            try:
                os.replace(scratch, folder)
            except BaseException:
                os.replace(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, folder)
        _sync_names(folder.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: one process at a time. The lock goes with the process, however it ends; the file stays.

    Where the system has no such locks, nothing is held.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file cannot be made.
    """
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def stands_for(name: str) -> str:
    """The name that something was being written under: config.yaml of .config.yaml.0a1b2c3d; others as they are."""
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}", name)
    return found[1] if found else name


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _sync_names(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
