"""Which bars there are, in which state, and their stores once they are read."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from chandler.data.reading import STOCKS
from chandler.data.store import META, BarStore
from chandler.errors import DataError
from chandler.serving.errors import Refusal
from chandler.serving.sources.candles import span
from chandler.serving.sources.offered import offered
from chandler.serving.sources.reading import EXPANDS, ReadingSettings, bomb, questions, read_into
from chandler.serving.tasks import Tasks
from chandler.serving.workspace import Workspace, fresh_id, is_id, lasting_id, read_json, write_json

log = logging.getLogger("chandler.serving")
BUNDLED = STOCKS
SCAN_SECONDS = 10.0
"""A listing is this old at most."""
Kind = Literal["bundled", "folder", "upload"]
State = Literal["new", "reading", "ready", "question", "failed", "deleted"]


@dataclass(frozen=True)
class Source:
    """One source of bars."""

    id: str
    name: str
    kind: Kind
    path: Path | None
    """None: bundled."""
    state: State = "new"
    store: Path | None = None
    """The folder of its store, once it was read."""
    message: str | None = None
    notes: tuple[str, ...] = ()
    options: ReadingSettings = field(default_factory=ReadingSettings)
    changed: float = 0.0

    @property
    def prepared(self) -> bool:
        """Whether it is a store itself: opened as it is, also where it has grown."""
        return self.store is not None and self.store == self.path


class SourceRegistry:
    """All sources of a server. Its records are `sources.json`; what is read lies in stores/."""

    def __init__(
        self,
        workspace: Workspace,
        folders: Iterable[Path],
        upload_bytes: int,
        tell: Callable[[Source], None],
        runs: Path | None = None,
    ) -> None:
        """`runs`: a folder that, as the workspace, is no place of bars where it lies in one of `folders`."""
        self._workspace, self._upload_bytes, self._tell = workspace, upload_bytes, tell
        self._roots = [folder.resolve() for folder in folders]
        self._apart = {*workspace.places(), *([] if runs is None else [runs.resolve()])}
        self._known: dict[str, Source] = {}
        self._opened: dict[str, tuple[str, BarStore]] = {}
        """id -> the revision that was opened, and its bars."""
        self.users: list[Callable[[], Iterable[tuple[str, str]]]] = []
        """Each tells of what it works on, or will: the id of a source, and the address that it was given of its bars."""
        self._scanned, self._scanning = -SCAN_SECONDS, threading.Lock()
        self._turn = asyncio.Semaphore(1)
        self._tasks = Tasks()
        bundled = lasting_id("src", "bundled", BUNDLED)
        self._known[bundled] = Source(bundled, BUNDLED, "bundled", None, "ready")
        self._restore()

    def list(self) -> list[Source]:
        """All of them: bundled, uploads (newest first), files of folders by name."""
        self._scan()
        order = {"bundled": 0, "upload": 1, "folder": 2}
        return sorted(
            self._known.values(),
            key=lambda one: (order[one.kind], -one.changed if one.kind == "upload" else 0, one.name),
        )

    def get(self, id: str) -> Source:
        """The source of an id; Refusal 404."""
        if id not in self._known:
            self._scan()
        found = self._known.get(id)
        if found is None:
            raise Refusal(404, "There is no such source.")
        return found

    def store(self, id: str) -> BarStore:
        """Its bars; Refusal 409 while there are none."""
        source = self.get(id)
        if source.state == "reading" and source.store is None:
            raise Refusal(409, f"{source.name} is being read.")
        if source.store is None and source.kind != "bundled":
            raise Refusal(409, source.message or f"{source.name} was not read yet.")
        revision, there = self.revision(id), self._opened.get(id)
        if there is None or there[0] != revision:
            there = (revision, _open(source))
            self._opened[id] = there
        return there[1]

    def address(self, id: str) -> str:
        """What `load_bars` reads these bars from."""
        source = self.get(id)
        self.store(id)
        return BUNDLED if source.store is None else str(source.store)

    def revision(self, id: str) -> str:
        """Another text where the bars may be others."""
        place = self.get(id).store
        return BUNDLED if place is None else f"{place.name} {_written(place)}"

    def receive(self, name: str, file: Path) -> Source:
        """An upload as a source, its file in a folder of its own under uploads/; Refusal 413 where it would unpack too large."""
        if reason := bomb(file, EXPANDS * self._upload_bytes):
            raise Refusal(413, f"{name}: {reason}")
        return Source(file.parent.name, name, "upload", file, "reading", changed=time.time())

    def begin(self, source: Source) -> None:
        """Know a source, and read it; also where the disk is full and nobody can be told."""
        self._tasks.begin(self._read(source))
        self._put(source)

    def read(self, id: str, options: ReadingSettings | None = None) -> Source:
        """Read a source, or read it again, with other options where they are given; a prepared store is looked at as it is now."""
        source = self.get(id)
        if source.kind == "bundled":
            return source
        if source.state == "reading":
            raise Refusal(409, f"{source.name} is being read. Wait for it to end.")
        if source.prepared:
            if options is not None:
                raise Refusal(
                    409, f"{source.name} is a prepared store: it is opened as it is. Prepare it again in a shell."
                )
            self._tell(source)
            return source
        source = replace(source, state="reading", options=options or source.options, message=None)
        self.begin(source)
        return source

    def remove(self, id: str) -> None:
        """Remove an upload, and what was made of it; Refusal 409 while it is needed, and for all else, which is not ours."""
        source = self.get(id)
        if source.kind != "upload" or source.path is None:
            raise Refusal(409, f"{source.name} was not uploaded: remove it where it lies.")
        if source.state == "reading":
            raise Refusal(409, f"{source.name} is being read. Wait for it to end.")
        if any(used == id for used, _ in self._used()):
            raise Refusal(409, f"{source.name} is needed by a job or a forecast. Wait for it to end, or stop it.")
        del self._known[id]
        self._opened.pop(id, None)
        self._save()
        shutil.rmtree(source.path.parent, ignore_errors=True)
        self._sweep(replace(source, store=None))
        self._tell(replace(source, state="deleted"))

    async def close(self) -> None:
        """Stop reading; what was begun is begun again at the next start."""
        await self._tasks.close()

    async def _read(self, source: Source) -> None:
        """One at a time; the store appears under a name of its own, then the one before goes unless it is needed."""
        assert source.path is not None
        place = self._workspace.folder / "stores" / f"{source.id}-{fresh_id('src')[4:]}.store"
        done = source
        try:
            async with self._turn:
                problem, notes = await read_into(source.path, place, source.options)
            if problem is None:
                done = replace(source, state="ready", store=place, notes=tuple(notes), changed=time.time())
                _open(done)
        except DataError as error:
            problem = str(error)
        except Exception as error:  # whatever it was: a source that is read for ever cannot even be removed
            log.error("%s could not be read", source.name, exc_info=error)
            problem = f"It could not be read ({type(error).__name__}); the server's log says more."
        if problem is not None:
            shutil.rmtree(place, ignore_errors=True)
            state: State = "question" if questions(problem) else "failed"
            done = replace(source, state=state, message=problem, notes=())
        if source.id in self._known:
            self._put(done)
            self._sweep(done)

    def _used(self) -> Sequence[tuple[str, str]]:
        return [one for user in self.users for one in user()]

    def _sweep(self, source: Source) -> None:
        """Remove what was made of a source before. What somebody works on stays until it is read again, or the server starts."""
        kept = {str(source.store), *(address for _, address in self._used())}
        for left in (self._workspace.folder / "stores").glob(f"{source.id}-*.store"):
            if str(left) not in kept:
                shutil.rmtree(left, ignore_errors=True)

    def _put(self, source: Source) -> None:
        self._known[source.id] = source
        self._tell(source)  # also where the disk is full
        self._save()

    def _scan(self) -> None:
        """Find the files of the folders, now and then; who asks meanwhile waits for what is found."""
        with self._scanning:
            if time.monotonic() - self._scanned < SCAN_SECONDS:
                return
            found = {lasting_id("src", "folder", str(path)): (path, name) for path, name in self._offered()}
            for id, (path, name) in found.items():
                if id not in self._known:
                    whole = (path / META).is_file()
                    self._known[id] = Source(
                        id, name, "folder", path, "ready" if whole else "new", path if whole else None
                    )
            for one in list(self._known.values()):
                if one.kind == "folder" and one.id not in found:
                    self._known.pop(one.id, None)
            self._scanned = time.monotonic()

    def _offered(self) -> Iterator[tuple[Path, str]]:
        for root in self._roots:
            yield from offered(root, self._apart)

    def _save(self) -> None:
        records = {
            one.id: {
                "name": one.name, "kind": one.kind, "path": str(one.path), "state": one.state, "message": one.message,
                "store": None if one.store is None else str(one.store), "notes": list(one.notes),
                "options": one.options.model_dump(exclude_defaults=True), "changed": one.changed,
            }
            for one in list(self._known.values())
            if one.kind == "upload" or (one.kind == "folder" and one.state != "new")
        }  # fmt: skip
        write_json(self._workspace.folder / "sources.json", {"sources": records})

    def _restore(self) -> None:
        """What was known before; files of folders that are offered no more are not."""
        there_are = {str(path) for path, _ in self._offered()}
        records = read_json(self._workspace.folder / "sources.json").get("sources")
        for id, raw in (records or {}).items():
            path, store = Path(raw["path"]), raw["store"]
            if raw["kind"] == "folder" and str(path) not in there_are:
                continue
            if not path.exists():
                continue
            there = None if store is None or not Path(store).is_dir() else Path(store)
            state: State = raw["state"] if there is not None or raw["state"] in ("question", "failed") else "new"
            self._known[id] = Source(
                id, raw["name"], raw["kind"], path, "ready" if there is not None and state == "reading" else state, there,
                raw["message"], tuple(raw["notes"]), _options(raw["options"]), raw["changed"],
            )  # fmt: skip
        kept = {one.store for one in self._known.values()}
        for left in (self._workspace.folder / "stores").glob("src_*.store"):
            if left not in kept:  # a reading that was killed
                shutil.rmtree(left, ignore_errors=True)
        if records is None:
            return  # of records that are lost nobody knows which uploads they named
        for left in (self._workspace.folder / "uploads").glob("src_*"):
            if is_id(left.name, "src") and left.name not in records:  # a server was killed as it took it in
                shutil.rmtree(left, ignore_errors=True)


def _open(source: Source) -> BarStore:
    if source.store is not None:
        return BarStore.open(source.store)
    from chandler.data import load_bars

    return load_bars(BUNDLED)


def _options(raw: Any) -> ReadingSettings:
    """As they were given; none where they are such as nobody could give now."""
    try:
        return ReadingSettings(**raw)
    except ValidationError:
        return ReadingSettings()


def _written(store: Path) -> int:
    """When a store was written last, in ns since 1970; 0 where it is gone."""
    try:
        return (store / META).stat().st_mtime_ns
    except OSError:
        return 0


def summary(registry: SourceRegistry, source: Source) -> dict[str, Any]:
    """What is said of a source to whoever asks; of one that is not read yet, its name and state."""
    changed = _written(source.store) // 10**9 if source.store is not None and source.prepared else int(source.changed)
    told: dict[str, Any] = {
        "id": source.id, "name": source.name, "kind": source.kind, "state": source.state, "message": source.message,
        "notes": list(source.notes), "options": source.options.model_dump(exclude_defaults=True), "changed": changed,
        "question": {"options": questions(source.message or "")} if source.state == "question" else None,
    }  # fmt: skip
    if source.store is None and source.kind != "bundled":
        return told
    try:
        store = registry.store(source.id)
        zones = set(store.zones)
        first, last, step = span(store)
        told |= {
            "rows": store.rows,
            "symbols": len(store),
            "first": first,
            "last": last,
            "step_seconds": step,
            "zone": zones.pop() if len(zones) == 1 else None,
        }
    except (DataError, OSError) as error:
        told |= {"state": "failed", "message": str(error)}
    return told
