"""training.json: how models were made, from the files of their run, in words that name no place of the machine it ran on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from chandler.errors import ConfigError
from chandler.forecasting import TRAINING_NAME, from_hub
from chandler.hub import NANO, WEIGHTS_NAME, is_repository
from chandler.training.runs import Known, Run, RunHistory, digest, flattened, known, read_mapping, short
from chandler.training.settings import RANDOM
from chandler.version import __version__

MADE = "published_with"
"""The key that no other file of chandler's has."""
_TOLD = ("trained_with", "starts", "stages", "window", "data", "settings")
"""What a run says of itself."""
_STAGE = (
    "status", "mode", "parameters", "trained_parameters", "measure", "start_score", "best", "best_step", "steps", "epochs",
    "stopped_early", "warning", "at_start", "at_best", "reused",
)  # fmt: skip
_DATA = ("symbols", "rows", "intervals", "formats", "splits", "fingerprint", "share")
_PLACES = frozenset(
    ("out", "path", "folder", "columns", "symbols", "leave_out", "sources", "start", "revision", "device", "distributed",
     "trackers", "log_every", "save_every", "skip_existing", "compile")
)  # fmt: skip
"""Last parts of settings that say where something lies, what it is called there or on what it ran, and of starts, which have
a place of their own."""


def training_record(folder: Path | None, parts: Mapping[str, Path]) -> dict[str, Any]:
    """How models were made: with what, from which weights, on which bars, by which settings, and what came of it.

    Args:
        folder: that they lie in together; None where they do not.
        parts: the folder of each model.

    Raises:
        ConfigError: a run that has not finished, or whose files cannot be read.
    """
    weights = {f"{part}/{WEIGHTS_NAME}": digest(place / WEIGHTS_NAME) for part, place in parts.items()}
    found: dict[str, Any] = {MADE: f"chandler {__version__}"}
    if folder is not None and (folder / "config.yaml").is_file():
        found |= _of_run(RunHistory.read(folder))
    elif folder is not None:
        # Published before and copied since: as it was told then, of these very weights.
        earlier = read_mapping(folder / TRAINING_NAME)
        if earlier.get("weights") == weights:
            found |= {name: earlier[name] for name in _TOLD if name in earlier}
    return found | {"knows": _knows(parts), "weights": weights}


def _of_run(run: RunHistory) -> dict[str, Any]:
    """Of a run that has finished."""
    waiting = [stage.name for stage in run.stages if stage.status == "unfinished"]
    signal = run.config.get("signal")
    if isinstance(signal, Mapping) and signal.get("enabled") and "signal" not in run.summary:
        waiting.append("signal head")
    if waiting:
        raise ConfigError(
            f"{run.folder}: the run has not finished ({', '.join(waiting)}). Go on with it first: chandler finetune CONFIG "
            f"--out {run.folder} --resume"
        )
    whole = Run(run.folder).settings
    given = flattened(whole.model_dump(mode="json", exclude_defaults=True))
    settings = {
        key: short(value) if isinstance(value, str) else value
        for key, value in given.items()
        if not _PLACES & set(key.split("."))
    }
    data, found = run.summary.get("data"), {}
    if isinstance(data, Mapping):
        found["data"] = _data(data)
    return {
        "trained_with": f"chandler {run.summary.get('chandler', '?')}",
        "starts": {stage.name: _start(stage.name, run) for stage in run.stages if stage.status != "off" or stage.model},
        "stages": {
            stage.name: {key: stage.outcome[key] for key in _STAGE if stage.outcome.get(key) is not None}
            for stage in run.stages
        },
        "window": {"lookback": whole.data.lookback, "horizon": whole.data.horizon},
        **found,
        "settings": settings,
    }


def _start(stage: str, run: RunHistory) -> dict[str, Any]:
    """Which weights a stage began with. Of a folder of this machine the last part of its name, and their digest; not on
    record where an early run noted neither a commit nor a digest, and its name may be of a repository or of a folder."""
    outcome = run.summary.get("stages", {}).get(stage, {})
    noted = (run.summary.get("starts") or {}).get(stage, {})
    settings = run.config.get(stage) or {}
    start = str(outcome.get("start") or settings.get("start") or noted.get("start") or "")
    sure = {key: noted[key] for key in ("commit", "weights") if key in noted and noted.get("start") == start}
    if start in ("", RANDOM, NANO):
        return {"start": start or "not on record", **sure}
    if from_hub(start, noted):
        asked = {"revision": settings["revision"]} if settings.get("revision") else {}
        return {"repository": start, **asked, **sure}
    if is_repository(start) and not sure:
        return {"start": "not on record"}
    path = Path(start).expanduser()
    path = path.parent if path.name == stage and path.parent.name else path
    return {"start": f"a local checkpoint ({path.name})", **sure}


def _data(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a summary in numbers: no names."""
    found = {name: raw[name] for name in _DATA if name in raw}
    sources = raw.get("sources")
    if isinstance(sources, list):  # of a corpus, each under a number
        found["sources"] = [_data(one) for one in sources if isinstance(one, Mapping)]
    if isinstance(raw.get("replay"), Mapping):
        found["replay"] = _data(raw["replay"])
    return found


def _knows(parts: Mapping[str, Path]) -> dict[str, Any]:
    """Up to when the weights know bars, of how many symbols; None: any."""
    found = reduce(or_, (known(place) for place in parts.values()), Known()).to_dict()
    seen = [{**one, "symbols": one["symbols"] and len(one["symbols"])} for one in found["seen"]]
    return {**found, "seen": sorted(seen, key=lambda one: (one["kind"], one["until"]))}
