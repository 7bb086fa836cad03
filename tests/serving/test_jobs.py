"""Jobs run as processes of their own, and what is said of them is what their files say."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving.conftest import Client, launch

A = "/api/v1"
ACTIVE = ("queued", "running", "stopping")
TINY = {
    "device": "cpu", "log_every": 1, "data.lookback": 32, "data.horizon": 4, "data.windows_per_epoch": 64, "data.validation_stride": 400,
    "tokenizer.enabled": False, "predictor.epochs": 1, "predictor.batch_size": 16,
}  # fmt: skip
"""A finetuning that lasts seconds."""
LONG = TINY | {"data.windows_per_epoch": 4000, "predictor.epochs": 50, "predictor.save_every": 5}
"""One that lasts until it is stopped."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def api(home: Path, offered: Path) -> Iterator[Client]:
    one = launch(home, "--jobs", "--data", str(offered))
    yield one
    one.process.kill()
    one.process.wait()
    for left in psutil.process_iter(["cmdline"]):
        if any(str(home) in word for word in left.info["cmdline"] or ()):
            left.kill()


@pytest.fixture(scope="module")
def request_(api: Client) -> dict[str, Any]:
    """A finetuning that lacks nothing but a name."""
    return {"kind": "finetune", "source_id": bundled(api), "model_ids": [nano(api)], "overrides": TINY}


def bundled(api: Client) -> str:
    [found] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "bundled"]
    return str(found)


def nano(api: Client) -> str:
    [found] = [one["id"] for one in api.get("/models")["models"] if one["kind"] == "bundled"]
    return str(found)


