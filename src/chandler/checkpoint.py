"""Checkpoints in the released format: a folder, or a hub repository, with config.json and model.safetensors.

Computes nothing and builds no layer: `PretrainedMixin` gives any module with a config dataclass its three methods.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NoReturn, Self, Unpack, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from chandler.atomic import atomic_file
from chandler.errors import CheckpointError, ConfigError
from chandler.hub import (
    CONFIG_NAME,
    NAMES,
    WEIGHTS_NAME,
    HubOptions,
    PushOptions,
    bundled_checkpoint,
    fetch,
    is_repository,
    model_card,
    push,
)
from chandler.text import shortened

EXPOSURE_NAME = "exposure.json"
"""Beside them where training wrote it: what these very weights were trained on."""
KINDS = {"tokenizer": ("d_in", "KronosTokenizer"), "predictor": ("n_layers", "Kronos")}
"""Of each kind of checkpoint a key that no other config.json has, and the class that loads it."""
SAVED_WITH = "chandler.config"
"""Where the metadata of model.safetensors keep the config that the weights were saved with."""


def weights_hash(*models: nn.Module) -> str:
    """A digest of all weights: two models of one digest forecast the same."""
    digest = hashlib.sha256()
    for model in models:
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class PretrainedMixin:
    """Adds `from_pretrained`, `save_pretrained` and `push_to_hub` to an `nn.Module` that is built from one config
    dataclass."""

    config_class: ClassVar[type]
    part: ClassVar[str]
    """Its kind, and its folder within a run: "tokenizer" or "predictor"."""
    config: Any
    exposure: bytes | None = None
    """What stood in exposure.json beside the weights; `Forecaster.save_pretrained` lays it beside them again."""
    loaded_from: Path | None = None
    """The local folder that the weights came from; None of weights that were drawn."""

    @property
    def native(self) -> Self:
        """The model with chandler's own signatures: itself, or of a class that has others (`compat`) what it stands for."""
        return self

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        subfolder: str = "",
        **hub: Unpack[HubOptions],
    ) -> Self:
        """Load a checkpoint folder or hub repository; float32, on the CPU, in eval mode.

        Args:
            pretrained_model_name_or_path: a folder, "chandler-nano" (comes with the package), or a repository id such
                as "NeoQuasar/Kronos-small". HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are respected. Where it holds
                both models, as a run does, the one that is asked for is taken from its tokenizer/ or predictor/.
            revision: branch, tag or commit of a repository.
            subfolder: where else in it the checkpoint lies.
            hub: cache_dir, token, local_files_only and force_download of a repository; see `HubOptions`.

        Raises:
            CheckpointError: nothing there, not reachable, or not a checkpoint of this model; says which and
                what to do.
        """
        folder = resolve(pretrained_model_name_or_path, cls.part, revision, subfolder, **hub)
        return _load(cls, folder, str(pretrained_model_name_or_path))

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Unpack[PushOptions],
    ) -> Path:
        """Write config.json and model.safetensors into a folder, beside whatever is there, each whole or not at all.

        Both are written before either takes its place. The weights carry the config as well, so that a pair of one old
        and one new file, as an interruption between the two can leave it, does not load as if it belonged together.

        Args:
            save_directory: made where there is none.
            safe_serialization: True; nothing else is written.
            push_to_hub: also push it, to `repo_id` or else a repository of the folder's name.
            push: as of `push_to_hub`.

        Raises:
            CheckpointError: the folder is a file, or holds another kind of checkpoint or some other model.
            OSError: there is no room, or the place cannot be written.
        """
        if not safe_serialization:
            raise ConfigError("safe_serialization=False: checkpoints are written as safetensors only. Leave it out.")
        folder = Path(save_directory).expanduser()
        may_save(self, folder)
        config = json.dumps(dataclasses.asdict(self.config), indent=2, sort_keys=True)
        state = cast(nn.Module, self).state_dict()
        with (
            atomic_file(folder / CONFIG_NAME) as config_file,
            atomic_file(folder / WEIGHTS_NAME) as weights_file,
        ):
            config_file.write_text(config + "\n", encoding="utf-8")
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            # One key of metadata: safetensors writes several in any order, and the same weights are to be the same bytes.
            save_file(tensors, weights_file, metadata={SAVED_WITH: config})
        if push_to_hub:
            self.push_to_hub(repo_id or folder.resolve().name, **push)
        return folder

    def push_to_hub(self, repo_id: str, **options: Unpack[PushOptions]) -> str:
        """Write the checkpoint into a hub repository, in one commit, with a model card where there is none.

        Args:
            repo_id: owner/name, made where there is none; a name alone is one of yours.
            options: commit_message, private, token, branch, create_pr, base_model; see `PushOptions`.

        Returns:
            Address of the commit.

        Raises:
            CheckpointError: nothing was written; as `save_pretrained`, or the hub refused or could not be reached.
        """

        def card(repo: str, base_model: str | None) -> str:
            kind = KINDS[self.part][1]
            code = f'from chandler import {kind}\n\nmodel = {kind}.from_pretrained("{repo}")'
            return model_card(repo, f"A Kronos {describe(self)}.", code, base_model)

        def check(repo: str, get: Callable[[str], Path | None], there: Collection[str]) -> tuple[str, ...]:
            _may_replace(self, repo, get)
            return ()

        return push(self.save_pretrained, repo_id, card, check, **options)


