"""Forecasts kept as they were made, and held against what came: a record that hindsight cannot flatter.

The way through: a forecast becomes an `Entry` (entries), dated before or after its bars (clock); a `Journal` (folder) keeps
entries and scores as files that are only added to; new bars are matched and scored (scoring); `Record` (record) sums up,
bands and PIT by calibration.
"""

from chandler.journal.calibration import ENOUGH, LEVELS, Pit
from chandler.journal.entries import Entry, entry_of
from chandler.journal.folder import JOURNAL, PAGE, Journal, Kept
from chandler.journal.record import AGES, Course, Maker, Record, RecordRow
from chandler.journal.scoring import Told, Waiting

__all__ = [
    "AGES",
    "ENOUGH",
    "JOURNAL",
    "LEVELS",
    "PAGE",
    "Course",
    "Entry",
    "Journal",
    "Kept",
    "Maker",
    "Pit",
    "Record",
    "RecordRow",
    "Told",
    "Waiting",
    "entry_of",
]
