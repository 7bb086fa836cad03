"""Which windows are trained on and validated on.

`sources` loads and splits, `corpus` joins several sources; `mixture` orders an epoch and `batching` cuts it into steps;
`augment` makes a batch and changes it, `ahead` works out those of the next step. `device_placement` decides where the rows
live, `device_cache` cuts windows there.
"""

from chandler.training.datasets.ahead import Feeder, ReadyBatch
from chandler.training.datasets.augment import Batch, draw_lookbacks, drop_volume, replace_tokens, to_device
from chandler.training.datasets.batching import BatchPlan, MicroBatch, derive_seed
from chandler.training.datasets.device_placement import nbytes, place, place_on_device
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.datasets.sources import RunData, data_inputs, load_sources

__all__ = [
    "Batch",
    "BatchPlan",
    "Feeder",
    "MicroBatch",
    "ReadyBatch",
    "RunData",
    "TrainingSet",
    "data_inputs",
    "derive_seed",
    "draw_lookbacks",
    "drop_volume",
    "load_sources",
    "nbytes",
    "place",
    "place_on_device",
    "replace_tokens",
    "to_device",
]
