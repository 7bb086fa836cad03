"""Trackers are off unless named; a missing one is an error before training, a failing one costs no run."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import tiny_run
from tests.training.killing import outcome

from chandler.errors import ConfigError, TrainingError
from chandler.serving.runs import MetricsReader
from chandler.training.logging import MetricsLogger, RunProgress, StagePlan, StageResult, Tracking, require_trackers
from chandler.training.run import finetune
from chandler.training.runs import RunHistory, read_records
from chandler.training.settings import load_settings


def installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_a_missing_package_is_named_before_training(config: dict[str, Any]) -> None:
    missing = next((n for n in ("wandb", "mlflow") if not installed(n)), None)
    if missing is None:
        pytest.skip("all trackers are installed")
    with pytest.raises(ConfigError, match=rf"trackers: {missing} is not installed. Run pip install {missing}"):
        finetune({**config, "trackers": [missing]})
    assert not Path(config["out"]).exists()


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(ConfigError, match=r"wandb needs its key in the environment variable WANDB_API_KEY"):
        require_trackers(["wandb"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_trackers(["wandb", "tensorboard"])
    with pytest.raises(ConfigError, match="unknown key wandb_api_key"):
        load_settings({"out": "x", "data": {"path": "y"}, "wandb_api_key": "secret"})


def test_trackers_are_off_by_default(config: dict[str, Any]) -> None:
    settings = load_settings(config)
    assert settings.trackers == []
    with pytest.raises(ConfigError, match=r"trackers\.0"):
        load_settings({**config, "trackers": ["tensorbord"]})


def test_tensorboard_gets_what_metrics_jsonl_has(config: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config["tokenizer"]["epochs"] = config["predictor"]["epochs"] = 1
    run = finetune({**config, "trackers": ["tensorboard"]})
    events = EventAccumulator(str(run.folder / "trackers" / "chandler"))
    events.Reload()
    records = run.metrics()
    for stage, name, before in (("tokenizer", "mse", 0), ("predictor", "nll", 4)):
        found = [(e.step, e.value) for e in events.Scalars(f"{stage}/validation/{name}")]
        wanted = [(before + r["step"], r[name]) for r in records if r["stage"] == stage and r["kind"] == "validation"]
        assert [step for step, _ in found] == [step for step, _ in wanted]
        assert [value for _, value in found] == pytest.approx([value for _, value in wanted], rel=1e-6)
    assert len(events.Scalars("predictor/train/loss")) == 4
    assert [record["kind"] for record in records[:3]] == ["begin", "validation", "train"]


def test_a_stage_says_how_much_there_is_to_do_each_time_it_begins(tmp_path: Path) -> None:
    log = MetricsLogger(tmp_path)
    log.on_stage_begin(StagePlan("tokenizer", 2, 20, 160, None))
    log.on_validation({"stage": "tokenizer", "kind": "validation", "step": 0, "epoch": 0, "mse": 1.0, "best": True})
    for step in (5, 10):
        log.on_step({"stage": "tokenizer", "kind": "train", "step": step, "epoch": 1, "mse": 0.5})
    before = (tmp_path / "metrics.jsonl").stat().st_ino
    log.on_stage_begin(StagePlan("tokenizer", 2, 20, 160, 5))  # killed after step 10, saved at 5
    records = read_records(tmp_path)
    assert [(one["kind"], one["step"]) for one in records] == [
        ("begin", 0),
        ("validation", 0),
        ("train", 5),
        ("begin", 5),
    ]
    assert {key: records[-1][key] for key in ("steps", "epochs", "windows", "epoch")} == {
        "steps": 20, "epochs": 2, "windows": 160, "epoch": 0,
    }  # fmt: skip
    assert (tmp_path / "metrics.jsonl").stat().st_ino != before  # who follows it sees that it is another one
    log.on_stage_begin(StagePlan("tokenizer", 2, 20, 160, None))
    assert [(one["kind"], one["step"]) for one in read_records(tmp_path)] == [("begin", 0)]


def test_a_tracker_that_fails_is_left_out_with_a_warning() -> None:
    class Failing:
        name = "failing"

        def log(self, values: dict[str, float], step: int) -> None:
            raise OSError("no route to host")

    class Stub:
        log_with = ("failing",)
        trackers = (Failing(),)

        def init_trackers(self, project: str, config: dict[str, Any]) -> None: ...

    said: list[str] = []
    tracking = Tracking(Stub(), {"a": None}, said.append)  # type: ignore[arg-type]
    for step in (1, 2):
        tracking.on_step({"stage": "tokenizer", "kind": "train", "step": step, "loss": 1.0})
    tracking.close()
    assert said == ["tracker failing failed and is left out from here: no route to host"]


class FullDisk(RunProgress):
    """Lets files grow no further from a step on, or something stand in the way of one that is written at the end."""

    def __init__(self, folder: Path, step: int = 0, blocked: str = "") -> None:
        super().__init__()
        self.folder, self.step, self.blocked = folder, step, blocked

    def on_step(self, record: dict[str, Any]) -> None:
        if (record["stage"], record["step"]) == ("predictor", self.step):
            size = (self.folder / "metrics.jsonl").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def on_stage_end(self, stage: str, result: StageResult) -> None:
        # The first summary is that of the tokenizer's stage.
        if self.blocked and stage == ("tokenizer" if self.blocked == "summary.json" else "predictor"):
            (self.folder / self.blocked).mkdir(parents=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a run comes to that nothing stops."""
    return outcome(finetune(tiny_run(tmp_path_factory.mktemp("whole"))).folder)


def test_a_disk_that_fills_up_in_a_line_of_metrics_is_a_message_and_the_run_goes_on(
    config: dict[str, Any], whole: Any
) -> None:
    folder, limits = Path(config["out"]), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            TrainingError, match=r"metrics\.jsonl: cannot be written \(File too large\).*Make room, then go on"
        ):
            finetune(config, progress=FullDisk(folder, step=5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    text = (folder / "metrics.jsonl").read_text()
    assert not text.endswith("\n"), "half a line is left"
    last = ("predictor", "train", 5)
    for records in (read_records(folder), MetricsReader(folder).after().records):
        assert (records[-1]["stage"], records[-1]["kind"], records[-1]["step"]) == last
    assert [one["step"] for one in RunHistory.read(folder).stages[1].train] == [1, 2, 3, 4, 5]
    assert outcome(finetune(config, resume=True).folder) == whole


@pytest.mark.parametrize("blocked", ["summary.json", "predictor/model.safetensors", "predictor/exposure.json"])
def test_results_that_cannot_be_written_are_a_message_and_the_run_goes_on(
    config: dict[str, Any], whole: Any, blocked: str
) -> None:
    folder = Path(config["out"])
    with pytest.raises(
        TrainingError, match=r"run/[a-z./]+: cannot be written \(.*Make room, then go on with resume=True"
    ):
        finetune(config, progress=FullDisk(folder, blocked=blocked))
    (folder / blocked).rmdir()
    assert outcome(finetune(config, resume=True).folder) == whole
