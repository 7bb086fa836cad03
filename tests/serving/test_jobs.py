"""Jobs run as processes of their own, and what is said of them is what their files say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tests.serving.conftest import Client, launch

pytestmark = pytest.mark.usefixtures("calm")

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


@pytest.fixture
def calm(api: Client) -> Iterator[None]:
    """Nothing runs on after the test, whatever came of it."""
    yield
    for one in api.get("/jobs")["jobs"]:
        if one["state"] in ACTIVE:
            api.call("POST", f"{A}/jobs/{one['id']}/kill", {})
            until(api, one["id"], "stopped", "finished", "failed")


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


def until(api: Client, id: str, *states: str, seconds: int = 400) -> dict[str, Any]:
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
    for _ in range(2000):
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


@pytest.mark.slow
def test_a_run_is_replaced_if_so_asked(api: Client, request_: dict[str, Any], home: Path) -> None:
    first = begun(api, request_, name="twice")
    done = until(api, first["id"], "finished")
    before = (home / "runs" / "twice" / "summary.json").stat().st_mtime
    over = begun(api, request_, name="twice", flags={"overwrite": True})
    assert over["command"].endswith("--overwrite")
    assert until(api, over["id"], "finished")["run_id"] == done["run_id"]
    assert (home / "runs" / "twice" / "summary.json").stat().st_mtime > before


def test_recipes_and_the_form_of_all_settings(api: Client) -> None:
    found = api.get("/recipes")["recipes"]
    assert [one["id"] for one in found] == ["trial", "daily", "daily-lora", "intraday", "intraday-lora"]
    assert all(one["title"] and len(one["about"]) > 60 for one in found)
    for one in found:
        recipe = api.get(f"/recipes/{one['id']}")
        assert recipe["title"] == one["title"]
        for key in recipe["main"]:
            assert at(recipe["values"], key) is None or at(recipe["values"], key), key
        for key, about in properties(recipe["schema"]):
            assert not key.endswith((".path", ".revision", "tokenizer.start", "predictor.start")), key
            assert key.split(".")[0] not in ("out", "trackers"), key
            assert "$ref" not in about
        assert "YOUR" not in str(recipe["values"])
    described = dict(properties(recipe["schema"]))
    assert len(recipe["main"]) == 8
    assert described.keys() >= {*recipe["main"], "data.split.train_end", "predictor.lora.rank"}
    assert "cuda" in described["device"]["description"]
    assert described["data.split.train_end"]["description"].startswith("Last day of training")
    assert recipe["values"]["predictor"]["mode"] == "lora"
    assert api.call("GET", A + "/recipes/..%2ftrial").status == 404


def test_settings_are_checked_before_anything_begins(api: Client) -> None:
    def check(**body: Any) -> dict[str, Any]:
        found = api.call("POST", A + "/recipes/trial/check", body)
        assert found.status == 200, found.body
        return dict(found.json)

    before = api.get("/recipes/trial")
    assert before["start"] == "chandler-nano"
    assert check()["values"] == before["values"]
    assert check(overrides={"predictor.epochs": 7})["values"]["predictor"]["epochs"] == 7
    told = check(overrides={"predictor.epocs": 7})
    assert told["values"] is None
    assert "unknown key predictor.epocs (did you mean epochs?)" in told["message"]
    # A text says all settings; what it leaves out is the recipe's.
    text = check(
        text="predictor:\n  learning_rate: 3e-4\n  scoring: {windows: 8}\ndata:\n  split: {train_end: 2010-01-31}\n"
    )
    values = text["values"]
    assert (values["predictor"]["learning_rate"], values["predictor"]["scoring"]["windows"]) == (3e-4, 8)
    assert values["data"]["split"]["train_end"] == "2010-01-31"
    assert values["predictor"]["epochs"] == before["values"]["predictor"]["epochs"]
    assert "path" not in values["data"]
    assert "line 3" in check(text="predictor:\n  epochs: [1\n")["message"]
    assert "found str" in check(text="epochs")["message"]
    assert "out is set by the server" in check(text="out: /tmp/elsewhere\n")["message"]
    assert "predictor.start is set by the server" in check(text="predictor: {start: /tmp/model}\n")["message"]
    assert "greater than or equal to 1" in check(text="predictor:\n  epochs: 0\n")["message"]
    endless = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, 60))
    assert "aliases" in check(text=endless)["message"]
    assert api.call("POST", A + "/recipes/none/check", {}).status == 404
    assert api.call("POST", A + "/recipes/trial/check", {"file": "x"}).status == 422


def at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted key -> what the schema says of it."""

    def below(node: dict[str, Any], at: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, one in node.get("properties", {}).items():
            refs = [one.get("$ref"), *(each.get("$ref") for each in one.get("anyOf", ()))]
            inner = [schema["$defs"][ref.rpartition("/")[2]] for ref in refs if ref]
            if not inner:
                yield at + name, one
            for each in inner:
                yield from below(each, f"{at}{name}.")

    return below(schema, "")


def test_a_recipe_is_what_a_job_begins_with(api: Client, home: Path, request_: dict[str, Any]) -> None:
    job = begun(api, request_, name="by recipe", recipe_id="trial", overrides={"predictor.epochs": 7})
    settings = yaml.safe_load((home / "workspace" / "jobs" / job["id"] / "settings.yaml").read_text())
    assert (settings["predictor"]["epochs"], settings["data"]["lookback"], settings["tokenizer"]["epochs"]) == (
        7,
        128,
        1,
    )
    assert (settings["data"]["path"], settings["predictor"]["start"]) == ("chandler-stocks", "chandler-nano")
    assert settings["out"] == str(home / "runs" / "by-recipe")
    assert api.call("POST", f"{A}/jobs/{job['id']}/kill", {}).status == 202
    unknown = {**request_, "name": "x", "recipe_id": "none"}
    assert api.call("POST", A + "/jobs", unknown).status == 404


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
        ({"data.replay": {"path": "x"}}, "data.replay is set by the server"),
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


@pytest.mark.slow
def test_stopped_saved_and_gone_on_with(api: Client, request_: dict[str, Any], home: Path) -> None:
    job = begun(api, request_, name="long", overrides=LONG)
    waiting = begun(api, request_, name="waits", overrides=LONG)
    third = begun(api, request_, name="waits too", overrides=LONG)
    now = trained(api, job["id"], 3)
    progress = now["progress"]
    assert (progress["stage"], progress["epoch"], progress["epochs"], progress["total"]) == ("predictor", 1, 50, 12500)
    assert progress["seconds_left"] > 0
    assert [api.get(f"/jobs/{one['id']}")["position"] for one in (waiting, third)] == [1, 2]
    assert api.call("POST", f"{A}/jobs/{job['id']}/resume", {}).status == 409
    folders = len(list((home / "workspace" / "jobs").iterdir()))
    same = api.call("POST", A + "/jobs", {**request_, "name": "long", "flags": {"overwrite": True}})
    assert same.status == 409
    assert len(list((home / "workspace" / "jobs").iterdir())) == folders
    assert api.call("POST", f"{A}/jobs/{third['id']}/stop", {}).json["state"] == "stopped"
    assert api.call("POST", f"{A}/jobs/{job['id']}/stop", {}).json["state"] in ("stopping", "stopped")
    stopped = until(api, job["id"], "stopped")
    assert stopped["resumable"]
    assert api.call("POST", f"{A}/jobs/{job['id']}/stop", {}).status == 409
    trained(api, waiting["id"])
    assert api.call("POST", f"{A}/jobs/{waiting['id']}/kill", {}).status == 202
    until(api, waiting["id"], "stopped")
    assert api.call("POST", f"{A}/jobs/{job['id']}/resume", {}).json["state"] in ("queued", "running")
    further = trained(api, job["id"], progress["done"] + 4)
    # Not the hours between, and not the steps before.
    assert further["progress"]["seconds_left"] < 12500 * 60
    assert "going on after step" in log(api, job["id"])
    api.call("POST", f"{A}/jobs/{job['id']}/kill", {})
    until(api, job["id"], "stopped")


@pytest.mark.slow
def test_a_job_fails_in_the_words_of_the_command(api: Client, request_: dict[str, Any]) -> None:
    job = begun(api, request_, name="too long", overrides=TINY | {"data.lookback": 100_000})
    failed = until(api, job["id"], "failed")
    assert failed["message"]
    assert "chandler:" not in failed["message"]
    assert not failed["resumable"]


@pytest.mark.slow
def test_a_preflight_says_whether_training_can_begin(api: Client, home: Path) -> None:
    [file] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "folder"]
    assert api.call("POST", f"{A}/sources/{file}/preflight", {}).status == 409
    api.call("POST", f"{A}/sources/{file}/refresh", {})
    api.settled(file)
    body = {"lookback": 64, "horizon": 8, "split": {"train": 0.8, "val": 0.2}, "calendar": "24/7"}
    found = api.call("POST", f"{A}/sources/{file}/preflight", body)
    assert found.status == 202, found.body
    job = until(api, found.json["id"], "finished")
    assert (job["kind"], job["name"], job["run_id"]) == ("preflight", "中文.csv", None)
    result = job["result"]
    assert result["ok"] is True
    assert (result["lookback"], result["horizon"]) == (64, 8)
    assert result["symbols"][0]["rows"] == 5000
    assert f"workspace/jobs/{job['id']}/" in job["command"]
    page = api.call("GET", f"{A}/reports/{job['id']}")
    assert page.status == 200
    assert "sandbox" in page.headers["content-security-policy"]
    assert str(home).encode() not in page.body
    assert str(home) not in str(result)
    long = api.call("POST", f"{A}/sources/{file}/preflight", {"lookback": 90_000}).json
    failed = until(api, long["id"], "finished")
    assert failed["result"]["ok"] is False
    assert failed["result"]["problems"]


