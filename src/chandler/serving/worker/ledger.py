"""The journal of a workspace, as `chandler journal` keeps, scores and sums it up; for a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from chandler.atomic import atomic_file
from chandler.data import load_bars
from chandler.journal import ENOUGH, Journal, Record, RecordRow
from chandler.serving.sources import chart_seconds

NS = 1_000_000_000


def summary(folder: Path) -> dict[str, Any]:
    """The record: a row for each maker of forecasts and each age, those made before their bars only."""
    journal = Journal(folder)
    if not journal.begun:
        return dict.fromkeys(("kept", "scored", "older", "late", "waiting", "due", "revised"), 0) | {"rows": []}
    record: Record = journal.record()
    return {
        "kept": record.kept, "scored": record.scored, "older": record.older, "late": record.late_kept,
        "waiting": len(record.waiting), "due": len(record.due), "revised": record.revised,
        "rows": [_row(one) for one in record.rows],
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
            f"{level * 100:g}": {
                "value": _number(found.mean),
                "low": _number(found.low),
                "high": _number(found.high),
                "origins": one.covered(level),
            }
            for level, found in one.coverage.items()
        },
        "pit": {
            "shares": one.pit.shares.tolist() if one.pit.origins else [],
            "origins": one.pit.origins,
            "enough": one.pit.enough,
        },
        "crps": _number(one.crps.mean_a),
        "naive_crps": _number(one.crps.mean_b),
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
            "origin_time": _chart_time(row), "zone": row["zone"], "step_seconds": int(row["step"]) // NS,
            "horizon": len(row["times"]), "live": bool(row["made"] < row["over"]), "calibrated": bool(row["calibrated"]),
            "scored_steps": int(scored.get(row["id"], 0)),
        }
        for row in facts.iloc[::-1].to_dict("records")
    ]  # fmt: skip


def _chart_time(row: Mapping[Any, Any]) -> int:
    """The origin as a chart has it: UTC where there is a zone, wall clock where there is none, days by their date."""
    moment = pd.DatetimeIndex([int(row["origin"])])
    known = moment if row["zone"] is None else moment.tz_localize("UTC").tz_convert(row["zone"])
    return int(chart_seconds(known, int(row["step"]) // NS)[0])


def export(folder: Path, to: str) -> bool:
    """Write every scored step with the facts of its forecast as Parquet; False where nothing was kept yet."""
    journal = Journal(folder)
    if not journal.begun:
        return False
    facts = journal.facts()
    facts = facts.assign(horizon=facts["times"].map(len), live=facts["made"] < facts["over"]).rename(
        columns={"step": "bar"}
    )
    facts["origin"], facts["made"] = (pd.to_datetime(facts[name]) for name in ("origin", "made"))
    kept = facts[
        ["id", "symbol", "zone", "model", "weights", "calibrated", "origin", "made", "live", "horizon", "last"]
    ]
    scores = journal.scores().drop(columns=["kind", "version"])
    scores["time"], scores["at"] = (pd.to_datetime(scores[name]) for name in ("time", "at"))
    with atomic_file(Path(to)) as scratch:
        kept.merge(scores, on="id").to_parquet(scratch, compression="zstd", index=False)
    return True


def score(folder: Path, bars: str) -> list[dict[str, str]]:
    """Score what a source's bars say of kept forecasts; what is told of it."""
    told = Journal(folder).score(load_bars(bars))
    return [{"about": about, "text": text} for about, text in told.lines()]
