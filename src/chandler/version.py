"""The version of the package: pyproject.toml, the shell and what is written into folders take it from here."""

__version__ = "0.1.0"
