"""The preflight of a run: what a store holds, what looks wrong, how many windows it gives. Facts; pages are in reports.

Read `report` (what is found, and its words), then `preflight` (looks at a store, symbol after symbol); `findings` are what
every command tells of the bars that it uses.
"""

from chandler.data.inspection.findings import findings
from chandler.data.inspection.preflight import inspect_store
from chandler.data.inspection.report import (
    FoldReport,
    InspectReport,
    SymbolReport,
    counted,
    noted,
    overview,
    totals,
    trouble,
)

__all__ = [
    "FoldReport",
    "InspectReport",
    "SymbolReport",
    "counted",
    "findings",
    "inspect_store",
    "noted",
    "overview",
    "totals",
    "trouble",
]
