"""Finetuning: both stages of a run in order, each from its start to its published checkpoint.

Begin with `run`; then `settings` (what a YAML says), `datasets` (which windows), `engine` (the one loop), `logging`, and `runs` (folders
as files). `finetune` comes on first use: who reads `runs` alone needs no trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandler.training.run import Run, finetune, is_main_process

__all__ = ["Run", "finetune", "is_main_process"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chandler.training import run

    return getattr(run, name)
