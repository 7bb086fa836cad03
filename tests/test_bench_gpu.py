"""`make bench-gpu` runs: on a CPU, in its smallest sizes. What it measures there means nothing."""

from __future__ import annotations

import re
import time

import pytest
from benchmarks import gpu
from benchmarks.device import Bench, OutOfTime, limit


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of all tables."""
    return [re.split(r" ?\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]


def test_training_and_generation_run_in_their_smallest_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--tiny", "--device", "cpu", "--sections", "train,forecast,many"]) == 0
    text = capsys.readouterr().out
    assert "failed" not in text
    found = rows(text)
    for variant in ("bfloat16", "bfloat16, launched", "float32, not compiled", "yardstick", "bare graph"):
        (ms,) = [row[2] for row in found if row[:2] == ["predictor tiny 4x17", variant]]
        assert float(ms) > 0
    (summary,) = [row for row in found if row[0] == "predictor tiny 4x17" and len(row) == 9]
    assert re.fullmatch(r"[\d.]+", summary[7])
    assert re.fullmatch(r"\d+%", summary[8])
    assert [row[:3] for row in found if row[0] == "base"] == [
        ["base", shape, kind] for kind in ("bfloat16", "float32") for shape in ("1 x 1", "6 x 1")
    ]
    assert ["8 x 2 x 4", "20", "bfloat16"] in [row[:3] for row in found]
    assert any("forecast_many" in row[0] for row in found)


def test_a_section_that_fails_does_not_end_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(bench: Bench) -> None:
        with bench.case("one"):
            raise ValueError("no such\nluck")
        print("| two |")
        raise RuntimeError("out of memory")

    def endless(bench: Bench) -> None:
        time.sleep(60)

    def whole(bench: Bench) -> None:
        print("whole")

    monkeypatch.setattr(gpu, "SECTIONS", {"broken": (broken, 9.0), "endless": (endless, 0.1), "whole": (whole, 9.0)})
    assert gpu.main(["--tiny", "--device", "cpu", "--sections", "broken,endless,whole"]) == 1
    text = capsys.readouterr().out
    for line in ("| one | failed: ValueError: no such luck |", "| two |", "broken: failed: RuntimeError: out of memory",
                 "endless: out of time.", "whole"):  # fmt: skip
        assert line in text.splitlines()


def test_a_limit_is_not_taken_for_a_failure() -> None:
    def patient() -> None:
        try:
            time.sleep(10)
        except Exception:  # as code on the way may have it
            time.sleep(10)

    with pytest.raises(OutOfTime), limit(0.05):
        patient()
