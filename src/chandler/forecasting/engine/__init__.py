"""Token ids in, token ids out: many paths of many histories continued at once.

`prompts` holds a history as tokens with its random numbers, `sampling` chooses a token, `reference` is the plain loop that
all else must agree with, `generation` the fast one (`planning`, `batch`, `cache`, `attention` and `kernels` are its parts,
`memory` says what it may use), `encoding` turns bars into ids and `decoding` ids into bars.
"""

from chandler.forecasting.engine.decoding import decode_many
from chandler.forecasting.engine.encoding import encode_histories
from chandler.forecasting.engine.generation import generate
from chandler.forecasting.engine.memory import block_bytes, default_budget, free_memory, require_room
from chandler.forecasting.engine.planning import GenerationSettings, Overflow
from chandler.forecasting.engine.prompts import Prompt, eval_mode, require_finite
from chandler.forecasting.engine.sampling import Sampling, path_uniforms, require_int

__all__ = [
    "GenerationSettings",
    "Overflow",
    "Prompt",
    "Sampling",
    "block_bytes",
    "decode_many",
    "default_budget",
    "encode_histories",
    "eval_mode",
    "free_memory",
    "generate",
    "path_uniforms",
    "require_finite",
    "require_int",
    "require_room",
]