def begun(api: Client, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = api.call("POST", A + "/jobs", body | more)
    assert found.status == 201, found.body
    job: dict[str, Any] = found.json
    return job


def until(api: Client, id: str, *states: str, seconds: int = 180) -> dict[str, Any]:
    """The job once it is in one of these states."""
    for _ in range(seconds * 5):
        job: dict[str, Any] = api.get(f"/jobs/{id}")
        if job["state"] in states:
            return job
        assert job["state"] in ACTIVE, (job, log(api, id))
        time.sleep(0.2)
    raise AssertionError((job, log(api, id)))


def trained(api: Client, id: str, steps: int = 1) -> dict[str, Any]:
    """The job once it has done so many steps."""
    for _ in range(900):
        job: dict[str, Any] = api.get(f"/jobs/{id}")
        assert job["state"] in ACTIVE, (job, log(api, id))
        if job["progress"] and job["progress"]["done"] >= steps:
            return job
        time.sleep(0.2)
    raise AssertionError((job, log(api, id)))


def log(api: Client, id: str) -> str:
    return "\n".join(api.get(f"/jobs/{id}/log")["lines"])


def test_a_finetuning_from_order_to_model(api: Client, request_: dict[str, Any], home: Path) -> None:
    job = begun(api, request_, name="first run")
    assert job["state"] in ("queued", "running")
    assert job["command"] == f"chandler finetune workspace/jobs/{job['id']}/settings.yaml --out runs/first-run"
    done = until(api, job["id"], "finished")
    assert done["ended"] >= done["started"] >= done["created"] > 0
    assert (done["message"], done["progress"], done["position"], done["resumable"]) == (None, None, None, False)
    assert (home / "runs" / "first-run" / "predictor" / "model.safetensors").is_file()
    assert "Report: " in log(api, job["id"])
    assert str(home) not in log(api, job["id"])
    assert api.get("/jobs")["jobs"][0] == done
    first = api.get(f"/jobs/{job['id']}/log")
    assert api.get(f"/jobs/{job['id']}/log?after={first['next']}")["lines"] == []
    assert api.get(f"/jobs/{job['id']}/log?after={first['next'] + 1}") == {**first, "reset": True}
    # The folder is taken now.
    again = api.call("POST", A + "/jobs", {**request_, "name": "first run"})
    assert again.status == 409
    assert "first-run" in again.json["error"]["message"]
    over = begun(api, request_, name="first run", flags={"overwrite": True})
    assert over["command"].endswith("--overwrite")
    assert until(api, over["id"], "finished")["run_id"] == done["run_id"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"predictor.epocs": 1}, "did you mean epochs?"),
        ({"predictor": {"epochs": 0}}, "predictor.epochs"),
        ({"data.lookback": "many"}, "data.lookback"),
        ({"data..lookback": 1}, "data..lookback"),
        ({"data.path": "/etc"}, "data.path is set by the server"),
        ({"data": {"path": "/etc"}}, "data.path is set by the server"),
        ({"data. path": "/etc"}, "data.path is set by the server"),
        ({"data.replay": {"path": "x"}}, "data.replay.path is set by the server"),
        ({"out": "x"}, "out is set by the server"),
        ({"tokenizer.start": "random"}, "tokenizer.start is set by the server"),
        ({"predictor.revision": "x"}, "predictor.revision is set by the server"),
        ({"trackers": ["wandb"]}, "trackers is set by the server"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_queued(
    api: Client, request_: dict[str, Any], overrides: dict[str, Any], told: str
) -> None:
    before = api.get("/jobs")
    found = api.call("POST", A + "/jobs", {**request_, "name": "wrong", "overrides": overrides})
    assert found.status == 422, found.body
    assert told in found.json["error"]["message"]
    assert api.get("/jobs") == before


def test_names_and_ids_are_no_places(api: Client, request_: dict[str, Any]) -> None:
    for name in ("../x", "a/b", "", ".hidden", "x" * 65, "a\\b", "-x"):
        assert api.call("POST", A + "/jobs", {**request_, "name": name}).status == 422, name
    for id in ("job_0123456789ab", "job_", "..", "%2e%2e"):
        assert api.call("GET", f"{A}/jobs/{id}").status == 404
        assert api.call("GET", f"{A}/jobs/{id}/log").status == 404
    unknown = {**request_, "name": "x", "source_id": "src_0123456789ab"}
    assert api.call("POST", A + "/jobs", unknown).status == 404


def test_stopped_saved_and_gone_on_with(api: Client, request_: dict[str, Any]) -> None:
    job = begun(api, request_, name="long", overrides=LONG)
    waiting = begun(api, request_, name="waits", overrides=LONG)
    third = begun(api, request_, name="waits too", overrides=LONG)
    now = trained(api, job["id"], 3)
    progress = now["progress"]
    assert (progress["stage"], progress["epoch"], progress["epochs"], progress["total"]) == ("predictor", 1, 50, 12500)
    assert progress["seconds_left"] > 0
    assert [api.get(f"/jobs/{one['id']}")["position"] for one in (waiting, third)] == [1, 2]
    assert api.call("POST", f"{A}/jobs/{job['id']}/resume", {}).status == 409
    same = api.call("POST", A + "/jobs", {**request_, "name": "long", "flags": {"overwrite": True}})
    assert same.status == 409
    assert api.call("POST", f"{A}/jobs/{third['id']}/stop", {}).json["state"] == "stopped"
    assert api.call("POST", f"{A}/jobs/{job['id']}/stop", {}).json["state"] in ("stopping", "stopped")
    stopped = until(api, job["id"], "stopped")
    assert stopped["resumable"]
    assert api.call("POST", f"{A}/jobs/{job['id']}/stop", {}).status == 409
    trained(api, waiting["id"])
    assert api.call("POST", f"{A}/jobs/{waiting['id']}/kill", {}).status == 202
    until(api, waiting["id"], "stopped")
    assert api.call("POST", f"{A}/jobs/{job['id']}/resume", {}).json["state"] in ("queued", "running")
    further = trained(api, job["id"], progress["done"] + 1)
    # Not the hours between, and not the steps before.
    assert further["progress"]["seconds_left"] < 12500 * 60
    assert "going on after step" in log(api, job["id"])
    api.call("POST", f"{A}/jobs/{job['id']}/kill", {})
    until(api, job["id"], "stopped")


def test_a_job_fails_in_the_words_of_the_command(api: Client, request_: dict[str, Any]) -> None:
    job = begun(api, request_, name="too long", overrides=TINY | {"data.lookback": 100_000})
    failed = until(api, job["id"], "failed")
    assert failed["message"]
    assert "chandler:" not in failed["message"]
    assert not failed["resumable"]


def test_a_server_without_jobs_says_so(tmp_path: Path) -> None:
    one = launch(tmp_path)
    try:
        assert one.get("/system")["jobs"] is False
        found = one.call("GET", A + "/jobs")
        assert found.status == 404
        assert "--jobs" in found.json["error"]["message"]
    finally:
        one.process.kill()
        one.process.wait()


def processes(home: Path, id: str) -> list[psutil.Process]:
    """The supervisor of a job and its command."""
    return [one for one in psutil.process_iter(["cmdline"]) if any(id in word for word in one.info["cmdline"] or ())]
