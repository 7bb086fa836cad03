"""What a forecast is: sampled paths in price units, with their times, their settings and the history they follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler import measures
from chandler.atomic import atomic_file, write_text
from chandler.data import CLOSE, FEATURES, LOW, Bars
from chandler.errors import ConfigError, DataError
from chandler.forecasting.engine import Sampling
from chandler.forecasting.repair import repair_bars
from chandler.measures import ReturnKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

COLUMNS = list(FEATURES)
DEFAULT_LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """A distribution over the next `horizon` bars of one symbol, as equally likely paths.

    Paths are what the model says unless `repaired` is a number: a high may lie below a close, a sampled volume or
    amount may be negative where the history is close to zero, and so may a price after a crash. All numbers are
    finite.
    """

    symbol: str
    timestamps: pd.DatetimeIndex
    """Times of the forecast bars, (horizon,), in the zone of the history."""
    paths: NDArray[np.float64]
    """(paths, horizon, 6) in the units of the history: open, high, low, close, volume, amount."""
    history: Bars
    """The rows the model saw, and no others."""
    sampling: Sampling
    seed: int
    calendar: str
    """What made `timestamps`: an exchange such as "XNYS", "24/7", "24/5", "inferred" from the history, or "given"."""
    model: str
    """Name of the predictor: a path, a repository, or empty."""
    repaired: int | None = None
    """How many of the paths x horizon bars `repair` had to change; None for paths as the model gave them."""
    calibrated: bool = False
    """Whether the paths were moved so that bands of the close cover what they say; see `Calibration`."""
    anchored: bool = False
    """Whether the paths begin at the last close rather than at what the tokens have of it."""
    sessions: str = ""
    """What was inferred about when the symbol trades, such as `Mon-Fri 09:30-16:00`; empty for other calendars."""
    calendar_notes: tuple[str, ...] = ()
    """What is odd about the history under this calendar, in plain words."""

    @property
    def horizon(self) -> int:
        """Number of forecast bars."""
        return int(self.paths.shape[1])

    def __len__(self) -> int:
        return self.horizon

    def __repr__(self) -> str:
        first, last = self.timestamps[0], self.timestamps[-1]
        return (
            f"Forecast({self.symbol!r}, {self.horizon} bars {first} .. {last} ({self.dated_by}), "
            f"{len(self.paths)} paths after {len(self.history)} bars, seed {self.seed})"
        )

    @property
    def dated_by(self) -> str:
        """`calendar` in words: `XNYS`, `given`, or `inferred (Mon-Fri 09:30-16:00)`."""
        return f"{self.calendar} ({self.sessions})" if self.sessions else self.calendar

    def mean(self) -> pd.DataFrame:
        """Mean over the paths: a frame indexed by timestamp, one column per feature, in price units."""
        return pd.DataFrame(self.paths.mean(axis=0), index=self.timestamps, columns=COLUMNS)

    def quantiles(self, levels: Sequence[float] = DEFAULT_LEVELS, column: str | None = None) -> pd.DataFrame:
        """Quantiles over the paths at each timestamp (linear interpolation between paths), in price units.

        Args:
            levels: in [0, 1].
            column: one feature, such as "close"; None gives all.

        Returns:
            A frame indexed by timestamp. With `column`, one column per level: `q[0.1]`. Without, columns are a
            MultiIndex (feature, quantile), so that `q["close"]` is what `column="close"` returns.

        Raises:
            ConfigError: a level outside [0, 1], no level, or an unknown column.
        """
        levels = [float(level) for level in levels]
        if not levels or not all(0 <= level <= 1 for level in levels):
            raise ConfigError(f"quantile levels must lie in [0, 1], found {levels}. For example: [0.1, 0.5, 0.9].")
        values = np.quantile(self.paths if column is None else self._column(column)[..., None], levels, axis=0)
        flat = np.moveaxis(values, 0, -1).reshape(self.horizon, -1)  # from (levels, horizon, features)
        if column is None:
            header: pd.Index = pd.MultiIndex.from_product([COLUMNS, levels], names=["feature", "quantile"])
        else:
            header = pd.Index(levels, name="quantile")
        return pd.DataFrame(flat, index=self.timestamps, columns=header)

    def interval(self, level: float = 0.8, column: str | None = "close") -> pd.DataFrame:
        """The band that holds the central `level` of the paths at each timestamp, in the units of the column.

        It is a band of the model's sampled paths: `top_p` below 1 and a temperature below 1 make it narrower than
        what the model believes (see docs/forecasting.md).

        Args:
            level: in (0, 1); 0.8 lies between the quantiles 0.1 and 0.9.
            column: one feature; None gives all.

        Returns:
            A frame indexed by timestamp with columns lower and upper; without `column` a MultiIndex (feature,
            bound).

        Raises:
            ConfigError: an impossible level, or an unknown column.
        """
        lower, upper = measures.band_levels(level)
        return self.quantiles([lower, upper], column).rename(columns={lower: "lower", upper: "upper"})

    def probability_above(self, level: float, column: str = "close", step: int | Literal["any"] = -1) -> float:
        """Share of the paths in which `column` lies above `level`, in [0, 1].

        Args:
            level: in the units of the column.
            column: "close" asks where bars close; "high" with step="any" whether the level is touched at all.
            step: which bar: 1 .. horizon as in `to_frame`, or from the end (-1 is the last); "any": at least one.

        Raises:
            ConfigError: an impossible level or step, or an unknown column.
        """
        return measures.share_above(self._column(column), level, step)

    def returns(self, kind: ReturnKind = "simple", column: str = "close") -> NDArray[np.float64]:
        """Return of every path at every step against the last known close, (paths, horizon).

        Args:
            kind: "simple" is p / last - 1, "log" is ln(p / last).
            column: a price.

        Raises:
            ConfigError: another kind, or no price.
            DataError: "log" where a path's price is not above 0; `repair` lifts those.
        """
        if column in COLUMNS[CLOSE + 1 :]:
            raise ConfigError(f"{column} is no price: returns are of {', '.join(COLUMNS[: CLOSE + 1])}.")
        return measures.returns(self._column(column), self._last, kind)

    def terminal_return(self, kind: ReturnKind = "simple") -> NDArray[np.float64]:
        """Return of every path from the last known close to its last close, (paths,). See `returns`."""
        return self.returns(kind)[:, -1]

    def realised_variance(self) -> NDArray[np.float64]:
        """Sum of squared log returns of each path's closes, the first from the last known close: (paths,).

        Over the whole horizon, not annualised. Kronos (arXiv 2508.02739, volatility task) calls it realised volatility.

        Raises:
            DataError: a path closes at or below 0, where there is no log return; `repair` lifts such prices.
        """
        return measures.path_variance(self._column("close"), self._last)

    def realised_volatility(self) -> NDArray[np.float64]:
        """Square root of `realised_variance`: (paths,), in log return over the whole horizon, not annualised.

        Raises:
            DataError: as `realised_variance`.
        """
        return np.sqrt(self.realised_variance())

    def repair(self) -> Forecast:
        """A new forecast whose every bar could have traded; `repaired` says how many had to be changed.

        High is raised to max(open, close) and low lowered to min(open, close) where they are not; volume and
        amount below 0 become 0; prices below 1% of the lowest low of the history are lifted to it.
        """
        paths, count = repair_bars(self.paths, float(self.history.values[:, LOW].min()))
        return replace(self, paths=paths, repaired=count + (self.repaired or 0))

    @property
    def _last(self) -> float:
        """The last known close."""
        return float(self.history.values[-1, CLOSE])

    def _column(self, name: str) -> NDArray[np.float64]:
        """One feature of all paths, (paths, horizon)."""
        if name not in COLUMNS:
            raise ConfigError(f"a forecast has no column {name!r}. Choose from: {', '.join(COLUMNS)}.")
        return self.paths[:, :, COLUMNS.index(name)]

    def to_frame(self) -> pd.DataFrame:
        """Every path in long form: symbol, path (from 0), step (from 1), timestamp and the six features.

        `frame.attrs["calendar"]` says what made the timestamps, symbol by symbol; Parquet files keep it.
        """
        paths, horizon, features = self.paths.shape
        frame = pd.DataFrame(self.paths.reshape(paths * horizon, features), columns=COLUMNS)
        frame.insert(0, "timestamp", self.timestamps.take(np.tile(np.arange(horizon), paths)))
        frame.insert(0, "step", np.tile(np.arange(1, horizon + 1), paths))
        frame.insert(0, "path", np.repeat(np.arange(paths), horizon))
        frame.insert(0, "symbol", self.symbol)
        frame.attrs["calendar"] = {self.symbol: self.dated_by}
        return frame

    def plot(
        self,
        path: str | Path | None = None,
        truth: Bars | pd.DataFrame | None = None,
        band: float = 0.8,
        history_rows: int = 60,
    ) -> Figure:
        """Draw the history as candles, then mean and band of the forecast close, and optionally what came true.

        Args:
            path: file to write (.png, .svg, .pdf, and what else matplotlib writes); None only returns the figure.
            truth: bars, or a frame that `Bars.from_frame` accepts, that hold the forecast's timestamps; what lies
                outside them is not drawn.
            band: share of the paths inside the band at each bar, in (0, 1).
            history_rows: how many of the last history bars are drawn, >= 1.

        Returns:
            The matplotlib figure.

        Raises:
            ConfigError: an impossible `band` or `history_rows`, or a file of another kind.
            DataError: a truth without any of the forecast's timestamps.
        """
        from chandler.forecasting.plots import Picture, draw_forecast  # matplotlib is slow to import

        close = self._column("close")
        picture = Picture(self.symbol, self.history, self.timestamps, close, truth, band, history_rows)
        figure = draw_forecast(picture, self.model)
        if path is not None:
            kind = Path(path).suffix.lstrip(".").lower() or "png"
            if kind not in figure.canvas.get_supported_filetypes():
                raise ConfigError(f"{path}: the name must end in .png, .svg or .pdf; a page (.html) is plot_html's.")
            with atomic_file(Path(path)) as scratch:
                figure.savefig(scratch, format=kind)
        return figure

    def figure(
        self, truth: Bars | pd.DataFrame | None = None, band: float = 0.8, history_rows: int = 60
    ) -> PlotlyFigure:
        """`plot` for pages: an interactive plotly figure, with the same arguments and errors."""
        from chandler.forecasting.plots import Picture, forecast_figure  # plotly is slow to import

        close = self._column("close")
        return forecast_figure(Picture(self.symbol, self.history, self.timestamps, close, truth, band, history_rows))

    def plot_html(self, path: str | Path | None = None, **drawing: Any) -> str:
        """`figure` as a web page that needs no network.

        Args:
            path: file to write; None only returns the page.
            drawing: the arguments of `figure`.

        Returns:
            The page, some 5 MB: it carries plotly's script.
        """
        page: str = self.figure(**drawing).to_html(include_plotlyjs=True, full_html=True)
        if path is not None:
            write_text(Path(path), page)
        return page


def forecasts_to_frame(forecasts: Iterable[Forecast]) -> pd.DataFrame:
    """Many forecasts in one long frame, as `Forecast.to_frame`, in the order given.

    A column of a frame has one zone: symbols in several zones are brought to UTC.

    Raises:
        DataError: no forecasts, or times with a zone beside times without.
    """
    forecasts = list(forecasts)
    frames = [forecast.to_frame() for forecast in forecasts]
    if not frames:
        raise DataError("there are no forecasts to put into a frame.")
    if needs_utc({frame["symbol"].iloc[0]: frame["timestamp"].dt.tz for frame in frames}):
        for frame in frames:
            frame["timestamp"] = frame["timestamp"].dt.tz_convert("UTC")
    whole = pd.concat(frames, ignore_index=True)
    whole.attrs["calendar"] = {forecast.symbol: forecast.dated_by for forecast in forecasts}
    return whole


def needs_utc(zones: Mapping[str, Any]) -> bool:
    """Whether symbols' times are in several zones (symbol -> zone, None for naive), so that one column has them in UTC.

    Raises:
        DataError: some have a zone and some have none.
    """
    found = {str(zone) for zone in zones.values()}
    if len(found) > 1 and "None" in found:
        naive = next(symbol for symbol, zone in zones.items() if zone is None)
        raise DataError(
            f"{naive}: its timestamps have no time zone while other symbols' have one ({', '.join(found)}). "
            "Localise all of them, or make one frame per symbol."
        )
    return len(found) > 1
