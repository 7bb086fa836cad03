"""Watches for training that does harm: its own loss falls, and the score that chooses checkpoints does not follow."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATIONS = 3
"""So many validations in a row without a gain are no accident."""
FALL = 0.01
"""Share of the training loss that must have gone meanwhile."""


@dataclass
class OverfittingMonitor:
    """Mean training losses between validations; part of a stage's state."""

    total: float = 0.0
    steps: int = 0
    """Losses since the last validation, and how many."""
    at_best: float | None = None
    """Mean loss of the steps that led to the best validation; where that is step 0, of the first steps."""
    last: float | None = None
    """Mean loss of the steps that led to the last validation."""
    told: bool = False

    def add(self, loss: float) -> None:
        """Take in the training loss of a step."""
        self.total += loss
        self.steps += 1

    def validated(self, best: bool) -> None:
        """A validation has ended; `best`: with a new best score."""
        if self.steps:
            self.last = self.total / self.steps
            if best or self.at_best is None:
                self.at_best = self.last
        self.total, self.steps = 0.0, 0

    def warning(
        self, measure: str, best: float, best_step: int, without_gain: int, *, over: bool = False
    ) -> str | None:
        """The warning, if there is reason for one: since the best validation the mean training loss has fallen by more
        than 1%, and 3 or more validations have not beaten it; at the end of a stage (`over`) any number, if step 0 is
        still the best.
        """
        if self.at_best is None or self.last is None or self.at_best - self.last <= FALL * abs(self.at_best):
            return None
        if without_gain < VALIDATIONS and not (over and best_step == 0):
            return None
        times = "the validation since has" if without_gain == 1 else f"{without_gain} validations in a row have"
        return (
            f"the training loss fell from {self.at_best:.4g} to {self.last:.4g} after step {best_step:,}, but {times} not "
            f"beaten its {measure} of {best:.5g}: what is learned from these windows does not carry over"
        )
