"""What a sweep is: the YAML it varies, and the trials that come of it with the question whether their scores can be compared."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from chandler.errors import ConfigError
from chandler.scale.sweep.parameters import draw_trials, read_parameter
from chandler.settings import StrictModel, load
from chandler.text import listed
from chandler.training.settings import Settings, settings_to_run

TOKENIZER = "tokenizer"
"""The folder of the one run that trains the tokenizer of all trials, where no parameter touches it."""


class SweepSettings(StrictModel):
    """A sweep; with `seed`, all that decides what its trials are."""

    config: str | dict[str, Any]
    """YAML of a run, or its keys."""
    params: list[str] = Field(min_length=1)
    """What is varied: "KEY=1e-6,1e-5", "seed=1..3", "KEY=loguniform(0.001,0.1)", uniform(...), choice(...)."""
    overrides: list[str] = Field(default_factory=list)
    """Keys that all trials have instead of those of the YAML."""
    samples: int = Field(1, ge=1)
    """Draws of the parameters that are drawn; each meets all combinations of the lists."""
    seed: int = Field(0, ge=0)
    """Of the draws. That of a run is a key of its YAML."""
    early_stop: Literal["asha"] | None = None
    """asha: end a trial that is behind two thirds of the others after 1, 3, 9, ... epochs; null: train all to the end."""
    out: str = "runs/sweep"
    """The folder of the sweep."""


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep, before anything is trained."""

    folder: Path
    settings: tuple[Settings, ...]
    """Of each trial: a run of its own in `folder`/000, /001, ..."""
    parameters: tuple[Mapping[str, Any], ...]
    """Of each trial, as the settings have them."""
    stage: str
    """The stage whose validations are compared."""
    measure: str
    incomparable: str
    """Why the scores cannot be compared; "" where they can."""
    tokenizer: Settings | None
    """A run that trains the tokenizer of all trials; None where each trains its own, or none does."""
    early_stop: bool
    told: str
    """What is to be told of settings of the reference."""


def load_sweep(source: Mapping[str, Any]) -> SweepSettings:
    """Settings of a sweep from a mapping. ConfigError: unknown key, bad value."""
    return load(SweepSettings, source, where="sweep")


def plan_sweep(sweep: SweepSettings) -> Plan:
    """Draw the trials and load the settings of each.

    Raises:
        ConfigError: a parameter that cannot be read; settings that no run takes; trials that cannot be compared where they have to
            be.
    """
    drawn = draw_trials([read_parameter(one) for one in sweep.params], sweep.samples, sweep.seed)
    folder = Path(sweep.out).absolute()
    loaded, told = [], ""
    for number, values in enumerate(drawn):
        given = [*sweep.overrides, *(f"{key}={text}" for key, text in values.items())]
        found, told = settings_to_run(sweep.config, given, out=str(folder / f"{number:03d}"))
        loaded.append(_whole_paths(found))
    parameters = [
        {key: _value(one, key, text) for key, text in values.items()} for one, values in zip(loaded, drawn, strict=True)
    ]
    for number, row in enumerate(parameters):
        if row in parameters[:number]:
            same = ", ".join(f"{key}={value}" for key, value in row.items())
            raise ConfigError(f"{same} comes twice: trials {parameters.index(row):03d} and {number:03d} are the same.")
    keys = list(drawn[0])
    stages, measures = (sorted({_judged(one)[part] for one in loaded}) for part in (0, 1))
    incomparable = _incomparable(keys, loaded, measures)
    if incomparable and sweep.early_stop:
        raise ConfigError(
            f"early_stop holds the scores of trials against one another, and {incomparable}. Leave it out."
        )
    shared = None
    touched = any(key.split(".")[0] in ("tokenizer", "data") for key in keys)
    if all(one.tokenizer.enabled and one.predictor.enabled for one in loaded) and not touched:
        shared = _tokenizer_run(settings_to_run(sweep.config, sweep.overrides, out=str(folder / TOKENIZER))[0])
        loaded = [_on_shared(one, folder / TOKENIZER / TOKENIZER) for one in loaded]
    return Plan(
        folder=folder,
        settings=tuple(loaded),
        parameters=tuple(parameters),
        stage=stages[0],
        measure=measures[0],
        incomparable=incomparable,
        tokenizer=shared,
        early_stop=sweep.early_stop is not None,
        told=told,
    )


