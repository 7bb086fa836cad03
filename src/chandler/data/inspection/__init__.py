"""The preflight of a run: what a store holds, what looks wrong, how many windows it gives. Facts; pages are in reports.

Read `symbols` (one symbol), `report` (all that is found, and its words), `preflight` (looks at a store).
"""

from chandler.data.inspection.preflight import inspect_store
from chandler.data.inspection.report import (
    FoldReport,
    InspectReport,
    counted,
    grouped_notes,
    overview,
    totals,
    trouble,
    whose,
)
from chandler.data.inspection.symbols import SymbolReport

__all__ = [
    "FoldReport",
    "InspectReport",
    "SymbolReport",
    "counted",
    "grouped_notes",
    "inspect_store",
    "overview",
    "totals",
    "trouble",
    "whose",
]
