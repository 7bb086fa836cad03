"""Beyond one process: universes of symbols, and finetunes over many nodes, on an engine.

`forecast_parts` writes the forecasts of many symbols in parts that a stopped command finds again, `finetune` trains on the
workers of a Ray cluster; `chandler.evaluation.walk_forward.evaluate` takes an engine as well.
"""

from chandler.engines import Engine, Local, RayEngine, engine_of
from chandler.scale.finetuning import finetune
from chandler.scale.forecasts import forecast_parts

__all__ = ["Engine", "Local", "RayEngine", "engine_of", "finetune", "forecast_parts"]
