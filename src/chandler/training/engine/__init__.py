"""The one loop: `trainer` takes a stage (stages) through its steps, which `step` computes; `evaluator` and
`forecast_validation` measure it, `checkpoints` keep where it stands; `distributed` and `fsdp` know about processes;
`parameters` and `optim` what is trained, and how; `interrupts` when to stop.
"""

from chandler.training.engine.checkpoints import CheckpointManager
from chandler.training.engine.distributed import (
    LostContact,
    close,
    leave,
    make_accelerator,
    precision_of,
    report_lost_processes,
)
from chandler.training.engine.evaluator import Evaluator
from chandler.training.engine.forecast_validation import ForecastScorer
from chandler.training.engine.interrupts import Interrupted, StopRequest, stop_on_signal
from chandler.training.engine.optim import make_optimizer, make_schedule
from chandler.training.engine.parameters import ParameterSummary, select_parameters
from chandler.training.engine.stages import PredictorStage, Stage, TokenizerStage
from chandler.training.engine.step import require_ways
from chandler.training.engine.trainer import RunContext, Trainer

__all__ = [
    "CheckpointManager",
    "Evaluator",
    "ForecastScorer",
    "Interrupted",
    "LostContact",
    "ParameterSummary",
    "PredictorStage",
    "RunContext",
    "Stage",
    "StopRequest",
    "TokenizerStage",
    "Trainer",
    "close",
    "leave",
    "make_accelerator",
    "make_optimizer",
    "make_schedule",
    "precision_of",
    "report_lost_processes",
    "require_ways",
    "select_parameters",
    "stop_on_signal",
]
