"""Bars in, a distribution of bars to come out.

The way through: `Forecaster` (forecaster) loads a pair of models (pretrained), brings histories to what they see
(preprocessing) by `ForecastSettings` (settings), continues them (paths, over engine) from the last close on (anchor) and
hands back a `Forecast` (forecast) in price units, made whole (repair) or blended with naive ones and moved to cover what it
says (the room calibration) where that is asked for. `embedding` stops halfway: what the predictor makes of windows, as vectors, which
a `SignalHead` (signal) turns into scores.
`export` writes tables and pictures (plots).
"""

from chandler.forecasting.anchor import anchored
from chandler.forecasting.calibration import (
    MEMBERS,
    NAIVE,
    Blend,
    Calibration,
    OutOfFold,
    PastForecast,
    PoolTerms,
    fit_bands,
    fit_blend,
    recalibrate_bars,
    resampled_bars,
    spacing,
    spacings,
)
from chandler.forecasting.engine import Sampling, require_int
from chandler.forecasting.export import TableRow, table_text, write_plots, write_table
from chandler.forecasting.forecast import Forecast, forecasts_to_frame, needs_utc
from chandler.forecasting.forecaster import SUGGESTED, Forecaster
from chandler.forecasting.preprocessing import MIN_HISTORY, ModelInput, given_times, read_times
from chandler.forecasting.pretrained import (
    RELEASES,
    TRAINING_NAME,
    from_hub,
    is_usage,
    load_models,
    model_parts,
    recommended_settings,
    usage_text,
)
from chandler.forecasting.repair import PRICE_FLOOR
from chandler.forecasting.settings import ForecastSettings
from chandler.forecasting.signal import SIGNAL, SignalHead, model_hash, require_place

__all__ = [
    "MEMBERS",
    "MIN_HISTORY",
    "NAIVE",
    "PRICE_FLOOR",
    "RELEASES",
    "SIGNAL",
    "SUGGESTED",
    "TRAINING_NAME",
    "Blend",
    "Calibration",
    "Forecast",
    "ForecastSettings",
    "Forecaster",
    "ModelInput",
    "OutOfFold",
    "PastForecast",
    "PoolTerms",
    "Sampling",
    "SignalHead",
    "TableRow",
    "anchored",
    "fit_bands",
    "fit_blend",
    "forecasts_to_frame",
    "from_hub",
    "given_times",
    "is_usage",
    "load_models",
    "model_hash",
    "model_parts",
    "needs_utc",
    "read_times",
    "recalibrate_bars",
    "recommended_settings",
    "require_int",
    "require_place",
    "resampled_bars",
    "spacing",
    "spacings",
    "table_text",
    "usage_text",
    "write_plots",
    "write_table",
]
