"""The paper's tasks: `measures` of price, return and volatility, taken from an evaluation's scores; `generation`, judged by small
networks (`discriminators`). Windows and sampling are in `walk_forward.paper`, investment is a backtest.
"""

from chandler.evaluation.tasks.generation import GENERATION, SEEDS, generation, read_generation
from chandler.evaluation.tasks.measures import TaskTable, task_table

__all__ = ["GENERATION", "SEEDS", "TaskTable", "generation", "read_generation", "task_table"]
