"""Run folders over the API: a table of all, one in full, several compared, metrics that are followed, reports in a cage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chandler.serving.runs import MetricsReader


def record(kind: str, step: int, stage: str = "tokenizer", **more: Any) -> str:
    return json.dumps({"stage": stage, "kind": kind, "step": step, "epoch": 1, "time": 1.7e9 + step, **more}) + "\n"


def steps(records: list[dict[str, Any]], kind: str) -> list[int]:
    return [one["step"] for one in records if one["kind"] == kind]


def test_metrics_are_followed_without_gap_or_double(tmp_path: Path) -> None:
    log, reader = tmp_path / "metrics.jsonl", MetricsReader(tmp_path)
    assert reader.after() == reader.after("0-00000000")
    log.write_text(record("begin", 0, steps=20) + record("validation", 0, mse=1.0) + record("train", 5)[:20])
    first = reader.after()
    assert [one["kind"] for one in first.records] == ["begin", "validation"]
    assert first.reset is False
    with log.open("a") as file:
        file.write(record("train", 5)[20:] + "no json\n" + record("train", 10, mse=float("nan")))
    second = reader.after(first.next)
    assert (steps(second.records, "train"), second.reset) == ([5, 10], False)
    assert second.records[-1]["mse"] is None, "what is no number is no JSON"
    assert reader.after(second.next).records == []


def test_a_file_that_was_written_anew_is_read_from_the_first_record(tmp_path: Path) -> None:
    log, reader = tmp_path / "metrics.jsonl", MetricsReader(tmp_path)
    log.write_text(record("validation", 0) + record("train", 5) + record("train", 10))
    seen, early = reader.after(), reader.after()
    other = tmp_path / "other"  # a run goes on after step 5: longer than before, under the same name
    other.write_text(record("validation", 0) + record("train", 5) + record("begin", 5) * 9)
    other.replace(log)
    found = reader.after(seen.next)
    assert found.reset
    assert (steps(found.records, "train"), len(found.records)) == ([5], 11)
    assert early.next == seen.next
    assert MetricsReader(tmp_path).after(found.next) == reader.after(found.next), (
        "whoever reads: a server that was restarted"
    )
    for place in ("", "3", "99-00000000", "3-0000000g", "-1-00000000"):
        assert reader.after(place).reset, place
    log.write_text(record("validation", 0))  # the same file, shorter
    assert reader.after(found.next).reset
    log.write_text(record("validation", 0, mse=2.0) + record("train", 5))  # and longer
    assert steps(reader.after().records, "train") == [5]
    assert reader.after().records[0]["mse"] == 2.0
    log.unlink()
    assert reader.after(found.next).records == []


def test_a_long_run_is_thinned_and_validations_are_not(tmp_path: Path) -> None:
    lines = [record("begin", 0)]
    for step in range(1, 5002):
        lines.append(record("train", step))
        if step % 500 == 0:
            lines.append(record("validation", step))
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + record("train", 1, stage="predictor"))
    found = MetricsReader(tmp_path).after(None, most=1000).records
    mine = [one for one in found if one["stage"] == "tokenizer"]
    assert 800 < len(steps(mine, "train")) <= 1000
    assert steps(mine, "train")[-1] == 5001
    assert steps(mine, "validation") == list(range(500, 5001, 500))
    assert len(found) == len(mine) + 1
