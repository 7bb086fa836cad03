"""Finds the tokenizer and the predictor that belong together, with the settings they are used with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chandler.checkpoint import CONFIG_NAME, NANO, bundled
from chandler.data.bars import FEATURES
from chandler.errors import CheckpointError
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer


class Release(NamedTuple):
    """What a released predictor is used with."""

    tokenizer: str
    max_context: int


RELEASES: Mapping[str, Release] = {
    "NeoQuasar/Kronos-mini": Release("NeoQuasar/Kronos-Tokenizer-2k", 2048),
    "NeoQuasar/Kronos-small": Release("NeoQuasar/Kronos-Tokenizer-base", 512),
    "NeoQuasar/Kronos-base": Release("NeoQuasar/Kronos-Tokenizer-base", 512),
}
"""Released predictors, smallest first."""


class LoadedModels(NamedTuple):
    """Two models and how they want to be used."""

    tokenizer: KronosTokenizer
    predictor: Kronos
    settings: dict[str, Any]
    """Any of max_context, lookback, calendar, dependency_positions."""
    name: str


def load_models(
    source: str | Path | Sequence[str | Path],
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
) -> LoadedModels:
    """Load what `Forecaster.from_pretrained` describes; float32, on the CPU, in eval mode.

    Raises:
        CheckpointError: nothing there, not reachable, or not two models.
    """
    settings: dict[str, Any] = {}
    if not isinstance(source, str | Path):
        parts = list(source)
        if len(parts) != 2:
            raise CheckpointError(f"expected a pair (tokenizer, predictor), found {len(parts)} entries: {parts}.")
        tokenizer, predictor = parts
        name = str(predictor)
    elif (folder := bundled(source) or Path(source).expanduser()).is_dir():
        tokenizer, predictor = _run_folder(folder)
        settings = _run_settings(folder / "summary.json")
        name = str(source) if bundled(source) else str(folder)
    elif str(source) in RELEASES:
        tokenizer, predictor, name = RELEASES[str(source)].tokenizer, str(source), str(source)
    else:
        raise CheckpointError(
            f"{source}: there is no such folder, and it is no released predictor ({', '.join([NANO, *RELEASES])}). "
            "Give a run folder, one of these names, or a pair (tokenizer, predictor)."
        )
    if str(predictor) in RELEASES:
        settings.setdefault("max_context", RELEASES[str(predictor)].max_context)
    return LoadedModels(
        KronosTokenizer.from_pretrained(tokenizer, revision=tokenizer_revision),
        Kronos.from_pretrained(predictor, revision=revision),
        settings,
        name,
    )


def recorded(predictor: str | Path) -> dict[str, Any]:
    """How a predictor wants to be used, as far as it is known: of a released or bundled one by its name, of a run's
    by the summary.json beside its folder. Any of max_context, lookback, dependency_positions.

    Raises CheckpointError for a summary that cannot be read.
    """
    if str(predictor) in RELEASES:
        return {"max_context": RELEASES[str(predictor)].max_context}
    return _run_settings((bundled(predictor) or Path(predictor).expanduser().parent) / "summary.json")


def _run_folder(folder: Path) -> tuple[Path, Path]:
    parts = folder / "tokenizer", folder / "predictor"
    absent = [part.name + "/" for part in parts if not part.is_dir()]
    if not absent:
        return parts
    if (folder / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"{folder} is one checkpoint; a forecast needs two. Give the pair (tokenizer, predictor), or a run "
            "folder that holds tokenizer/ and predictor/."
        )
    inside = sorted(path.name for path in folder.iterdir())
    raise CheckpointError(
        f"{folder} has no {' and no '.join(absent)}; it has: {', '.join(inside[:8]) or 'nothing'}. A run folder "
        "holds both once its training has validated; otherwise give a pair (tokenizer, predictor)."
    )


def _run_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}). Restore or remove it.") from error
    found = summary.get("forecast") if isinstance(summary, dict) else None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CheckpointError(f'{path}: "forecast" must be an object of settings, found {type(found).__name__}.')
    known = ("max_context", "lookback", "calendar", "dependency_positions")
    return {name: found[name] for name in known if found.get(name) is not None}


def check_pair(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    """Raise CheckpointError unless the predictor can read what the tokenizer writes, and it reads bars."""
    t, p = tokenizer.config, predictor.config
    if (t.s1_bits, t.s2_bits) != (p.s1_bits, p.s2_bits):
        raise CheckpointError(
            f"this tokenizer writes {t.s1_bits} + {t.s2_bits} bits, this predictor reads {p.s1_bits} + "
            f"{p.s2_bits}: they do not belong together. Take the tokenizer that the predictor was trained with."
        )
    if t.d_in != len(FEATURES):
        raise CheckpointError(
            f"this tokenizer reads {t.d_in} features per bar, bars have {len(FEATURES)}: {', '.join(FEATURES)}."
        )
