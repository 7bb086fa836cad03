"""The settings of the reference's CSV pipeline: its YAML read as it is, turned into ours, and every difference said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from chandler.data.datasets import CLIP
from chandler.errors import ConfigError
from chandler.forecasting import RELEASES
from chandler.hub import CONFIG_NAME, bundled_checkpoint
from chandler.settings import StrictModel, put, read
from chandler.training.settings.run import Settings
from chandler.training.settings.stage import RANDOM

_OURS = {"out", "tokenizer", "predictor"}
_THEIRS = {"training", "model_paths", "experiment"}


class _Section(StrictModel):
    """A key without a value counts as one that is not given."""

    @model_validator(mode="before")
    @classmethod
    def _left_empty(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None or key not in cls.model_fields}


class DataSection(_Section):
    """Which bars, cut into which windows. Here and below an alias is our key (or two) of the same meaning."""

    data_path: str = Field(min_length=1, serialization_alias="data.path")
    lookback_window: int = Field(512, ge=2, serialization_alias="data.lookback")
    predict_window: int = Field(48, ge=1, serialization_alias="data.horizon")
    max_context: int = Field(512, ge=2, serialization_alias="max_context")
    clip: float = CLIP
    train_ratio: float = Field(0.9, gt=0, le=1, serialization_alias="data.split.train")
    val_ratio: float = Field(0.1, gt=0, le=1, serialization_alias="data.split.val")
    test_ratio: float = Field(0.0, ge=0, le=1, serialization_alias="data.split.test")

    @field_validator("clip")
    @classmethod
    def _as_released(cls, value: float) -> float:
        if value != CLIP:
            raise ValueError(f"training and forecasts clip at {CLIP}, as the released weights do; set it to {CLIP}")
        return value

    @model_validator(mode="after")
    def _at_most_all(self) -> DataSection:
        if (total := self.train_ratio + self.val_ratio + self.test_ratio) > 1 + 1e-9:
            raise ValueError(f"train_ratio + val_ratio + test_ratio is {total:g}: make it at most 1")
        return self


class TrainingSection(_Section):
    """How both stages are trained."""

    tokenizer_epochs: int = Field(30, ge=1, serialization_alias="tokenizer.epochs")
    basemodel_epochs: int = Field(20, ge=1, serialization_alias="predictor.epochs")
    batch_size: int = Field(32, ge=1, serialization_alias="predictor.batch_size")
    log_interval: int = Field(10, ge=1, serialization_alias="log_every")
    num_workers: int = 0
    seed: int = Field(100, ge=0, serialization_alias="seed")
    tokenizer_learning_rate: float = Field(2e-4, gt=0, serialization_alias="tokenizer.learning_rate")
    predictor_learning_rate: float = Field(1e-6, gt=0, serialization_alias="predictor.learning_rate")
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    adam_weight_decay: float = Field(0.1, ge=0, serialization_alias="tokenizer.weight_decay predictor.weight_decay")
    accumulation_steps: int = Field(1, ge=1, serialization_alias="tokenizer.accumulation_steps")
    """Of the tokenizer's stage alone: so many parts of a batch, one after the other, make one step."""

    @model_validator(mode="after")
    def _divisible(self) -> TrainingSection:
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be cut into accumulation_steps {self.accumulation_steps} equal parts"
            )
        return self


