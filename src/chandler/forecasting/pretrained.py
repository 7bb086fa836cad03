"""Finds the tokenizer and the predictor that belong together, with the settings they are used with; writes them so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from chandler.atomic import atomic_file, write_text
from chandler.checkpoint import EXPOSURE_NAME, describe, inside, may_save
from chandler.data import FEATURES
from chandler.errors import CheckpointError
from chandler.forecasting.calibration import NAME as CALIBRATION_NAME
from chandler.forecasting.calibration import Calibration
from chandler.hub import (
    CONFIG_NAME,
    NAMES,
    NANO,
    HubOptions,
    PushOptions,
    bundled_checkpoint,
    fetch,
    is_repository,
    model_card,
    push,
)
from chandler.nn import DependencyPositions, Kronos, KronosTokenizer


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
SUMMARY_NAME = "summary.json"
TRAINING_NAME = "training.json"
"""How published models were made (`chandler.publishing`): beside them, where no reader of the released format looks."""
PARTS = "tokenizer", "predictor"
SETTINGS = "max_context", "lookback", "calendar", "dependency_positions"
"""How two models want to be used, as far as it is known: "forecast" in summary.json."""


@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two models that belong together and how they want to be used."""

    tokenizer: KronosTokenizer
    predictor: Kronos
    max_context: int = 512
    lookback: int | None = None
    calendar: str | None = None
    dependency_positions: DependencyPositions = "reference"
    name: str = ""
    calibration: Calibration | Path | None = None
    """Or the folder that may hold it."""
    base_model: str | None = None
    """The repository that they were finetuned from, where it is known."""
    told: bool = True
    """False of a pair of which nothing says how it wants to be used: the settings are those of Kronos-small."""

    @property
    def settings(self) -> dict[str, Any]:
        """Those of `SETTINGS` that are set; none where none were told."""
        if not self.told:
            return {}
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}


def model_parts(source: str) -> list[str]:
    """The one or two places that a text names: what is there by this name, or TOKENIZER+PREDICTOR (or with a comma).

    Names of folders may hold both signs: of several ways to cut the text the one counts of which both parts are there.
    """

    def there(place: str) -> bool:
        return Path(place).expanduser().exists()

    if there(source):
        return [source]
    pairs = [[source[: sign.start()], source[sign.end() :]] for sign in re.finditer("[+,]", source)]
    return next((pair for pair in pairs if all(map(there, pair))), re.split("[+,]", source))


def load_models(
    source: str | Path | Sequence[str | Path],
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
    **hub: Unpack[HubOptions],
) -> ModelPair:
    """Load what `Forecaster.from_pretrained` describes; float32, on the CPU, in eval mode.

    Raises:
        CheckpointError: nothing there, not reachable, or not two models.
    """
    home: Path | None = None
    tokenizer: str | Path
    predictor: str | Path
    if not isinstance(source, str | Path):
        parts = list(source)
        if len(parts) != 2:
            raise CheckpointError(f"expected a pair (tokenizer, predictor), found {len(parts)} entries: {parts}.")
        (tokenizer, predictor), name = parts, str(parts[1])
        homes = _home(tokenizer, "tokenizer"), _home(predictor, "predictor")
        # One folder named by its two parts; of two folders no calibration is of both.
        home = homes[1] if homes[0] and homes[1] and homes[0].resolve() == homes[1].resolve() else None
    elif (folder := bundled_checkpoint(source) or Path(source).expanduser()).is_dir():
        home, name = folder, str(source) if bundled_checkpoint(source) else str(folder)
        _require_both(folder)
        tokenizer, predictor = folder / "tokenizer", folder / "predictor"
    elif str(source) in RELEASES:
        tokenizer, predictor, name = RELEASES[str(source)].tokenizer, str(source), str(source)
    elif (beside := Path(source).parent) != Path() and beside.is_dir():
        # Far more often the name of a run that was mistyped than a repository whose owner has a folder here.
        there = sorted(path.name for path in beside.iterdir() if path.is_dir())
        raise CheckpointError(
            f"{source}: there is no such folder; {beside}/ has: {', '.join(there[:8]) or 'none'}. (A repository of this "
            "name is not looked for where a folder of its owner's name lies.)"
        )
    elif is_repository(source):
        home, name = _fetch(str(source), revision, **hub), str(source)
        tokenizer, predictor = home / "tokenizer" if tokenizer_revision is None else name, home / "predictor"
    else:
        raise CheckpointError(
            f"{source}: there is no such folder, it is no repository id (owner/name), and no released predictor "
            f"({', '.join([NANO, *RELEASES])}). Give a run folder, one of these names, or a pair (tokenizer, predictor)."
        )
    settings = _settings(home) if home is not None else recommended_settings(predictor, revision, **hub)
    return ModelPair(
        KronosTokenizer.from_pretrained(tokenizer, revision=tokenizer_revision, **hub),
        Kronos.from_pretrained(predictor, revision=revision, **hub),
        name=name,
        calibration=home,
        base_model=_base_model(predictor, home or _home(predictor, "predictor")),
        told=bool(settings) or isinstance(source, str | Path),
        **settings,
    )


