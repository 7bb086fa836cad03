"""Columns of times as somebody wrote them into timestamps.

Read `timestamps` (formats, decided over a whole column), then `zones` (which clock it is) and `weekdays` (what stands beside
the dates).
"""

from chandler.data.reading.times.timestamps import Times, looks_like_time, parse_times, read_times

__all__ = ["Times", "looks_like_time", "parse_times", "read_times"]