def test_wrong_preflights_are_said_at_once(api: Client) -> None:
    path = f"{A}/sources/{bundled(api)}/preflight"
    unknown = api.call("POST", path, {"calendar": "XNSY"})
    assert unknown.status == 422
    assert "XNYS" in unknown.json["error"]["message"]
    for body in ({"path": "/etc"}, {"lookback": 1}, {"split": {"trian": 0.5}}, {"split": {"train": 2}}):
        assert api.call("POST", path, body).status == 422, body
    assert api.call("POST", f"{A}/sources/src_0123456789ab/preflight", {}).status == 404


QUICK: dict[str, Any] = {"lookback": 32, "horizon": 4, "paths": 4}


@pytest.mark.slow
def test_an_evaluation_is_that_of_the_command(api: Client, home: Path) -> None:
    overrides = {**QUICK, "origins": 3, "calibration": "off", "baselines": ["last_close"], "device": "cpu"}
    asked = {"kind": "evaluate", "source_id": bundled(api), "model_ids": [nano(api)], "overrides": overrides}
    wrong = api.call("POST", A + "/jobs", {**asked, "name": "x", "overrides": {"horizn": 1}})
    assert (wrong.status, "did you mean horizon?" in wrong.json["error"]["message"]) == (422, True)
    for body in ({"overrides": {"models": ["/etc"]}}, {"recipe_id": "trial"}, {"source_id": None}):
        assert api.call("POST", A + "/jobs", {**asked, "name": "x", **body}).status == 422, body
    job = begun(api, asked, name="judged")
    done = until(api, job["id"], "finished")
    assert (done["run_id"], done["evaluation_id"][:3]) == (None, "ev_")
    assert (home / "runs" / "judged" / "scores.parquet").is_file()
    assert done["command"].endswith("settings.yaml --out runs/judged")
    assert api.call("POST", A + "/jobs", {**asked, "name": "judged"}).status == 409