def may_save(model: PretrainedMixin, folder: Path) -> None:
    """Raise CheckpointError unless a folder is one, or can become one, and holds nothing that `model` would replace."""
    for place in (folder, folder.parent):
        if (place.exists() or place.is_symlink()) and not place.is_dir():
            raise CheckpointError(f"{place} is no folder: a checkpoint needs one. Save it elsewhere.")
    _may_replace(model, str(folder), inside(folder))


def inside(folder: Path) -> Callable[[str], Path | None]:
    """What finds a file of a folder by its name, None where it is not there: `Repository.get` of a folder."""
    return lambda name: path if (path := folder / name).is_file() else None


def describe(model: PretrainedMixin) -> str:
    """A model in numbers, for its card: `predictor of 24,741,376 parameters, 10 + 10 bits a bar`."""
    count = sum(parameter.numel() for parameter in cast(nn.Module, model).parameters())
    return f"{model.part} of {count:,} parameters, {model.config.s1_bits} + {model.config.s2_bits} bits a bar"


def _load(cls: type[Any], folder: Path, source: str) -> Any:
    config = _read_config(cls, folder / CONFIG_NAME, source)
    try:
        model = cls(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: no {cls.__name__} can have this shape: {error}.") from error
    try:
        with safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
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
        _other_config(config, metadata.get(SAVED_WITH)),
    ]
    if any(complaints):
        raise CheckpointError(
            f"{folder / WEIGHTS_NAME} does not fit its {CONFIG_NAME} as a {cls.__name__}: "
            + "; ".join(c for c in complaints if c)
            + ". Check that both files belong together: an interrupted save or copy can leave one old and one new."
        )
    model.load_state_dict(state)
    model.loaded_from = folder
    if (folder / EXPOSURE_NAME).is_file():
        model.exposure = (folder / EXPOSURE_NAME).read_bytes()
    return model.eval()


def _listing(what: str, names: list[str]) -> str:
    return f"{len(names)} tensors {what}: {shortened(names, 6)}" if names else ""


def _other_config(config: Any, saved: str | None) -> str:
    """What the config that weights were saved with says of them otherwise.

    Whole numbers and switches describe the weights. Fractions (dropout, weights of losses) only matter when training
    goes on: whoever edits them in config.json may.
    """
    try:
        then = json.loads(saved or "{}")
    except json.JSONDecodeError:
        then = {}
    now = {k: v for k, v in dataclasses.asdict(config).items() if not isinstance(v, float)}
    differs = [f"{k} {then[k]!r}, not {v!r}" for k, v in now.items() if k in then and then[k] != v]
    return f"the weights were saved with {', '.join(differs)}" if differs else ""


