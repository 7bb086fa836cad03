"""The released sizes by name, for training from random weights and for sizing a machine."""

from __future__ import annotations

from chandler.nn.predictor import PredictorConfig
from chandler.nn.tokenizer import TokenizerConfig

TOKENIZERS = {"base": TokenizerConfig()}
"""NeoQuasar/Kronos-Tokenizer-base: 3,958,042 parameters."""

PREDICTORS = {
    "mini": PredictorConfig(
        n_layers=4,
        d_model=256,
        n_heads=4,
        ff_dim=512,
        ffn_dropout_p=0.2,
        resid_dropout_p=0.2,
        attn_dropout_p=0.0,
        token_dropout_p=0.0,
    ),
    "small": PredictorConfig(
        n_layers=8,
        d_model=512,
        n_heads=8,
        ff_dim=1024,
        ffn_dropout_p=0.25,
        resid_dropout_p=0.25,
        attn_dropout_p=0.1,
        token_dropout_p=0.1,
    ),
    "base": PredictorConfig(
        n_layers=12,
        d_model=832,
        n_heads=16,
        ff_dim=2048,
        ffn_dropout_p=0.2,
        resid_dropout_p=0.2,
        attn_dropout_p=0.0,
        token_dropout_p=0.0,
    ),
    "large": PredictorConfig(
        n_layers=18,
        d_model=1664,
        n_heads=32,
        ff_dim=3072,
        ffn_dropout_p=0.0,
        resid_dropout_p=0.0,
        attn_dropout_p=0.0,
        token_dropout_p=0.0,
    ),
}
"""4,108,032 / 24,741,376 / 102,310,592 / 499,246,976 parameters; large was described but never released."""
