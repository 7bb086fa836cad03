"""Messages name the options of Python's functions; at the command line they are said as the command takes them."""

from __future__ import annotations

import ast
import re
import shlex

_MAPPINGS = {"columns": "column", "where": "where"}
"""Options of pairs, and what the command line calls one pair."""
_SWITCHES = {"join": "join", "skip_bad": "skip-bad"}
_WORDS = ("timezone", "date_format", "decimal", "adjust", "missing", "calendar", "start", "end")
_VALUE = r"""("[^"]*"|'[^']*')"""


def as_typed(message: str, command: str = "") -> str:
    """The message with `columns={'close': 'Px'}` as `--column close=Px`, and so on.

    Args:
        message: what an error says.
        command: the command that failed; those that a YAML describes take `--set data.columns.close=Px`.
    """
    by_yaml = command in ("finetune", "pretrain")

    def option(name: str, value: str) -> str:
        if by_yaml:
            return f"--set {shlex.quote(f'data.{name}={value}')}"
        return f"--{name.replace('_', '-')} {shlex.quote(value)}"

    def pairs(found: re.Match[str]) -> str:
        try:
            given = ast.literal_eval(found[2].replace("...", "'NAME'"))
        except (ValueError, SyntaxError):
            return found[0]
        if by_yaml:
            return " ".join(option(f"{found[1]}.{key}", value) for key, value in given.items())
        return " ".join(f"--{_MAPPINGS[found[1]]} {shlex.quote(f'{key}={value}')}" for key, value in given.items())

    def switch(found: re.Match[str]) -> str:
        return option(found[1], "true") if by_yaml else f"--{_SWITCHES[found[1]]}"

    # Where a message gives both spellings, one is enough.
    message = re.sub(r'(unsorted="sort"|\b(?:join|skip_bad)=True) \(--[a-z-]+\)', r"\1", message)
    message = re.sub(rf"\b({'|'.join(_MAPPINGS)})=(\{{[^}}]*\}})", pairs, message)
    message = re.sub(r"\bprice_scale=(\d+)", lambda found: option("price_scale", found[1]), message)
    message = re.sub(r'\bunsorted="sort"', option("unsorted", "sort") if by_yaml else "--sort", message)
    message = re.sub(rf"\b({'|'.join(_SWITCHES)})=True", switch, message)
    return re.sub(rf"\b({'|'.join(_WORDS)})={_VALUE}", lambda found: option(found[1], found[2][1:-1]), message)
