"""Runs below the folder of runs, those begun in a shell as well: read as plain files, changed by nobody here. `folders` is the list and
what it tells; `metrics` follows a run that goes on; `settings` are shown without places.
"""

from chandler.serving.runs.folders import RunFacts, RunList
from chandler.serving.runs.metrics import MetricsReader, Tail

__all__ = ["MetricsReader", "RunFacts", "RunList", "Tail"]
