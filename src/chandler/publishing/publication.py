"""What is uploaded of a run or of a pair of models, made whole before anybody is asked; and the upload."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Unpack

from chandler.atomic import atomic_folder
from chandler.checkpoint import EXPOSURE_NAME, resolve, weights_hash
from chandler.errors import CheckpointError, ConfigError
from chandler.evaluation.walk_forward import Results
from chandler.forecasting import (
    SIGNAL,
    TRAINING_NAME,
    Calibration,
    Forecaster,
    SignalHead,
    is_usage,
    load_models,
    model_parts,
    usage_text,
)
from chandler.forecasting.calibration import NAME as CALIBRATION
from chandler.hub import CARD_NAME, CONFIG_NAME, NAMES, PushOptions, is_repository
from chandler.hub import push as push_files
from chandler.nn import Kronos, KronosTokenizer
from chandler.places import Layout, require_apart
from chandler.publishing.record import MADE, training_record
from chandler.reports import Card, card_text
from chandler.text import shortened
from chandler.training.runs import STAGES, read_mapping

Models = dict[str, KronosTokenizer | Kronos]
USAGE = "summary.json"
_MODELS = tuple(f"{part}/{name}" for part in STAGES for name in (*NAMES, EXPOSURE_NAME))
PUBLISHED = Layout(
    "a published model", (CARD_NAME, TRAINING_NAME, USAGE, CALIBRATION, *_MODELS, *SIGNAL.files), {TRAINING_NAME: MADE}
)
"""All that is ever written into a repository, and all that is ever removed from one."""
_SIDE = (CALIBRATION, *SIGNAL.files, *(f"{part}/{EXPOSURE_NAME}" for part in STAGES))
"""What would be taken for the new models' own if it stayed beside them."""


