"""Where a computation runs (`placement`), and work that is launched there once and then replayed (`graphs`)."""

from chandler.devices.graphs import GraphError, Pace, captured, has_graphs
from chandler.devices.placement import bring, device_of, has_float64, pinned, require_name, resolve, upload, wide

__all__ = [
    "GraphError",
    "Pace",
    "bring",
    "captured",
    "device_of",
    "has_float64",
    "has_graphs",
    "pinned",
    "require_name",
    "resolve",
    "upload",
    "wide",
]