def _judged(settings: Settings) -> tuple[str, str]:
    """The stage of a run that is the result, and the measure that chooses its checkpoint."""
    if not settings.predictor.enabled:
        return "tokenizer", "mse"
    loss = "nll_horizon" if settings.predictor.loss == "horizon" else "nll"
    return "predictor", loss if settings.predictor.promote_on == "loss" else settings.predictor.promote_on


def _incomparable(keys: Iterable[str], trials: Iterable[Settings], measures: list[str]) -> str:
    """Why scores of these trials answer different questions; "" where they do not.

    Raises:
        ConfigError: they do for want of `promote_on`.
    """
    keys = list(keys)
    bars = [key for key in keys if key.split(".")[0] == "data"]
    if bars:
        return f"with {listed(bars)} each trial is validated on rows of its own"
    if len(measures) > 1:
        return f"the trials are judged by different measures, {' and '.join(measures)}"
    asked = [key for key in keys if key.startswith("predictor.scoring")]
    if asked:
        return f"with {listed(asked)} each trial is asked questions of its own"
    tokens = [key for key in keys if key.split(".")[0] == "tokenizer"]
    if tokens and any(one.predictor.enabled and one.predictor.promote_on == "loss" for one in trials):
        raise ConfigError(
            f"{listed(tokens)}: a likelihood is comparable under one tokenizer only. Let forecasts judge the trials: set "
            "predictor.promote_on to crps (or rank_ic)."
        )
    return ""


def _value(settings: Settings, key: str, text: str) -> Any:
    """What the settings make of a parameter; what YAML makes of it where it is a key of the reference."""
    try:
        return reduce(lambda node, part: node[part], key.split("."), settings.model_dump(mode="json"))
    except (KeyError, TypeError):
        return yaml.safe_load(text)


def _tokenizer_run(settings: Settings) -> Settings:
    found = _whole_paths(settings).model_dump(mode="json")
    found["predictor"] |= {"enabled": False}
    found["signal"] = {}
    return Settings.model_validate(found)


def _on_shared(settings: Settings, tokenizer: Path) -> Settings:
    found = settings.model_dump(mode="json") | {"tokenizer": {"enabled": False, "start": str(tokenizer)}}
    return Settings.model_validate(found)


def _whole_paths(settings: Settings) -> Settings:
    """With the paths of what is there from the root: trials may run in another folder."""
    found = settings.model_dump(mode="json")
    data, replay = found["data"], found["data"]["replay"]
    for part, key in ((data, "path"), (replay, "path"), (found["tokenizer"], "start"), (found["predictor"], "start")):
        if part is not None:
            part[key] = [_whole(one) for one in part[key]] if isinstance(part[key], list) else _whole(part[key])
    if data["sources"]:
        data["folder"] = str(Path(data["folder"]).expanduser().absolute())
    return Settings.model_validate(found)


def _whole(text: str) -> str:
    """A path from the root where there is one by that name, globs among them; other names as they are."""
    prefix = "qlib:" if text.startswith("qlib:") else ""
    path = Path(text.removeprefix(prefix)).expanduser()
    if path.exists():
        return f"{prefix}{path.absolute()}"
    fixed = list(takewhile(lambda part: not glob.has_magic(part), path.parts))
    if len(fixed) == len(path.parts) or not Path(*fixed).exists():
        return text
    # The folder that it is read from is no part of the glob.
    return f"{prefix}{path if path.is_absolute() else Path(glob.escape(str(Path.cwd())), path)}"
