"""Long work, each in a process of its own that outlives the server: a finetuning, an evaluation, a backtest, a preflight.

`orders` says what is wanted as a command line; `desk` queues, starts and stops; `supervise` (`python -m
chandler.serving.jobs.supervise FOLDER`) runs the command and writes down how it ended; `folder` reads how a job stands, from its
files alone; `progress` how far it is. What a supervisor does not need comes on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandler.serving.jobs.desk import JobDesk
    from chandler.serving.jobs.orders import Flags, JobRequest, Shop, ordered

__all__ = ["Flags", "JobDesk", "JobRequest", "Shop", "ordered"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chandler.serving.jobs import desk, orders

    return getattr(desk if hasattr(desk, name) else orders, name)
