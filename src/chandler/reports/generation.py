"""Writes the report.html of the generation task from its generation.json, and says its result in words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from chandler.atomic import write_text
from chandler.evaluation.tasks.generation import SEEDS, read_generation
from chandler.reports.page import Page, table

NAIVE = {"shuffled_bars": "past bars in random order", "past_stretch": "a stretch of the past, repeated"}


def write_generation_report(folder: str | Path) -> Path:
    """Write report.html, whole or not at all. ConfigError where the task is not finished."""
    folder = Path(folder)
    result = read_generation(folder)
    name = folder.resolve().name
    alarm = " alarm" if result["seen"] else ""
    lines = "".join(f"<dt>{escape(about)}</dt><dd>{escape(text)}</dd>" for about, text in generation_lines(result))
    notes = [
        *result["notes"],
        "One sampled future per window; other seeds of the sampling give other numbers.",
        "The networks are small on purpose. That they cannot tell two things apart does not make them the same.",
        "Real and made futures follow the same real history; they are in units of that history, clipped at 5 standard "
        "deviations, so what is judged is the shape, not the price.",
    ]
    body = [
        f"<header><p>chandler · generation</p><h1>{escape(name)}</h1><p>{result['windows']:,} windows of "
        f"{result['lookback']} + {result['horizon']} bars, {result['symbols']:,} symbols</p></header>",
        f'<section class="verdict{alarm}" aria-label="Verdict"><p>{escape(headline(result))}</p><dl>{lines}</dl></section>',
        "<h2>Numbers</h2>" + _numbers(result),
        "<h2>What this does not show</h2><ul>" + "".join(f"<li>{escape(one)}</li>" for one in notes) + "</ul>"
        "<footer>Written by chandler. This file is complete in itself: it loads nothing from anywhere.</footer>",
    ]
    path = folder / "report.html"
    write_text(path, Page().html(f"{name} · chandler", "\n".join(body)))
    return path


def generation_text(folder: str | Path) -> str:
    """The result for a terminal."""
    result = read_generation(folder)
    lines = [headline(result), *(f"{about}: {text}" for about, text in generation_lines(result))]
    return "\n".join([*lines, f"Report: {Path(folder) / 'report.html'}"])


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


def generation_lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(about, sentence) pairs."""
    lines = []
    real = result["real"]
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


def _numbers(result: Mapping[str, Any]) -> str:
    rows = [
        (one["name"], [f"{one['discriminative']:.3f}", f"{one['discriminative_low']:.3f} to {one['discriminative_high']:.3f}",
                       f"{one['tstr_mae']:.4f}", _signed(one["tstr_rank_ic"])])
        for one in result["results"]
    ]  # fmt: skip
    real = result["real"]
    rows.append(("real ones", ["", "", f"{real['mae']:.4f}", _signed(real["rank_ic"])]))
    rows.append(("no change predicted", ["", "", f"{real['no_change_mae']:.4f}", ""]))
    caption = (
        f"<b>Generated futures</b><br>Discriminative score: test error of a one-layer LSTM (32) that tells real from made, "
        f"higher is better. TSTR: a two-layer LSTM (64) trained on made futures predicts the next change of the close of "
        f"real ones; MAE in standard deviations of the history, lower is better. Means of {SEEDS} networks; the first "
        f"{1 - result['test_windows'] / result['windows']:.0%} of the windows train, the others test."
    )
    return table(caption, [["", "Discriminative", "95% interval", "TSTR MAE", "TSTR RankIC"]], rows)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") if value == value else "-"