def _read_config(cls: type[Any], path: Path, source: str) -> Any:
    raw = _read_json(path)
    fields = {f.name: f for f in dataclasses.fields(cls.config_class)}
    unknown, missing = sorted(raw.keys() - fields.keys()), sorted(fields.keys() - raw.keys())
    if missing:
        other = _kind(raw)
        if other and other != cls.part:
            raise CheckpointError(
                f"{source} is a {other}, not a {cls.part}: load it with {KINDS[other][1]}.from_pretrained, or "
                f"give the folder or repository of the {cls.part}."
            )
        raise CheckpointError(
            f"{path} is no {cls.config_class.__name__}: "
            + (f"unknown keys {', '.join(unknown)}; " if unknown else "")
            + f"missing keys {', '.join(missing)}. Expected: {', '.join(fields)}."
        )
    if unknown:
        warnings.warn(f"{path}: keys that a {cls.part} does not have are ignored: {', '.join(unknown)}", stacklevel=4)
    for name, field in fields.items():
        # Field types are int, float or bool, as strings (postponed annotations).
        kinds = {"int": (int,), "float": (int, float), "bool": (bool,)}[str(field.type)]
        if not isinstance(raw[name], kinds) or (isinstance(raw[name], bool) and field.type != "bool"):
            raise CheckpointError(f"{path}: {name} must be {field.type}, found {raw[name]!r}.")
    return cls.config_class(**{name: raw[name] for name in fields})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: expected an object of settings, found {type(raw).__name__}.")
    return raw


def _kind(raw: dict[str, Any]) -> str | None:
    """Which kind of checkpoint a config.json is of; None for neither, or something else."""
    found = [kind for kind, (key, _) in KINDS.items() if key in raw and "s1_bits" in raw]
    return found[0] if len(found) == 1 else None


def _may_replace(model: PretrainedMixin, where: str, get: Callable[[str], Path | None]) -> None:
    """Raise CheckpointError unless what a folder or repository has under our two names is of the model's own kind."""

    def refuse(what: str) -> NoReturn:
        raise CheckpointError(
            f"{where} holds {what}; a {model.part} saved there would replace it. Save it elsewhere, for example in a "
            f"folder {model.part}/ of its own."
        )

    config = get(CONFIG_NAME)
    if config is not None:
        try:
            kind = _kind(_read_json(config))
        except CheckpointError:
            kind = None
        if kind != model.part:
            refuse(f"a {kind}" if kind else f"a {CONFIG_NAME} that is no {model.part}'s")
        return
    weights = get(WEIGHTS_NAME)
    if weights is None:
        return
    try:
        with safe_open(weights, framework="pt") as file:
            names = set(file.keys())
    except (OSError, SafetensorError):
        names = set()
    # Weights alone of this very kind are what an interrupted first save leaves.
    if names != set(cast(nn.Module, model).state_dict()):
        refuse(f"a {WEIGHTS_NAME} of another model, without {CONFIG_NAME}")


def resolve(
    source: str | Path, part: str, revision: str | None = None, subfolder: str = "", **hub: Unpack[HubOptions]
) -> Path:
    """The local folder of a checkpoint, downloaded into the hub's cache where it is a repository.

    Raises:
        CheckpointError: as `PretrainedMixin.from_pretrained`.
    """
    folder, repository = (bundled_checkpoint(source) or Path(source).expanduser()) / subfolder, ""
    if not folder.is_dir():
        if not is_repository(source):
            raise CheckpointError(
                f"{source}: there is no such folder, and it is no repository id (owner/name). "
                "Give an existing checkpoint folder or an id such as NeoQuasar/Kronos-small."
            )
        repository, inner = str(source), PurePosixPath(subfolder.strip("/"))
        files = [str(inner / place / name) for place in ("", part) for name in (*NAMES, EXPOSURE_NAME)]
        folder = fetch(repository, files, revision, **hub) / inner
    places = [place for place in (folder, folder / part) if (place / CONFIG_NAME).is_file()]
    for place in places:
        if (place / WEIGHTS_NAME).is_file():
            return place
    if not repository:
        absent = [name for name in NAMES if not (folder / name).is_file()]
        inside = sorted(p.name for p in folder.iterdir())
        raise CheckpointError(
            f"{folder} holds no {' and no '.join(absent)}; it has: {', '.join(inside[:8]) or 'nothing'}. "
            f"Give the folder that holds both, or a run folder with {part}/."
        )
    configs = [str(inner / place.relative_to(folder) / CONFIG_NAME) for place in places or (folder, folder / part)]
    if places:
        raise CheckpointError(f"{source}: it has {configs[0]} but no {configs[0].replace(CONFIG_NAME, WEIGHTS_NAME)}.")
    looked = " and no ".join(configs)
    raise CheckpointError(f"{source}: the repository exists but has no {looked}: it is no Kronos {part}.")
