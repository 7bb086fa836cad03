"""Columns of times as somebody wrote them into timestamps.

Read `timestamps` (a whole column, by what its cells are), then `written` (dates as text) and `numeric` (numbers), which give what
`parsed` says; `zones` (which clock it is) and `weekdays` (what stands beside the dates).
"""

from chandler.data.reading.times.parsed import Times
from chandler.data.reading.times.timestamps import looks_like_time, parse_times, read_times

__all__ = ["Times", "looks_like_time", "parse_times", "read_times"]
