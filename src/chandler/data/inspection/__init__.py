"""The preflight of a run: what a store holds, what looks wrong, how many windows it gives. Facts; pages are in reports.

Read `report` (what is found, and its words), then `preflight` (looks at a store, symbol after symbol).
"""

from chandler.data.inspection.preflight import inspect_store, store_warnings
from chandler.data.inspection.report import (
    FoldReport,
    InspectReport,
    SymbolReport,
    counted,
    grouped_notes,
    overview,
    totals,
    trouble,
    whose,
)

__all__ = [
    "FoldReport",
    "InspectReport",
    "SymbolReport",
    "counted",
    "grouped_notes",
    "inspect_store",
    "overview",
    "store_warnings",
    "totals",
    "trouble",
    "whose",
]