@pytest.mark.slow
def test_an_evaluation_says_how_far_its_calibration_is(api: Client) -> None:
    overrides = {"lookback": 32, "horizon": 4, "paths": 500, "start": "2012-06-01", "origins": 3, "device": "cpu"}
    asked = {"kind": "evaluate", "source_id": bundled(api), "model_ids": [nano(api)], "overrides": overrides}
    job = begun(api, asked, name="calibrates first")
    seen = []
    while (now := api.get(f"/jobs/{job['id']}"))["state"] in ACTIVE:
        progress = now["progress"]
        if progress and progress["stage"] and progress["stage"].startswith("Calibrating"):
            seen.append((progress["stage"], progress["done"], progress["total"]))
            if progress["total"]:
                break
        time.sleep(0.2)
    stage = "Calibrating chandler-nano on the bars before"
    assert seen[0] == (stage, 0, None), log(api, job["id"])
    assert seen[-1][0] == stage
    assert 0 < seen[-1][1] < seen[-1][2]


@pytest.mark.slow
def test_a_backtest_and_a_calibration(api: Client, home: Path) -> None:
    overrides = QUICK | {
        "every": 40,
        "random": 2,
        "momentum": None,
        "reversal": None,
        "portfolio.k": 2,
        "portfolio.n_drop": 1,
    }
    asked = {"kind": "backtest", "source_id": bundled(api), "model_ids": [nano(api)], "overrides": overrides}
    assert api.call("POST", A + "/jobs", {**asked, "name": "x", "model_ids": []}).status == 422
    assert api.call("POST", A + "/jobs", {**asked, "name": "x", "overrides": {"signals": "/etc"}}).status == 422
    first = begun(api, asked, name="traded")
    numbers = {"lookback": 32, "horizon": 4, "origins": 30, "paths": 20}
    fit = {"kind": "calibrate", "source_id": bundled(api), "model_ids": [nano(api)], "overrides": numbers}
    wrong = api.call("POST", A + "/jobs", {**fit, "name": "x", "overrides": {"pahts": 20}})
    assert (wrong.status, "did you mean paths?" in wrong.json["error"]["message"]) == (422, True)
    second = begun(api, fit, name="calibrated")
    done = until(api, first["id"], "finished")
    assert done["evaluation_id"]
    assert (home / "runs" / "traded" / "summary.json").is_file()
    done = until(api, second["id"], "finished")
    assert (home / "runs" / "calibrated" / "calibration.json").is_file()
    [copy] = [one for one in api.get("/models")["models"] if one["id"] == done["model_id"]]
    assert (copy["name"], copy["calibrated"]) == ("calibrated", True), "a model of its own"
    assert first["model_id"] is None