def _fetch(name: str, revision: str | None, **hub: Unpack[HubOptions]) -> Path:
    """The local folder of a repository that holds both models."""
    files = [f"{part}/{file}" for part in PARTS for file in (*NAMES, EXPOSURE_NAME)]
    try:
        home = fetch(name, [CONFIG_NAME, SUMMARY_NAME, CALIBRATION_NAME, *files], revision, **hub)
        if not all((home / part / file).is_file() for part in PARTS for file in NAMES):
            one = "It is one checkpoint, a forecast needs two" if (home / CONFIG_NAME).is_file() else "There is none"
            raise CheckpointError(
                f"{name}: looked for a tokenizer and a predictor in tokenizer/ and predictor/. {one}: give a pair "
                "(tokenizer, predictor)."
            )
    except CheckpointError as error:
        known = f"Without a repository: {NANO}; released predictors: {', '.join(RELEASES)}."
        raise CheckpointError(f"{error} {known}") from error
    return home


def _require_both(folder: Path) -> None:
    absent = [f"{part}/" for part in PARTS if not (folder / part).is_dir()]
    if absent and (folder / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"{folder} is one checkpoint; a forecast needs two. Give the pair (tokenizer, predictor), or a run "
            "folder that holds tokenizer/ and predictor/."
        )
    stage = _within(_within(_summary(folder), "stages"), "predictor")
    if absent == ["predictor/"] and stage.get("status") == "off":
        raise CheckpointError(
            f"{folder} is a run whose predictor was switched off: it trained a tokenizer alone. Give a pair (tokenizer, predictor) "
            f"of {folder} and the predictor that belongs to it."
        )
    if absent:
        inside = sorted(path.name for path in folder.iterdir())
        raise CheckpointError(
            f"{folder} has no {' and no '.join(absent)}; it has: {', '.join(inside[:8]) or 'nothing'}. A run folder "
            "holds both once its training has validated; otherwise give a pair (tokenizer, predictor)."
        )


def recommended_settings(
    predictor: str | Path, revision: str | None = None, **hub: Unpack[HubOptions]
) -> dict[str, Any]:
    """How a predictor wants to be used, as far as it is known: of a released or bundled one by its name, of a run's or
    a repository's by the summary.json beside its folder, predictor/. Any of `SETTINGS`.

    Raises CheckpointError for a summary that cannot be read.
    """
    if str(predictor) in RELEASES:
        return {"max_context": RELEASES[str(predictor)].max_context}
    folder = bundled_checkpoint(predictor) or Path(predictor).expanduser()
    if not folder.is_dir() and is_repository(predictor):
        try:
            return _settings(fetch(str(predictor), ["*" + CONFIG_NAME, SUMMARY_NAME], revision, **hub))
        except CheckpointError:
            # Whoever loads the model is told.
            return {}
    return _settings(_home(predictor, "predictor"))


def _home(checkpoint: str | Path, part: str) -> Path | None:
    """The folder, a run or saved models, whose tokenizer/ or predictor/ a local checkpoint is; also by its own name."""
    folder = (bundled_checkpoint(checkpoint) or Path(checkpoint).expanduser()).absolute()
    if (folder / CONFIG_NAME).is_file():
        return folder.parent if folder.name == part else None
    return folder if (folder / part).is_dir() else None


def require_savable(folder: Path, pair: ModelPair) -> None:
    """CheckpointError where `save_models` would not write: a file, a run, another kind of checkpoint."""
    for model in (pair.tokenizer, pair.predictor):
        may_save(model, folder / model.part)
    _may_replace(str(folder), inside(folder))


def save_models(folder: Path, pair: ModelPair) -> Path:
    """`Forecaster.save_pretrained`."""
    models, calibration = (pair.tokenizer, pair.predictor), pair.calibration
    if isinstance(calibration, Path):
        calibration = Calibration.load(calibration)
    require_savable(folder, pair)
    # First, so that they never lie beside models that they were not made for.
    for name in _OF_THE_WEIGHTS:
        (folder / name).unlink(missing_ok=True)
    for model in models:
        model.save_pretrained(folder / model.part)
        if model.exposure is not None:
            with atomic_file(folder / model.part / EXPOSURE_NAME) as scratch:
                scratch.write_bytes(model.exposure)
    write_text(folder / SUMMARY_NAME, usage_text(pair))
    if calibration is not None:
        calibration.save(folder)
    return folder


