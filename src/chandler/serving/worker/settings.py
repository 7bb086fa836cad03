"""Settings of a job, checked as its command checks them: that takes the rooms which need torch."""

from __future__ import annotations

from typing import Any

from chandler.errors import ConfigError
from chandler.evaluation.backtest import load_backtest
from chandler.evaluation.walk_forward import load_evaluation, name_models
from chandler.forecasting import RELEASES
from chandler.settings import put, read, read_text
from chandler.training.settings import Settings, load_settings


def settled(request: dict[str, Any]) -> dict[str, Any]:
    """The settings of a request as YAML.

    Raises:
        ConfigError: an unknown key, the nearest one named; a value that cannot be.
    """
    raw: dict[str, Any] = {} if request["recipe"] is None else read(request["recipe"])[0]
    models, kind = request["models"], request["kind"]
    device = {} if request["device"] == "auto" else {"device": request["device"]}
    _put(raw, device | request["overrides"] | _of_models(kind, models) | request["final"])
    if kind == "finetune":
        return {"yaml": load_settings(raw).to_yaml(short=True)}
    return {"yaml": (load_evaluation(raw) if kind == "evaluate" else load_backtest(raw)).to_yaml(short=True)}


def _of_models(kind: str, models: list[list[str]]) -> dict[str, Any]:
    """Keys that name models, given as (name, source) pairs."""
    if kind == "evaluate":
        return {"models": name_models([f"{name.replace('=', '-')}={source}" for name, source in models])}
    return {} if not models else {"model": models[0][1]} if kind == "backtest" else _starts(models[0][1])


def checked(request: dict[str, Any]) -> dict[str, Any]:
    """All settings of a recipe with overrides, or with those of a YAML's text instead of its own.

    Raises:
        ConfigError: as `settled`; a text that is no YAML.
    """
    recipe = read(request["recipe"])[0]
    raw = recipe if request["text"] is None else read_text(request["text"], "the settings")
    _put(raw, request["overrides"] | {"out": "run", "data.path": "bars"})
    return {"values": load_settings(raw, defaults=recipe).model_dump(mode="json")}


def recipes(request: dict[str, Any]) -> dict[str, Any]:
    """The settings of recipes over the defaults, and what settings there are."""
    values = {id: load_settings(path).model_dump(mode="json") for id, path in request["recipes"].items()}
    return {"values": values, "schema": Settings.model_json_schema()}


def _put(raw: dict[str, Any], values: dict[str, Any]) -> None:
    """Set dotted keys in place."""
    for key, value in values.items():
        path = [part.strip() for part in key.split(".")]
        if not all(path):
            raise ConfigError(f"{key!r} is no key: expected names with points between them, such as data.lookback.")
        put(raw, path, value)


def _starts(source: str) -> dict[str, str]:
    """Where both stages start: folders hold both models, a released predictor has its tokenizer's name beside it."""
    tokenizer = RELEASES[source].tokenizer if source in RELEASES else source
    return {"tokenizer.start": tokenizer, "predictor.start": source}
