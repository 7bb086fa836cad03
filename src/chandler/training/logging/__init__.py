"""What a run tells while it goes on: `callbacks` (the events of a stage), `metrics_log` (metrics.jsonl and trackers), `console`
(what a person sees).
"""

from chandler.training.logging.callbacks import Callback, StagePlan, StageResult, verdict
from chandler.training.logging.console import RunProgress
from chandler.training.logging.metrics_log import MetricsLogger, Tracking, require_trackers

__all__ = [
    "Callback",
    "MetricsLogger",
    "RunProgress",
    "StagePlan",
    "StageResult",
    "Tracking",
    "require_trackers",
    "verdict",
]
