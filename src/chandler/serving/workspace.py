"""The folder in which a server keeps its own: plain files, each written whole, one server at a time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chandler.atomic import locked, write_text
from chandler.errors import ConfigError
from chandler.places import Layout
from chandler.version import __version__

MARK, SECRET, LOCK = "studio.json", "secret", "lock"
WORKSPACE = Layout(
    "a studio's workspace",
    (
        MARK,
        SECRET,
        LOCK,
        "sources.json",
        "uploads/**",
        "stores/**",
        "forecasts/**",
        "journal/**",
        "jobs/**",
        "queue.json",
    ),
    {MARK: "studio"},
)
NAME_BYTES = 200
_ID = re.compile(r"(src|mdl|fc|job|run|ev)_[0-9a-f]{12}")


def fresh_id(kind: str) -> str:
    """An id that names nothing yet: fc_0123456789ab."""
    return f"{kind}_{secrets.token_hex(6)}"


def lasting_id(prefix: str, kind: str, what: str) -> str:
    """The id of what was found, by what it is known by: the same at every look."""
    return f"{prefix}_{hashlib.sha256(os.fsencode(f'{kind} {what}')).hexdigest()[:12]}"


def folder_id(kind: str, folder: Path) -> str:
    """The `lasting_id` of what lies in a folder, a run or an evaluation."""
    return lasting_id(kind, kind, str(folder.resolve()))


def clipped(name: str) -> str:
    """A name that a file can have with an ending: so many bytes, for what a system counts are not letters."""
    return name.encode()[:NAME_BYTES].decode("utf-8", "ignore")


def name_below(path: Path, root: Path) -> str:
    """What a path is called below a root, itself included; what is no UTF-8 in it is replaced, for no answer could have it."""
    name = path.relative_to(root).as_posix() if path != root else path.resolve().name
    return os.fsencode(name).decode("utf-8", "replace")


def typed_place(path: Path, homes: Sequence[Path]) -> str:
    """A place as a person types it where the server runs; of one elsewhere the last folders alone, from a home of the server's on."""
    here = Path.cwd()
    if path.is_relative_to(here):
        place = path.relative_to(here)
    else:
        home = next((one for one in homes if path.is_relative_to(one)), path)
        place = path.relative_to(home.parent)
    return os.fsencode(place).decode("utf-8", "replace")


def is_id(text: str, kind: str) -> bool:
    """Whether text is an id of a kind, and so safe as the name of a folder."""
    return _ID.fullmatch(text) is not None and text.startswith(f"{kind}_")


class Workspace:
    """A folder that one server holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def places(self) -> Iterator[Path]:
        """It, and what lies directly in it of ours: it may be a folder that holds other things too."""
        yield self.folder
        yield from (self.folder / pattern.split("/")[0] for pattern in WORKSPACE.files)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, for its owner's eyes only, and keep other servers out of it.

        Raises:
            ConfigError: another server holds it, it holds something else under these names, or cannot be written.
        """
        WORKSPACE.require(self.folder)
        with ExitStack() as stack:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not (self.folder / MARK).exists():
                    write_text(self.folder / MARK, json.dumps({"studio": 1, "chandler": __version__}))
                stack.enter_context(locked(self.folder / LOCK))
                for name in ("uploads", "stores", "forecasts", "jobs"):
                    (self.folder / name).mkdir(exist_ok=True)
            except BlockingIOError:
                raise ConfigError(
                    f"{self.folder}: another server works there. Open its page, stop it, or give another workspace=."
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"{self.folder}: cannot be written ({error.strerror or error}). Give another workspace=."
                ) from error
            yield

    def secret(self) -> str:
        """32 random bytes as hexadecimal digits, made once: sessions outlive a restart of the server."""
        path = self.folder / SECRET
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            found = ""
        if not re.fullmatch(r"[0-9a-f]{64}", found):
            found = secrets.token_hex(32)
            write_text(path, found + "\n")
            path.chmod(0o600)
        return found


def folders(root: Path, depth: int, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """Folders below a root, itself included, that are wanted; there are none within one. Links, hidden ones and what cannot be
    looked at are left out."""
    try:
        found = wanted(root)
        below = [] if found or not depth else [path for path in sorted(root.iterdir()) if _plain(path)]
    except OSError:
        return
    if found:
        yield root
    for path in below:
        yield from folders(path, depth - 1, wanted)


def _plain(path: Path) -> bool:
    return not path.is_symlink() and path.is_dir() and not path.name.startswith(".")


def read_json(path: Path) -> dict[str, Any]:
    """A file of ours; {} where there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return mapping(found)


def mapping(value: Any) -> dict[str, Any]:
    """A part of a file that should be one; {} where it is not."""
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Any) -> None:
    """Write a file of ours, whole; in ASCII, for a path may hold what is no UTF-8."""
    write_text(path, json.dumps(value))
