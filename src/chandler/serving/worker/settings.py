"""Settings of a job, checked as its command checks them: that takes the rooms which need torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chandler.errors import ConfigError
from chandler.evaluation.backtest import load_backtest
from chandler.evaluation.walk_forward import load_evaluation, name_models
from chandler.forecasting import RELEASES
from chandler.settings import put, read, read_text
from chandler.training.settings import Settings, load_settings


def settled(
    kind: str,
    recipe: str | None,
    models: Sequence[tuple[str, str]],
    device: str,
    overrides: dict[str, Any],
    final: dict[str, Any],
) -> str:
    """The settings of a job as YAML.

    Args:
        kind: "finetune", "evaluate" or "backtest".
        recipe: the file that they begin with.
        models: (name, source) pairs.
        device: "auto" leaves it to the command.
        overrides: dotted key -> value; `final` are the server's own, which win.

    Raises:
        ConfigError: an unknown key, the nearest one named; a value that cannot be.
    """
    raw: dict[str, Any] = {} if recipe is None else read(recipe)[0]
    _put(raw, ({} if device == "auto" else {"device": device}) | overrides | _of_models(kind, models) | final)
    load: Any = {"finetune": load_settings, "evaluate": load_evaluation, "backtest": load_backtest}[kind]
    return str(load(raw).to_yaml(short=True))


def _of_models(kind: str, models: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Keys that name models."""
    if kind == "evaluate":
        return {"models": name_models([f"{name.replace('=', '-')}={source}" for name, source in models])}
    return {} if not models else {"model": models[0][1]} if kind == "backtest" else _starts(models[0][1])


def checked(recipe: str, overrides: dict[str, Any], text: str | None) -> dict[str, Any]:
    """All settings of a recipe with overrides, or with those of a YAML's text instead of its own.

    Raises:
        ConfigError: as `settled`; a text that is no YAML.
    """
    defaults = read(recipe)[0]
    raw = defaults if text is None else read_text(text, "the settings")
    _put(raw, overrides | {"out": "run", "data.path": "bars"})
    return load_settings(raw, defaults=defaults).model_dump(mode="json")


def recipes(paths: Mapping[str, str]) -> dict[str, Any]:
    """The settings of recipes (id -> file) over the defaults, and what settings there are."""
    values = {id: load_settings(path).model_dump(mode="json") for id, path in paths.items()}
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
