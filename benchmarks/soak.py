"""A run killed again and again must end with the bits of one that never was: `make soak`, some ten minutes.

Each round draws where to kill: at random moments of both stages, while starting, and in the middle of saves.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.training.killing import kill_until_done, outcome, start

ASSET = Path(__file__).parents[1] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"


def settings(out: Path) -> dict[str, Any]:
    """A small run with dropout, records that straddle saves, and many saves."""
    small = {"d_model": 16, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
    stage = {"start": "random", "epochs": 4, "batch_size": 8, "save_every": 5}
    return {
        "out": str(out),
        "device": "cpu",
        "log_every": 3,
        "data": {
            "path": str(ASSET), "symbols": ["AAPL", "IBM"], "lookback": 20, "horizon": 4,
            "windows_per_epoch": 200, "validation_stride": 20,
        },
        "tokenizer": {**stage, "architecture": {**small, "n_enc_layers": 2, "n_dec_layers": 2}},
        "predictor": {**stage, "architecture": {**small, "n_layers": 1, "ffn_dropout_p": 0.2}},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="chandler-soak-"))
    log = folder / "log"
    whole = start(settings(folder / "whole"), log)
    whole.join()
    assert whole.exitcode == 0, log.read_text()
    expected = outcome(folder / "whole")
    survived: Counter[str] = Counter()
    begun, rounds = time.monotonic(), 0
    while survived.total() < options.kills:
        rounds += 1
        out = folder / f"round-{rounds}"
        survived.update(kill_until_done(settings(out), log, kills=rng.randint(3, 12), longest=2.5, rng=rng))
        if outcome(out) != expected:
            raise SystemExit(f"round {rounds} ended with other bits; see {folder}")
        shutil.rmtree(out)
        hits = ", ".join(f"{count} in {where}" for where, count in survived.most_common())
        print(f"round {rounds}: {survived.total()} kills survived ({hits}), the same bits", flush=True)
    print(f"{survived.total()} kills survived in {rounds} runs, {time.monotonic() - begun:.0f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
