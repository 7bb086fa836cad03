"""The tables of an evaluation's report, from its results alone. A loss is marked like a win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from chandler import measures
from chandler.evaluation.walk_forward.forecasters import CALIBRATED
from chandler.evaluation.walk_forward.results import Results
from chandler.measures.significance import Comparison, Estimate
from chandler.reports.judgement import display_name, number
from chandler.reports.render import table

DRIFTLESS = ("last_close", "bootstrap", "gaussian_walk", "ewma", "garch")
"""Baselines that expect no move: what direction their paths' mean has is chance."""
MANY_SYMBOLS = 40
"""Beyond so many the table of symbols shows both ends only."""


def comparison_table(results: Results, loss: str, title: str, how: str) -> str:
    """Each model against each baseline and each other model by one loss: the difference, its interval, the verdict."""
    rows = []
    for model in results.models:
        mine = results.losses(model)[loss]
        if not np.isfinite(mine).any():
            continue
        rivals = [
            *results.rivals(loss),
            *(m for m in results.raw_models if m != model and not model.endswith(CALIBRATED)),
        ]
        for place, rival in enumerate(rivals):
            c = results.compare(model, rival, loss)
            rows.append(
                (
                    model if not place else "",
                    [escape(display_name(rival)), *_difference(c), number(c.mean_a), number(c.mean_b)],
                )
            )
    head = ["Model", "Against", "Verdict", "Difference", "95% interval", "p", "Model's", "Rival's"]
    return table(f"<b>{escape(title)}</b><br>{escape(how)}", [head], rows)


def _difference(c: Comparison) -> list[str]:
    scale = c.mean_b / 100 if c.mean_b else float("nan")
    interval = f"{c.low / scale:+.1f}% to {c.high / scale:+.1f}%" if np.isfinite(c.low) else "-"
    p = "-" if not np.isfinite(c.p_value) else f"{c.p_value:.3f}" if c.p_value >= 0.001 else "< 0.001"
    return [verdict_mark(c), f"{c.difference / scale:+.1f}%", interval, p]


def verdict_mark(c: Comparison) -> str:
    """better, worse, or no difference shown, equally loud."""
    kind = c.verdict if c.verdict in ("better", "worse") else "even"
    return f'<span class="mark {kind}">{c.verdict}</span>'


def score_table(results: Results) -> str:
    """Every contender by every error of the close."""
    rows = []
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = {key: results.mean(values) for key, values in results.losses(name).items()}
        cells = [_cell(losses.get(key)) for key in ("crps", "crps_return", "mae")]
        cells += [_cell(np.sqrt(losses["rmse"])), _cell(losses.get("mase")), _cell(pinball(results, name))]
        rows.append((display_name(name), cells))
    head = ["", "CRPS", "CRPS, returns", "MAE", "RMSE", "MASE", "Pinball 5/95%"]
    caption = (
        "<b>Errors of the close</b><br>Means over steps, symbols, then origins, in % of the last close; lower is better. MAE, RMSE "
        "and MASE judge the mean of the paths. MASE is in units of the history's own one-bar error."
    )
    return table(caption, [head], rows)


def pinball(results: Results, name: str) -> float:
    """Mean pinball loss of the 5% and 95% quantiles, in % of the last close: what tails cost."""
    if not results.spreads(name):
        return float("nan")
    came, last = results.truth("truth_close"), results.truth("last")
    losses = []
    for level, column in ((0.05, "q05"), (0.95, "q95")):
        losses.append(measures.pinball(results.column(name, column), came, level) / last)
    return results.mean(np.mean(losses, axis=(0, 2))) * 100


def skill_table(results: Results) -> str:
    """Volatility, direction and ranks of every contender."""
    rows = []
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = results.losses(name)
        cells = [
            _cell(results.mean(losses["volatility"])),
            _cell(results.r2(name)),
            _cell(results.mean(losses["qlike"])),
        ]
        cells += ["-"] * 3 if name in DRIFTLESS else [
            _share(results.direction(name)),
            _coefficient(results.rank_ic(name)),
            _coefficient(results.path_ic(name)),
        ]  # fmt: skip
        rows.append((display_name(name), cells))
    head = ["", "Volatility MAE", "R²", "QLIKE", "Direction right", "RankIC, symbols", "RankIC, path"]
    caption = (
        "<b>Volatility, direction, ranks</b><br>Volatility: square root of the sum of squared log returns over the horizon, "
        "in %; QLIKE of its square. Direction and RankIC across symbols: of the return to the last step, with Newey-West t in "
        "brackets (against 50% and 0; beyond ±2 is rarely chance). Walks expect no move and name no direction. RankIC along the "
        "path is of the mean path with the true one; any two paths that drift alike have a high one."
    )
    return table(caption, [head], rows)


