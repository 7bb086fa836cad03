"""Every message of the house, as it stands in the source: the options, commands and keys that it names are there."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from pydantic import BaseModel

import chandler as chandler_package
from chandler import BacktestSettings, EvaluationSettings
from chandler.cli.remedies import COMMANDS, KEYWORD, as_typed, options_of
from chandler.data.reading import ReadingOptions
from chandler.training.settings import Settings
from chandler.training.settings.reference import ReferenceSettings
from tests.test_remedies import in_python

ROOT = Path(__file__).parents[1]
OPTION = r"(?<![\w-])--[a-z][a-z-]*"
COMMAND = rf"(?:chandler |^)({'|'.join(COMMANDS)})\b((?:(?! or |; |, |`| \().)*)"
KEY = r"(?<![\w.{}])((?:data|tokenizer|predictor|portfolio|model_paths|experiment)(?:\.[a-z_0-9]+)+)(?![\w{])"


def texts(source: str) -> Iterator[tuple[int, str]]:
    """The sentences of a module, docstrings aside, with {} (or '{}', where it is quoted) for what is filled in."""
    stack: list[ast.AST] = [ast.parse(source)]
    while stack:
        node, text = stack.pop(), ""
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    text += "'{}'" if part.conversion == ord("r") else "{}"
                    stack.append(part.value)
                else:
                    text += ast.literal_eval(part)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            stack += ast.iter_child_nodes(node)
        if " " in text:
            yield getattr(node, "lineno", 0), text


def unknown_options(told: str, command: str = "") -> list[str]:
    """Options that a text names and that no command has, or not the one that it names with them; `command`: the one at
    which it is told."""
    known, wrong = options(), []
    for found in re.finditer(COMMAND, told):
        wrong += [one for one in re.findall(OPTION, found[2]) if one not in known[found[1]]]
    rest = re.sub(COMMAND, "", told)
    there = known[command] if command else set().union(*known.values())
    return wrong + [one for one in re.findall(OPTION, rest) if one not in there]


def unknown_commands(told: str) -> list[str]:
    found = re.findall(r"(?:`|: |\b[Rr]un |\bwith |\bread by )chandler (\w+)", told)
    return [one for one in found if one not in COMMANDS]


@cache
def options() -> dict[str, set[str]]:
    return {name: {option for option, _ in options_of(name).values()} for name in COMMANDS}


@cache
def keywords() -> set[str]:
    """The keywords of what the house hands out: of functions, methods, and settings."""
    found: set[str] = set()
    for package in pkgutil.walk_packages(chandler_package.__path__, "chandler."):
        if not package.ispkg or package.name.startswith(("chandler.cli", "chandler.contrib")):
            continue
        room = importlib.import_module(package.name)
        for one in (getattr(room, name) for name in getattr(room, "__all__", ())):
            if isinstance(one, type):
                found |= set(getattr(one, "model_fields", ())) | set(getattr(one, "__annotations__", ()))
                methods = [value for name, value in inspect.getmembers(one, callable) if not name.startswith("__")]
            else:
                methods = [one] if inspect.isfunction(one) else []
            for method in methods:
                with suppress(ValueError):
                    found |= set(inspect.signature(method).parameters)
                with suppress(NameError, TypeError):
                    for kind in get_type_hints(method, include_extras=True).values():
                        found |= set(getattr(next(iter(get_args(kind)), None), "__annotations__", ()))  # of Unpack[...]
    return found


@cache
def messages() -> list[tuple[str, int, str]]:
    """Module, line and text of all sentences of the house."""
    house = ROOT / "src" / "chandler"
    return [
        (path.relative_to(house).as_posix(), *one)
        for path in sorted(house.rglob("*.py"))
        for one in texts(path.read_text(encoding="utf-8"))
    ]


def faults(place: str, text: str) -> list[str]:
    """What is wrong with the options that a text of a module names."""
    text = re.sub(r"torchrun [^.;]*", "", text)
    found = unknown_options(text) + unknown_commands(text)
    if not place.startswith("cli/"):
        library = re.sub(COMMAND, "", re.sub(rf"({KEYWORD}) \(--[a-z-]+\)", "", text))
        found += [one for one in re.findall(OPTION, library) if (place, one) != ("settings.py", "--set")]
        names = [one.partition("=")[0] for one in re.findall(KEYWORD, text)]
        found += [f"{name}=" for name in names if name not in keywords()]
    for command in COMMANDS if re.search(KEYWORD, text) else ():
        found += [one for one in unknown_options(as_typed(text, command), command) if one not in text]
    return found


def test_no_message_names_an_option_that_there_is_not() -> None:
    wrong = [
        f"{place}:{line}: {fault} in {text!r}"
        for place, line, text in messages()
        if re.search(r"--|=|chandler ", text)
        for fault in faults(place, text)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_message_names_a_key_of_the_settings_that_there_is_not() -> None:
    known = set()
    for model in (Settings, EvaluationSettings, BacktestSettings, ReferenceSettings):
        known |= set(nested(model))
    wrong = [
        f"{place}:{line}: {key} in {text!r}"
        for place, line, text in messages()
        for key in re.findall(KEY, text)
        if key not in known
    ]
    assert not wrong, "\n".join(wrong)


def nested(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, one in model.model_fields.items():
        yield above + name
        for kind in (one.annotation, *get_args(one.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from nested(kind, f"{above}{name}.")


@pytest.mark.parametrize(
    ("place", "text", "fault"),
    [
        ("data/x.py", "pass --timezone", "--timezone"),
        ("cli/x.py", "pass --tiemzone", "--tiemzone"),
        ("data/x.py", "pass tiemzone='UTC'", "tiemzone="),
        ("data/x.py", "run `chandler prepair DATA STORE`", "prepair"),
        ("data/x.py", "run: chandler prepare DATA STORE --overwrite", "--overwrite"),
    ],
)
def test_a_message_that_names_none_is_found(place: str, text: str, fault: str) -> None:
    assert fault in faults(place, text)
    assert not faults("data/x.py", "Make one: chandler prepare DATA STORE --timezone UTC, or pass timezone='UTC'.")


def test_every_command_that_reads_bars_says_each_option_as_it_takes_it() -> None:
    """With its own option, by settings, or by preparing first; never as Python does."""
    values = {"columns": "{'open': 'O'}", "where": "{'a': 'b'}", "join": "True", "skip_bad": "True", "symbols": "['A']"}
    for name in inspect.signature(ReadingOptions).parameters:
        for command in (
            "inspect",
            "prepare",
            "forecast",
            "journal",
            "finetune",
            "pretrain",
            "evaluate",
            "backtest",
            "calibrate",
        ):
            told = as_typed(f"pass {name}={values.get(name, repr('x'))}.", command)
            assert not in_python(told), (command, told)
            assert not unknown_options(told, command), (command, told)
