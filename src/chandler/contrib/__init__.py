"""chandler from where its users already are: `chandler.contrib.sktime`, `.fev` and `.qlib` speak the languages of these libraries.

Each module is imported by its own name and needs its library, which a core install does not bring; nothing else in the house
imports them. `series` makes bars of whatever columns a general forecasting library hands over.
"""

from chandler.errors import ConfigError

__all__ = ["MissingLibrary"]


class MissingLibrary(ConfigError, ImportError):
    """The library of an adapter is not installed, or cannot be imported."""

    def __init__(self, library: str, error: ImportError) -> None:
        super().__init__(
            f'chandler.contrib.{library} needs the package {library}: pip install "chandler-kronos[{library}]" ({error}).'
        )