def volume_table(results: Results) -> str:
    """Volume: models against the usual volume; empty where none was evaluated."""
    rows = []
    for name in [*results.raw_models, *results.baselines]:
        values = results.losses(name)["volume"]
        if np.isfinite(values).any():
            rows.append((display_name(name), [number(results.mean(values))]))
    if len(rows) < 2:
        return ""
    caption = (
        "<b>Volume</b><br>Mean absolute error of the mean, in units of the history's usual change from bar to bar; lower is "
        "better."
    )
    return table(caption, [["", "Error"]], rows)


def coverage_table(
    results: Results, adaptive: Mapping[str, Mapping[float, tuple[float, float]]], levels: Sequence[float]
) -> str:
    """How many true closes each band held and how wide it was: models before and after calibration, and naive."""
    rows = []
    for name in [*results.models, *results.baselines]:
        if not results.spreads(name):
            continue
        cells = []
        for level in levels:
            share, low, high = results.coverage(name, level)
            cells += [f"{share:.1%}<br><small>{low:.0%} to {high:.0%}</small>", f"{results.width(name, level):.1f}"]
        rows.append((display_name(name), cells))
        if name in adaptive:
            found = [adaptive[name][level] for level in levels]
            rows.append(
                (f"{name} (adaptive)", [cell for share, width in found for cell in (f"{share:.1%}", f"{width:.1f}")])
            )
    head = [["", *(f"{level:.0%} band|2" for level in levels)], ["", *("Inside", "Width") * len(levels)]]
    caption = (
        "<b>What the bands covered</b><br>Share of the true closes inside, with a 95% interval over the origins, and the mean "
        "width in % of the last close. Of two bands that cover what they say, the narrower is better."
    )
    return table(caption, head, rows)


def step_table(results: Results, models: Sequence[str], naive: str) -> str:
    """CRPS at some steps ahead."""
    horizon = results.horizon
    steps = sorted({1, *(max(1, round(horizon * share)) for share in (0.25, 0.5, 0.75)), horizon})
    rows = []
    for name in [*models, naive]:
        each = pd.DataFrame(results.column(name, "crps") / results.truth("last"))
        mean = each.groupby(results.rounds).mean().mean().to_numpy() * 100
        rows.append((display_name(name), [number(mean[step - 1]) for step in steps]))
    caption = "<b>CRPS by step</b><br>In % of the last close."
    return table(caption, [["", *(f"{step}" for step in steps)]], rows)


def symbol_shares(results: Results, models: Sequence[str], naive: str) -> dict[str, pd.Series]:
    """CRPS of each model against naive by symbol, in %."""
    base = pd.Series(results.losses(naive)["crps"]).groupby(results.symbols).mean()
    return {
        model: (pd.Series(results.losses(model)["crps"]).groupby(results.symbols).mean() / base - 1) * 100
        for model in models
    }


def symbol_table(results: Results, shares: dict[str, pd.Series], naive: str) -> str:
    """CRPS by symbol; of very many the ten best and the ten worst of the first model."""
    base = pd.Series(results.losses(naive)["crps"]).groupby(results.symbols).mean()
    counts = pd.Series(results.symbols).value_counts()
    first = next(iter(shares.values()))
    order, note = list(first.sort_index().index), ""
    if len(order) > MANY_SYMBOLS:
        ranked = list(first.sort_values().index)
        order = [*ranked[:10], *ranked[-10:]]
        note = f" The ten best and the ten worst of {len(first)} for {escape(next(iter(shares)))}."
    rows = [
        (
            str(symbol),
            [f"{counts[symbol]:,}", number(base[symbol]), *(_signed(shares[model][symbol]) for model in shares)],
        )
        for symbol in order
    ]
    caption = (
        f"<b>CRPS by symbol</b><br>That of the {escape(display_name(naive))} in % of the last close, and the models' against it: below "
        f"0 is better. One symbol's difference is mostly chance.{note}"
    )
    return table(caption, [["Symbol", "Windows", "Naive", *map(escape, shares)]], rows)


def _signed(value: float) -> str:
    kind = "better" if value < 0 else "worse" if value > 0 else "even"
    return f'<span class="signed {kind}">{value:+.1f}%</span>' if np.isfinite(value) else "-"


def _share(found: Estimate) -> str:
    return f"{found.mean:.1%} <small>({found.t:+.1f})</small>" if np.isfinite(found.mean) else "-"


def _coefficient(found: Estimate) -> str:
    if not np.isfinite(found.mean):
        return "-"
    return f"{found.mean:+.3f} <small>({found.t:+.1f})</small>" if np.isfinite(found.t) else f"{found.mean:+.3f}"


def _cell(value: float | None) -> str:
    return number(float(value)) if value is not None and np.isfinite(value) else "-"
