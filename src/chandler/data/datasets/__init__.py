"""From the rows of a store to batches of windows.

Read `cleaning` (which rows windows may use) and `resampling` (coarser bars), then `splits` (training, validation and test
rows), `windows` (what a model sees, normalised) and `samplers` (which windows an epoch draws).
"""

from chandler.data.datasets.cleaning import (
    PAPER,
    REASONS,
    CleaningReport,
    CleaningSettings,
    Limits,
    clean_rows,
    clean_store,
    paper_limits,
)
from chandler.data.datasets.resampling import interval_of, resample_bars, resample_store
from chandler.data.datasets.samplers import sample_quotas, weighted_sample
from chandler.data.datasets.splits import (
    PRETRAINING_CUTOFF,
    SplitSettings,
    WalkForwardSettings,
    before_cutoff,
    cut_short,
    part_span,
    split_ranges,
    walk_folds,
    walk_forward,
)
from chandler.data.datasets.windows import (
    CLIP,
    EPSILON,
    SMALL_PRICE,
    WindowBatch,
    Windows,
    denormalise,
    epoch_order,
    feistel_permutation,
    normalise,
    require_windows,
    untrainable,
)

__all__ = [
    "CLIP",
    "EPSILON",
    "PAPER",
    "PRETRAINING_CUTOFF",
    "REASONS",
    "SMALL_PRICE",
    "CleaningReport",
    "CleaningSettings",
    "Limits",
    "SplitSettings",
    "WalkForwardSettings",
    "WindowBatch",
    "Windows",
    "before_cutoff",
    "clean_rows",
    "clean_store",
    "cut_short",
    "denormalise",
    "epoch_order",
    "feistel_permutation",
    "interval_of",
    "normalise",
    "paper_limits",
    "part_span",
    "require_windows",
    "resample_bars",
    "resample_store",
    "sample_quotas",
    "split_ranges",
    "untrainable",
    "walk_folds",
    "walk_forward",
    "weighted_sample",
]