@pytest.mark.slow
def test_a_run_is_calibrated_on_its_own_bars_though_they_were_read_anew(api: Client, home: Path) -> None:
    [file] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "folder"]
    api.call("POST", f"{A}/sources/{file}/refresh", {})
    api.settled(file)
    asked = {
        "kind": "finetune",
        "source_id": file,
        "model_ids": [nano(api)],
        "overrides": TINY | {"data.split.train": 0.8, "data.split.val": 0.2},
    }
    until(api, begun(api, asked, name="own")["id"], "finished")
    api.call("POST", f"{A}/sources/{file}/refresh", {})
    api.settled(file)
    [model] = [one["id"] for one in api.get("/models")["models"] if one["name"] == "own"]
    job = begun(
        api, {"kind": "calibrate", "model_ids": [model], "overrides": {"origins": 40, "paths": 20}}, name="own bars"
    )
    done = until(api, job["id"], "finished")
    assert done["command"].startswith("chandler calibrate runs/own ")
    assert (home / "runs" / "own" / "calibration.json").is_file()
    [found] = [one for one in api.get("/models")["models"] if one["id"] == model]
    assert (done["model_id"], found["calibrated"]) == (model, True), "known as soon as the job has ended"


def processes(id: str) -> list[psutil.Process]:
    """The supervisor of a job and its command, in this order."""
    found = [one for one in psutil.process_iter(["cmdline"]) if any(id in word for word in one.info["cmdline"] or ())]
    return sorted(found, key=lambda one: "chandler.serving.jobs.supervise" not in one.info["cmdline"])


