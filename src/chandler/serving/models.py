"""Which models there are: bundled, finished runs, registered folders, releases. Reads names and small files, loads nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants

from chandler.hub import NAMES, NANO, bundled_checkpoint
from chandler.serving.errors import Refusal
from chandler.serving.workspace import folders, lasting_id, mapping, name_below, read_json, typed_place

RELEASES = ("NeoQuasar/Kronos-mini", "NeoQuasar/Kronos-small", "NeoQuasar/Kronos-base")
PARTS = ("tokenizer", "predictor")
DEPTH = 4
SCAN_SECONDS = 5.0
Kind = Literal["bundled", "run", "release", "registered"]


@dataclass(frozen=True)
class Model:
    """One model as it is offered."""

    id: str
    name: str
    kind: Kind
    source: str
    """What `Forecaster.from_pretrained` takes."""
    shell: str
    """What a command takes, as it is typed where the server runs."""
    max_context: int | None = None
    lookback: int | None = None
    calendar: str | None = None
    calibrated: bool = False
    available: bool = True
    why_not: str | None = None
    revision: str = ""
    """Another text where its files may be others."""


class ModelList:
    """The models of a server, looked for anew every few seconds."""

    def __init__(self, runs: Path, registered: Mapping[str, Path]) -> None:
        self._runs, self._registered = runs, registered
        self._found: dict[str, Model] = {}
        self._at = -SCAN_SECONDS

    def list(self) -> list[Model]:
        """All of them, the bundled one first."""
        if time.monotonic() - self._at > SCAN_SECONDS:
            self._found = {one.id: one for one in self._all()}
            self._at = time.monotonic()
        return list(self._found.values())

    def forget(self) -> None:
        """Look anew when next asked: a model was made, or changed."""
        self._at = -SCAN_SECONDS

    def get(self, id: str) -> Model:
        """The model of an id; Refusal 404, or 424 where it cannot be had."""
        found = next((one for one in self.list() if one.id == id), None)
        if found is None:
            raise Refusal(404, "There is no such model.")
        if not found.available:
            raise Refusal(424, f"{found.name}: {found.why_not}")
        return found

    def _all(self) -> Iterator[Model]:
        bundled = bundled_checkpoint(NANO)
        assert bundled is not None
        yield _local(NANO, "bundled", bundled, NANO, NANO)
        for name, folder in self._registered.items():
            yield _local(name, "registered", folder, str(folder.resolve()), typed_place(folder.resolve(), []))
        for folder in folders(self._runs, DEPTH, _is_whole):
            typed = typed_place(folder.resolve(), [self._runs.resolve()])
            yield _local(name_below(folder, self._runs), "run", folder, str(folder.resolve()), typed)
        for name in RELEASES:
            yield _release(name)


def run_model(folder: Path) -> str | None:
    """The id of the model that a run made; None while it has none."""
    return lasting_id("mdl", "run", str(folder.resolve())) if _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    return all((folder / part / file).is_file() for part in PARTS for file in NAMES)


def _local(name: str, kind: Kind, folder: Path, source: str, shell: str) -> Model:
    used = mapping(read_json(folder / "summary.json").get("forecast"))
    files = [folder / part / file for part in PARTS for file in NAMES] + [
        folder / "calibration.json",
        folder / "summary.json",
    ]
    state = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.is_file()]
    whole = _is_whole(folder)
    return Model(
        lasting_id("mdl", kind, source), name, kind, source, shell,
        used.get("max_context", 512), used.get("lookback"), used.get("calendar"),
        (folder / "calibration.json").is_file(), whole, None if whole else "It has no tokenizer and predictor yet.",
        json.dumps(state),
    )  # fmt: skip


def _release(name: str) -> Model:
    """A released pair; what is in the hub's cache is available without a network."""
    there = (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots").is_dir()
    absent = constants.HF_HUB_OFFLINE and not there
    why = "It was not fetched yet, and this machine is offline (HF_HUB_OFFLINE)." if absent else None
    context = 2048 if name.endswith("mini") else 512
    return Model(
        lasting_id("mdl", "release", name), name, "release", name, name, context, available=why is None, why_not=why
    )
