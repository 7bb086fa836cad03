"""Finds the tokenizer and the predictor that belong together, with the settings they are used with; writes them so."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from chandler.atomic import write_text
from chandler.checkpoint import CONFIG_NAME, NANO, WEIGHTS_NAME, bundled_checkpoint, describe, inside, may_save
from chandler.data.bars import FEATURES
from chandler.errors import CheckpointError
from chandler.forecasting.calibration import NAME as CALIBRATION_NAME
from chandler.forecasting.calibration import Calibration
from chandler.hub import HubOptions, PushOptions, Repository, is_repository, model_card, push
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
SUMMARY_NAME = "summary.json"


class LoadedModels(NamedTuple):
    """Two models and how they want to be used."""

    tokenizer: KronosTokenizer
    predictor: Kronos
    settings: dict[str, Any]
    """Any of max_context, lookback, calendar, dependency_positions."""
    name: str
    home: Path | None
    """The folder that holds both, and what belongs to them beside."""
    base_model: str | None
    """The repository that they were finetuned from, where it is known."""


def load_models(
    source: str | Path | Sequence[str | Path],
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
    **hub: Unpack[HubOptions],
) -> LoadedModels:
    """Load what `Forecaster.from_pretrained` describes; float32, on the CPU, in eval mode.

    Raises:
        CheckpointError: nothing there, not reachable, or not two models.
    """
    summary: dict[str, Any] = {}
    home: Path | None = None
    tokenizer: str | Path
    predictor: str | Path
    if not isinstance(source, str | Path):
        parts = list(source)
        if len(parts) != 2:
            raise CheckpointError(f"expected a pair (tokenizer, predictor), found {len(parts)} entries: {parts}.")
        tokenizer, predictor = parts
        name = str(predictor)
    elif (folder := bundled_checkpoint(source) or Path(source).expanduser()).is_dir():
        home, name = folder, str(source) if bundled_checkpoint(source) else str(folder)
        tokenizer, predictor = _run_folder(folder)
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
        home, name = _fetch(Repository(str(source), revision, **hub)), str(source)
        tokenizer, predictor = home / "tokenizer" if tokenizer_revision is None else name, home / "predictor"
    else:
        raise CheckpointError(
            f"{source}: there is no such folder, it is no repository id (owner/name), and no released predictor "
            f"({', '.join([NANO, *RELEASES])}). Give a run folder, one of these names, or a pair (tokenizer, predictor)."
        )
    if home is not None:
        summary = _summary(home / SUMMARY_NAME)
    settings = _forecast_settings(summary, home)
    if str(predictor) in RELEASES:
        settings.setdefault("max_context", RELEASES[str(predictor)].max_context)
    return LoadedModels(
        KronosTokenizer.from_pretrained(tokenizer, revision=tokenizer_revision, **hub),
        Kronos.from_pretrained(predictor, revision=revision, **hub),
        settings,
        name,
        home,
        _base_model(predictor, summary),
    )


def _fetch(repository: Repository) -> Path:
    """The local folder of a repository that holds both models."""
    try:
        found = {part: repository.get(f"{part}/{CONFIG_NAME}") for part in ("tokenizer", "predictor")}
        # Before the weights, which take long: what is used with them must not be lost to a connection that breaks.
        repository.get(SUMMARY_NAME)
        repository.get(CALIBRATION_NAME)
        for part, config in found.items():
            if config is None or repository.get(f"{part}/{WEIGHTS_NAME}") is None:
                one = "It is one checkpoint, a forecast needs two" if repository.get(CONFIG_NAME) else "There is none"
                raise repository.lacks(
                    f"looked for a tokenizer and a predictor in tokenizer/ and predictor/. {one}: give a pair "
                    "(tokenizer, predictor)."
                )
    except CheckpointError as error:
        known = f"Without a repository: {NANO}; released predictors: {', '.join(RELEASES)}."
        raise CheckpointError(f"{error} {known}") from error
    assert found["tokenizer"] is not None
    return found["tokenizer"].parent.parent


def recommended_settings(predictor: str | Path, revision: str | None = None) -> dict[str, Any]:
    """How a predictor wants to be used, as far as it is known: of a released or bundled one by its name, of a run's or
    a repository's by the summary.json beside its folder. Any of max_context, lookback, dependency_positions.

    Raises CheckpointError for a summary that cannot be read.
    """
    if str(predictor) in RELEASES:
        return {"max_context": RELEASES[str(predictor)].max_context}
    folder = bundled_checkpoint(predictor) or Path(predictor).expanduser()
    if not folder.is_dir() and is_repository(predictor):
        try:
            found = Repository(str(predictor), revision).get(SUMMARY_NAME)
        except CheckpointError:
            # Whoever loads the model is told.
            found = None
        return {} if found is None else _forecast_settings(_summary(found), found.parent)
    home = folder if (folder / "predictor").is_dir() and not (folder / CONFIG_NAME).is_file() else folder.parent
    return _forecast_settings(_summary(home / SUMMARY_NAME), home)


def save_models(
    folder: Path,
    tokenizer: KronosTokenizer,
    predictor: Kronos,
    settings: Mapping[str, Any],
    calibration: Calibration | None,
    base_model: str | None,
) -> Path:
    """Write both models and how they are used, as `load_models` reads them, beside whatever is in a folder.

    Args:
        settings: as of `LoadedModels`; None for what is not set.

    Raises:
        CheckpointError: as `Pretrained.save_pretrained`; or the folder is a run's.
        OSError: there is no room, or the place cannot be written.
    """
    for model in (tokenizer, predictor):
        may_save(model, folder / model.part)
    _may_replace(str(folder), inside(folder))
    # First, so that it never lies beside models that it was not fitted for.
    (folder / CALIBRATION_NAME).unlink(missing_ok=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    predictor.save_pretrained(folder / "predictor")
    summary = {"forecast": {name: value for name, value in settings.items() if value is not None}}
    write_text(
        folder / SUMMARY_NAME, json.dumps(summary | ({"base_model": base_model} if base_model else {}), indent=1)
    )
    if calibration is not None:
        calibration.save(folder)
    return folder


def push_models(
    repo_id: str,
    tokenizer: KronosTokenizer,
    predictor: Kronos,
    settings: Mapping[str, Any],
    calibration: Calibration | None,
    base: str | None,
    **options: Unpack[PushOptions],
) -> str:
    """Write what `save_models` writes into a hub repository, in one commit, with a model card where there is none.

    Returns:
        Address of the commit.

    Raises:
        CheckpointError: nothing was written: the repository holds a run, refused, or could not be reached.
    """

    def card(repo: str, base_model: str | None) -> str:
        used = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        code = f'from chandler import Forecaster\n\nforecaster = Forecaster.from_pretrained("{repo}")'
        what = f"A Kronos {describe(tokenizer)}, and a {describe(predictor)}; forecasts with {used}."
        return model_card(repo, what, code, base_model)

    options.setdefault("base_model", base)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_models(Path(scratch), tokenizer, predictor, settings, calibration, options["base_model"])
        return push(
            {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.*"))},
            repo_id,
            card,
            lambda there: _may_replace(there.name, there.get),
            # One that was fitted for the models that are there.
            stale=CALIBRATION_NAME if calibration is None else None,
            **options,
        )


def _may_replace(where: str, get: Callable[[str], Path | None]) -> None:
    """Raise CheckpointError unless a folder or repository has no summary and no calibration, or those of saved models."""
    path = get(SUMMARY_NAME)
    summary = _summary(path) if path is not None else {}
    if (path is not None and set(summary) - {"forecast", "base_model"}) or (path is None and get(CALIBRATION_NAME)):
        raise CheckpointError(
            f"{where} holds a run, or a part of one, that would be mixed with these models. Save them elsewhere."
        )


def _base_model(predictor: str | Path, summary: Mapping[str, Any]) -> str | None:
    """The repository that a model comes from: itself, or the start of its run."""
    stages = summary.get("stages")
    stage = stages.get("predictor") if isinstance(stages, dict) else None
    start = stage.get("start") if isinstance(stage, dict) else summary.get("base_model")
    return next(
        (str(one) for one in (start, predictor) if is_repository(str(one)) and not Path(str(one)).exists()), None
    )


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


def _summary(path: Path) -> dict[str, Any]:
    """What a summary.json says; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}). Restore or remove it.") from error
    return summary if isinstance(summary, dict) else {}


def _forecast_settings(summary: Mapping[str, Any], home: Path | None) -> dict[str, Any]:
    found = summary.get("forecast")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CheckpointError(
            f'{home}/{SUMMARY_NAME}: "forecast" must be an object of settings, found {type(found).__name__}.'
        )
    known = ("max_context", "lookback", "calendar", "dependency_positions")
    return {name: found[name] for name in known if found.get(name) is not None}


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
