"""How sampling settings change the band of a forecast: mean width of the central 80% of the close, per setting.

Run on the demo's model and its bundled bars: `python benchmarks/band_width.py runs/demo`. The table stands in
docs/forecasting.md.
"""

from __future__ import annotations

import sys
from importlib import resources

import numpy as np

from chandler import Forecaster, load_bars

HORIZON, PATHS, ORIGINS = 10, 200, 4
TEMPERATURES, TOP_PS = (0.6, 0.8, 1.0), (0.8, 0.9, 1.0)


def main(run: str) -> None:
    """Print the widths in percent of the last close, over all symbols and some origins, and relative to T 1, top_p 1."""
    forecaster = Forecaster.from_pretrained(run, device="cpu")
    with resources.as_file(resources.files("chandler") / "assets" / "bokeh_stocks_1d.csv.gz") as path:
        store = load_bars(path)
    # Four histories per symbol, a quarter of a year apart.
    series = [bars.slice(0, len(bars) - HORIZON - 63 * k) for bars in store for k in range(ORIGINS)]
    lasts = np.array([bars.values[-1, 3] for bars in series])
    width = {}
    for temperature in TEMPERATURES:
        for top_p in TOP_PS:
            forecasts = forecaster.forecast_many(series, HORIZON, PATHS, temperature=temperature, top_p=top_p)
            bands = [forecast.interval(0.8) for forecast in forecasts]
            spans = np.array([(band["upper"] - band["lower"]).to_numpy() for band in bands])
            width[temperature, top_p] = float((100 * spans / lasts[:, None]).mean())
    full = width[1.0, 1.0]
    print(f"{len(series)} forecasts of {PATHS} paths, {HORIZON} bars: width of the 80% band, % of the last close")
    print("| temperature | " + " | ".join(f"top_p {top_p:g}" for top_p in TOP_PS) + " |")
    print("|---|" + "---|" * len(TOP_PS))
    for temperature in TEMPERATURES:
        cells = [f"{width[temperature, p]:.2f} ({width[temperature, p] / full:.0%})" for p in TOP_PS]
        print(f"| {temperature:g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
