"""The folder of a run: what it holds, and whether it may be written to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandler.atomic import atomic_file, write_text
from chandler.errors import ChandlerError, ConfigError, TrainingError
from chandler.forecasting import SIGNAL
from chandler.hub import CONFIG_NAME, WEIGHTS_NAME
from chandler.places import Layout
from chandler.training.runs.history import flattened, read_mapping, read_records
from chandler.training.settings import Settings, StageSettings, load_settings

TRACKERS = "chandler"
"""The project that trackers log to, and the folder of TensorBoard's files."""
STATES = Layout(
    "saved states",
    (
        "step-*/model.safetensors", "step-*/optimizer.safetensors", "step-*/state.json", "step-*/checksums.json",
        "best-*/.tmp??????", "best-*/config.json", "best-*/model.safetensors", "best-*/adapter.json", "best-*/adapter.safetensors",
    ),
    {},
)  # fmt: skip
"""What the folder of a stage's states holds, and all that is ever removed from it."""
STARTS = "checkpoints/starts.json"
"""What the starts of a run know, and its bars, until its summary.json says so."""
RUN = Layout(
    "a run",
    (
        "config.yaml", "metrics.jsonl", "summary.json", "report.html", "calibration.json",
        "tokenizer/config.json", "tokenizer/model.safetensors", "predictor/config.json", "predictor/model.safetensors",
        "tokenizer/exposure.json", "predictor/exposure.json", STARTS,
        "tokenizer/.tmp??????", "predictor/.tmp??????",  # safetensors' own, where it was killed
        *SIGNAL.files,
        "adapters/*/adapter.json", "adapters/*/adapter.safetensors", *(f"checkpoints/*/{name}" for name in STATES.files),
        # Of TensorBoard, and of MLflow: a folder for each experiment, by its number.
        f"trackers/{TRACKERS}/**", "trackers/[0-9]*/**",
    ),
    {"config.yaml": "predictor", "summary.json": "stages"},
)  # fmt: skip
"""What a run folder holds; --overwrite removes these and nothing else."""


_FIXED = ("enabled", "revision", "architecture", "mode", "train", "freeze", "promote_on", "loss")
"""Settings of a stage that its saved states stand on: what is trained, and what chose the best so far."""


@dataclass(frozen=True)
class Run:
    """A finished (or running) run folder."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """The resolved settings."""
        return load_settings(self.folder / "config.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json; empty before the first stage has finished."""
        return read_mapping(self.folder / "summary.json", strict=True)

    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl, a dict per line."""
        return read_records(self.folder)


def require_folder(folder: Path, settings: Settings, *, overwrite: bool, resume: bool, force: bool) -> None:
    """Whether the run may be written there; nothing is changed.

    Raises:
        ConfigError: an earlier run would be lost or was another one (one that cannot go on so, even with `force`), or what
            stands there is no run of chandler's.
    """
    kept = [name for name, stage in settings.stages() if stage.skip_existing and not overwrite]
    earlier = RUN.found(folder)
    if set(earlier) - set(kept):
        (RUN.require_own if overwrite else RUN.require)(folder)
    if resume and not overwrite:
        if (folder / "config.yaml").is_file():
            changed = changed_keys(Run(folder).settings, settings)
            fixed = [text for text in changed if key_of(text).startswith(tuple(_fixed(folder, settings)))]
            if fixed:
                raise ConfigError(
                    f"{folder}: {'; '.join(fixed)} cannot be taken over by a run that goes on, whose saved states stand on "
                    "what was set before. Undo the change, or start anew in another folder (out=)."
                )
            if changed and not force:
                raise ConfigError(
                    f"{folder} was started with other settings: {'; '.join(changed)}. Undo the changes, start anew in "
                    "another folder (out=), or go on all the same with resume=True, force=True."
                )
    elif earlier and not overwrite and not kept:
        raise ConfigError(
            f"{folder} already holds a run ({', '.join(earlier)}). Go on with resume=True, choose another folder "
            "(out=), replace it with overwrite=True, or keep finished stages with "
            "overrides=['tokenizer.skip_existing=true', 'predictor.skip_existing=true']."
        )
    elif not overwrite and (lost := [one for one in settings.stages() if _is_at_stake(folder, *one)]):
        name, _ = lost[-1]
        what = "saved states" if steps_done(folder, name) is not None else "a result"
        raise ConfigError(
            f"{folder} has {what} of its {name}, which is not to be kept and would be lost. Go on with resume=True, choose another "
            f"folder (out=), replace the whole run with overwrite=True, or keep a finished {name} with "
            f"overrides=['{name}.skip_existing=true']."
        )


def has_result(folder: Path, stage: str) -> bool:
    """Whether a stage's finished model is there."""
    return all((folder / stage / file).is_file() for file in (CONFIG_NAME, WEIGHTS_NAME))


