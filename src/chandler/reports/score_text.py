"""An evaluation in a few lines for the terminal: the verdict, and a table of every contender. The page says more."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chandler.evaluation.walk_forward.results import QUESTIONS, Results
from chandler.reports.judgement import display_name, headline, judge, number

_LEVEL = 0.9
_LOSSES = {"crps": "CRPS", "mae": "MAE", "qlike": "QLIKE"}


def evaluation_text(results: Results) -> str:
    """The headline and a table: losses, the distribution against naive with its interval, what the 90% band covered."""
    naive = results.naive(QUESTIONS[0])
    against = f"CRPS vs {display_name(naive)}" if naive else ""
    rows = {}
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = results.losses(name)
        row = {label: _cell(results.mean(losses[key])) for key, label in _LOSSES.items()}
        if naive:
            row[against] = "" if name == naive else _against(results, name, naive)
        row[f"{_LEVEL:.0%} band covers"] = f"{results.coverage(name, _LEVEL)[0]:.1%}" if results.spreads(name) else "-"
        rows[display_name(name)] = row
    table = pd.DataFrame.from_dict(rows, orient="index").to_string()
    unit = f"CRPS and MAE of the close in % of the last close, mean of {results.horizon} bars ahead; lower is better."
    return f"{headline(results, judge(results))}\n\n{table}\n{unit}"


def _against(results: Results, model: str, naive: str) -> str:
    """+7.4% (+2.5 to +13), worse"""
    c = results.compare(model, naive, "crps")
    scale = c.mean_b / 100
    span = f" ({c.low / scale:+.1f} to {c.high / scale:+.1f})" if np.isfinite(c.low) else ""
    return f"{c.difference / scale:+.1f}%{span}, {c.verdict}"


def _cell(value: float) -> str:
    return number(value) if np.isfinite(value) else "-"
