"""Do bfloat16 and compiled runs end where float32 ends? Both stages of the demo, each way: `make bench-precision`.

Each way is trained with the same seeds as float32, that is on the same windows in the same order; what counts is the
mean of the differences and its standard error. From random weights (`--random`) two runs part whatever differs by a
hair, and one pair of them proves nothing. The predictor learns the tokens of the same tokenizer in all of them:
likelihoods under different tokens do not compare.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import chandler
from chandler.demo import demo_settings
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stages", default="tokenizer,predictor")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--random", action="store_true", help="the tokenizer alone, small and from random weights")
    options = parser.parse_args()
    stages = ["tokenizer"] if options.random else options.stages.split(",")
    variants: dict[str, list[str]] = {"float32": [], **{name: VARIANTS[name] for name in options.variants.split(",")}}
    print(f"chandler {chandler.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for stage in stages:
        found: dict[str, list[float]] = {name: [] for name in variants}
        for seed in range(100, 100 + options.seeds):
            for name, overrides in variants.items():
                begun = time.monotonic()
                folder = Path(tempfile.mkdtemp(prefix="chandler-precision-"))
                other = "predictor" if stage == "tokenizer" else "tokenizer"
                only = [f"{other}.enabled=false", f"seed={seed}", *overrides, *(RANDOM if options.random else [])]
                found[name].append(last(finetune(demo_settings(folder / "run", ["precision=float32", *only])), stage))
                shutil.rmtree(folder)
                took = time.monotonic() - begun
                print(f"RESULT {stage} {name} seed {seed}: {found[name][-1]:.6g} ({took:.0f} s)", flush=True)
        whole = np.array(found["float32"])
        print(
            f"{stage}, {MEASURES[stage]}: float32 {whole.mean():.5g}, over seeds +- {spread(whole / whole.mean()):.2%}"
        )
        for name in list(variants)[1:]:
            apart = np.array(found[name]) / whole - 1
            error = spread(apart) / len(apart) ** 0.5
            print(
                f"{stage}, {name}: {apart.mean():+.2%} +- {error:.2%} (standard error, {len(apart)} seeds)", flush=True
            )


def spread(values: np.ndarray) -> float:
    """Standard deviation; NaN for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
