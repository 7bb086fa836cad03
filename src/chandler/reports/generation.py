"""The page of the generation task, from its generation.json, and its result in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandler.evaluation.tasks.generation import SEEDS, read_generation
from chandler.reports.render import NAME, Pairs, Table, signed, write

NAIVE = {"shuffled_bars": "past bars in random order", "past_stretch": "a stretch of the past, repeated"}


@dataclass(frozen=True)
class GenerationPage:
    """What the page says."""

    name: str
    headline: str
    lines: Pairs
    seen: bool
    windows: int
    lookback: int
    horizon: int
    symbols: int
    numbers: Table
    seeds: int
    trained: float
    """Share of the windows that train the networks."""
    notes: Sequence[str]


def write_generation_report(folder: str | Path) -> Path:
    """Write report.html, whole or not at all. ConfigError where the task is not finished."""
    folder = Path(folder)
    return write("generation", generation_page(read_generation(folder), folder.resolve().name), folder)


def generation_page(result: Mapping[str, Any], name: str) -> GenerationPage:
    """What the page will say."""
    return GenerationPage(
        name, headline(result), generation_lines(result), bool(result["seen"]), result["windows"], result["lookback"],
        result["horizon"], result["symbols"], _numbers(result), SEEDS, 1 - result["test_windows"] / result["windows"],
        result["notes"],
    )  # fmt: skip


def generation_text(folder: str | Path) -> str:
    """The result for a terminal."""
    result = read_generation(folder)
    lines = [headline(result), *(f"{about}: {text}" for about, text in generation_lines(result))]
    return "\n".join([*lines, f"Report: {Path(folder) / NAME}"])


def headline(result: Mapping[str, Any]) -> str:
    """The best model against the naive generators, in one sentence."""
    found = {one["name"]: one for one in result["results"]}
    models = [found[name] for name in result["models"]]
    if not models:
        return "Only naive generators were judged."
    best = max(models, key=lambda one: float(one["discriminative"]))
    rival = max((found[name] for name in NAIVE), key=lambda one: float(one["discriminative"]))
    if best["discriminative_low"] > rival["discriminative_high"]:
        return f"Futures of {best['name']} are harder to tell from real ones than those of any naive generator."
    if best["discriminative_high"] < rival["discriminative_low"]:
        return f"Futures of {best['name']} are easier to tell from real ones than those of a naive generator."
    return f"No difference shown between futures of {best['name']} and naive ones, as far as a small network can see."


def generation_lines(result: Mapping[str, Any]) -> Pairs:
    """(about, sentence) pairs."""
    lines, real = [], result["real"]
    if result["seen"]:
        lines.append(("Seen before!", " ".join(note for note in result["notes"] if "windows of" in note)))
    for one in result["results"]:
        what = f"({NAIVE[one['name']]}) " if one["name"] in NAIVE else ""
        lines.append((
            one["name"],
            f"{what}told from real ones with an error of {one['discriminative']:.3f} (95% interval "
            f"{one['discriminative_low']:.3f} to {one['discriminative_high']:.3f}; 0.5: not at all, 0: always). A forecaster "
            f"trained on it errs by {one['tstr_mae']:.4f} on real ones; trained on real ones {real['mae']:.4f}.",
        ))  # fmt: skip
    return lines


def _numbers(result: Mapping[str, Any]) -> Table:
    rows = [
        (one["name"], [f"{one['discriminative']:.3f}", f"{one['discriminative_low']:.3f} to {one['discriminative_high']:.3f}",
                       f"{one['tstr_mae']:.4f}", signed(one["tstr_rank_ic"])])
        for one in result["results"]
    ]  # fmt: skip
    real = result["real"]
    rows.append(("real ones", ["", "", f"{real['mae']:.4f}", signed(real["rank_ic"])]))
    rows.append(("no change predicted", ["", "", f"{real['no_change_mae']:.4f}", ""]))
    return Table(["", "Discriminative", "95% interval", "TSTR MAE", "TSTR RankIC"], rows)
