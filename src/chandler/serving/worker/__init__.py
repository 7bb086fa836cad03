"""Warm children, the only processes of a server with torch in them: one forecasts, one is asked what takes a moment. `client` starts
one, talks to it in lines of JSON over pipes and starts it again where it died; a child (`python -m chandler.serving.worker`) is
`loop`, which keeps `models` loaded, `series`, which cuts bars at their origins, `answer`, which says what a forecast says, and
`exposed`, what the model knows of the bars; that, `settings`, `verdict` and `ledger` answer the looks. Bulk goes through files of the
forecast's folder, which are kept anyway.
"""

from chandler.serving.worker.client import WorkerClient, WorkerDied
from chandler.serving.worker.protocol import LEVELS, PATHS, SERIES

__all__ = ["LEVELS", "PATHS", "SERIES", "WorkerClient", "WorkerDied"]
