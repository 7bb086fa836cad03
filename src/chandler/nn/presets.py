"""The released sizes by name, for training from random weights and for sizing a machine."""

from __future__ import annotations

from chandler.nn.predictor import PredictorConfig
from chandler.nn.tokenizer import TokenizerConfig

TOKENIZERS = {"base": TokenizerConfig()}
"""NeoQuasar/Kronos-Tokenizer-base: 3,958,042 parameters."""


def _predictor(layers: int, dim: int, heads: int, ff_dim: int, rate: float) -> PredictorConfig:
    return PredictorConfig(
        n_layers=layers,
        d_model=dim,
        n_heads=heads,
        ff_dim=ff_dim,
        ffn_dropout_p=rate,
        resid_dropout_p=rate,
        attn_dropout_p=0.0,
        token_dropout_p=0.0,
    )


PREDICTORS = {
    "mini": _predictor(4, 256, 4, 512, 0.2),
    "small": PredictorConfig(),
    "base": _predictor(12, 832, 16, 2048, 0.2),
    "large": _predictor(18, 1664, 32, 3072, 0.0),
}
"""4,108,032 / 24,741,376 / 102,310,592 / 499,246,976 parameters; large was described but never released."""