def _is_at_stake(folder: Path, name: str, stage: StageSettings) -> bool:
    """Whether a run that begins anew would replace a result or saved states of a stage."""
    if (name == "predictor" and not stage.enabled) or (stage.skip_existing and has_result(folder, name)):
        return False
    return (folder / name / WEIGHTS_NAME).exists() or steps_done(folder, name) is not None


def prepare_folder(folder: Path, settings: Settings, *, overwrite: bool) -> None:
    """Make the run folder and write config.yaml, after `require_folder`; with `overwrite` the earlier run goes.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        with atomic_file(folder / "config.yaml") as scratch:
            scratch.write_text(settings.to_yaml(), encoding="utf-8")
            if overwrite:
                # Only now that there is room for the new. A run to the last, so that it can be said again.
                RUN.clear(folder, but=("config.yaml", scratch.name))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror}). Choose another folder (out=).") from error


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """ "predictor.epochs 30 -> 20" for each setting that differs; where the run lies and how it is launched does not
    matter."""
    a, b = flattened(old.model_dump(mode="json")), flattened(new.model_dump(mode="json"))
    keys = sorted((a.keys() | b.keys()) - {"out", "device", "data.device", "distributed", "trackers"})
    keys = [key for key in keys if not key.endswith(".cuda_graph")]
    return [f"{key} {a.get(key)} -> {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def key_of(changed: str) -> str:
    """The setting that an entry of `changed_keys` is about."""
    return changed.partition(" ")[0]


def _fixed(folder: Path, settings: Settings) -> Iterator[str]:
    """How settings begin that cannot change any more: those of stages that are under way."""
    for name, stage in settings.stages():
        if steps_done(folder, name) is None:
            continue
        yield from (f"{name}.{key}" for key in _FIXED)
        if stage.mode == "lora":
            yield f"{name}.lora"
        if stage.promote_on != "loss":  # the same questions, asked anew in each validation
            yield from (f"{name}.scoring", "max_context", "seed")


def steps_done(folder: Path, stage: str) -> int | None:
    """The steps of the newest saved state of a stage; None where there is none, or a result already."""
    if stage in Run(folder).summary.get("stages", {}):
        return None
    found = (re.fullmatch(r"step-(\d{7,})", path.name) for path in folder.glob(f"checkpoints/{stage}/step-*"))
    return max((int(one[1]) for one in found if one), default=None)


def is_write_error(error: Exception) -> bool:
    """Whether an error says that a file could not be written; safetensors has exceptions of its own for a full disk."""
    if isinstance(error, ChandlerError):
        return False
    return isinstance(error, OSError) or "I/O error" in str(error) or "Io" in str(error)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes `path` of a run that goes on.

    Raises:
        TrainingError: there is no room, or it cannot be written.
    """
    try:
        yield
    except Exception as error:
        if not is_write_error(error):
            raise
        told = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"{path}: cannot be written ({told}); what was saved before is intact. Make room, then go on with resume=True."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")
