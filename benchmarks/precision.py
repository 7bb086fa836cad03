"""Do bfloat16 and compiled runs end where float32 ends? Both stages of the demo, each way: `make bench-precision`.

Each way is trained with the same seeds as float32, that is on the same windows in the same order; what counts is the
mean of the differences and its standard error. From random weights (`--random`) two runs part whatever differs by a
hair, and one pair of them proves nothing. The predictor learns the tokens of the same tokenizer in all of them:
likelihoods under different tokens do not compare.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

import chandler
from chandler.demo import demo_settings
from chandler.training.logging import RunProgress
from chandler.training.run import Run, finetune

VARIANTS = {
    "bfloat16": ["precision=bfloat16"],
    "compiled": ["tokenizer.compile=on", "predictor.compile=on"],
}
MEASURES = {"tokenizer": "mse", "predictor": "nll_horizon"}
SMALL = "{d_model: 64, n_heads: 4, ff_dim: 128, n_enc_layers: 3, n_dec_layers: 3, s1_bits: 6, s2_bits: 6}"
RANDOM = [
    "data.lookback=60",
    "data.split.train_end=2011-12-30",
    "data.split.val_end=2013-02-14",
    "data.windows_per_epoch=3000",
    "data.validation_stride=4",
    "tokenizer.start=random",
    f"tokenizer.architecture={SMALL}",
    "tokenizer.epochs=5",
    "tokenizer.batch_size=64",
    "tokenizer.learning_rate=1e-3",
]
"""A small tokenizer from random weights: 235 steps, in which its error falls fifty-fold."""


def last(run: Run, stage: str) -> float:
    """The validation loss at the end of a stage."""
    records = [r for r in run.metrics() if r["stage"] == stage and r["kind"] == "validation"]
    return float(records[-1][MEASURES[stage]])


def compare(
    stages: Sequence[str],
    variants: Sequence[str],
    seeds: int,
    overrides: Sequence[str] = (),
    left: Callable[[], float] = lambda: float("inf"),
) -> None:
    """Train each stage each way with each seed, a row for each; then the means. `left` says how many seconds there are: a
    seed that would take longer than the slowest one before it is not begun."""
    print("| stage, measure | seed | variant | float32 | variant ends at | difference | seconds |", flush=True)
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |", flush=True)
    apart: dict[tuple[str, str], list[float]] = {(stage, name): [] for stage in stages for name in variants}
    ends: dict[str, list[float]] = {stage: [] for stage in stages}
    slowest = 0.0
    for seed in range(100, 100 + seeds):
        begun = time.monotonic()
        if slowest > left():
            print(f"\nNo time for more than {seed - 100} seeds.", flush=True)
            break
        for stage in stages:
            whole, took = end_of(stage, seed, overrides)
            ends[stage].append(whole)
            for name in variants:
                half, again = end_of(stage, seed, [*overrides, *VARIANTS[name]])
                apart[stage, name].append(half / whole - 1)
                print(
                    f"| {stage}, {MEASURES[stage]} | {seed} | {name} | {whole:.6g} | {half:.6g} | "
                    f"{half / whole - 1:+.2%} | {took:.0f}, {again:.0f} |",
                    flush=True,
                )
        slowest = max(slowest, time.monotonic() - begun)
    print()
    for stage, found in ends.items():
        print(f"{stage}, float32: {np.mean(found):.5g}, over seeds +- {spread(np.array(found) / np.mean(found)):.2%}")
    for (stage, name), values in apart.items():
        mean, error = float(np.mean(values)), spread(np.array(values)) / max(len(values), 1) ** 0.5
        print(f"{stage}, {name}: {mean:+.2%} +- {error:.2%} (standard error, {len(values)} seeds)", flush=True)


def end_of(stage: str, seed: int, overrides: Sequence[str]) -> tuple[float, float]:
    """The validation loss at the end of a stage of the demo, and the seconds that it took."""
    begun, other = time.monotonic(), "predictor" if stage == "tokenizer" else "tokenizer"
    with tempfile.TemporaryDirectory(prefix="chandler-precision-") as folder:
        only = [f"{other}.enabled=false", f"seed={seed}", "precision=float32"]
        settings = demo_settings(Path(folder) / "run", [*only, *overrides])
        run = finetune(settings, progress=RunProgress(Console(quiet=True)))
        return last(run, stage), time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stages", default="tokenizer,predictor")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--random", action="store_true", help="the tokenizer alone, small and from random weights")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    stages = ["tokenizer"] if options.random else options.stages.split(",")
    print(f"chandler {chandler.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    overrides = [f"device={options.device}", "data.device=auto", *(RANDOM if options.random else [])]
    compare(stages, options.variants.split(","), options.seeds, overrides)


def spread(values: np.ndarray) -> float:
    """Standard deviation; NaN for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
