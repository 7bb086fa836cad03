"""Tensors in, tensors out: the two models in torch, with what adapts and sizes them.

`tokenizer` and `predictor` are the models, of blocks (`layers`, over `functional`) and a `quantizer`; `presets` has the
released sizes. `released` gives parameters their released names, which `lora` puts its adapters beside.
"""

from chandler.nn.functional import RotaryTable, rotate
from chandler.nn.layers import Attention, Block, RMSNorm, Rotary
from chandler.nn.lora import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    adapters,
    add_adapters,
    load_adapters,
    merged,
    save_adapters,
)
from chandler.nn.predictor import TIME_TABLES, DependencyPositions, Heads, Kronos, PredictorConfig, draw
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.quantizer import signs_to_ids
from chandler.nn.released import Part, matches, released_parts
from chandler.nn.tokenizer import KronosTokenizer, TokenizerConfig

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "PREDICTORS",
    "TIME_TABLES",
    "TOKENIZERS",
    "Attention",
    "Block",
    "DependencyPositions",
    "Heads",
    "Kronos",
    "KronosTokenizer",
    "Part",
    "PredictorConfig",
    "RMSNorm",
    "Rotary",
    "RotaryTable",
    "TokenizerConfig",
    "adapters",
    "add_adapters",
    "draw",
    "load_adapters",
    "matches",
    "merged",
    "released_parts",
    "rotate",
    "save_adapters",
    "signs_to_ids",
]
