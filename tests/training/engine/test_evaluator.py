"""A training loss that falls while the chosen score does not is told: once, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import GOLDEN

from chandler.reports import write_report
from chandler.training.engine.evaluator import BestScore, OverfittingMonitor
from chandler.training.run import finetune


def watched(*intervals: tuple[float, bool]) -> OverfittingMonitor:
    """After step 0 and intervals of (training loss, whether the validation at its end was a new best)."""
    watch = OverfittingMonitor()
    watch.validated(best=True)
    for loss, best in intervals:
        for part in (loss - 0.5, loss + 0.5):
            watch.add(part)
        watch.validated(best)
    return watch


def best(measure: str, score: float, step: int, without_gain: int) -> BestScore:
    return BestScore(measure, best=score, best_step=step, without_gain=without_gain)


def test_three_validations_without_a_gain_while_the_loss_falls() -> None:
    watch = watched((5.0, True), (4.5, False), (4.2, False), (4.0, False))
    assert watch.warning(best("nll", 3.0, 10, 3)) == (
        "the training loss fell from 5 to 4 after step 10, but 3 validations in a row have not beaten its nll of 3: "
        "what is learned from these windows does not carry over"
    )
    assert watch.warning(best("nll", 3.0, 10, 2), over=True) is None, "two may be an accident"


def test_a_loss_that_stays_or_a_score_that_follows_is_no_reason() -> None:
    assert watched((5.0, True), (5.2, False), (4.96, False), (4.96, False)).warning(best("nll", 3.0, 10, 3)) is None
    assert watched((5.0, True), (4.0, True), (3.0, True)).warning(best("nll", 3.0, 30, 0), over=True) is None


def test_losses_below_zero_fall_too() -> None:
    watch = watched((-1.0, True), (-1.1, False), (-1.2, False), (-1.3, False))
    assert "from -1 to -1.3" in str(watch.warning(best("mse", 3.0, 10, 3)))


def test_at_the_end_one_validation_that_did_not_beat_step_0_is_enough_to_compare() -> None:
    watch = watched((5.0, False), (4.0, False))
    assert watch.warning(best("crps", 2.5, 0, 2)) is None
    assert "after step 0, but 2 validations in a row have not beaten its crps of 2.5" in str(
        watch.warning(best("crps", 2.5, 0, 2), over=True)
    )
    assert watched((5.0, False)).warning(best("crps", 2.5, 0, 1), over=True) is None, (
        "one interval has nothing to fall from"
    )


def test_a_run_that_learns_by_heart_says_so(config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """32 windows, again and again: the training loss falls, the likelihood of others does not."""
    config["data"] |= {"stride": 180, "windows_per_epoch": None, "validation_stride": 60}
    config["tokenizer"] = {"start": str(GOLDEN / "tokenizer"), "enabled": False}
    config["predictor"] = {
        "start": str(GOLDEN / "predictor"), "epochs": 25, "batch_size": 8, "learning_rate": 2e-2, "patience": 3,
        "schedule": "constant", "warmup": 0.0, "validate_every": 10,
    }  # fmt: skip
    run = finetune(config)
    warning = run.summary["stages"]["predictor"]["warning"]
    assert warning.startswith("the training loss fell from")
    told = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: predictor: the training")
    ]
    assert len(told) == 1
    assert f"Warning: {warning}." in write_report(run.folder).read_text()
