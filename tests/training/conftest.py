"""A tiny run on the bundled stocks: real rows, real stages, seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ASSET = Path(__file__).parents[2] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
TINY = {"d_model": 16, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
NO_DROPOUT = {"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "token_dropout_p": 0.0}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run of a few seconds; tests change what they are about."""
    return tiny_run(tmp_path / "run")


def tiny_run(folder: Path) -> dict[str, Any]:
    """Settings of a run of a few seconds into a folder."""
    return {
        "out": str(folder),
        "device": "cpu",
        "log_every": 1,
        "data": {
            "path": str(ASSET),
            "symbols": ["AAPL", "IBM"],
            "lookback": 20,
            "horizon": 4,
            "windows_per_epoch": 64,
            "validation_stride": 20,
        },
        "tokenizer": {
            "start": "random",
            "architecture": {**TINY, "n_enc_layers": 2, "n_dec_layers": 2},
            "epochs": 2,
            "batch_size": 16,
        },
        "predictor": {
            "start": "random",
            "architecture": {**TINY, **NO_DROPOUT, "n_layers": 1},
            "epochs": 2,
            "batch_size": 16,
        },
    }
