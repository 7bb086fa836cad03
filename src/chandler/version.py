"""The version of the package: pyproject.toml, the shell and what is written into folders take it from here.

And the torch that it needs. pip holds the range when it installs; a torch that was put into the environment later, or by
other means, is found here, before an import deep inside fails for a name that is not there.
"""

from __future__ import annotations

import importlib.metadata
import re

from chandler.errors import ConfigError

__version__ = "0.1.0"

TORCH = "2.6"
"""The oldest torch that is supported, as pyproject.toml has it."""


def require_torch() -> None:
    """Look at what is installed, without importing it.

    Raises:
        ConfigError: a torch older than `TORCH`.
    """
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return  # a torch without metadata, built in place; or none, of which the import tells
    if _numbers(found) < _numbers(TORCH):
        raise ConfigError(
            f"chandler needs torch {TORCH} or newer, and torch {found} is installed. "
            f"In the same environment: pip install 'torch>={TORCH}'"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version)[:2])
