"""Settings of a job, checked as its command checks them: that takes the rooms which need torch."""

from __future__ import annotations

from typing import Any

from chandler.errors import ConfigError
from chandler.forecasting import RELEASES
from chandler.settings import put
from chandler.training.settings import load_settings


def settled(request: dict[str, Any]) -> dict[str, Any]:
    """The settings of a request as YAML.

    Raises:
        ConfigError: an unknown key, the nearest one named; a value that cannot be.
    """
    raw: dict[str, Any] = {}
    for key, value in (request["overrides"] | _starts(request["models"]) | request["final"]).items():
        path = [part.strip() for part in key.split(".")]
        if not all(path):
            raise ConfigError(f"{key!r} is no key: expected names with points between them, such as data.lookback.")
        put(raw, path, value)
    return {"yaml": load_settings(raw).to_yaml(short=True)}


def _starts(models: list[str]) -> dict[str, str]:
    """Where both stages start: folders hold both models, a released predictor has its tokenizer's name beside it."""
    return {
        key: value
        for one in models
        for key, value in {
            "tokenizer.start": RELEASES[one].tokenizer if one in RELEASES else one,
            "predictor.start": one,
        }.items()
    }
