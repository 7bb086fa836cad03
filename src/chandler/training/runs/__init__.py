"""Run folders as files, without the trainer: `folder` (what one holds), `history` (its one reader), `listing` (the runs below a
folder), `lineage` (what weights know of bars).

What needs no torch is here at once, so that `chandler runs` is quick; the rest on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chandler.training.runs.history import (
    STAGES,
    RunHistory,
    StageHistory,
    digest,
    flat,
    flattened,
    read_mapping,
    read_records,
    short,
)
from chandler.training.runs.listing import (
    StageLine,
    list_runs,
    run_folders,
    run_size,
    runs_json,
    runs_table,
    stage_lines,
)

if TYPE_CHECKING:
    from chandler.training.runs.folder import (
        RUN,
        STARTS,
        STATES,
        TRACKERS,
        Run,
        changed_keys,
        has_result,
        is_write_error,
        key_of,
        prepare_folder,
        require_folder,
        steps_done,
        write_json,
        writing,
    )
    from chandler.training.runs.lineage import Known, identity, known, known_of, record_of, write_record

__all__ = [
    "RUN",
    "STAGES",
    "STARTS",
    "STATES",
    "TRACKERS",
    "Known",
    "Run",
    "RunHistory",
    "StageHistory",
    "StageLine",
    "changed_keys",
    "digest",
    "flat",
    "flattened",
    "has_result",
    "identity",
    "is_write_error",
    "key_of",
    "known",
    "known_of",
    "list_runs",
    "prepare_folder",
    "read_mapping",
    "read_records",
    "record_of",
    "require_folder",
    "run_folders",
    "run_size",
    "runs_json",
    "runs_table",
    "short",
    "stage_lines",
    "steps_done",
    "write_json",
    "write_record",
    "writing",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    folder, lineage = (importlib.import_module(f"{__name__}.{module}") for module in ("folder", "lineage"))
    return getattr(folder if hasattr(folder, name) else lineage, name)
