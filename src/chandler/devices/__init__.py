"""Where a computation runs (`placement`), work that is launched there once and then replayed (`graphs`), and kernels of our own for
GPUs (`fused`; `kernels` says where they can be used)."""

from chandler.devices.graphs import GraphError, Pace, captured, has_graphs
from chandler.devices.kernels import fused_kernels
from chandler.devices.placement import (
    at_work,
    bring,
    device_of,
    has_float64,
    pinned,
    require_name,
    resolve,
    upload,
    wide,
)

__all__ = [
    "GraphError",
    "Pace",
    "at_work",
    "bring",
    "captured",
    "device_of",
    "fused_kernels",
    "has_float64",
    "has_graphs",
    "pinned",
    "require_name",
    "resolve",
    "upload",
    "wide",
]
