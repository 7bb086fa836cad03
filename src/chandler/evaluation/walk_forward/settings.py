"""The settings of an evaluation: which bars and origins, which models and baselines, how they are sampled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from pydantic import (
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_validator,
)

from chandler.data import SourceSettings
from chandler.data.store import BarStore
from chandler.errors import ConfigError
from chandler.evaluation.baselines import BASELINES, TRAINED
from chandler.evaluation.walk_forward.paper import SAMPLING, window_for
from chandler.evaluation.walk_forward.scores import LEVELS
from chandler.settings import Moment, Precision, StrictModel, did_you_mean, load
from chandler.training.runs import read_mapping

VOLUME_BASELINE = "volume_by_time_of_day"
DEFAULT_BASELINES = ("last_close", "bootstrap", "gaussian_walk", "ewma", "dlinear", VOLUME_BASELINE)

BANDS = tuple(round(1 - 2 * low, 3) for low in sorted(LEVELS, reverse=True) if low < 0.5)
"""Central bands whose edges are among the quantiles that are kept: 0.5, 0.8, ..."""


EvaluationTask = Literal["price", "return", "volatility", "generation"]
AUTO = 0
"""A window that the interval of the bars decides; null in YAML, where 0 is refused."""


class EvaluationSettings(StrictModel):
    """One walk forward: every model and baseline forecasts the same windows."""

    out: str = "runs/evaluation"
    """The folder of the evaluation."""
    task: EvaluationTask | None = None
    """One of the paper's tasks: price, return, volatility, generation. Its sampling and windows are then the defaults,
    and its measures are reported; see docs/tasks.md. null: a general evaluation."""
    data: SourceSettings
    """Which bars, and how they are read."""
    models: dict[str, str] = Field(default_factory=dict)
    """Name -> run folder, released predictor, or TOKENIZER+PREDICTOR; also a list of NAME=SOURCE or SOURCE. None: the
    baselines alone."""
    baselines: list[str] = Field(list(DEFAULT_BASELINES))
    """What the models have to beat; see docs/evaluation.md."""
    lookback: int = 90
    """Bars of history of every forecast; left out, those that all runs among the models were trained with, else 90. A model whose
    context is smaller sees the last of them. null (and with a task, by default): as in the paper for the interval of the bars."""
    horizon: int = 10
    """Bars ahead; left out and null as for lookback."""
    stride: int | None = Field(None, ge=1)
    """Bars between two origins; null: the horizon, so that no bar is forecast twice."""
    origins: int | None = Field(None, ge=1)
    """At most so many origins a symbol, evenly spaced over the period; null: all."""
    start: Moment | None = None
    """First day or time that may be forecast; null: the first that no model was trained or validated on."""
    end: Moment | None = None
    """Last day or time that may be forecast; null: the last of the data."""
    paths: int = Field(100, ge=1)
    """Sampled futures of each window, of models and baselines alike."""
    temperature: float = Field(1.0, gt=0)
    """Below 1 narrows the distribution."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Below 1 cuts the tails off, and bands cover less."""
    top_k: int = Field(0, ge=0)
    """Keep this many tokens; 0 keeps all."""
    anchor: bool = True
    """Paths begin at the last close, not at what the tokens have of it; see docs/forecasting.md."""
    overflow: Literal["exact", "block", "trim"] = "exact"
    """What happens when history and horizon exceed a model's context; see docs/forecasting.md."""
    precision: Precision = "float32"
    seed: int = Field(0, ge=0)
    """Of the paths, and of the examples that the report shows. Each window has numbers of its own, the same for all
    models."""
    levels: list[float] = Field([0.5, 0.8, 0.9])
    """Central bands whose coverage and width are counted."""
    calibration: Literal["auto", "stored", "off"] = "auto"
    """stored: where a model has a calibration.json, it is evaluated beside the raw paths. auto: where it has none that fits
    these settings, one is fitted on the bars before the first that is forecast, as far as it was not trained on them."""
    recalibrations: int = Field(7, ge=0)
    """With auto: at most so many times along the period it is fitted again, on all that had come by then, as one who forecasts
    day by day would; at least 10 origins apart. 0: fitted once, before the first."""
    chunk: int = Field(64, ge=1)
    """Windows forecast at a time and written as one part: what an interruption costs, and what memory must hold."""
    device: str = "auto"

    @model_validator(mode="before")
    @classmethod
    def _of_the_task(cls, raw: object) -> object:
        if isinstance(raw, dict) and raw.get("task") == "investment":
            raise ValueError("the task investment is a portfolio: run it with chandler backtest")
        if not isinstance(raw, dict) or raw.get("task") not in get_args(EvaluationTask):
            return raw
        return {"lookback": None, "horizon": None, "calibration": "stored", **SAMPLING[raw["task"]]._asdict(), **raw}

    @field_validator("lookback", "horizon", mode="wrap")
    @classmethod
    def _auto(cls, value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> int:
        if value is None:
            return AUTO
        least, found = {"lookback": 2, "horizon": 1}[str(info.field_name)], int(read(value))
        if found < least:
            raise ValueError(f"give {least} or more, or null for the paper's")
        return found

    @field_serializer("lookback", "horizon", when_used="json")
    def _as_given(self, value: int) -> int | None:
        return None if value == AUTO else value

    @field_validator("calibration", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return "off" if value is False else value  # what YAML makes of it

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str):
            value = [one for one in value.split(",") if one.strip()]
        return name_models(value) if isinstance(value, list) else value

    @field_validator("levels")
    @classmethod
    def _levels(cls, value: list[float]) -> list[float]:
        if not value or not all(any(abs(level - one) < 1e-9 for one in BANDS) for level in value):
            raise ValueError(f"give some of {', '.join(f'{one:g}' for one in BANDS)}, whose edges are kept")
        return sorted(set(value))

    @model_validator(mode="after")
    def _sensible(self) -> EvaluationSettings:
        if not self.models and not self.baselines:
            raise ValueError("there is nothing to evaluate: give models or baselines")
        both = sorted(set(self.models) & set(self.baselines))
        if both:
            raise ValueError(f"{', '.join(both)} names both a model and a baseline: call the model something else")
        return self

    def for_bars(self, store: BarStore) -> EvaluationSettings:
        """The same with lookback and horizon filled in where they are left to the runs, or to the interval of the bars."""
        left, found = {"lookback", "horizon"} - self.model_fields_set, trained_windows(self.models.values())
        if left and len(found) == 1:
            whole = dict(zip(("lookback", "horizon"), found[0], strict=True))
            return self.model_copy(update={key: whole[key] for key in left}).for_bars(store)
        if self.lookback != AUTO and self.horizon != AUTO:
            return self
        lookback, horizon = window_for(max(store, key=len).interval, self.task)
        return self.model_copy(update={"lookback": self.lookback or lookback, "horizon": self.horizon or horizon})

    def window_notes(self) -> list[str]:
        """What to say where the window is left to runs that were trained with different ones."""
        found = trained_windows(self.models.values())
        if len(found) < 2 or {"lookback", "horizon"} <= self.model_fields_set:
            return []
        told = ", ".join(f"{lookback} + {horizon}" for lookback, horizon in found)
        return [f"the runs were trained with windows of {told} bars; these are of {self.lookback} + {self.horizon}"]

    @property
    def apart(self) -> int:
        """Bars between two origins."""
        return self.stride or self.horizon


def trained_windows(sources: Iterable[str]) -> list[tuple[int, int]]:
    """The different windows (lookback, horizon) that the run folders among sources were trained with, shortest first."""
    read = [read_mapping(Path(one).expanduser() / "config.yaml").get("data") or {} for one in sources]
    return sorted({(one["lookback"], one["horizon"]) for one in read if {"lookback", "horizon"} <= one.keys()})


def name_models(given: Iterable[str]) -> dict[str, str]:
    """`name=source` or `source` texts as name -> source; without a name, the last part of the path.

    Raises:
        ValueError: two models of one name.
    """
    named: dict[str, str] = {}
    for text in given:
        name, equals, source = str(text).partition("=")
        if not equals:
            name, source = PurePath(text.split("+")[-1].rstrip("/")).name, text
        if not name.strip() or not source.strip():
            raise ValueError(f"a model is given as SOURCE or NAME=SOURCE, found {text!r}")
        if name in named:
            raise ValueError(f"two models are called {name}: name them, as in before=runs/a,after=runs/b")
        named[name.strip()] = source.strip()
    return named


def load_evaluation(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), final: Mapping[str, Any] | None = None
) -> EvaluationSettings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    Args:
        final: top keys that stand above all others, such as out and models.

    Raises:
        ConfigError: as `settings.load`; a baseline that there is not.
    """
    settings = load(EvaluationSettings, source, overrides, final)
    known = (*BASELINES, *TRAINED, VOLUME_BASELINE)
    for name in settings.baselines:
        if name not in known:
            raise ConfigError(f"baselines: {name} is unknown{did_you_mean(name, known)}.")
    return settings