class PathsSection(_Section):
    """Where models come from, and where results go; {exp_name} stands for exp_name in any of them."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    pretrained_tokenizer: str = ""
    pretrained_predictor: str = ""
    exp_name: str = ""
    base_path: str = ""
    base_save_path: str = ""
    finetuned_tokenizer: str = ""
    tokenizer_save_name: str = "tokenizer"
    basemodel_save_name: str = "basemodel"

    @model_validator(mode="after")
    def _filled(self) -> PathsSection:
        for name, value in self:
            if "{exp_name}" in value:
                setattr(self, name, value.replace("{exp_name}", self.exp_name))
        return self

    @property
    def results(self) -> str:
        """The folder of results; "" where nothing says which."""
        named = self.base_path and self.exp_name
        return self.base_save_path or (str(Path(self.base_path) / self.exp_name) if named else "")

    @property
    def tokenizer_result(self) -> str:
        """Where the reference leaves its finetuned tokenizer."""
        return str(Path(self.results, self.tokenizer_save_name, "best_model")) if self.results else ""


class ExperimentSection(_Section):
    """Which stages run, and from which weights."""

    name: Any = None
    description: Any = None
    use_comet: Any = None
    train_tokenizer: bool = Field(True, serialization_alias="tokenizer.enabled")
    train_basemodel: bool = Field(True, serialization_alias="predictor.enabled")
    skip_existing: bool = Field(False, serialization_alias="tokenizer.skip_existing predictor.skip_existing")
    pre_trained_tokenizer: bool = True
    pre_trained_predictor: bool = True


class DeviceSection(_Section):
    """What it runs on."""

    use_cuda: bool = True
    device_id: int = Field(0, ge=0)


class ReferenceSettings(_Section):
    """One YAML of the reference's CSV pipeline."""

    data: DataSection
    training: TrainingSection = Field(default_factory=TrainingSection)
    model_paths: PathsSection = Field(default_factory=PathsSection)
    experiment: ExperimentSection = Field(default_factory=ExperimentSection)
    device: DeviceSection = Field(default_factory=DeviceSection)

    @model_validator(mode="after")
    def _sensible(self) -> ReferenceSettings:
        e, paths = self.experiment, self.model_paths
        if not (e.train_tokenizer or e.train_basemodel):
            raise ValueError("experiment.train_tokenizer and experiment.train_basemodel are both false")
        needed = {
            "pretrained_tokenizer": e.train_tokenizer and e.pre_trained_tokenizer,
            "pretrained_predictor": e.train_basemodel and e.pre_trained_predictor,
            "finetuned_tokenizer": not e.train_tokenizer and not paths.results,
        }
        if missing := [
            f"model_paths.{key}" for key, is_needed in needed.items() if is_needed and not getattr(paths, key)
        ]:
            raise ValueError(f"{', '.join(missing)}: give a folder or a repository")
        return self

    def to_ours(self) -> dict[str, Any]:
        """The keys of `Settings` that say the same; without `out` where no folder of results is named."""
        t, e, paths = self.training, self.experiment, self.model_paths
        ours: dict[str, Any] = {"device": "auto" if self.device.use_cuda else "cpu", "data.windows_per_epoch": None}
        for section in (self.data, t, e):
            for name, field in type(section).model_fields.items():
                ours |= dict.fromkeys((field.serialization_alias or "").split(), getattr(section, name))
        ours["tokenizer.batch_size"] = t.batch_size // t.accumulation_steps
        ours["predictor.betas"] = [t.adam_beta1, t.adam_beta2]
        if paths.results:
            ours["out"] = paths.results
        if e.train_basemodel:
            ours |= _start("predictor", paths.pretrained_predictor, e.pre_trained_predictor)
        if e.train_tokenizer:
            ours |= _start("tokenizer", paths.pretrained_tokenizer, e.pre_trained_tokenizer)
        else:
            ours["tokenizer.start"] = start = self._finetuned()
            # A run of ours in the folder of results keeps the tokenizer that it has.
            ours["tokenizer.skip_existing"] |= start == str(Path(paths.results, "tokenizer"))
        nested: dict[str, Any] = {}
        for key, value in ours.items():
            put(nested, key.split("."), value)
        return nested

    def _finetuned(self) -> str:
        """The tokenizer of a run that trains none: the one that is named, else that of an earlier run in the folder of
        results, be it one of the reference or of ours."""
        paths = self.model_paths
        named, ours = paths.finetuned_tokenizer or paths.tokenizer_result, Path(paths.results, "tokenizer")
        theirs_is_there = (Path(named).expanduser() / CONFIG_NAME).is_file()
        is_default = bool(paths.results) and Path(named) == Path(paths.tokenizer_result)
        return str(ours) if is_default and not theirs_is_there and (ours / CONFIG_NAME).is_file() else named

    def check(self, settings: Settings) -> None:
        """Raise ConfigError if a run would write into a folder that holds results of the reference or something else,
        or if the tokenizer that the predictor needs is not there."""
        out, start, trained = Path(settings.out), settings.tokenizer.start, self.model_paths.tokenizer_result
        if out.is_dir() and (inside := sorted(path.name for path in out.iterdir())) and not _is_run(out):
            ask = "Choose another folder for the results (out=)."
            if trained and Path(trained).is_dir():
                keys = ["experiment.train_tokenizer=false", f"model_paths.finetuned_tokenizer={trained}"]
                ask += f" To go on from the tokenizer that was trained there: overrides={keys}."
            raise ConfigError(f"{out} holds something that is no run of chandler ({', '.join(inside[:8])}). {ask}")
        if not settings.tokenizer.enabled and start == trained and not Path(start).is_dir():
            own = [f"tokenizer.start={self.model_paths.pretrained_tokenizer or 'FOLDER'}"]
            raise ConfigError(
                f"experiment.train_tokenizer is false, and there is no finetuned tokenizer in {start}. Train it first, "
                "name another with model_paths.finetuned_tokenizer, or take one that was not finetuned with "
                f"overrides={own}."
            )

    def differences(self, settings: Settings) -> Iterator[str]:
        """What a run with these settings does in another way than the reference; a line each."""
        s, split, paths, e = settings, settings.data.split, self.model_paths, self.experiment
        if split.train_end is None and split.walk is None:
            rest = f"; the next {split.test:.0%} stays unseen, for chandler evaluate" if split.test else ""
            yield (
                f"split: the first {split.train:.0%} of the time line trains, the next {split.val:.0%} validates{rest}. "
                "No window crosses a boundary, so no row is in two parts (there they share some)"
            )
        yield (
            f"scale: mean and deviation of a window come from its {s.data.lookback} lookback bars alone (there the "
            "horizon takes part), so losses do not compare with those of the reference"
        )
        yield (
            "validation: all windows, causally (there the predictor sees the future). The start is validated first, and "
            "kept where no epoch beats it"
        )
        yield "epochs: each training window once an epoch, in an order that the seed draws (there some repeat)"
        cut = (
            f", for the tokenizer as {n} parts one after the other" if (n := s.tokenizer.accumulation_steps) > 1 else ""
        )
        yield f"batch_size: {self.training.batch_size} windows a step and process{cut}, as there"
        yield f"adam_beta1, adam_beta2: of the predictor's stage; the tokenizer's has {s.tokenizer.betas}, as there"
        for name, stage in s.stages():
            if stage.enabled and stage.start == RANDOM:
                size = stage.architecture or ("base" if name == "tokenizer" else "small")
                shape = f"the released size {size}" if isinstance(size, str) else f"{CONFIG_NAME} of pretrained_{name}"
                yield f"pre_trained_{name}: random weights in the shape of {shape}"
        yield (
            f"results: {Path(s.out, 'tokenizer')} and {Path(s.out, 'predictor')} in the released format (there "
            f"{paths.tokenizer_save_name}/best_model and {paths.basemodel_save_name}/best_model)"
        )
        if not e.skip_existing:
            yield "skip_existing: an earlier run in that folder is replaced with overwrite=True only (there always)"
        if s.tokenizer.enabled and paths.finetuned_tokenizer not in ("", paths.tokenizer_result):
            yield "model_paths.finetuned_tokenizer is not used: the predictor learns the tokens of this run's tokenizer"
        if self.device.use_cuda and (number := self.device.device_id):
            yield f"device.device_id is not used: set CUDA_VISIBLE_DEVICES={number} in front of the command"
        if e.use_comet:
            yield "experiment.use_comet is not used: overrides=['trackers=[comet]'] logs there"
        unused = [("training", "num_workers"), ("experiment", "name"), ("experiment", "description")]
        if found := [f"{part}.{key}" for part, key in unused if key in getattr(self, part).model_fields_set]:
            yield f"without effect: {', '.join(found)}"


