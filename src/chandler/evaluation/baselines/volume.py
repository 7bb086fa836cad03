"""The volume to come, as it usually is at that time of the day."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chandler.errors import DataError

Array = NDArray[np.float64]


def volume_by_time_of_day(
    volumes: ArrayLike, timestamps: pd.DatetimeIndex, future_timestamps: pd.DatetimeIndex
) -> Array:
    """Mean of the past volumes at the same wall-clock time, for each bar to come: (H,), in units of the volumes.

    A time of day that the history does not have gets the mean of all; so daily bars all get that.

    Args:
        volumes: (T,), T >= 1; NaNs are left out.
        timestamps: (T,), of the history.
        future_timestamps: (H,), of the forecast, in the same zone.

    Raises:
        DataError: lengths that differ, zones that differ, no volume, or an infinite one.
    """
    past = np.asarray(volumes, np.float64)
    if past.shape != (len(timestamps),):
        raise DataError(f"{len(timestamps)} bars need as many volumes, found shape {past.shape}.")
    if str(timestamps.tz) != str(future_timestamps.tz):
        raise DataError(
            f"the history's zone is {timestamps.tz} and that of the bars to come {future_timestamps.tz}; "
            "times of the day would not match. Convert one (tz_convert)."
        )
    if np.isinf(past).any() or np.isnan(past).all():
        raise DataError("a mean volume needs at least one volume that is known, and none that is infinite.")
    known = ~np.isnan(past)
    by_time = pd.Series(past[known]).groupby(_time_of_day(timestamps)[known]).mean()
    return np.asarray(by_time.reindex(_time_of_day(future_timestamps)).fillna(past[known].mean()), np.float64)


def _time_of_day(times: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Seconds on the wall clock, also on days when the clock is changed."""
    return np.asarray(times.hour * 3600 + times.minute * 60 + times.second, np.int64)
