"""Checkpoints in the released format: a folder, or a hub repository, with config.json and model.safetensors.

Knows nothing of any particular model: `Pretrained` gives any module with a config dataclass the two methods.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from chandler.atomic import replacing_folder
from chandler.errors import CheckpointError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
NANO = "chandler-nano"
"""The checkpoint that comes with the package: no network is needed."""


def bundled(name: str | Path) -> Path | None:
    """The folder, with tokenizer/ and predictor/, of a checkpoint that comes with the package; None for other names."""
    return Path(__file__).parent / "assets" / "nano" if str(name) == NANO else None


class Pretrained:
    """Adds `from_pretrained` and `save_pretrained` to an `nn.Module` that is built from one config dataclass."""

    config_class: ClassVar[type]
    part: ClassVar[str]
    """Its folder within a run or a bundled checkpoint: "tokenizer" or "predictor"."""
    config: Any

    @classmethod
    def from_pretrained(cls, path_or_repo: str | Path, *, revision: str | None = None) -> Self:
        """Load a checkpoint folder or hub repository; float32, on the CPU, in eval mode.

        Args:
            path_or_repo: a folder, "chandler-nano" (comes with the package), or a repository id such as
                "NeoQuasar/Kronos-small". HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are respected.
            revision: branch, tag or commit of a repository.

        Raises:
            CheckpointError: nothing there, not reachable, or not a checkpoint of this model; says which and
                what to do.
        """
        own = bundled(path_or_repo)
        return _load(cls, own / cls.part if own else resolve(path_or_repo, revision))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors into `folder`, which appears whole or not at all."""
        folder = Path(folder)
        with replacing_folder(folder) as scratch:
            config = dataclasses.asdict(self.config)
            (scratch / CONFIG_NAME).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            state = cast(nn.Module, self).state_dict()
            save_file({name: t.detach().cpu().contiguous() for name, t in state.items()}, scratch / WEIGHTS_NAME)
        return folder


def _load(cls: type[Any], folder: Path) -> Any:
    config = _read_config(cls.config_class, folder / CONFIG_NAME)
    try:
        model = cls(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: no {cls.__name__} can have this shape: {error}.") from error
    try:
        state = load_file(folder / WEIGHTS_NAME)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder / WEIGHTS_NAME}: cannot be read as safetensors ({error}). "
            "The file is damaged or incomplete: copy or download it again."
        ) from error
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    complaints = [
        _listing("missing", sorted(expected.keys() - state.keys())),
        _listing("not known to this model", sorted(state.keys() - expected.keys())),
        _listing(
            "of another shape",
            [
                f"{name} is {tuple(state[name].shape)}, expected {shape}"
                for name, shape in expected.items()
                if name in state and tuple(state[name].shape) != shape
            ],
        ),
    ]
    if any(complaints):
        raise CheckpointError(
            f"{folder / WEIGHTS_NAME} does not fit its {CONFIG_NAME} as a {cls.__name__}: "
            + "; ".join(c for c in complaints if c)
            + ". Check that both files belong together and that it is not the other kind of checkpoint "
            "(tokenizer against predictor)."
        )
    model.load_state_dict(state)
    return model.eval()


def _listing(what: str, names: list[str], limit: int = 6) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} tensors {what}: {', '.join(names[:limit])}{more}"


def _read_config(config_class: type, path: Path) -> Any:
    try:
        raw = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: expected an object of settings, found {type(raw).__name__}.")
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    unknown, missing = sorted(raw.keys() - fields.keys()), sorted(fields.keys() - raw.keys())
    if unknown or missing:
        parts = [f"unknown keys {', '.join(unknown)}"] if unknown else []
        parts += [f"missing keys {', '.join(missing)}"] if missing else []
        raise CheckpointError(
            f"{path} is no {config_class.__name__}: {'; '.join(parts)}. Expected exactly: {', '.join(fields)}."
        )
    for name, field in fields.items():
        # Field types are int, float or bool, as strings (postponed annotations).
        kinds = {"int": (int,), "float": (int, float), "bool": (bool,)}[str(field.type)]
        if not isinstance(raw[name], kinds) or (isinstance(raw[name], bool) and field.type != "bool"):
            raise CheckpointError(f"{path}: {name} must be {field.type}, found {raw[name]!r}.")
    return config_class(**raw)


def resolve(path_or_repo: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint, downloading it into the hub cache where it is a repository.

    Raises:
        CheckpointError: as `Pretrained.from_pretrained`.
    """
    folder = Path(path_or_repo).expanduser()
    if folder.is_dir():
        absent = [name for name in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / name).is_file()]
        if absent:
            inside = sorted(p.name for p in folder.iterdir())
            raise CheckpointError(
                f"{folder} holds no {' and no '.join(absent)}; it has: {', '.join(inside[:8]) or 'nothing'}. "
                "Give the folder that holds both (in a run folder: its tokenizer/ or predictor/)."
            )
        return folder
    text = str(path_or_repo)
    if isinstance(path_or_repo, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", text) or text.startswith("."):
        raise CheckpointError(
            f"{text}: there is no such folder, and it is no repository id (owner/name). "
            "Give an existing checkpoint folder or an id such as NeoQuasar/Kronos-small."
        )
    return _download(text, revision)


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" (revision {revision})" if revision else ""
    local = (
        f"Point to a local folder with {CONFIG_NAME} and {WEIGHTS_NAME} instead, or set HF_ENDPOINT to a mirror "
        "(HF_HOME says where downloads are kept)."
    )
    try:
        paths = [Path(hf_hub_download(repo, name, revision=revision)) for name in (CONFIG_NAME, WEIGHTS_NAME)]
    except GatedRepoError as error:
        raise CheckpointError(f"{repo}{at}: access is restricted. Ask for it on the hub and set HF_TOKEN.") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{repo}: {constants.ENDPOINT} has no such repository, or it is private (set HF_TOKEN). "
            f"It is no local folder either. {local}"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{repo}: there is no revision {revision!r} at {constants.ENDPOINT}.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        why = "offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "no connection"
        raise CheckpointError(
            f"{repo}{at}: {constants.ENDPOINT} could not be reached ({why}) and the checkpoint is not in the local "
            f"cache {constants.HF_HUB_CACHE}. {local}"
        ) from error
    except EntryNotFoundError as error:
        raise CheckpointError(
            f"{repo}{at}: the repository exists but lacks {CONFIG_NAME} or {WEIGHTS_NAME}; it is no Kronos checkpoint."
        ) from error
    except Exception as error:  # The hub client's transport errors have no common base across its releases.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{repo}{at}: could not be fetched from {constants.ENDPOINT}: {reason}. {local}"
        ) from error
    return paths[0].parent
