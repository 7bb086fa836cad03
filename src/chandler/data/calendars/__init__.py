"""Bars in time: what comes next, and which bars are missing.

Read `schedule` first: `fit_schedule` fits a history into a named market (`exchanges`), or into hours learned from the
history itself (`inferred`); `Schedule.after` says what comes next. `gaps` asks it which bars are missing, `suggestion`
which market it could be. `time_features` has what needs no schedule.
"""

from chandler.data.calendars.exchanges import calendar_names, exchange_timezone, resolve_calendar, session_close
from chandler.data.calendars.gaps import NO_GAPS, Gaps, describe_sessions, find_gaps, short
from chandler.data.calendars.inferred import distinct
from chandler.data.calendars.schedule import INFERRED, Schedule, fit_schedule, future_timestamps, known_calendar
from chandler.data.calendars.suggestion import holiday_notes
from chandler.data.calendars.time_features import DAY, NS_DAY, from_ticks, infer_interval, time_features, zone_name

__all__ = [
    "DAY",
    "INFERRED",
    "NO_GAPS",
    "NS_DAY",
    "Gaps",
    "Schedule",
    "calendar_names",
    "describe_sessions",
    "distinct",
    "exchange_timezone",
    "find_gaps",
    "fit_schedule",
    "from_ticks",
    "future_timestamps",
    "holiday_notes",
    "infer_interval",
    "known_calendar",
    "resolve_calendar",
    "session_close",
    "short",
    "time_features",
    "zone_name",
]
