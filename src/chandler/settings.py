"""Typed settings out of a YAML file and overrides: one place that reads, validates and complains."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from chandler.errors import ConfigError


class StrictModel(BaseModel):
    """Settings that know all their keys, and no number that is infinite or none; each field says in its docstring what it sets."""

    model_config = ConfigDict(extra="forbid", validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False)

    def to_yaml(self, *, short: bool = False) -> str:
        """The resolved settings, or `short` those that were given; loading them gives the same object."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_unset=short), sort_keys=False, allow_unicode=True)


Moment = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)]
"""A date or time as text: YAML makes dates of 2024-06-30."""

Precision = Literal["float32", "bfloat16", "int8"]
"""Number format of a predictor's weights (and on accelerators of its caches) while it generates."""


EXPECTED = (
    "Settings are keys and values in YAML; bars are named in there, as data.path. Shipped recipes are in configs/."
)

S = TypeVar("S", bound=BaseModel)


class Cell(str):
    """A value of a YAML as it is written there, with what YAML makes of it: 000001 is 1, and ON is true."""

    __slots__ = ("value",)
    value: Any


class _Loader(yaml.SafeLoader):
    """YAML that keeps as `Cell`s what would lose its text: values without quotes, and those whose backslashes meant more."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        found = super().construct_object(node, deep=deep)
        if not isinstance(node, yaml.ScalarNode):
            return found
        start, end = node.start_mark, node.end_mark
        escaped = node.style == '"' and re.search(r"[\x00-\x1f\x85\xa0\u2028\u2029]", str(found))
        escaped = escaped and "\\" in (start.buffer or "\\")[start.pointer : end.pointer]
        if isinstance(found, str) and not escaped:
            return found
        cell = Cell(repr(found)[1:-1] if escaped else node.value)
        cell.value = found
        return cell


def _resolved(raw: Any, kind: Any, at: str) -> Any:
    """`raw` with its `Cell`s as the text they were written as where `kind` is text, and as what YAML makes of them elsewhere.

    `at` is how complaints call the place. ConfigError: a path that lost its backslashes.
    """
    kinds = [get_args(one)[0] if get_origin(one) is Annotated else one for one in (kind, *get_args(kind))]
    if isinstance(raw, Mapping):
        models = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
        fields = {name: field.annotation for one in models for name, field in one.model_fields.items()}
        inner = next((str for one in kinds if get_origin(one) is dict and get_args(one)[1] is str), None)
        return {
            str(key) if isinstance(key, Cell) else key: (
                str(value) if inner and _is_text(value) else _resolved(value, fields.get(key), f"{at}{key}.")
            )
            for key, value in raw.items()
        }
    if isinstance(raw, list):
        inner = next((get_args(one)[0] for one in kinds if get_origin(one) is list), None)
        return [str(one) if inner is str and _is_text(one) else _resolved(one, inner, at) for one in raw]
    if not isinstance(raw, Cell):
        return raw
    if isinstance(raw.value, str) and "\\" in raw and str in kinds:
        raise ConfigError(
            f"{at.rstrip('.')}: in double quotes backslashes have a meaning of their own and this became {raw}. Use single quotes, "
            "'D:\\new\\table.csv', or /."
        )
    text = str in kinds and not {int, float, bool} & set(kinds)
    return str(raw) if text and raw.value is not None else raw.value


def _is_text(raw: Any) -> bool:
    """Whether this can be an element of texts, and not what YAML writes for nothing: NULL can, ~ cannot."""
    return isinstance(raw, Cell) and not isinstance(raw.value, str) and raw not in ("", "~")


def read(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The keys of a YAML file (or of a mapping), and what complaints call it. ConfigError: unreadable file."""
    if isinstance(source, Mapping):
        return dict(source), "the settings"
    where = str(source)
    try:
        text = Path(source).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{where}: no such file. Shipped recipes are in configs/.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: this is no text. {EXPECTED}") from error
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error}).") from error
    return read_text(text, where), where


def read_text(text: str, where: str) -> dict[str, Any]:
    """The keys of a YAML's text, which complaints call `where`. ConfigError: no YAML, or none of keys and values."""
    try:
        raw = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {_yaml_words(error)}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: found {type(raw).__name__}. {EXPECTED}")
    return raw


def load(
    kind: type[S],
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    final: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    where: str | None = None,
) -> S:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    Args:
        kind: the settings that the keys must fit.
        final: top keys that stand above all others.
        defaults: stand in for keys, however deep, that the source does not give.
        where: what complaints call the source; default: its path.

    Raises:
        ConfigError: unreadable file, malformed override, unknown key (the nearest known one is named), bad value.
    """
    raw, found = read(source)
    raw = _over(defaults or {}, raw)
    for override in overrides:
        _apply(raw, override)
    raw |= final or {}
    try:
        return kind.model_validate(_resolved(raw, kind, f"{where or found}: "))
    except ValidationError as error:
        raise ConfigError(_explain(error, where or found, kind)) from error


def _over(defaults: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with what it lacks of `defaults`, however deep."""
    found = dict(defaults) | dict(raw)
    for key in defaults.keys() & raw.keys():
        if isinstance(defaults[key], Mapping) and isinstance(raw[key], Mapping):
            found[key] = _over(defaults[key], raw[key])
    return found


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set `a.b=value` in place; the value is read as YAML."""
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: expected key=value, as in --set data.path=bars.csv")
    try:
        put(raw, path, yaml.load(value, _Loader) if value.strip() else None)
    except yaml.YAMLError as error:
        told = _yaml_words(error) if '"' in value else "Quote it if it is a text."
        raise ConfigError(f"--set {override}: the value is not valid YAML. {told}") from error


def _yaml_words(error: yaml.YAMLError) -> str:
    """What is wrong in one line, and where."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if "escape" in problem:
        problem += ", for in double quotes a backslash has a meaning of its own: use single quotes"
    return f"{problem}{f' (line {mark.line + 1})' if mark else ''}."


def put(raw: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Set `value` at a, b, ... of nested keys (in place); what is on the way and has no keys of its own is replaced."""
    node = raw
    for part in path[:-1]:
        child = node.get(part)
        node[part] = node = dict(child) if isinstance(child, dict) else {}
    node[path[-1]] = value


def _explain(error: ValidationError, where: str, kind: type[BaseModel]) -> str:
    """Every complaint of pydantic in one line each, in the user's terms."""
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {key}{did_you_mean(location[-1], _known_keys(kind, location[:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"{key} is missing")
        else:
            text = problem["msg"].removeprefix("Value error, ")
            found = "" if isinstance(problem["input"], dict) or not key else f", found {problem['input']!r}"
            lines.append(f"{key}: {text}{found}" if key else text)
    return f"{where}: " + "; ".join(lines) + "."


def _known_keys(kind: type[BaseModel], path: list[str]) -> list[str]:
    model: Any = kind
    for part in path:
        annotation = model.model_fields[part].annotation
        options = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        model = next((a for a in options if issubclass(a, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """What a complaint about an unknown key ends with: the known one it resembles, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.55)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"
