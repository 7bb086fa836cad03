"""The reference implementation's names, argument order and results over this one: change the import, keep the script.

    from chandler.compat import Kronos, KronosTokenizer, KronosPredictor

Parity is the purpose, so what the reference does is done, where `chandler.Forecaster` knows better: statistics over
every row given, even rows the model never sees; paths averaged into one; `top_p` without effect beside `top_k`;
a missing volume empties the amount too. Unlike the reference, series of a batch may differ in length, horizons may
exceed the context, times may be any DatetimeIndex, and a seed can be given. Two things are not as in the reference,
because they only ever hid mistakes: times are checked (increasing, the future after the history, zones that agree),
and a pass in eval mode is as causal as one in train mode.

`models` has the two models, `forecasts` what is made with them.
"""

from chandler.compat.forecasts import InputError, KronosPredictor, auto_regressive_inference
from chandler.compat.models import Kronos, KronosTokenizer

__all__ = ["InputError", "Kronos", "KronosPredictor", "KronosTokenizer", "auto_regressive_inference"]
