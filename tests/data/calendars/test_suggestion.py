"""A learned calendar knows no holidays: that is said where it matters, with the calendar that the history fits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from tests.shell import chandler

from chandler.data.calendars import fit_schedule, future_timestamps, holiday_notes

SHANGHAI = (*range(575, 691, 5), *range(785, 901, 5))
"""Minutes of the day at which five-minute bars end there."""


def days_of(name: str, start: str, end: str) -> pd.DatetimeIndex:
    later = future_timestamps(pd.date_range(end=start, periods=30), 800, calendar=name)
    return later[later <= end]


def bars_of(days: pd.DatetimeIndex, minutes: Iterable[int], zone: str | None = None) -> pd.DatetimeIndex:
    index = pd.DatetimeIndex([day + pd.Timedelta(minutes=one) for day in days for one in minutes])
    return index.tz_localize(zone)


def notes(history: pd.DatetimeIndex, horizon: int) -> str:
    schedule = fit_schedule(history, None)
    return " ".join(holiday_notes(schedule, schedule.after(horizon)))


NEW_YORK = np.arange(570, 960, 30)


@pytest.mark.parametrize(
    ("history", "name"),
    [
        (days_of("XSHG", "2022-06-01", "2024-06-28"), "XSHG"),
        (days_of("XNYS", "2023-06-01", "2024-06-28"), "XNYS"),
        (bars_of(days_of("XSHG", "2024-03-11", "2024-03-22"), SHANGHAI), "XSHG"),  # by its hours alone
        (bars_of(days_of("XNYS", "2024-03-04", "2024-03-22"), NEW_YORK, "America/New_York"), "XNYS"),  # by its zone
        (
            bars_of(days_of("XNYS", "2023-11-01", "2024-02-22"), NEW_YORK, "America/New_York").tz_convert(None), "XNYS",
        ),
    ],
    ids=["Shanghai daily", "New York daily", "Shanghai intraday", "New York's zone", "New York in UTC"],
)  # fmt: skip
def test_the_calendar_that_the_history_fits_is_named(history: pd.DatetimeIndex, name: str) -> None:
    days = len(history.normalize().unique())
    assert notes(history, 50) == (
        f"holidays are not known, and come out as trading days; {name} fits all {days} days of the history: calendar={name!r}"
    )


@pytest.mark.parametrize(
    "history",
    [
        pd.bdate_range("2022-06-01", "2024-06-28"),  # open on every holiday there is
        days_of("XNYS", "2024-06-20", "2024-06-28"),  # too short to tell
        bars_of(days_of("XNYS", "2024-03-04", "2024-03-22"), np.arange(180, 500, 30)),  # hours of nobody
    ],
)
def test_no_calendar_is_named_that_nothing_speaks_for(history: pd.DatetimeIndex) -> None:
    assert notes(history, 50) == "holidays are not known, and come out as trading days"


@pytest.mark.parametrize(
    ("history", "horizon"),
    [
        (pd.date_range("2024-01-01", periods=900, freq="h"), 48),
        (pd.date_range("2024-01-01", periods=90, freq="D"), 5),
        (pd.date_range("2024-01-01", periods=90, freq="W"), 5),
        (bars_of(days_of("XSHG", "2024-03-11", "2024-03-22"), SHANGHAI)[:-20], 20),  # the same day
    ],
    ids=["around the clock", "every day", "weeks", "within a day"],
)
def test_nothing_is_said_where_no_holiday_can_come(history: pd.DatetimeIndex, horizon: int) -> None:
    assert notes(history, horizon) == ""


def test_the_command_that_is_offered_skips_the_holidays(tmp_path, capfd) -> None:
    index = bars_of(days_of("XSHG", "2025-01-13", "2025-01-27"), SHANGHAI)
    close = 11 + np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(index)))
    frame = pd.DataFrame(
        {"time": index.astype(str), "open": close, "high": close + 0.02, "low": close - 0.02, "close": close}
    )
    frame.to_csv(tmp_path / "bars.csv", index=False)
    call = ("forecast", tmp_path / "bars.csv", "--horizon", "3", "--paths", "2")
    assert chandler(*call) == 0
    told = capfd.readouterr().out
    assert "2025-01-28 09:45" in told  # the first day of the spring festival
    assert "XSHG fits all 10 days of the history: --calendar XSHG (bars)" in told
    assert chandler(*call, "--calendar", "XSHG") == 0
    told = capfd.readouterr().out
    assert "2025-02-05 09:45" in told
    assert "holidays" not in told
