"""The journal of a workspace, as `chandler journal` keeps, scores and sums it up; for a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from chandler.atomic import atomic_file
from chandler.data import load_bars
from chandler.journal import ENOUGH, Journal, Record, RecordRow
from chandler.serving.errors import without_paths
from chandler.serving.sources import chart_seconds

NS = 1_000_000_000
CALIBRATED = " (calibrated)"
"""How `journal.Maker.name` ends where it is."""


def _named(text: str, names: Mapping[str, str]) -> str:
    """What made a forecast as the server calls it: what the journal has may be a place on its disk."""
    base = text.removesuffix(CALIBRATED)
    return names.get(base, without_paths(base)) + text[len(base) :]


def summary(folder: str | Path, names: Mapping[str, str]) -> dict[str, Any]:
    """The record: a row for each maker of forecasts and each age, those made before their bars only.

    Args:
        names: what a model is called, by what it was loaded from.
    """
    journal = Journal(folder)
    if not journal.begun:
        return dict.fromkeys(("kept", "scored", "older", "late", "waiting", "due", "revised"), 0) | {"rows": []}
    record: Record = journal.record()
    return {
        "kept": record.kept, "scored": record.scored, "older": record.older, "late": record.late_kept,
        "waiting": len(record.waiting), "due": len(record.due), "revised": record.revised,
        "rows": [_row(one, names) for one in record.rows],
    }  # fmt: skip


def _row(one: RecordRow, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model": _named(one.maker.name, names),
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


def entries(
    folder: str | Path, names: Mapping[str, str], wanted: Mapping[str, Any], start: int, most: int
) -> dict[str, Any]:
    """A page of the forecasts that are kept, the newest first: all of them may be more than one answer holds.

    Args:
        names: as of `summary`.
        wanted: model, part of a symbol, state ("waiting", "scored") and live; None: any.
        start, most: of those that are wanted.

    Returns:
        entries, the total of those that are wanted, and models: names of all that are kept.
    """
    journal = Journal(folder)
    if not journal.begun:
        return {"entries": [], "total": 0, "models": []}
    facts, scored = journal.facts().iloc[::-1], journal.scores().groupby("id").size()
    facts = facts.assign(
        model=facts["model"].map({one: _named(one, names) for one in facts["model"].unique()}),
        horizon=facts["times"].map(len),
        live=facts["made"] < facts["over"],
        scored_steps=facts["id"].map(scored).fillna(0).astype(int),
    )
    models, chosen = sorted(facts["model"].unique()), pd.Series(True, facts.index)
    if wanted["model"] is not None:
        chosen &= facts["model"] == wanted["model"]
    if wanted["symbol"] is not None:
        chosen &= facts["symbol"].str.casefold().str.contains(wanted["symbol"].casefold(), regex=False)
    if wanted["state"] is not None:
        chosen &= (facts["scored_steps"] >= facts["horizon"]) == (wanted["state"] == "scored")
    if wanted["live"] is not None:
        chosen &= facts["live"] == wanted["live"]
    found = [
        {
            "id": row["id"], "made_at": int(row["made"]) // NS, "model": row["model"], "symbol": row["symbol"],
            "origin_time": _chart_time(row), "zone": row["zone"], "step_seconds": int(row["step"]) // NS,
            "horizon": row["horizon"], "live": row["live"], "calibrated": row["calibrated"], "scored_steps": row["scored_steps"],
            "last_close": row["last"], "request": _request(row),
        }
        for row in facts[chosen].iloc[start : start + most].to_dict("records")
    ]  # fmt: skip
    return {"entries": found, "total": int(chosen.sum()), "models": models}


def _request(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What a forecast was asked with: all of it where it was made here, else what the journal keeps of any."""
    if row["asked"]:
        return dict(json.loads(row["asked"]))
    same = {name: row[name] for name in ("horizon", "paths", "temperature", "top_p", "top_k", "calibrated")}
    return same | {"seed": int(row["seed"])}


def _chart_time(row: Mapping[Any, Any]) -> int:
    """The origin as a chart has it: UTC where there is a zone, wall clock where there is none, days by their date."""
    moment = pd.DatetimeIndex([int(row["origin"])])
    known = moment if row["zone"] is None else moment.tz_localize("UTC").tz_convert(row["zone"])
    return int(chart_seconds(known, int(row["step"]) // NS)[0])


def export(folder: str | Path, to: str) -> bool:
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


def score(folder: str | Path, bars: str) -> list[dict[str, str]]:
    """Score what a source's bars say of kept forecasts; what is told of it."""
    told = Journal(folder).score(load_bars(bars))
    return [{"about": about, "text": text} for about, text in told.lines()]
