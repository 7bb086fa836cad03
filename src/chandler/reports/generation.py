"""The page of the generation task, from its generation.json, and its result in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandler.evaluation.tasks import SEEDS, read_generation
from chandler.reports.render import NAME, Pairs, ToldVerdict, sentence, sentences, terminal_text, write

NAIVE = ("shuffled_bars", "past_stretch")


@dataclass(frozen=True)
class GenerationPage:
    """What the page says."""

    name: str
    headline: str
    lines: Pairs
    result: Mapping[str, Any]
    """generation.json of the folder."""
    seeds: int
    trained: float
    """Share of the windows that train the networks."""


def write_generation_report(folder: str | Path) -> Path:
    """Write report.html, whole or not at all. ConfigError where the task is not finished."""
    folder = Path(folder)
    return write("generation", generation_page(read_generation(folder), folder.resolve().name), folder)


def generation_page(result: Mapping[str, Any], name: str) -> GenerationPage:
    """What the page will say."""
    trained = 1 - result["test_windows"] / result["windows"]
    return GenerationPage(name, headline(result), _lines(result), result, SEEDS, trained)


def generation_text(folder: str | Path) -> str:
    """The result for a terminal."""
    result = read_generation(folder)
    return f"{terminal_text(headline(result), _lines(result))}\nReport: {Path(folder) / NAME}"


def generation_verdict(folder: Path) -> ToldVerdict:
    """What a terminal says."""
    result = read_generation(folder)
    return ToldVerdict(headline(result), _lines(result))


def headline(result: Mapping[str, Any]) -> str:
    """The best model against the naive generators, in one sentence."""
    found = {one["name"]: one for one in result["results"]}
    if not result["models"]:
        return sentence("generation", "headline", "no model", "")
    best, rival = (
        max((found[name] for name in names), key=lambda one: float(one["discriminative"]))
        for names in (result["models"], NAIVE)
    )
    case = "no difference"
    if best["discriminative_low"] > rival["discriminative_high"]:
        case = "harder"
    elif best["discriminative_high"] < rival["discriminative_low"]:
        case = "easier"
    return sentence("generation", "headline", case, best["name"])


def _lines(result: Mapping[str, Any]) -> Pairs:
    return sentences("generation", "lines", result)
