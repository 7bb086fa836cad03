"""Do bfloat16 and compiled runs end where float32 ends? Both stages of the demo, each way: `make bench-precision`.

The predictor learns the tokens of the float32 tokenizer in all of them: likelihoods under different tokens do not
compare. Another seed in float32 shows how far apart two runs end that differ by nothing that matters.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch

import chandler
from chandler.demo import demo_settings
from chandler.training.run import Run, finetune

VARIANTS = {
    "float32": [],
    "float32, another seed": ["seed=101"],
    "bfloat16": ["precision=bfloat16"],
    "compiled": ["tokenizer.compile=on", "predictor.compile=on"],
}
MEASURES = {"tokenizer": "mse", "predictor": "nll"}


def last(run: Run, stage: str) -> float:
    """The validation loss at the end of a stage."""
    records = [r for r in run.metrics() if r["stage"] == stage and r["kind"] == "validation"]
    return float(records[-1][MEASURES[stage]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5, help="of each stage; the demo has 5")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chandler-precision-"))
    epochs = [f"{stage}.epochs={options.epochs}" for stage in MEASURES]
    print(f"chandler {chandler.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"demo data, {options.epochs} epochs of each stage; validation loss at the end")
    found: dict[str, dict[str, float]] = {}
    for name, overrides in VARIANTS.items():
        begun = time.monotonic()
        found[name] = {}
        for stage, other in (("tokenizer", "predictor"), ("predictor", "tokenizer")):
            only = [*epochs, *overrides, f"{other}.enabled=false"]
            if stage == "predictor":
                only += [f"tokenizer.start={folder / 'float32-tokenizer' / 'tokenizer'}", "tokenizer.architecture=null"]
            run = finetune(demo_settings(folder / f"{name}-{stage}", only))
            found[name][stage] = last(run, stage)
        took = time.monotonic() - begun
        cells = [
            f"{stage} {MEASURES[stage]} {found[name][stage]:.5g} "
            f"({100 * (found[name][stage] / found['float32'][stage] - 1):+.2f}%)"
            for stage in MEASURES
        ]
        print(f"RESULT {name:<24}{cells[0]:<36}{cells[1]:<36}{took:.0f} s", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
