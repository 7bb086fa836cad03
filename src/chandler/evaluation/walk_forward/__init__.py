"""Models and baselines over the same past windows: `settings` (with the `paper`'s), `origins` (which windows), `contamination`
(what models have seen), `forecasters`, `scores` (a row per window and step), `runner` (parts that restart: `part_store`; on an
engine: `spreading`),
`results` (tables and comparisons), `calibration` (from forecasts of `past` windows).
"""

from chandler.evaluation.walk_forward.calibration import calibrate, calibrate_missing
from chandler.evaluation.walk_forward.contamination import (
    REFUSED,
    SAYS,
    Period,
    TrainingExposure,
    check_contamination,
    exposure,
    first_clean_origin,
    mark_notes,
    not_on_record,
)
from chandler.evaluation.walk_forward.forecasters import (
    CALIBRATED,
    Calibrations,
    ModelForecaster,
    forecast_windows,
    open_model,
)
from chandler.evaluation.walk_forward.origins import Origins, find_origins
from chandler.evaluation.walk_forward.paper import SAMPLING, window_for
from chandler.evaluation.walk_forward.part_store import PartStore, chunks_of, in_chunks, inputs, slug, write_table
from chandler.evaluation.walk_forward.past import PastForecasts, past_forecast
from chandler.evaluation.walk_forward.results import QUESTIONS, ComparisonSpec, Results
from chandler.evaluation.walk_forward.runner import EVALUATION, EXAMPLES, STATE, evaluate, read_state
from chandler.evaluation.walk_forward.settings import (
    EvaluationSettings,
    load_evaluation,
    name_models,
    trained_windows,
)

__all__ = [
    "CALIBRATED",
    "EVALUATION",
    "EXAMPLES",
    "QUESTIONS",
    "REFUSED",
    "SAMPLING",
    "SAYS",
    "STATE",
    "Calibrations",
    "ComparisonSpec",
    "EvaluationSettings",
    "ModelForecaster",
    "Origins",
    "PartStore",
    "PastForecasts",
    "Period",
    "Results",
    "TrainingExposure",
    "calibrate",
    "calibrate_missing",
    "check_contamination",
    "chunks_of",
    "evaluate",
    "exposure",
    "find_origins",
    "first_clean_origin",
    "forecast_windows",
    "in_chunks",
    "inputs",
    "load_evaluation",
    "mark_notes",
    "name_models",
    "not_on_record",
    "open_model",
    "past_forecast",
    "read_state",
    "slug",
    "trained_windows",
    "window_for",
    "write_table",
]
