"""Recipes: YAML files of the package that a finetuning begins with, and the form of all settings, without those that are places."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chandler.errors import ConfigError
from chandler.serving.errors import Refusal
from chandler.serving.jobs.keys import PATHS, Ask, require_no_paths
from chandler.settings import read_text

FOLDER = Path(__file__).parents[2] / "assets" / "recipes"
MAIN = (
    "data.lookback", "data.horizon", "data.windows_per_epoch", "tokenizer.epochs", "predictor.epochs", "predictor.batch_size",
    "predictor.learning_rate", "predictor.patience",
)  # fmt: skip
"""What is shown first."""
FIRST = "trial"


@dataclass(frozen=True)
class Recipe:
    """One recipe; title and about are the comments at the top of its file."""

    id: str
    title: str
    about: str
    path: Path


def recipe_list() -> list[Recipe]:
    """All of them, the quickest first."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return sorted(found, key=lambda one: (one.id != FIRST, one.id))


def recipe(id: str) -> Recipe:
    """One of them; Refusal 404."""
    found = next((one for one in recipe_list() if one.id == id), None)
    if found is None:
        raise Refusal(404, "There is no such recipe.")
    return found


def _read(path: Path) -> Recipe:
    comments = re.match(r"(?:#.*\n)+", path.read_text(encoding="utf-8"))
    lines = [line.removeprefix("#").strip() for line in (comments[0] if comments else "").splitlines()]
    return Recipe(path.stem, lines[0], " ".join(line for line in lines[1:] if line), path)


class RecipeBook:
    """Settings of the recipes and their JSON schema, which a process with torch has to make; kept once they are made."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._turn = asyncio.Lock()

    async def open(self, id: str, ask: Ask) -> dict[str, Any]:
        """values (nested), schema, main of a recipe; Refusal 404."""
        chosen = recipe(id)
        async with self._turn:
            if not self._found:
                found = await ask("settings.recipes", {one.id: str(one.path) for one in recipe_list()})
                schema, values = without_places(found["schema"]), found["values"]
                self._found = {
                    "schema": schema, "values": {name: _kept(one) for name, one in values.items()},
                    "starts": {name: one["predictor"]["start"] for name, one in values.items()},
                }  # fmt: skip
        return {
            "id": id, "title": chosen.title, "about": chosen.about, "start": self._found["starts"][id], "values": self._found["values"][id],
            "schema": self._found["schema"], "main": list(MAIN),
        }  # fmt: skip


async def checked(id: str, overrides: Mapping[str, Any], text: str | None, ask: Ask) -> dict[str, Any]:
    """What a recipe becomes with overrides, or with a YAML's text for its own: values (nested; None where something is wrong with
    them) and message (what). Refusal 404.

    A form asks this while one types, so what is wrong is an answer and no error.
    """
    path = str(recipe(id).path)
    try:
        require_no_paths(overrides if text is None else _written_out(text))
        values = await ask("settings.checked", path, dict(overrides), text)
    except ConfigError as error:
        return {"values": None, "message": str(error)}
    except Refusal as refusal:
        if refusal.status != 422:
            raise
        return {"values": None, "message": refusal.message}
    return {"values": _kept(values), "message": None}


def _written_out(text: str) -> dict[str, Any]:
    """The keys of a YAML's text. One of aliases of aliases is small, and what it says has no end: it is not taken."""
    with suppress(yaml.YAMLError):
        if any(isinstance(one, yaml.AliasToken) for one in yaml.scan(text)):
            raise ConfigError("the settings: aliases (*name) are not taken here. Write the values out.")
    return read_text(text, "the settings")


def _kept(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings without those that are places."""
    return {
        name: _kept(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in values.items()
        if not PATHS.fullmatch(prefix + name)
    }


def without_places(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with no property that is a place, and without definitions that nothing refers to then."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    used: dict[str, Any] = {}

    def trimmed(node: Any, at: str) -> Any:
        if isinstance(node, list):
            return [trimmed(one, at) for one in node]
        if not isinstance(node, dict):
            return node
        if (name := str(node.get("$ref", "")).removeprefix("#/$defs/")) and name not in used:
            used[name] = {}
            used[name] = trimmed(definitions[name], at)
        return {key: _properties(one, at) if key == "properties" else trimmed(one, at) for key, one in node.items()}

    def _properties(properties: dict[str, Any], at: str) -> dict[str, Any]:
        return {
            name: trimmed(one, f"{at}{name}.") for name, one in properties.items() if not PATHS.fullmatch(at + name)
        }

    whole = trimmed({key: one for key, one in schema.items() if key != "$defs"}, "")
    whole["required"] = [name for name in whole.get("required", ()) if name in whole["properties"]]
    return {**whole, "$defs": used}
