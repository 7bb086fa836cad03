"""The model card of published models: what they are, how they were made and what came of it, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from chandler.checkpoint import KINDS, describe
from chandler.evaluation.walk_forward import CALIBRATED, Results
from chandler.forecasting import Calibration
from chandler.measures import Comparison
from chandler.reports import evaluation_summary as summary
from chandler.reports.render import environment
from chandler.reports.run import MEASURES, gain


@dataclass(frozen=True)
class Card:
    """What the card is made of."""

    repo: str
    license: str
    base_model: str | None
    record: Mapping[str, Any]
    """training.json."""
    models: Mapping[str, Any]
    """By part, as they are loaded."""
    usage: Mapping[str, Any]
    """What forecasts go by: max_context, lookback, calendar."""
    calibration: Calibration | None
    evaluation: Results | None
    name: str
    """What the models are called in the evaluation."""
    signal: bool
    """Whether there is a signal head."""


@dataclass(frozen=True)
class Judged:
    """What an evaluation says of the models, and of their calibrated twin where that calibration is published too."""

    headline: str
    period: str
    settings: Mapping[str, Any]
    chandler: str
    rows: Sequence[tuple[str, str, Comparison, str]]
    """(the model as the card calls it, what is compared, the comparison, the baseline)."""
    bands: summary.Bands | None
    same_calibration: bool
    """Whether the evaluation has a calibrated twin, by the calibration that is published."""
    seen: Sequence[str]
    weight: Mapping[str, int]


@dataclass(frozen=True)
class CardPage:
    """What the template is given."""

    card: Card
    head: str
    """The metadata that the hub reads: YAML."""
    about: Sequence[str]
    """A phrase for each model."""
    classes: Mapping[str, str]
    scores: Sequence[tuple[str, str, float, float, str, bool]]
    """(stage, measure in words, at the start, at the best, the gain, whether it chose)."""
    judged: Judged | None


def card_text(card: Card) -> str:
    """README.md of the repository."""
    page = CardPage(
        card=card,
        head=_metadata(card),
        about=[describe(model) for model in card.models.values()],
        classes={part: KINDS[part][1] for part in card.models},
        scores=[one for stage in card.record.get("stages", {}).items() for one in _scores(*stage)],
        judged=None if card.evaluation is None else _judged(card, card.evaluation),
    )
    text = environment().get_template("card.md.j2").render(page=page)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"


def _metadata(card: Card) -> str:
    facts: dict[str, Any] = {
        "license": card.license,
        "library_name": "chandler",
        "pipeline_tag": "time-series-forecasting",
    }
    if card.base_model:
        facts["base_model"] = card.base_model
        if any(stage.get("status") == "improved" for stage in card.record.get("stages", {}).values()):
            facts["base_model_relation"] = "finetune"
    facts["tags"] = ["kronos", "time-series", "finance", "ohlcv", "candlesticks", "safetensors"]
    return yaml.safe_dump(facts, sort_keys=False).rstrip()


def _scores(name: str, stage: Mapping[str, Any]) -> list[tuple[str, str, float, float, str, bool]]:
    """All validation measures that a stage has of its start and of its best checkpoint; the one that chose it first."""
    chosen = stage.get("measure")
    if chosen is None:
        return []
    start, best = (
        {chosen: stage[key], **stage.get(at, {})} for key, at in (("start_score", "at_start"), ("best", "at_best"))
    )
    return [
        (name, MEASURES.get(one, one), start[one], best[one], gain(one, best[one], start[one]), one == chosen)
        for one in start
        if one in best and (one in MEASURES or one == chosen)
    ]


def _rows(called: str, one: summary.ComparisonResult) -> list[tuple[str, str, Comparison, str]]:
    rows = [(called, one.question.unit, one.against_naive, one.naive)]
    if one.best != one.naive:
        rows.append((called, "the same, against the best baseline at it", one.against_best, one.best))
    return rows


def _judged(card: Card, results: Results) -> Judged:
    used = results.calibrations(card.name)
    own = None if card.calibration is None else json.loads(json.dumps(card.calibration.to_dict()))
    same = own is not None and used == [own]
    called = {card.name: "This model"} | ({card.name + CALIBRATED: "Calibrated it"} if same else {})
    judged = summary.judge(results)
    bands = summary.bands_of(results, card.name) if results.spreads(card.name) else None
    return Judged(
        headline=summary.headline(results, judged, called),
        period=summary.period(results),
        settings=results.config,
        chandler=str(results.state.get("chandler", "?")),
        rows=[row for one in judged if one.model in called for row in _rows(called[one.model], one)],
        bands=bands if same or bands is None else replace(bands, calibrated=None),
        same_calibration=same,
        seen=[text for name, text in summary.marked(results) if name == card.name],
        weight=summary.weight_of(results),
    )
