"""Pictures of a forecast: candles of the history, mean and band of the close ahead, what came true.

`common` says what is drawn; `static` draws it with matplotlib, in `fonts` that have the signs of its texts; `interactive`
with plotly. Both libraries are slow to import: `Forecast.plot` comes here only when it is called.
"""

from chandler.forecasting.plots.common import Picture
from chandler.forecasting.plots.interactive import forecast_figure
from chandler.forecasting.plots.static import draw_forecast

__all__ = ["Picture", "draw_forecast", "forecast_figure"]
