"""Which settings a request may give: any but those that are places, or send something elsewhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from chandler.serving.errors import Refusal

PATHS = re.compile(
    r"(out|data\.(path|folder|sources|market|freq)|data\.replay|(tokenizer|predictor)\.start|(.+\.)?revision|models?|signals|head|trackers"
    r"|signal\.head)(\..*)?"
)
"""Settings that name places, or send something elsewhere: the server sets them, or nobody does. (Bars to replay are none of its
sources yet.)"""
Ask = Callable[..., Awaitable[Any]]
"""`LookDesk.ask`."""


def require_no_paths(overrides: Mapping[str, Any]) -> None:
    """Refusal 422 for a key that names a place."""
    for key in _keys(overrides):
        if PATHS.fullmatch(key):
            raise Refusal(422, f"{key} is set by the server and cannot be given here.", code="config")


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, those on the way among them."""
    for name, value in values.items():
        key = prefix + ".".join(part.strip() for part in name.split("."))
        yield key
        if isinstance(value, Mapping):
            yield from _keys(value, f"{key}.")