def is_reference(raw: Mapping[str, Any]) -> bool:
    """Whether these are the keys of the reference's CSV pipeline, by its sections."""
    data = raw.get("data")
    known = bool(_THEIRS & raw.keys()) or (isinstance(data, Mapping) and "data_path" in data)
    return known and not _OURS & raw.keys()


def is_theirs(override: str) -> bool:
    """Whether `section.key=value` sets a key of the reference, not one of ours."""
    section, _, key = override.partition("=")[0].strip().partition(".")
    shared = {"data": DataSection.model_fields, "device": DeviceSection.model_fields}
    return section in _THEIRS or key in shared.get(section, ())


def _is_run(folder: Path) -> bool:
    try:
        return not is_reference(read(folder / "config.yaml")[0])
    except ConfigError:
        return False


def _start(part: str, name: str, pretrained: bool) -> dict[str, Any]:
    """Our keys for where a stage starts. Random weights have the shape of the checkpoint that is named, as far as it
    is known without a download, else that of the released one that finetuning begins with."""
    if pretrained:
        return {f"{part}.start": name}
    own = bundled_checkpoint(name)
    config = (own / part if own else Path(name).expanduser()) / CONFIG_NAME
    shape: Any = name.rpartition("-")[2] if name in RELEASES else None
    if name and config.is_file():
        try:
            shape = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"model_paths.pretrained_{part}: {config} cannot be read as JSON ({error}).") from error
    return {f"{part}.start": RANDOM, **({f"{part}.architecture": shape} if shape else {})}
