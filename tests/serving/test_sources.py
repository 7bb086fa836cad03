"""Bars over the API: listed, uploaded, asked about, cut into candles, never more than what was offered."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import shutil
import zipfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from tests.serving.conftest import Client, awaited, bars, heard

from chandler.data import load_bars, prepare
from chandler.serving.errors import NO_ROOM, Refusal, install
from chandler.serving.sources import CoarserBars, ReadingSettings, Source, SourceRegistry, row_at, summary
from chandler.serving.sources.reading import read_into
from chandler.serving.workspace import Workspace, fresh_id, write_json

A = "/api/v1"


def _upload(api: Client, name: str, body: bytes) -> dict[str, object]:
    sent = api.call("POST", f"{A}/uploads?name={quote(name)}", body)
    assert sent.status == 201, sent.body
    assert sent.json["bytes"] == len(body)
    return api.settled(sent.json["source_id"])


@pytest.fixture(scope="module")
def chinese(api: Client) -> dict[str, object]:
    [one] = [found for found in api.get("/sources")["sources"] if found["kind"] == "folder"]
    assert api.call("POST", f"{A}/sources/{one['id']}/refresh").status == 202
    return api.settled(one["id"])


def test_a_file_is_read_when_it_is_asked_for(tmp_path: Path, offered: Path) -> None:
    with Workspace(tmp_path / "workspace").held():
        registry = SourceRegistry(Workspace(tmp_path / "workspace"), (offered,), 1, lambda source: None)
        assert [(one.kind, one.state) for one in registry.list()] == [("bundled", "ready"), ("folder", "new")]


@pytest.mark.parametrize("place", ["chandler-studio", "."])
def test_what_the_server_keeps_is_not_offered_as_bars(place: str, tmp_path: Path) -> None:
    """`--data .`, as the images have it."""
    workspace, mine = Workspace(tmp_path / place), {"A.csv", "runs-of-2024.csv", "mine/forecasts/B.csv"}
    kept = ("uploads/x/U.csv", "forecasts/fc_1/paths.parquet", "journal/entries/J.parquet", "stores/s/store.json")
    for file in (*mine, "runs/ev/scores.parquet", *(f"{place}/{name}" for name in kept)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    for again in range(2):
        registry = SourceRegistry(workspace, (tmp_path,), 1, lambda source: None, tmp_path / "runs")
        assert {one.name for one in registry.list() if one.kind == "folder"} == mine, again
    own = SourceRegistry(workspace, (tmp_path / "runs",), 1, lambda source: None, tmp_path / "runs")
    assert [one.name for one in own.list()][1:] == ["ev/scores.parquet"], "who asks for it has it"


def test_only_files_of_bars_below_the_folder_are_offered(
    api: Client, chinese: dict[str, object], offered: Path
) -> None:
    found = api.get("/sources")["sources"]
    assert [(one["name"], one["kind"]) for one in found if one["kind"] != "upload"] == [
        ("chandler-stocks", "bundled"),
        ("中文.csv", "folder"),
    ]
    assert chinese["state"] == "ready"
    assert (chinese["rows"], chinese["symbols"], chinese["step_seconds"], chinese["zone"]) == (5000, 1, 3600, None)
    assert str(offered) not in str(found)


def test_candles_are_the_bars_and_coarser_ones_do_not_move(api: Client, chinese: dict[str, object]) -> None:
    truth = bars(5000)
    seconds = truth["timestamp"].to_numpy().astype("M8[s]").astype(int)
    path = f"/sources/{chinese['id']}/bars?symbol={quote('中文')}"
    last = api.get(f"{path}&limit=600")
    assert last["time"] == seconds[-600:].tolist()
    assert last["close"] == pytest.approx(truth["close"].to_numpy()[-600:], rel=1e-6)
    assert (last["every"], last["more_before"], last["more_after"]) == (1, True, False)
    whole = api.get(f"{path}&from={seconds[0]}&to={seconds[-1]}&limit=1000")
    assert whole["every"] == 8
    assert len(whole["time"]) == 625
    groups = np.arange(5000) // 8
    assert whole["high"] == pytest.approx(truth["high"].groupby(groups).max(), rel=1e-6)
    assert whole["volume"] == pytest.approx(truth["volume"].groupby(groups).sum(), rel=1e-6)
    assert whole["open"] == pytest.approx(truth["open"].groupby(groups).first(), rel=1e-6)
    # A view that begins elsewhere has the same candles where they overlap.
    part = api.get(f"{path}&from={seconds[1003]}&to={seconds[-1]}&limit=500")
    assert part["every"] == 8
    assert set(part["time"]) <= set(whole["time"])
    coarse = api.get(f"{path}&interval=1D&limit=50")
    assert coarse["step_seconds"] == 86400
    assert all(moment % 86400 == 0 for moment in coarse["time"])


def test_what_is_asked_wrongly_is_said(api: Client, chinese: dict[str, object]) -> None:
    path = f"{A}/sources/{chinese['id']}/bars"
    unknown = api.call("GET", f"{path}?symbol=XX")
    assert unknown.status == 422
    assert unknown.json["error"]["message"].startswith("XX: no such symbol among 1")
    assert api.call("GET", f"{path}?symbol={quote('中文')}&limit=9999").status == 422
    assert api.call("GET", f"{path}?symbol={quote('中文')}&interval=7min").json["error"]["code"] == "data"
    assert api.call("GET", f"{A}/sources/src_000000000000").status == 404
    assert api.call("GET", f"{A}/sources/..%2f..%2fetc").status == 404


def test_a_question_of_the_reader_is_answered_by_its_options(api: Client) -> None:
    frame = bars(24 * 12)
    frame["timestamp"] = frame["timestamp"].dt.strftime("%m/%d/%Y %H:%M")
    frame = frame[frame["timestamp"].str[3:5].astype(int) <= 12]
    found = _upload(api, "odd dates.csv", frame.to_csv(index=False).encode())
    assert found["state"] == "question", found
    assert "date_format" in found["question"]["options"]  # type: ignore[index]
    assert "/" + "tmp" not in str(found["message"])
    sent = api.call("PATCH", f"{A}/sources/{found['id']}", {"date_format": "%m/%d/%Y %H:%M"})
    assert sent.status == 202
    assert api.settled(str(found["id"]))["state"] == "ready"
    assert api.call("PATCH", f"{A}/sources/{found['id']}", {"out": "/etc"}).status == 422
    assert api.call("DELETE", f"{A}/sources/{found['id']}").status == 204
    assert api.call("GET", f"{A}/sources/{found['id']}").status == 404


def test_names_are_text_and_never_places(api: Client) -> None:
    body = bars(50).to_csv(index=False).encode()
    found = _upload(api, "../../<img src=x onerror=alert(1)>.csv", body)
    assert found["state"] == "ready"
    assert found["name"] == "../../<img src=x onerror=alert(1)>.csv"
    [symbol] = api.get(f"/sources/{found['id']}/symbols")["symbols"]
    assert symbol["symbol"] == "img srcx onerroralert1"
    assert api.call("POST", f"{A}/uploads?name=program.exe", body).status == 415
    assert api.call("DELETE", f"{A}/sources/{found['id']}").status == 204


def test_who_listens_hears_of_a_source_until_it_is_gone(api: Client) -> None:
    stream = api.listen()
    found = _upload(api, "gone soon.csv", bars(50).to_csv(index=False).encode())
    assert api.call("DELETE", f"{A}/sources/{found['id']}").status == 204
    lines = heard(stream, "deleted")
    stream.close()
    told = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    assert [one["state"] for one in told if one.get("id") == found["id"]] == ["reading", "ready", "deleted"]


def test_what_is_too_large_is_refused_and_leaves_nothing(api: Client, chinese: dict[str, object]) -> None:
    uploads = api.log.parent / "workspace" / "uploads"
    before = sorted(uploads.iterdir())
    packed = gzip.compress(b"0" * (30 << 20))
    assert len(packed) < 1 << 20
    bomb = api.call("POST", f"{A}/uploads?name=b.csv.gz", packed)
    assert bomb.status == 413
    assert "unpack" in bomb.json["error"]["message"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b.csv", b"0" * (30 << 20))
    assert api.call("POST", f"{A}/uploads?name=b.zip", archive.getvalue()).status == 413
    # By first bytes, whatever they are called; and a Parquet file of one value a million times.
    assert api.call("POST", f"{A}/uploads?name=b.csv", packed).status == 413
    same = io.BytesIO()
    pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), np.ones(1_000_000))).to_parquet(same)
    assert len(same.getvalue()) < 1 << 20
    assert api.call("POST", f"{A}/uploads?name=b.parquet", same.getvalue()).status == 413
    assert api.call("POST", f"{A}/uploads?name=b.csv", b"x" * ((2 << 20) + 1)).status == 413
    assert api.call("POST", f"{A}/uploads?name=b.csv", b"").status in (415, 422)
    assert sorted(uploads.iterdir()) == before


def test_damaged_files_and_long_names_are_taken_in(api: Client) -> None:
    whole = bytearray(gzip.compress(bars(200).to_csv(index=False).encode()))
    whole[40:200] = bytes(160)
    found = _upload(api, "damaged.csv.gz", bytes(whole))
    assert (found["state"], api.call("DELETE", f"{A}/sources/{found['id']}").status) == ("failed", 204)
    found = _upload(api, "\U00020000" * 64 + ".csv", bars(50).to_csv(index=False).encode())
    assert (found["state"], api.call("DELETE", f"{A}/sources/{found['id']}").status) == ("ready", 204)


def test_a_start_removes_uploads_that_were_cut_and_nothing_else(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    with workspace.held():
        cut, kept, other = (workspace.folder / "uploads" / name for name in (fresh_id("src"), fresh_id("src"), "mine"))
        for folder in (cut, kept, other):
            folder.mkdir()
            (folder / "A.csv").touch()

        def start() -> SourceRegistry:
            return SourceRegistry(workspace, (), 1, lambda source: None)

        start()
        assert cut.is_dir()  # without records nobody knows whose it is
        record = {"name": "A.csv", "kind": "upload", "path": str(kept / "A.csv"), "state": "reading", "message": None}
        record |= {"store": None, "notes": [], "options": {}, "changed": 1.0}
        write_json(workspace.folder / "sources.json", {"sources": {kept.name: record}})
        registry = start()
        assert (cut.exists(), kept.is_dir(), other.is_dir()) == (False, True, True)
        assert registry.get(kept.name).state == "new"
        registry._save()
        assert start().get(kept.name).path == kept / "A.csv"


def test_a_reading_that_takes_too_much_memory_ends_in_one_message(tmp_path: Path) -> None:
    bars(50).to_csv(tmp_path / "x.csv", index=False)
    store = tmp_path / "x.store"
    told = awaited(read_into(tmp_path / "x.csv", store, ReadingSettings(), memory=16 << 20))
    assert told == (
        "The file needs more memory than a reading may take, or the reader was killed. Split it, or prepare it in a shell.",
        [],
    )
    assert awaited(read_into(tmp_path / "x.csv", store, ReadingSettings()))[0] is None


def test_what_was_not_uploaded_is_not_removed(api: Client, chinese: dict[str, object], offered: Path) -> None:
    assert api.call("DELETE", f"{A}/sources/{chinese['id']}").status == 409
    assert (offered / "中文.csv").is_file()


def test_daily_bars_have_their_dates(api: Client) -> None:
    [bundled] = [one for one in api.get("/sources")["sources"] if one["kind"] == "bundled"]
    found = api.get(f"/sources/{bundled['id']}/bars?symbol=IBM&limit=10")
    dates = load_bars("chandler-stocks")["IBM"].timestamps[-10:]
    assert found["time"] == [int(pd.Timestamp(one.date()).timestamp()) for one in dates]
    assert api.get(f"/sources/{bundled['id']}/symbols?q=go")["symbols"][0]["symbol"] == "GOOG"


def test_the_last_few_coarser_bars_are_kept(tmp_path: Path) -> None:
    with Workspace(tmp_path / "workspace").held():
        registry = SourceRegistry(Workspace(tmp_path / "workspace"), (), 1, lambda source: None)
        [bundled] = registry.list()
        kept, other = CoarserBars(registry), CoarserBars(registry)
        first = kept.store(bundled.id, "IBM", "2D")
        assert kept.store(bundled.id, "IBM", "2D") is first
        assert other.store(bundled.id, "IBM", "2D") is not first
        for days in range(3, 11):
            kept.store(bundled.id, "IBM", f"{days}D")
        again = kept.store(bundled.id, "IBM", "2D")
        assert again is not first
        assert (again["IBM"].values == first["IBM"].values).all()


def test_a_prepared_store_that_grew_is_as_it_is_now(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "A.csv"
    data.mkdir()
    told: list[Source] = []
    registry = SourceRegistry(Workspace(tmp_path / "workspace"), (data,), 1, told.append)
    for rows in (300, 400):
        bars(400)[:rows].to_csv(file, index=False)
        prepare(file, data / "q.store")
        os.utime(data / "q.store" / "store.json", (rows, rows))
        [one] = [source for source in registry.list() if source.kind == "folder"]
        assert registry.store(one.id).rows == rows
        found = summary(registry, one)
        assert (found["state"], found["rows"], found["changed"]) == ("ready", rows, rows)
    assert registry.read(one.id) == one
    assert told == [one]
    with pytest.raises(Refusal, match="prepared store"):
        registry.read(one.id, ReadingSettings(unsorted="sort"))
    shutil.rmtree(data / "q.store")
    assert summary(registry, one)["state"] == "failed"


def test_a_reading_that_cannot_even_begin_has_failed(tmp_path: Path) -> None:
    for odd in ({"timezone": "a\0b"}, {"columns": {"close": "x" * 200_000}}, {"columns": {"a\nb": "x"}}):
        with pytest.raises(ValidationError):
            ReadingSettings(**odd)
    workspace, data = Workspace(tmp_path / "workspace"), tmp_path / "data"
    data.mkdir()
    (data / "A.csv").touch()

    async def read(registry: SourceRegistry, id: str) -> Source:
        registry.read(id, ReadingSettings.model_construct(timezone="a\0b"))
        for _ in range(500):
            if registry.get(id).state != "reading":
                break
            await asyncio.sleep(0.01)
        return registry.get(id)

    with workspace.held():
        registry = SourceRegistry(workspace, (data,), 1, lambda source: None)
        [id] = [one.id for one in registry.list() if one.kind == "folder"]
        found = awaited(read(registry, id))
        assert (found.state, found.message) == (
            "failed",
            "It could not be read (ValueError); the server's log says more.",
        )
        # What was given before such options were refused keeps no server from starting.
        again = SourceRegistry(workspace, (data,), 1, lambda source: None).get(id)
        assert (again.state, again.options) == ("failed", ReadingSettings())


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    app = FastAPI()
    sent: list[MutableMapping[str, Any]] = []
    install(app)

    @app.get("/full")
    async def full() -> None:
        Path("/dev/full").write_text("what a request leaves on the disk")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/full", "query_string": b"", "headers": []}
    awaited(app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["message"] == NO_ROOM
    # Whoever listens hears of a source that cannot be written down.
    states: list[str] = []
    workspace, data = Workspace(tmp_path / "workspace"), tmp_path / "data"
    data.mkdir()
    bars(50).to_csv(data / "A.csv")

    async def read(registry: SourceRegistry, id: str) -> None:
        with pytest.raises(IsADirectoryError):
            registry.read(id)
        while registry.get(id).state == "reading":
            await asyncio.sleep(0.05)

    with workspace.held():
        registry = SourceRegistry(workspace, (data,), 1, lambda source: states.append(source.state))
        [id] = [one.id for one in registry.list() if one.kind == "folder"]
        (workspace.folder / "sources.json").mkdir()
        awaited(read(registry, id))
    assert states == ["reading", "ready"]


def test_the_span_of_a_source_is_that_of_its_chart(tmp_path: Path) -> None:
    days = bars(400, "2020-01-01", "1D")
    for name, frame in (("A", days[200:201]), ("B", days), ("C", days[:300])):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    data = tmp_path / "data"
    prepare(tmp_path, data / "q.store", timezone="Asia/Shanghai")
    registry = SourceRegistry(Workspace(tmp_path / "workspace"), (data,), 1, lambda source: None)
    [one] = [source for source in registry.list() if source.kind == "folder"]
    found = summary(registry, one)
    dates = [int(pd.Timestamp(moment).timestamp()) for moment in days["timestamp"].iloc[[0, -1]]]
    assert [found["first"], found["last"], found["step_seconds"]] == [*dates, 86400]
    store = registry.store(one.id)
    for far in (2**34, -(2**33), 9_223_372_036):
        assert row_at(store, 1, far, 86400) == row_at(store, 1, far, 3600) == (400 if far > 0 else 0)
