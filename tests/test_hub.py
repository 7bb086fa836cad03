"""Repositories: what is downloaded and from where, what is pushed, and that it comes back the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chandler import CheckpointError, Forecaster, Kronos
from tests.hub import READER, WRITER, Hub, run

LOAD = "with told(): print('loaded', {cls}.from_pretrained({given}).config.d_model)\n"


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
    script = load("'owner/model'") + load("'owner/model', revision='0000000000000000000000000000000000000001'")
    assert run(script, tmp_path, HF_ENDPOINT=hub.address) == ["loaded 32"] * 2
    assert "GET /owner/model/resolve/main/config.json" in hub.asked
    # After the first file the commit, so that a push in between cannot give half of each.
    assert "GET /owner/model/resolve/0000000000000000000000000000000000000001/model.safetensors" in hub.asked
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
    assert hub.asked.count("GET /owner/model/resolve/main/config.json") == 2, "once, and once by force"


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
    assert f"owner/model: nothing was pushed to {hub.address}" in refused
    assert "this token may not write" in refused
    assert "pass token=" in refused
    assert "there is no revision 'absent'" in branch
    hub.full = True
    (room,) = run(
        f"with told(): {tokenizer}.push_to_hub('me/new', token={WRITER!r})\n", tmp_path, HF_ENDPOINT=hub.address
    )
    assert "me/new: nothing was pushed" in room
    assert hub.repositories["owner/model"].commits == before
    assert len(hub.repositories["me/new"].commits) == 1, "large files go first, the commit is never made"


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
