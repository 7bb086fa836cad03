"""The journal of a workspace, as `chandler journal` keeps, scores and sums it up; for a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from chandler.data import load_bars
from chandler.journal import Journal, Record, RecordRow

ENOUGH = 10
"""Origins below which a row says nothing yet."""
NS = 1_000_000_000


def summary(folder: Path) -> dict[str, Any]:
    """The record: a row for each maker of forecasts and each age, those made before their bars only."""
    journal = Journal(folder)
    if not journal.begun:
        return {"kept": 0, "scored": 0, "late": 0, "waiting": 0, "due": 0, "revised": 0, "rows": []}
    record: Record = journal.record()
    return {
        "kept": record.kept, "scored": record.scored, "late": record.late_kept, "waiting": len(record.waiting),
        "due": len(record.due), "revised": record.revised, "rows": [_row(one) for one in record.rows],
    }  # fmt: skip


def _row(one: RecordRow) -> dict[str, Any]:
    return {
        "model": one.maker.name,
        "details": one.maker.details,
        "age": one.age,
        "forecasts": one.forecasts,
        "origins": one.origins,
        "enough": one.independent >= ENOUGH,
        "coverage": {
            f"{level * 100:g}": {"value": _number(found.mean), "low": _number(found.low), "high": _number(found.high)}
            for level, found in one.coverage.items()
        },
        "crps_against_naive": _number(one.crps.difference / one.crps.mean_b if one.crps.mean_b else float("nan")),
        "verdict": one.crps.verdict,
    }


def _number(value: float) -> float | None:
    """None for what is no number: JSON has none."""
    return float(value) if pd.notna(value) else None


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every forecast that is kept, the newest first."""
    journal = Journal(folder)
    if not journal.begun:
        return []
    facts, scores = journal.facts(), journal.scores()
    scored = scores.groupby("id").size()
    return [
        {
            "id": row["id"], "made_at": int(row["made"]) // NS, "model": row["model"], "symbol": row["symbol"],
            "origin_time": int(row["origin"]) // NS, "horizon": len(row["times"]), "live": bool(row["made"] < row["over"]),
            "calibrated": bool(row["calibrated"]), "scored_steps": int(scored.get(row["id"], 0)),
        }
        for row in facts.iloc[::-1].to_dict("records")
    ]  # fmt: skip


def score(folder: Path, bars: str) -> list[dict[str, str]]:
    """Score what a source's bars say of kept forecasts; what is told of it."""
    told = Journal(folder).score(load_bars(bars))
    return [{"about": about, "text": text} for about, text in told.lines()]
