"""Where a computation runs (`placement`), and work that is launched there once and then replayed (`graphs`)."""

from chandler.devices.graphs import GraphError, Pace, captured, has_graphs
from chandler.devices.placement import bring, device_of, has_float64, require_name, resolve, wide

__all__ = [
    "GraphError",
    "Pace",
    "bring",
    "captured",
    "device_of",
    "has_float64",
    "has_graphs",
    "require_name",
    "resolve",
    "wide",
]