@dataclass(frozen=True)
class Publication:
    """The files of a repository, complete; `of` makes it."""

    repo: str
    files: Mapping[str, Path | bytes]
    """Name in the repository -> a file that lies here, or what is written for it."""
    notes: Sequence[str]
    """What whoever publishes it should know first."""

    @classmethod
    def of(
        cls,
        run: str | Path,
        repo: str,
        *,
        evaluation: str | Path | None = None,
        license: str | None = None,
        base_model: str | None = None,
    ) -> Publication:
        """Everything that `push` would upload, its arguments as there. Writes nothing and asks no hub.

        Raises:
            CheckpointError: there are no models, or not two that belong together; a calibration or a signal head that cannot be
                read, or is of other weights.
            ConfigError: no name of a repository or of a licence; a run that has not finished; an evaluation of other weights.
        """
        if not is_repository(repo):
            raise ConfigError(f"{repo}: a repository is named owner/name, such as me/my-kronos.")
        if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
            raise ConfigError(
                f"{license}: licences have identifiers on the hub. Give one of them, such as license='mit' or "
                "license='apache-2.0', or leave it out."
            )
        folder, parts = _places(str(run))
        record = training_record(folder, parts)
        files: dict[str, Path | bytes] = {
            f"{part}/{name}": place / name
            for part, place in parts.items()
            for name in (*NAMES, EXPOSURE_NAME)
            if (place / name).is_file()
        }
        models: Models
        notes: list[str] = []
        usage: Mapping[str, Any] = {}
        calibration = None
        if len(parts) == 2:
            pair = load_models(folder or [parts[part] for part in STAGES])
            base_model = base_model or pair.base_model
            models, usage = {"tokenizer": pair.tokenizer, "predictor": pair.predictor}, pair.settings
            files[USAGE] = usage_text(replace(pair, base_model=base_model)).encode()
            if not pair.told:
                notes.append(
                    f"how these models want to be used is not on record: forecasts will take max_context {pair.max_context}, as for "
                    "Kronos-small. Name the run folder instead if there is one."
                )
            forecaster = Forecaster(pair.tokenizer, pair.predictor, device="cpu", name=str(run))
            if folder is not None:
                calibration = Calibration.load(folder)
                files |= {CALIBRATION: folder / CALIBRATION} if calibration is not None else {}
                if any((folder / name).exists() for name in SIGNAL.files):
                    head = SignalHead.load(folder)
                    head.require(forecaster)
                    record["signal"] = {"verdict": head.about.get("verdict")}
                    files |= {name: folder / name for name in SIGNAL.files}
        else:
            ((part, place),) = parts.items()
            models = {part: (KronosTokenizer if part == "tokenizer" else Kronos).from_pretrained(place)}
            start = record.get("starts", {}).get(part, {})
            base_model = base_model or start.get("repository")
        results, name = (None, "") if evaluation is None else _evaluation(evaluation, models)
        if results is not None:
            record["evaluation"] = _period(results)
        card = card_text(
            Card(repo, license or "unknown", base_model, record, models, usage, calibration, results, name, SIGNAL.files[1] in files)
        )  # fmt: skip
        files[CARD_NAME] = card.encode()
        record["files"] = {one: _digest(files[one]) for one in sorted(files)}
        files[TRAINING_NAME] = (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
        return cls(repo, dict(sorted(files.items())), notes + _notes(record, license, results, parts))

    @property
    def card(self) -> str:
        """README.md."""
        text = self.files[CARD_NAME]
        assert isinstance(text, bytes)
        return text.decode()

    def to_text(self) -> str:
        """The files with their sizes, then the card."""
        sizes = {name: len(one) if isinstance(one, bytes) else one.stat().st_size for name, one in self.files.items()}
        lines = [f"{size:>14,}  {name}" for name, size in sizes.items()]
        return "\n".join([f"{self.repo}: {sum(sizes.values()):,} bytes", *lines, "", self.card])

    def save(self, folder: Path) -> Path:
        """Write the files into a folder, whole or not at all; what was published there before is replaced.

        Raises:
            ConfigError: there is something else in it, or it is what is read.
        """
        require_apart(folder, {"the models": [one for one in self.files.values() if isinstance(one, Path)]})
        PUBLISHED.require_free(folder, "more than a published model")
        with atomic_folder(folder) as scratch:
            self._write(scratch)
        return folder

    def push(self, *, overwrite: bool = False, **options: Unpack[PushOptions]) -> str:
        """Upload the files in one commit; the rest as of `push`."""

        def check(repo: str, get: Callable[[str], Path | None], there: Collection[str]) -> Collection[str]:
            return _replaceable(repo, get, there, self.files, overwrite)

        return push_files(self._write, self.repo, lambda *_: self.card, check, **options)

    def _write(self, folder: Path) -> None:
        for name, one in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(one, bytes):
                path.write_bytes(one)
            else:
                shutil.copyfile(one, path)


def push(
    run: str | Path,
    repo: str,
    *,
    evaluation: str | Path | None = None,
    license: str | None = None,
    overwrite: bool = False,
    **options: Unpack[PushOptions],
) -> str:
    """Publish a finished run, or a pair of models, as a repository that `Forecaster.from_pretrained` reads by its name:
    tokenizer/, predictor/, the calibration and the signal head where there are any, training.json, and a model card.

    All goes up in one commit, after everything was checked. A repository that was published before is written anew; files
    in it that chandler did not write stay, and need `overwrite`.

    Args:
        run: a finished run folder, a folder with tokenizer/ and predictor/ or one of them, or TOKENIZER+PREDICTOR.
        repo: owner/name, made where there is none.
        evaluation: the folder of an evaluation of these very weights, whose scores against naive the card then has.
        license: the hub's identifier of a licence, for the card; without it the card says that none is stated.
        overwrite: also where the repository holds files that chandler did not write, or an edited card. Those under names of
            ours are replaced, others stay.
        options: commit_message, private, token, branch, create_pr, base_model; see `PushOptions`.

    Returns:
        Address of the commit.

    Raises:
        CheckpointError, ConfigError: nothing was uploaded; as `Publication.of`, or the hub refused or could not be reached.
    """
    base = options.get("base_model")
    made = Publication.of(run, repo, evaluation=evaluation, license=license, base_model=base)
    return made.push(overwrite=overwrite, **options)


def _places(run: str) -> tuple[Path | None, dict[str, Path]]:
    """The folder that models lie in together, if they do, and that of each."""
    folder, pair = Path(run).expanduser(), model_parts(run)
    if len(pair) == 2:
        found = {part: Path(one).expanduser() for part, one in zip(STAGES, pair, strict=True)}
        for part, place in found.items():
            if not place.is_dir():
                raise CheckpointError(f"{place}: there is no such folder ({part} of TOKENIZER+PREDICTOR).")
        return None, {part: resolve(place, part) for part, place in found.items()}
    if not folder.is_dir():
        raise CheckpointError(f"{run}: there is no such folder. Give a run folder, or TOKENIZER+PREDICTOR.")
    parts = {part: folder / part for part in STAGES if (folder / part / CONFIG_NAME).is_file()}
    if not parts:
        one = "is one checkpoint: give the folder above it, or TOKENIZER+PREDICTOR"
        none = "holds no tokenizer/ and no predictor/: a run has them once a stage has finished"
        raise CheckpointError(f"{folder} {one if (folder / CONFIG_NAME).is_file() else none}.")
    return folder, {part: resolve(place, part) for part, place in parts.items()}


def _evaluation(folder: str | Path, models: Models) -> tuple[Results, str]:
    """The evaluation of a folder, and what these weights are called in it.

    Raises:
        ConfigError: it is of other weights, or has not finished.
    """
    results = Results(folder)
    own = weights_hash(*models.values()) if len(models) == 2 else ""
    names = [name for name in results.raw_models if results.state["contenders"].get(name, {}).get("weights") == own]
    if not names:
        raise ConfigError(
            f"{folder} is an evaluation of other weights ({', '.join(results.raw_models) or 'of baselines alone'}): its scores say "
            "nothing of these. Evaluate these first: chandler evaluate DATA --models RUN"
        )
    return results, names[0]


def _period(results: Results) -> dict[str, Any]:
    return {name: results.state.get(name) for name in ("first", "last", "windows", "symbols", "rounds", "fingerprint")}


def _notes(
    record: Mapping[str, Any], license: str | None, results: Results | None, parts: Mapping[str, Path]
) -> list[str]:
    """What is to be said before it is public."""
    stages = record.get("stages", {})
    notes = [
        f"{name}: training found nothing better, the starting weights were kept. They are published as they are, and the card "
        "says so."
        for name, stage in stages.items()
        if stage.get("status") == "kept_start"
    ]
    if not stages:
        notes.append("how these models were trained is not on record here; the card says so.")
    if results is None:
        notes.append("no evaluation was given: the card says that it was not held against naive forecasts.")
    if license is None:
        notes.append("no licence was given: the card says that it is unknown.")
    if any((place / EXPOSURE_NAME).is_file() for place in parts.values()):
        notes.append(
            f"{EXPOSURE_NAME} names the symbols that were trained on, so that nobody tests on what the model knows."
        )
    return notes


def _replaceable(
    repo: str,
    get: Callable[[str], Path | None],
    there: Collection[str],
    new: Mapping[str, object],
    overwrite: bool,
) -> Collection[str]:
    """Which files of a repository go unless they are written anew: those of ours that are known to be ours.

    Raises:
        CheckpointError: it holds others, and `overwrite` is not set; or others that would be taken for the new models' own.
    """
    ours = _ours(get, there)
    foreign = sorted(set(there) - {".gitattributes"} - ours)
    mixed = [name for name in _SIDE if name in foreign and name not in new]
    if mixed:
        raise CheckpointError(
            f"{repo} holds {', '.join(mixed)}, which would be taken for these models' own and is not known to be chandler's: nothing "
            "was pushed. Remove it there, or choose another repository."
        )
    if foreign and not overwrite:
        raise CheckpointError(
            f"{repo} holds files that chandler did not write, or that were changed since: {shortened(foreign, 6)}. Nothing was "
            "pushed. Choose another repository, or write beside them (and over those of the same names) with overwrite=True."
        )
    return ours


def _ours(get: Callable[[str], Path | None], there: Collection[str]) -> set[str]:
    """What chandler wrote into a repository: by its training.json, or as `Forecaster.push_to_hub` leaves it."""
    mine = {name for name in PUBLISHED.files if name in there}
    path = get(TRAINING_NAME)
    if path is not None:
        written = read_mapping(path)
        names = written.get("files")
        if MADE not in written or not isinstance(names, Mapping):
            return set()
        card = get(CARD_NAME)
        edited = {CARD_NAME} if card is not None and _digest(card) != names.get(CARD_NAME) else set()
        return (mine & {TRAINING_NAME, *names}) - edited
    path = get(USAGE)
    saved = path is not None and is_usage(read_mapping(path, strict=False)) and "predictor/config.json" in there
    return mine - {CARD_NAME, *SIGNAL.files} if saved else set()


def _digest(one: Path | bytes) -> str:
    return sha256(one if isinstance(one, bytes) else one.read_bytes()).hexdigest()