def records(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what the clock says."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = [one for one in found if one["kind"] != "begin"]
    return [{key: value for key, value in one.items() if key not in ("time", "windows_per_second")} for one in kept]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Client]:
    """A server that may be killed."""
    one = launch(tmp_path, "--jobs")
    yield one
    one.process.kill()
    one.process.wait()


@pytest.mark.slow
def test_killed_servers_and_killed_jobs_lose_nothing(tmp_path: Path, alone: Client) -> None:
    """Server and job killed in turn: in the end the same weights and records as of a run that nobody touched."""
    settings = TINY | {
        "data.windows_per_epoch": 160,
        "predictor.epochs": 12,
        "predictor.save_every": 3,
        "tokenizer.enabled": True,
        "tokenizer.epochs": 1,
    }
    asked = {"kind": "finetune", "source_id": bundled(alone), "model_ids": [nano(alone)], "overrides": settings}
    whole = begun(alone, asked, name="whole")
    until(alone, whole["id"], "finished", seconds=400)

    job, waits = begun(alone, asked, name="killed"), begun(alone, asked, name="waits")
    trained(alone, job["id"], 3)
    alone.process.kill()
    alone.process.wait()
    supervisor, command = processes(job["id"])
    assert (supervisor.nice(), command.nice()) == (5, 5)
    assert alone.token not in str(command.environ())
    again = launch(tmp_path, "--jobs")
    try:
        assert again.get(f"/jobs/{job['id']}")["state"] == "running"
        assert again.get(f"/jobs/{waits['id']}")["position"] == 1
        begins = len(log(again, job["id"]))
        trained(again, job["id"], 6)
        for one in (supervisor, command):
            one.kill()
        lost = until(again, job["id"], "lost")
        assert lost["resumable"]
        assert lost["message"]
        assert len(log(again, job["id"])) >= begins
        # Those that wait go on; this one waits its turn.
        trained(again, waits["id"], 1)
        assert again.call("POST", f"{A}/jobs/{job['id']}/resume", {}).json["position"] == 1
        assert again.call("POST", f"{A}/jobs/{waits['id']}/stop", {}).status == 202
        until(again, waits["id"], "stopped")
        trained(again, job["id"], 1)
        # The supervisor alone: its command saves and leaves.
        supervisor, command = processes(job["id"])
        supervisor.kill()
        command.wait(60)
        until(again, job["id"], "lost")
        assert again.call("POST", f"{A}/jobs/{job['id']}/resume", {}).status == 202
        until(again, job["id"], "finished", seconds=400)
        runs = tmp_path / "runs"
        for part in ("tokenizer", "predictor"):
            file = Path(part) / "model.safetensors"
            assert (runs / "killed" / file).read_bytes() == (runs / "whole" / file).read_bytes()
        assert records(runs / "killed") == records(runs / "whole")
        assert again.call("POST", f"{A}/jobs/{waits['id']}/kill", {}).status == 409
    finally:
        again.process.kill()
        again.process.wait()
        for one in processes(str(tmp_path)):
            one.kill()


@pytest.mark.slow
def test_a_command_that_the_system_kills_has_failed_and_can_be_gone_on_with(
    api: Client, request_: dict[str, Any]
) -> None:
    job = begun(api, request_, name="out of memory", overrides=LONG)
    trained(api, job["id"], 2)
    processes(job["id"])[1].kill()
    failed = until(api, job["id"], "failed")
    assert "memory" in failed["message"]
    assert failed["resumable"]
