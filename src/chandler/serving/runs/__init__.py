"""Runs below the folder of runs, those begun in a shell as well: read as plain files, changed by nobody here. `metrics` follows a run
that goes on.
"""

from chandler.serving.runs.metrics import MetricsReader, Tail

__all__ = ["MetricsReader", "Tail"]
