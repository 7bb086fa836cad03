"""Forecasts that were asked for: `request` says what one is, `folder` keeps requests and answers in files, `desk` takes them
in, hands them to the warm child and tells what became of them.
"""

from chandler.serving.forecasts.desk import ForecastDesk
from chandler.serving.forecasts.folder import Kept, exported, paths_of
from chandler.serving.forecasts.request import ForecastRequest

__all__ = ["ForecastDesk", "ForecastRequest", "Kept", "exported", "paths_of"]
