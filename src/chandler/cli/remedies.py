"""Messages name the options of Python's functions; at the command line they are said as the command takes them."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_type_hints

from typer.models import OptionInfo

COMMANDS: dict[str, Callable[..., None]] = {}
"""Name -> command, in the order of the help; the shell puts them here."""

_RENAMED = {
    "columns": "column", "unsorted": "sort", "force": "accept_changed_settings", "memory_budget": "memory",
}  # fmt: skip
"""Keyword -> the parameter of a command that stands for it, where there is one."""
_SETTINGS = ("start", "end", "allow_left_out")
"""Keys at the top of the settings of an evaluation or a backtest; other options are keys of data."""
_PREPARED = "`chandler prepare DATA STORE {}` (STORE is then the data)"

_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_VALUE = rf"""\{{(?:{_TEXT}|[^}}'"])*\}}|\[(?:{_TEXT}|[^\]'"])*\]|{_TEXT}|True|\d+|\.\.\."""
KEYWORD = rf"\b[a-z_]+=(?:{_VALUE}|(?=[\s.,;:)]|$))"
"""A keyword with a value as Python writes it, `...` for one that the user knows, or with none."""


@cache
def options_of(command: str) -> dict[str, tuple[str, bool]]:
    """Parameter -> its option, and whether that is a switch, which takes no value."""
    hints = get_type_hints(COMMANDS[command], include_extras=True)
    return {
        # Typer keeps the first name that is given as a default.
        name: (
            info.default if isinstance(info.default, str) else f"--{name.replace('_', '-')}",
            get_args(hint)[0] is bool,
        )
        for name, hint in hints.items()
        for info in getattr(hint, "__metadata__", ())
        if isinstance(info, OptionInfo)
    }


def as_typed(message: str, command: str) -> str:
    """The message with `columns={'close': 'Px'}` as `--column close=Px`, and so on; with `--set data.columns.close=Px`
    where settings describe the data, as a key where they list sources, and with `chandler prepare` where the command has
    no such option."""
    if command not in COMMANDS:
        return message
    place = re.match(r"(data\.replay|data\.sources\[\d+\]): ", message)
    data = place[1] if place else "data"
    message = re.sub(rf"({KEYWORD}) \(--[a-z-]+\)", r"\1", message)  # where both spellings are given, one is enough
    message = re.sub(rf"{KEYWORD}(?:, {KEYWORD})*", lambda found: _typed(found[0], command, data), message)
    message = re.sub(r"load it with \w+\.from_pretrained, or ", "", message)
    return message.replace("(tokenizer, predictor)", "TOKENIZER+PREDICTOR")


def _typed(keywords: str, command: str, data: str) -> str:
    """`resume=True, force=True` as options; as it is where one of them is none of any command."""
    made = []
    for one in re.findall(KEYWORD, keywords):
        name, _, text = one.partition("=")
        try:
            value = ast.literal_eval(text) if text else None
        except (ValueError, SyntaxError):
            return keywords
        found = _option(command, name, value, data)
        if found is None:
            return keywords
        made.append(found)
    return " ".join(made)


def _option(command: str, name: str, value: Any, data: str) -> str | None:
    """One keyword as the command takes it, `data` the key of the settings that it is of; None where nobody does."""
    own, prepares = options_of(command), options_of("prepare")
    flag = own.get(_RENAMED.get(name, name)) or own.get(name)
    if isinstance(value, dict):
        value = {key: "NAME" if one is ... else one for key, one in value.items()}
    if flag is not None:
        return _with_values(*flag, value)
    of_data = prepares.get(_RENAMED.get(name, name))
    if "overrides" in own and name != "skip_bad" and (of_data or name in _SETTINGS):
        if "[" in data:  # no override reaches into a list
            return (
                name
                if value is None
                else f"`{name}: {json.dumps(None if value is ... else value, ensure_ascii=False)}`"
            )
        key = name if name in _SETTINGS else f"{data}.{name}"
        return key if value is None else " ".join(f"--set {_quoted(one)}" for one in _assigned(key, value))
    return _PREPARED.format(_with_values(*of_data, value)) if of_data else None


def _with_values(option: str, switch: bool, value: Any) -> str:
    if switch or value is None:
        return option
    if isinstance(value, dict):
        value = [f"{key}={one}" for key, one in value.items()]
    values = value if isinstance(value, list) else ["..." if value is ... else str(value)]
    return " ".join(f"{option} {_quoted(one)}" for one in values)


def _quoted(text: str) -> str:
    """As a shell takes it; what ends like a sentence stands in quotes too."""
    if text == "..." or "'" in text or not text.endswith((".", ",", ";", ":")):
        return shlex.quote(text)
    return f"'{text}'"


def _assigned(key: str, value: Any) -> Iterator[str]:
    """`data.columns.close=Px`: settings as their overrides are written, which read them as the same values."""
    if isinstance(value, dict) and all(part.strip() == part and not {".", "="} & set(part) for part in value):
        for part, one in value.items():
            yield from _assigned(f"{key}.{part}", one)
    else:
        yield f"{key}={'...' if value is ... else _as_yaml(value)}"


def _as_yaml(value: Any) -> str:
    """The value as it stands where YAML reads it so, else in quotes."""
    import yaml

    try:
        plain = isinstance(value, str) and value.strip() == value and yaml.safe_load(value) == value
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value, ensure_ascii=False)
