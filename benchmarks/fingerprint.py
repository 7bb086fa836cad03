"""Digests of what must not change when code is moved: forecasts, weights of a small finetuning, scores of an evaluation.

Uses commands and public names alone, so that the same file runs over two commits: `PYTHONPATH=OTHER/src python -m
benchmarks.fingerprint`. Digests are those of one machine: another processor rounds otherwise.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import chandler
from chandler import Forecaster, load_bars

STOCKS = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
TINY = "{d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4"
SETTINGS = f"""
seed: 5
device: cpu
data: {{path: "{STOCKS}", symbols: [AAPL, IBM, MSFT], lookback: 60, horizon: 8, windows_per_epoch: 192, validation_stride: 30}}
tokenizer: {{start: random, architecture: {TINY}, n_enc_layers: 2, n_dec_layers: 2}}, epochs: 2, batch_size: 32}}
predictor: {{start: random, architecture: {TINY}, n_layers: 2}}, epochs: 2, batch_size: 32, promote_on: crps,
            scoring: {{windows: 8, paths: 4}}}}
"""


def digest(*arrays: np.ndarray) -> str:
    """The first digits of a SHA-256 over shapes and bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def command(*arguments: str | Path) -> None:
    """Run `chandler` in a process of its own; what it says is shown if it fails."""
    line = [sys.executable, "-m", "chandler", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Print one line per thing."""
    torch.set_num_threads(1)
    store = load_bars(STOCKS)
    forecaster = Forecaster.from_pretrained("chandler-nano", device="cpu")
    for overflow, horizon in (("exact", 24), ("block", 520), ("trim", 480)):
        found = forecaster.forecast(store["IBM"], horizon=horizon, paths=8, seed=3, overflow=overflow, lookback=120)
        print(f"forecast, {overflow}, {horizon} bars: {digest(found.paths)}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "run.yaml").write_text(SETTINGS)
        run = folder / "run"
        command("finetune", folder / "run.yaml", "--out", run)
        for part in ("tokenizer", "predictor"):
            content = (run / part / "model.safetensors").read_bytes()
            print(f"finetuned {part}: {hashlib.sha256(content).hexdigest()[:16]}", flush=True)
        command("evaluate", STOCKS, "--models", f"nano=chandler-nano,run={run}", "--out", folder / "eval", "--force",
                "--set", "origins=6", "--set", "paths=20", "--set", "horizon=8", "--set", "lookback=60")  # fmt: skip
        scores = pd.read_parquet(folder / "eval" / "scores.parquet")
        scores = scores.sort_values(["model", "symbol", "origin", "step"])
        numbers = scores.select_dtypes("number")
        print(f"scores: {len(scores):,} rows, {digest(numbers.to_numpy(np.float64))}")
        for name, value in scores.groupby("model")["crps"].mean().items():
            print(f"  mean CRPS of {name}: {value!r}")


if __name__ == "__main__":
    main()
