"""Long work, each in a process of its own that outlives the server: a finetuning, an evaluation, a backtest, a preflight.

`orders` says what is wanted as a command line (`keys`: what may be), `recipes` what a finetuning begins with; `desk` queues,
starts and stops; `supervise` (`python -m chandler.serving.jobs.supervise FOLDER`) runs the command and writes down how it
ended; `folder` reads how a job stands, from its files alone; `progress` how far it is. What a supervisor does not need comes on
first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandler.serving.jobs.desk import JobDesk
    from chandler.serving.jobs.keys import Ask
    from chandler.serving.jobs.orders import Flags, JobRequest, PreflightRequest, Shop, looked_at, ordered
    from chandler.serving.jobs.recipes import Recipe, RecipeBook, checked, recipe_list

__all__ = [
    "Ask",
    "Flags",
    "JobDesk",
    "JobRequest",
    "PreflightRequest",
    "Recipe",
    "RecipeBook",
    "Shop",
    "checked",
    "looked_at",
    "ordered",
    "recipe_list",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (importlib.import_module(f"{__name__}.{one}") for one in ("desk", "keys", "orders", "recipes"))
    return next(getattr(module, name) for module in modules if hasattr(module, name))
