"""Figures as plotly takes them, which refuses unknown keys and values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

import chandler

STYLE = Path(chandler.__file__).parent / "reports" / "templates" / "report.css"
PALETTE = Path(chandler.__file__).parent / "assets" / "palette.css"
COLOURS = dict.fromkeys(re.findall(r"(--[a-z-]+):", PALETTE.read_text()), "#123456")
"""Every colour that the pages name: a figure in any other keeps its variable, and plotly refuses it."""


def drawn(figure: Any) -> go.Figure:
    """With colours in the place of CSS variables, as the script of the page puts them in."""
    return go.Figure(_coloured(figure))


def _coloured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_coloured(each) for each in value]
    return COLOURS.get(value, value) if isinstance(value, str) else value