def usage_text(pair: ModelPair) -> str:
    """summary.json of saved models: how they are used, and what they come from."""
    base = {"base_model": pair.base_model} if pair.base_model else {}
    return json.dumps({"forecast": pair.settings} | base, indent=1)


def is_usage(summary: Mapping[str, Any]) -> bool:
    """Whether this is all that saved models have in their summary.json: a run's says more."""
    return set(summary) <= {"forecast", "base_model"}


_RECORDS = tuple(f"{part}/{EXPOSURE_NAME}" for part in PARTS)
_OF_THE_WEIGHTS = (CALIBRATION_NAME, *_RECORDS)


def push_models(repo_id: str, pair: ModelPair, **options: Unpack[PushOptions]) -> str:
    """`Forecaster.push_to_hub`, of models that `save_models` writes."""

    def card(repo: str, base_model: str | None) -> str:
        used = ", ".join(f"{name} {value}" for name, value in pair.settings.items())
        code = f'from chandler import Forecaster\n\nforecaster = Forecaster.from_pretrained("{repo}")'
        what = f"A Kronos {describe(pair.tokenizer)}, and a {describe(pair.predictor)}; forecasts with {used}."
        return model_card(repo, what, code, base_model)

    def check(repo: str, get: Callable[[str], Path | None], there: Collection[str]) -> tuple[str, ...]:
        _may_replace(repo, get)
        return _OF_THE_WEIGHTS

    options.setdefault("base_model", pair.base_model)
    pair = replace(pair, base_model=options["base_model"])
    return push(partial(save_models, pair=pair), repo_id, card, check, **options)


def _may_replace(where: str, get: Callable[[str], Path | None]) -> None:
    """Raise CheckpointError unless a folder or repository has no summary, calibration and records, or those of saved models."""
    path = get(SUMMARY_NAME)
    summary = _summary(path.parent) if path is not None else {}
    if not is_usage(summary) or get(TRAINING_NAME) or (path is None and get(CALIBRATION_NAME)):
        raise CheckpointError(
            f"{where} holds a run, or a part of one, that would be mixed with these models. Save them elsewhere."
        )
    for name in _RECORDS:
        record = get(name)
        if record is not None and not _is_record(record):
            raise CheckpointError(
                f"{where} holds a {name} that is no record of what a model was trained on, and it would go as these models are "
                "saved. Save them elsewhere."
            )


def _is_record(path: Path) -> bool:
    """Whether training wrote this file, or these models were saved with it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and {"seen", "unknown"} <= raw.keys()


def from_hub(start: str, noted: Mapping[str, Any]) -> bool:
    """Whether a run began with weights of a repository.

    A name cannot tell: runs/mine is spelled like one. A release can, or the commit that the run noted beside its start.
    """
    released = {*RELEASES, *(release.tokenizer for release in RELEASES.values())}
    return start in released or (is_repository(start) and noted.get("start") == start and "commit" in noted)


def _base_model(predictor: str | Path, home: Path | None) -> str | None:
    """The repository that a model comes from: itself, or the start of its run."""
    summary = _summary(home)
    if isinstance(base := summary.get("base_model"), str) and is_repository(base):  # of saved models
        return base
    stage, noted = (_within(_within(summary, key), "predictor") for key in ("stages", "starts"))
    if isinstance(start := stage.get("start"), str) and from_hub(start, noted):
        return start
    if home is None and isinstance(predictor, str) and is_repository(predictor) and not Path(predictor).is_dir():
        return predictor
    return None


def _within(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _summary(home: Path | None) -> dict[str, Any]:
    """What the summary.json of a folder says; empty where there is none."""
    if home is None or not (path := home / SUMMARY_NAME).is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}). Restore or remove it.") from error
    return summary if isinstance(summary, dict) else {}


def _settings(home: Path | None) -> dict[str, Any]:
    """What a folder's summary says under "forecast"."""
    found = _summary(home).get("forecast")
    if found is not None and not isinstance(found, dict):
        raise CheckpointError(
            f'{home}/{SUMMARY_NAME}: "forecast" must be an object of settings, found {type(found).__name__}.'
        )
    return {name: found[name] for name in SETTINGS if found.get(name) is not None} if found else {}


def validate_pair(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
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
