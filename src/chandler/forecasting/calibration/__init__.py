"""Forecasts brought to what past ones deserved: a blend with naive distributions, then bands that cover what they say.

`stored` is a run's calibration.json and what it does to a forecast: first its blend (`blend`, over the naive bars of `naive`),
then conformal bands. `fitting` learns a blend from past forecasts.
"""

from chandler.forecasting.calibration.blend import MEMBERS, Blend
from chandler.forecasting.calibration.fitting import PastForecast, PoolTerms, fit_bands, fit_blend
from chandler.forecasting.calibration.naive import NAIVE, resampled_bars
from chandler.forecasting.calibration.spacing import spacing, spacings
from chandler.forecasting.calibration.stored import NAME, Calibration, OutOfFold, recalibrate_bars, required

__all__ = [
    "MEMBERS",
    "NAIVE",
    "NAME",
    "Blend",
    "Calibration",
    "OutOfFold",
    "PastForecast",
    "PoolTerms",
    "fit_bands",
    "fit_blend",
    "recalibrate_bars",
    "required",
    "resampled_bars",
    "spacing",
    "spacings",
]
