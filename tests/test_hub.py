"""Repositories: what is downloaded and from where, what is pushed, and that it comes back the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from chandler import CheckpointError, Forecaster, Kronos, KronosTokenizer
from chandler.training.runs.lineage import Known, Seen, known, write_record
from tests.hub import READER, WRITER, Hub, commit_id, run

LOAD = "with told(): print('loaded', {cls}.from_pretrained({given}).config.d_model)\n"


COMMIT = commit_id(1)
"""Of the files that `Hub.add` adds."""


def load(given: str, cls: str = "Kronos") -> str:
    return LOAD.format(cls=cls, given=given)


def checkpoint(folder: Path, prefix: str = "") -> dict[str, bytes]:
    return {prefix + p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def hub(golden: Path) -> Iterator[Hub]:
    """With owner/model: a predictor."""
    made = Hub()
    made.add("owner/model", checkpoint(golden / "predictor"))
    yield made
    made.close()


def test_what_cannot_be_reached_says_so_and_what_to_do(tmp_path: Path) -> None:
    (text,) = run(load("'NeoQuasar/Kronos-small'"), tmp_path, HF_HUB_OFFLINE="1")
    assert text.startswith(
        "CheckpointError: NeoQuasar/Kronos-small: there is no such folder, https://huggingface.co could"
    )
    assert "(offline mode is on (HF_HUB_OFFLINE))" in text
    assert "local folder" in text
    assert "HF_ENDPOINT" in text


def test_a_mirror_is_used_kept_in_the_cache_and_then_enough_offline(hub: Hub, tmp_path: Path) -> None:
    script = load("'owner/model'") + load(f"'owner/model', revision={COMMIT!r}")
    assert run(script, tmp_path, HF_ENDPOINT=hub.address) == ["loaded 32"] * 2
    assert "GET /api/models/owner/model/revision/main" in hub.asked
    # Every file of that commit, so that a push in between cannot give half of each.
    given = [request for request in hub.asked if request.startswith("GET /owner/model/resolve/")]
    assert sorted(given) == [
        f"GET /owner/model/resolve/{COMMIT}/{name}" for name in ("config.json", "model.safetensors")
    ]
    assert (tmp_path / "hub" / "models--owner--model").is_dir()
    assert run(load("'owner/model'"), tmp_path, HF_HUB_OFFLINE="1") == ["loaded 32"]


def test_what_is_absent_is_named(hub: Hub, tmp_path: Path, golden: Path) -> None:
    hub.add("owner/empty", {"README.md": b""})
    hub.add("owner/half", {"config.json": (golden / "predictor" / "config.json").read_bytes()})
    script = "".join(
        map(load, ("'owner/other'", "'owner/model', revision='absent'", "'owner/empty'", "'owner/half'", "'owner/model', subfolder='x'"))
    ) + load("'owner/model'", "KronosTokenizer")  # fmt: skip
    said = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert f"{hub.address} has no such repository, or it is private" in said[0]
    assert said[1] == f"CheckpointError: owner/model: there is no revision 'absent' at {hub.address}."
    assert "the repository exists but has no config.json and no predictor/config.json" in said[2]
    assert said[3] == "CheckpointError: owner/half: it has config.json but no model.safetensors."
    assert "has no x/config.json" in said[4]
    assert "owner/model is a predictor, not a tokenizer: load it with Kronos.from_pretrained" in said[5]


def test_the_client_s_keywords_mean_what_they_mean_there(hub: Hub, tmp_path: Path, golden: Path) -> None:
    hub.add("owner/secret", checkpoint(golden / "predictor", "deep/"), private=True)
    script = "".join(
        load(given)
        for given in (
            "'owner/model', local_files_only=True",
            "'owner/model', cache_dir='elsewhere'",
            "'owner/model', local_files_only=True",
            "'owner/model', local_files_only=True, cache_dir='elsewhere'",
            "'owner/model', force_download=True, cache_dir='elsewhere'",
            "'owner/secret', subfolder='deep'",
            f"'owner/secret', subfolder='deep', token={READER!r}",
        )
    )
    said = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert "could not be reached (local_files_only is set)" in said[0]
    assert said[1] == "loaded 32"
    assert "local_files_only is set" in said[2], "it lies in the other cache"
    assert said[3:5] == ["loaded 32"] * 2
    assert "no such repository, or it is private" in said[5]
    assert said[6] == "loaded 32"
    assert (tmp_path / "elsewhere" / "models--owner--model").is_dir()
    assert hub.asked.count(f"GET /owner/model/resolve/{COMMIT}/config.json") == 2, "once, and once by force"


def front_matter(card: bytes) -> dict[str, object]:
    _, head, _ = card.decode().split("---\n", 2)
    return yaml.safe_load(head)


def test_a_pushed_model_is_one_commit_with_a_card_and_comes_back(hub: Hub, tmp_path: Path, golden: Path) -> None:
    script = (
        f"model = Kronos.from_pretrained({str(golden / 'predictor')!r})\n"
        f"print(model.push_to_hub('me/mine', token={WRITER!r}, private=True, base_model='owner/model'))\n"
        + load(f"'me/mine', token={READER!r}")
        + f"model.save_pretrained('by-name', push_to_hub=True, token={WRITER!r}, commit_message='second')\n"
    )
    said = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert said == [f"{hub.address}/me/mine/commit/0000000000000000000000000000000000000001", "loaded 32"]
    mine = hub.repositories["me/mine"]
    assert mine.private
    assert len(mine.commits) == 2, "the first is the hub's own"
    assert mine.files.keys() == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert json.loads(mine.files["config.json"]) == json.loads((golden / "predictor" / "config.json").read_text())
    card = front_matter(mine.files["README.md"])
    assert (card["library_name"], card["base_model"]) == ("chandler", "owner/model")
    assert "license" not in card
    assert 'Kronos.from_pretrained("me/mine")' in mine.files["README.md"].decode()
    assert f"{sum(p.numel() for p in Kronos.from_pretrained(golden / 'predictor').parameters()):,} parameters" in (
        mine.files["README.md"].decode()
    )
    assert hub.repositories["me/by-name"].messages[-1] == "second"
    assert (tmp_path / "by-name" / "config.json").is_file()


def test_what_cannot_be_pushed_changes_nothing(hub: Hub, tmp_path: Path, golden: Path) -> None:
    before = hub.repositories["owner/model"].commits.copy()
    tokenizer = f"KronosTokenizer.from_pretrained({str(golden / 'tokenizer')!r})"
    script = (
        f"with told(): {tokenizer}.push_to_hub('owner/model', token={WRITER!r})\n"
        f"with told(): {tokenizer}.push_to_hub('owner/model', token={READER!r})\n"
        f"with told(): {tokenizer}.push_to_hub('owner/new', token={WRITER!r}, branch='absent')\n"
    )
    other, refused, branch = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert "owner/model holds a predictor; a tokenizer saved there would replace it" in other
    assert f"owner/model: nothing was pushed to {hub.address}: the token is of me and may read, not write" in refused
    assert "Log in with `hf auth login`" in refused
    assert "it has no branch 'absent'" in branch
    assert "owner/new" not in hub.repositories
    hub.full = True
    (room,) = run(
        f"with told(): {tokenizer}.push_to_hub('me/new', token={WRITER!r})\n", tmp_path, HF_ENDPOINT=hub.address
    )
    assert "me/new: nothing was pushed" in room
    assert hub.repositories["owner/model"].commits == before
    assert "me/new" not in hub.repositories, "large files go first, the commit is never made"


@pytest.fixture
def run_folder(golden: Path, tmp_path: Path) -> Path:
    """A pair with settings of its own, as training leaves it."""
    folder = tmp_path / "run"
    for part in ("tokenizer", "predictor"):
        (folder / part).mkdir(parents=True)
        for name, data in checkpoint(golden / part).items():
            (folder / part / name).write_bytes(data)
    stages = {"predictor": {"start": "NeoQuasar/Kronos-small"}}
    forecast = {"max_context": 24, "lookback": 12, "calendar": "XNYS", "dependency_positions": "rotary"}
    (folder / "summary.json").write_text(json.dumps({"forecast": forecast, "stages": stages}))
    return folder


def test_a_forecaster_is_pushed_and_loads_by_its_repository_alone(hub: Hub, tmp_path: Path, run_folder: Path) -> None:
    bars = tmp_path / "bars.csv"
    rows = [f"2024-01-{day:02},{day},{day + 2},{day - 0.5},{day + 1},100" for day in range(2, 30)]
    bars.write_text("\n".join(["date,open,high,low,close,volume", *rows]))
    script = (
        f"mine = Forecaster.from_pretrained({str(run_folder)!r}, device='cpu')\n"
        f"mine.push_to_hub('me/pair', token={WRITER!r})\n"
        "back = Forecaster.from_pretrained('me/pair', device='cpu')\n"
        "print(back.name, back.max_context, back.lookback, back.calendar, back.positions)\n"
        f"a, b = (one.forecast(__import__('chandler').load_bars({str(bars)!r}), 3, paths=2).paths for one in (mine, back))\n"
        "print((a == b).all())\n"
        + load("'me/pair'")
        + load("'me/pair'", "KronosTokenizer")
        + "from chandler.forecasting.pretrained import recommended_settings\n"
        "print(recommended_settings('me/pair')['max_context'])\n"
        "with told(): Forecaster.from_pretrained('owner/model')\n"
        "with told(): Forecaster.from_pretrained('owner/none')\n"
        "from chandler.cli import main\n"
        f"sys.argv = ['chandler', 'forecast', {str(bars)!r}, '--model', 'me/pair', '--horizon', '2', '--paths', '2']\n"
        "main()\n"
    )  # fmt: skip
    said = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert said[:5] == ["me/pair 24 12 XNYS rotary", "True", "loaded 32", "loaded 32", "24"]
    assert "looked for a tokenizer and a predictor in tokenizer/ and predictor/. It is one checkpoint" in said[5]
    assert "released predictors: NeoQuasar/Kronos-mini" in said[5]
    assert "has no such repository" in said[6]
    assert any("2 paths of 2 bars from 12 bars of history" in line for line in said[7:])
    pair = hub.repositories["me/pair"]
    assert len(pair.commits) == 2
    assert pair.files.keys() == {".gitattributes", "README.md", "summary.json"} | {
        f"{part}/{name}" for part in ("tokenizer", "predictor") for name in ("config.json", "model.safetensors")
    }
    assert front_matter(pair.files["README.md"])["base_model"] == "NeoQuasar/Kronos-small"
    assert 'Forecaster.from_pretrained("me/pair")' in pair.files["README.md"].decode()


def test_a_card_and_a_calibration_that_are_there(hub: Hub, tmp_path: Path, run_folder: Path) -> None:
    """The owner's card stays. A calibration of the models before goes in the commit that replaces them."""
    saved = Forecaster.from_pretrained(run_folder, device="cpu").save_pretrained(tmp_path / "saved")
    files = {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*.*")}
    hub.add("me/pair", {**files, "README.md": b"mine", "calibration.json": b"{}", "notes.txt": b"kept"})
    hub.add("me/run", {"summary.json": (run_folder / "summary.json").read_bytes()})
    script = (
        f"mine = Forecaster.from_pretrained({str(run_folder)!r}, device='cpu', max_context=16)\n"
        f"mine.push_to_hub('me/pair', token={WRITER!r})\n"
        f"with told(): mine.push_to_hub('me/run', token={WRITER!r})\n"
    )
    (said,) = run(script, tmp_path, HF_ENDPOINT=hub.address)
    assert "me/run holds a run" in said
    pair = hub.repositories["me/pair"]
    assert len(pair.commits) == 3
    assert pair.files["README.md"] == b"mine"
    assert pair.files["notes.txt"] == b"kept"
    assert "calibration.json" not in pair.files
    assert json.loads(pair.files["summary.json"])["forecast"]["max_context"] == 16


def test_a_saved_forecaster_comes_back_and_runs_are_left_alone(tmp_path: Path, run_folder: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "notes.txt").write_text("kept")
    mine = Forecaster.from_pretrained(run_folder, device="cpu", max_context=20)
    saved = mine.save_pretrained(tmp_path / "saved")
    back = Forecaster.from_pretrained(saved, device="cpu")
    assert (back.max_context, back.lookback, back.calendar, back.positions) == (20, 12, "XNYS", "rotary")
    back.save_pretrained(saved)
    assert (saved / "notes.txt").read_text() == "kept"
    with pytest.raises(CheckpointError, match=r"notes\.txt is no folder"):
        back.save_pretrained(saved / "notes.txt")
    before = {p: p.read_bytes() for p in run_folder.rglob("*.*")}
    with pytest.raises(CheckpointError, match="run holds a run"):
        back.save_pretrained(run_folder)
    assert {p: p.read_bytes() for p in run_folder.rglob("*.*")} == before


def test_what_a_model_was_trained_on_goes_with_it(hub: Hub, tmp_path: Path, run_folder: Path) -> None:
    """The record beside the weights is of their very bytes: it holds for a copy, not for weights that were trained on."""
    until = pd.Timestamp("2020-03-01").value
    for part in ("tokenizer", "predictor"):
        type_ = KronosTokenizer if part == "tokenizer" else Kronos
        type_.from_pretrained(run_folder / part).save_pretrained(run_folder / part)
        write_record(run_folder / part, Known((Seen("trained", until, frozenset({part})),)))
    mine = Forecaster.from_pretrained(run_folder, device="cpu")
    saved = mine.save_pretrained(tmp_path / "saved")
    assert known(saved) == known(run_folder / "tokenizer") | known(run_folder / "predictor")
    assert not known(saved).unknown
    script = f"Forecaster.from_pretrained({str(saved)!r}, device='cpu').push_to_hub('me/pair', token={WRITER!r})\n"
    back = (
        "print(Forecaster.from_pretrained('me/pair', device='cpu').predictor.exposure == open('record', 'rb').read())\n"
    )
    shutil.copy(run_folder / "predictor" / "exposure.json", tmp_path / "record")
    assert run(script + back, tmp_path, HF_ENDPOINT=hub.address) == ["True"]
    # Trained on, they know more; other models bring their own record or none.
    torch.nn.init.zeros_(mine.predictor.norm.weight)
    assert known(mine.save_pretrained(saved)).unknown
    plain = Forecaster(mine.tokenizer, Kronos(mine.predictor.config), device="cpu")
    plain.save_pretrained(saved)
    assert not (saved / "predictor" / "exposure.json").exists()
    hub.repositories["me/pair"].files["notes.txt"] = b"kept"
    script = f"pair = Forecaster.from_pretrained({str(saved)!r}, device='cpu')\npair.push_to_hub('me/pair', token={WRITER!r})\n"
    run(script, tmp_path, HF_ENDPOINT=hub.address)
    names = hub.repositories["me/pair"].files.keys()
    assert {"tokenizer/exposure.json", "notes.txt"} <= names
    assert "predictor/exposure.json" not in names
