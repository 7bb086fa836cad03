"""What is written lies apart from what is read, and of what stands where it goes only chandler's own files are removed.

`require_apart` is asked by everything that writes; `Layout` says which files chandler writes into a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from chandler.atomic import stands_for
from chandler.errors import ConfigError

CONFIG = "config.yaml"


def require_apart(output: Path, inputs: Mapping[str, Iterable[Path]], *, entries: Iterable[str] = ()) -> None:
    """Refuse an output that is an input, or a folder with one in it; links are followed, on both sides.

    Args:
        output: a file or folder, which need not exist.
        inputs: what reads them (the name of an option) -> files and folders.
        entries: names within an output folder that are written to, wherever links lead them.

    Raises:
        ConfigError: names both.
    """
    places = [output, *(output / name for name in entries if (output / name).is_symlink())]
    there = {one for place in places for one in _identities(place)}
    seen: dict[Path, bool] = {}
    """Folder -> whether it is an output, or lies in one: inputs have them in common."""
    for what, paths in inputs.items():
        for path in paths:
            whole = path.resolve()
            for place in (whole, *whole.parents):
                if place not in seen:
                    seen[place] = not there.isdisjoint(_identities(place))
                if seen[place]:
                    told = "is" if place == whole else "contains"
                    raise ConfigError(
                        f"{output} {told} {path}, which is read ({what}): it could be lost. Write to another place."
                    )


def _identities(path: Path) -> Iterator[object]:
    """What two paths to one place have in common: the resolved path, and the file system's number for it."""
    yield path.resolve()
    try:
        found = path.stat()
    except OSError:
        return
    yield found.st_dev, found.st_ino


def existing(sources: Iterable[str | Path]) -> list[Path]:
    """Those that are files or folders here; names of repositories are not."""
    paths = (Path(source).expanduser() for source in sources)
    return [path for path in paths if path.exists()]


@dataclass(frozen=True)
class Layout:
    """The files that chandler writes into a folder of one kind."""

    kind: str
    """In words: "a run"."""
    files: tuple[str, ...]
    """Patterns of their paths within the folder; ** at the end stands for any depth."""
    proofs: Mapping[str, str]
    """Files that tell the kind -> a key at their top that no other kind's has. JSON or YAML."""

    def found(self, folder: Path) -> list[str]:
        """What there is directly in the folder under the names of these files, leftovers of killed processes aside."""
        return [path.name for path in self._tops(folder) if stands_for(path.name) == path.name]

    def is_at(self, folder: Path) -> bool:
        """Whether chandler has written a folder of this kind there."""
        found = ((_read(folder / name)[1], key) for name, key in self.proofs.items())
        return any(isinstance(keys, dict) and key in keys for keys, key in found)

    def require(self, folder: Path) -> None:
        """Refuse to write where files of these names stand that are not of this kind.

        Raises:
            ConfigError: names them.
        """
        found = self.found(folder)
        if found and not self.is_at(folder):
            raise ConfigError(
                f"{folder} holds {', '.join(found)}, and no sign that chandler wrote {self.kind} there: nothing is "
                "replaced. Choose another folder (out=)."
            )
        if CONFIG in found and not _dumped(folder / CONFIG):
            raise ConfigError(
                f"{folder / CONFIG} was not written by chandler, or changed since: it is not replaced. Move it away, or "
                "choose another folder (out=)."
            )

    def require_own(self, folder: Path) -> None:
        """`require`, and nothing else in the folders that would be removed: `clear` does not lose anything then."""
        self.require(folder)
        below = (path for top in self._tops(folder) for path in _files(top))
        foreign = next((path for path in below if not self._is_own(folder, path)), None)
        if foreign is not None:
            raise ConfigError(
                f"{foreign} is not of {self.kind} that chandler wrote: it is not removed. Move it away, or choose another "
                "folder (out=)."
            )

    def require_free(self, folder: Path, holds: str) -> None:
        """Refuse a folder with anything but files of this kind and what an interruption left of them.

        Raises:
            ConfigError: there is more in it; `holds` says what that makes of the folder.
        """
        if not os.path.lexists(folder):
            return
        whole = folder.is_dir() and len(list(self._tops(folder))) == len(list(folder.iterdir()))
        if not whole or (self.found(folder) and not self.is_at(folder)):
            raise ConfigError(f"{folder}: exists and holds {holds}. Choose another folder (out=).")
        self.require_own(folder)

    def claim(self, folder: Path, holds: str) -> None:
        """`require_free`, and make the folder. ConfigError where it cannot be made, too."""
        self.require_free(folder, holds)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot write there ({error.strerror}). Choose another folder (out=)."
            ) from error

    def clear(self, folder: Path, *, but: Collection[str] = (), only: Collection[str] | None = None) -> None:
        """Remove its files, and folders that are empty then; all else stays.

        Args:
            but: names directly in the folder that stay.
            only: names directly in the folder; None: all.

        Raises:
            OSError: the system does not let it.
        """
        chosen = [top for top in self._tops(folder) if top.name not in but and (only is None or top.name in only)]
        for top in chosen:
            for path in _files(top):
                if self._is_own(folder, path):
                    path.unlink()
            for place, _, _ in os.walk(top, topdown=False):
                if not os.listdir(place) and self._is_own(folder, Path(place), part=True):
                    os.rmdir(place)

    def _tops(self, folder: Path) -> Iterator[Path]:
        """What lies directly in the folder under the names of these files, leftovers of killed processes among them."""
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if any(fnmatchcase(stands_for(path.name), pattern.split("/")[0]) for pattern in self.files):
                yield path

    def _is_own(self, folder: Path, path: Path, *, part: bool = False) -> bool:
        """Whether a path is that of a file of ours; `part`: of a folder that they may be in."""
        names = path.relative_to(folder).parts
        parts = [stands_for(name) for name in names]
        if path.is_symlink():
            return False
        # What a folder holds that was being made is ours whatever it is called: libraries have temporary files too.
        made = next(
            (depth for depth, name in enumerate(names, 1) if stands_for(name) != name and depth < len(names)), 0
        )
        if made:
            parts, part = parts[:made], True
        return any(_fits(parts, pattern.split("/"), part) for pattern in self.files)


def _files(top: Path) -> Iterator[Path]:
    """The path itself, or all files and links below it where it is a folder."""
    if top.is_symlink() or not top.is_dir():
        yield top
        return
    for place, folders, files in os.walk(top):
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name) for name in sorted([*files, *links]))


def _fits(parts: list[str], pattern: list[str], part: bool) -> bool:
    if pattern[-1] == "**" and len(parts) >= len(pattern):
        parts, pattern = parts[: len(pattern) - 1], pattern[:-1]
    if part:
        pattern = pattern[: len(parts)]
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


def _read(path: Path) -> tuple[str, object]:
    """The text of a JSON or YAML file and what it holds; nothing of a link, or where it is no such file."""
    try:
        text = "" if path.is_symlink() else path.read_text(encoding="utf-8")
        return text, json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return "", None


def _dumped(path: Path) -> bool:
    """Whether a YAML file is as `safe_dump` writes it: what a person wrote has comments and a form of its own."""
    text, found = _read(path)
    return text in (yaml.safe_dump(found, sort_keys=False, allow_unicode=way) for way in (True, False))
