"""One YAML file plus overrides -> one validated `Settings` object, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.settings import load, read
from chandler.training.settings.reference import ReferenceSettings, is_reference, is_theirs
from chandler.training.settings.run import Settings
from chandler.training.settings.stage import RANDOM

PRETRAINING: Mapping[str, Any] = {
    "data": {"drop_volume": 0.05, "cleaning": {"enabled": True}},
    "tokenizer": {"start": RANDOM, "schedule": "cosine"},
    "predictor": {"start": RANDOM, "schedule": "cosine", "learning_rate": 1e-3, "weight_decay": 0.01},
}
"""What `pretrain` has instead of the defaults of finetuning: those of the paper for its smallest model."""


def load_settings(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    out: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    A file of the reference's CSV pipeline is read as it is; overrides may then set its keys or ours. `defaults` stand
    in for keys that the source does not give.

    Raises:
        ConfigError: unreadable file, malformed override, unknown key (the nearest known one is named), bad value.
    """
    return _read(source, overrides, out, defaults)[0]


def settings_to_run(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    out: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Settings, str]:
    """As `load_settings`, for a run that begins: also what to tell of settings of the reference, what they became and
    what a run does in another way; "" of our own.

    Raises:
        ConfigError: as `load_settings`; results would go into a folder of the reference.
    """
    settings, theirs = _read(source, overrides, out, defaults)
    if theirs is None:
        return settings, ""
    theirs.check(settings)
    name = "the settings" if isinstance(source, Mapping) else source
    told = [f"{name}: written for the reference's CSV pipeline. They became:", ""]
    told += [f"    {line}" for line in settings.to_yaml(short=True).splitlines()]
    told += ["", "What is different here:", *(f"- {one}." for one in theirs.differences(settings))]
    return settings, "\n".join(told)


def _read(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str],
    out: str | None,
    defaults: Mapping[str, Any] | None,
) -> tuple[Settings, ReferenceSettings | None]:
    raw, where = read(source)
    final = {} if out is None else {"out": out}
    if not is_reference(raw):
        return load(Settings, raw, overrides, final, defaults, where), None
    if defaults:
        raise ConfigError(f"{where}: these are settings of the reference's finetuning; chandler finetune reads them.")
    overrides = list(overrides)
    theirs = load(ReferenceSettings, raw, filter(is_theirs, overrides), where=where)
    ours = [one for one in overrides if not is_theirs(one)]
    found = theirs.to_ours()
    if "out" not in found and not final and not any(one.partition("=")[0].strip() == "out" for one in ours):
        raise ConfigError(
            f"{where}: model_paths.base_path and model_paths.exp_name are missing: they say where results go. Give them, "
            "or the folder (out=)."
        )
    return load(Settings, found, ours, final, where=where), theirs


def save_settings(settings: Settings, path: Path, *, overwrite: bool = False) -> None:
    """Write the settings that were given as a YAML that `load_settings` reads back to equal ones. A file that says the
    same stays as it is.

    Raises:
        ConfigError: the file says something else and `overwrite` is not set; it cannot be written.
    """
    if path.exists():
        with suppress(ConfigError):
            if load_settings(path) == settings:
                return
        if not overwrite:
            raise ConfigError(
                f"{path} is there and holds something else. Save the settings under another name, or replace it, and an "
                f"earlier run in {settings.out}, with overwrite=True."
            )
    try:
        write_text(path, settings.to_yaml(short=True))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Choose another file.") from error
