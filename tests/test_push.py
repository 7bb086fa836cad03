"""A run becomes a repository: whole or not at all, told honestly, and read back to the bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from chandler import (
    CheckpointError,
    ConfigError,
    Forecaster,
    Kronos,
    KronosTokenizer,
    SignalHead,
    calibrate,
    evaluate,
    finetune,
    load_bars,
    push,
)
from chandler.errors import ChandlerError
from chandler.evaluation.walk_forward import Results, exposure, load_evaluation
from chandler.forecasting import model_hash
from chandler.publishing import Publication
from chandler.training.runs.lineage import Known, Seen, write_record
from tests.hub import READER, WRITER, Hub, commit_id
from tests.shell import chandler
from tests.training.conftest import ASSET, tiny_run

PARTS = ("tokenizer", "predictor")
WEIGHTS = tuple(f"{part}/model.safetensors" for part in PARTS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a moment in a folder whose name must not get out, which ends at the end of 2011."""
    folder = tmp_path_factory.mktemp("hidden-place") / "mine"
    config = tiny_run(folder)
    config["data"] |= {"windows_per_epoch": 16, "validation_stride": 60, "start": "2009-01-05"}
    config["data"]["split"] = {"train_end": "2011-06-30", "val_end": "2011-12-30"}
    config["tokenizer"]["epochs"] = config["predictor"]["epochs"] = 1
    finetune(config)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(trained, tmp_path / "mine")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The client in this process asks a hub on this machine, with a token that may write."""
    from huggingface_hub import constants, utils

    made = Hub()
    monkeypatch.setenv("HF_TOKEN", WRITER)
    for name, value in {
        "ENDPOINT": made.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": made.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    getattr(utils, "reset_sessions", lambda: None)()  # before 1.0 they stay as offline as they were begun
    yield made
    made.close()


def text_of(hub: Hub, name: str, repo: str = "me/mine") -> str:
    return hub.repositories[repo].files[name].decode()


def changed(path: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_head(run: Path, weights: str | None = None) -> SignalHead:
    """Lay a signal head into a run."""
    of = model_hash(Forecaster.from_pretrained(run, device="cpu")) if weights is None else weights
    tensors = {name: np.linspace(0.5, 1, 16, dtype=np.float32) for name in ("mean", "std")}
    tensors |= {"weight": np.ones((2, 16), np.float32), "bias": np.zeros(2, np.float32)}
    head = SignalHead(tensors, horizon=2, lookback=20, predictor=of, about={"verdict": "It shows nothing."})
    head.save(run)
    return head


@pytest.fixture(scope="module")
def calibrated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with a calibration and a signal head."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("hidden-place") / "calibrated")
    calibrate(folder, paths=20, stride=4, limit=40, device="cpu")
    with_head(folder)
    return folder


@pytest.fixture(scope="module")
def judged(calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of it beside other weights."""
    other = shutil.copytree(calibrated, tmp_path_factory.mktemp("runs") / "other")
    made = Kronos.from_pretrained(other / "predictor")
    torch.nn.init.zeros_(made.norm.weight)
    made.save_pretrained(other / "predictor")
    (other / "calibration.json").unlink()
    settings = {
        "data": {"path": str(ASSET), "symbols": ["AAPL", "IBM"]},
        "models": {"other": str(other), "mine": str(calibrated)},
        "baselines": ["last_close", "bootstrap"],
        "start": "2012-01-03", "lookback": 20, "horizon": 4, "origins": 24, "paths": 20, "calibration": "stored",
    }  # fmt: skip
    out = tmp_path_factory.mktemp("judged") / "evaluation"
    return evaluate(load_evaluation({**settings, "out": str(out), "device": "cpu"}))


# --- there and back ------------------------------------------------------------------------------------------------


def test_a_run_is_one_commit_and_comes_back_to_the_bit(
    hub: Hub, calibrated: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert chandler("push", calibrated, "me/mine", "--private", "--license", "mit") == 0
    assert "/me/mine/commit/" in capfd.readouterr().out
    made = hub.repositories["me/mine"]
    assert len(made.commits) == 2, "the first is the hub's own"
    assert made.private
    parts = {f"{part}/{name}" for part in PARTS for name in ("config.json", "model.safetensors", "exposure.json")}
    assert made.files.keys() == parts | {
        ".gitattributes", "README.md", "training.json", "summary.json", "calibration.json", "signal/head.json",
        "signal/head.safetensors",
    }  # fmt: skip
    for name in (*parts, "calibration.json", "signal/head.json", "signal/head.safetensors"):
        assert made.files[name] == (calibrated / name).read_bytes(), name
    own, back = (Forecaster.from_pretrained(one, device="cpu") for one in (calibrated, "me/mine"))
    assert (back.max_context, back.lookback, back.positions) == (own.max_context, own.lookback, own.positions)
    bars = load_bars(ASSET, symbols=["IBM"], end="2012-06-29")
    for how in ({}, {"calibrated": True}):
        a, b = (one.forecast(bars, 3, paths=4, seed=5, **how).paths for one in (own, back))
        assert np.array_equal(a, b)
    pd.testing.assert_series_equal(*(SignalHead.load(p).score(own, bars) for p in (calibrated, "me/mine")))
    # What it knows is known under its name: an evaluation begins where that of the run does.
    assert exposure("me/mine") == exposure(str(calibrated))
    assert not exposure("me/mine").unknown
    assert chandler("forecast", ASSET, "--symbols", "IBM", "--model", "me/mine", "--horizon", "2", "--paths", "2") == 0
    given = (
        "--set",
        "data.symbols=[IBM]",
        "--set",
        "horizon=2",
        "--set",
        "origins=3",
        "--set",
        "paths=2",
        "--set",
        "calibration=off",
    )
    out = calibrated.parent / "by-name"
    assert (
        chandler("evaluate", ASSET, "--models", "me/mine", *given, "--set", "baselines=[last_close]", "--out", out) == 0
    )
    assert Results(out).state["start"] == "2012-01-03", "the first bar after those that it knows"
    assert "### Against naive forecasts" in Publication.of(calibrated, "me/mine", evaluation=out).card
    # A run that starts from it says which weights these were.
    settings = {"start": "me/mine", "epochs": 1, "batch_size": 16}
    config = tiny_run(calibrated.parent / "next") | {"tokenizer": {**settings, "enabled": False}, "predictor": settings}
    config["data"] |= {"windows_per_epoch": 16, "validation_stride": 60}
    start = finetune(config).summary["starts"]["predictor"]
    assert start["commit"] == commit_id(1)
    assert start["weights"] == sha256(made.files["predictor/model.safetensors"]).hexdigest()
    then = Publication.of(config["out"], "me/next")
    assert json.loads(bytes(then.files["training.json"]))["starts"]["predictor"] == {
        "repository": "me/mine", "commit": commit_id(1), "weights": start["weights"],
    }  # fmt: skip
    assert front_matter(then.card)["base_model"] == "me/mine"
    assert f"[me/mine](https://huggingface.co/me/mine) (commit `{commit_id(1)[:12]}`)" in then.card


def _theirs(state: dict[str, torch.Tensor], expected: dict[str, Any]) -> Any:
    """A model of the hub's mixin with tensors of these names, which takes the keys of config.json."""
    from huggingface_hub import PyTorchModelHubMixin

    class Theirs(torch.nn.Module, PyTorchModelHubMixin):
        def __init__(self, **config: Any) -> None:
            super().__init__()
            config.pop("config")  # the mixin's own: all of them again
            assert config == expected
            for name, tensor in state.items():
                *path, last = name.split(".")
                here: Any = self
                for one in path:
                    if not hasattr(here, one):
                        here.add_module(one, torch.nn.Module())
                    here = getattr(here, one)
                here.register_buffer(last, torch.zeros_like(tensor))

    return Theirs


def test_readers_of_the_released_format_take_its_folders(hub: Hub, run: Path) -> None:
    """As the card says: the hub's mixin, which passes the keys of config.json to the constructor, as the reference does."""
    from huggingface_hub import snapshot_download

    from chandler import compat

    push(run, "me/mine")
    folder = Path(snapshot_download("me/mine"))
    for part, kind in (("tokenizer", compat.KronosTokenizer), ("predictor", compat.Kronos)):
        own = kind.from_pretrained(run / part)
        asked = dataclasses.asdict(own.config)
        assert json.loads((folder / part / "config.json").read_text()) == asked, "not a key more"

        theirs = _theirs(own.state_dict(), asked).from_pretrained(str(folder / part))
        assert theirs.state_dict().keys() == own.state_dict().keys()
        assert all(torch.equal(theirs.state_dict()[name], one) for name, one in own.state_dict().items())


# --- what it says --------------------------------------------------------------------------------------------------


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_tells_what_is_known_and_what_is_not(trained: Path) -> None:
    made = Publication.of(trained, "me/mine")
    card = made.card
    assert front_matter(card) == {
        "license": "unknown", "library_name": "chandler", "pipeline_tag": "time-series-forecasting",
        "tags": ["kronos", "time-series", "finance", "ohlcv", "candlesticks", "safetensors"],
    }  # fmt: skip
    assert "2 symbols, 2,092 bars of 1d, read from csv.gz." in card
    assert "Trained on 5 Jan 2009 to 30 Jun 2011" in card
    assert "**Not evaluated against naive forecasts**" in card
    assert "| `data.windows_per_epoch` | `16` |" in card
    assert "Its checkpoint was chosen on bars up to 30 Dec 2011, of 2 symbols" in card
    assert "It has no calibration" in card
    assert 'Forecaster.from_pretrained("me/mine")' in card
    assert "--model me/mine --horizon 4" in card
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["stages"]["predictor"]["status"] == "kept_start", "the other sentence is tested below"
    assert (
        "| predictor | random weights | **trained, but nothing beat the start: these are the starting weights** |"
        in card
    )
    assert "| predictor | negative log-likelihood, nats per bar; chose the checkpoint | 6.841 | 6.841 | equal |" in card
    assert any("predictor: training found nothing better" in note for note in made.notes)
    record = json.loads(bytes(made.files["training.json"]))
    assert record["window"] == {"lookback": 20, "horizon": 4}
    assert record["data"]["fingerprint"] == summary["data"]["fingerprint"]
    assert record["stages"]["tokenizer"]["steps"] == 1
    assert record["weights"] == {name: sha256((trained / name).read_bytes()).hexdigest() for name in WEIGHTS}


def test_no_place_of_this_machine_gets_out(run: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["tokenizer"] |= {"start": "/hidden-place/first/tokenizer", "architecture": None}
    config["predictor"] |= {"start": "some/hidden-place/first", "architecture": None}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    summary = json.loads((run / "summary.json").read_text())
    for stage in PARTS:
        summary["stages"][stage]["start"] = summary["starts"][stage]["start"] = config[stage]["start"]
    (run / "summary.json").write_text(json.dumps(summary))
    with_head(run)
    made = Publication.of(run, "me/mine")
    for name, one in made.files.items():
        data = one if isinstance(one, bytes) else one.read_bytes()
        for secret in (b"hidden-place", str(tmp_path).encode(), ASSET.name.encode(), str(ASSET.parent).encode()):
            assert secret not in data, name
    assert "| tokenizer | a local checkpoint (first) |" in made.card
    assert "base_model" not in front_matter(made.card)


def test_what_is_known_of_many_markets_hides_no_other_limit(run: Path) -> None:
    """As of whatever was finetuned from chandler-nano."""
    for part in PARTS:
        seen = [
            Seen(kind, pd.Timestamp(f"{year}-05-0{day}").value, frozenset(map(str, range(year - 2000))))
            for kind, day in (("trained", 1), ("validated", 2))
            for year in range(2003, 2023)
        ]
        write_record(run / part, Known(tuple(seen)))
    made = Publication.of(run, "me/mine")
    limits = made.card.split("## Limits")[1].split("## Use")[0].strip().splitlines()
    told = [line for line in limits if "trained on bars up to" in line or "chosen on bars up to" in line]
    assert [line.partition(":")[0] for line in told] == [
        f"- {how} up to {day} May {year}, of {year - 2000} symbols"
        for how, day in (("It was trained on bars", 1), ("Its checkpoint was chosen on bars", 2))
        for year in (2022, 2021, 2020)
    ]
    assert len([line for line in limits if "of 17 more groups of symbols, the latest up to" in line]) == 2
    assert "up to 1 May 2019" in made.card
    assert len(json.loads(bytes(made.files["training.json"]))["knows"]["seen"]) == 40


@pytest.mark.parametrize(
    ("noted", "named"),
    [
        ({"commit": "c" * 40, "weights": "d" * 64}, "repository"),
        ({"weights": "d" * 64}, "a local checkpoint (mine)"),
        ({}, "not on record"),
    ],
)
def test_what_a_run_noted_says_whether_its_start_was_a_repository(
    noted: dict[str, str], named: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """runs/mine is spelled like one, and the folder is not below every folder that is pushed from."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    summary = json.loads((run / "summary.json").read_text())
    for stage in PARTS:
        config[stage] |= {"start": "runs/mine", "architecture": None}
        summary["stages"][stage]["start"] = "runs/mine"
        summary["starts"][stage] = {"start": "runs/mine", "seen": [], "unknown": False, **noted}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "there" / "runs" / "mine").mkdir(parents=True)
    for folder in ("elsewhere", "there"):
        monkeypatch.chdir(tmp_path / folder)
        made = Publication.of(run, "me/mine")
        start = json.loads(bytes(made.files["training.json"]))["starts"]["predictor"]
        assert start == ({"repository": "runs/mine"} if named == "repository" else {"start": named}) | noted
        assert front_matter(made.card).get("base_model") == ("runs/mine" if named == "repository" else None)
        assert ("base_model" in json.loads(bytes(made.files["summary.json"]))) is (named == "repository")


def test_scores_against_naive_are_those_of_the_evaluation(calibrated: Path, judged: Path, run: Path) -> None:
    results = Results(judged)
    card = Publication.of(calibrated, "me/mine", evaluation=judged).card
    section = card.split("### Against naive forecasts")[1].split("### In training")[0]
    for name, called in (("mine", "This model"), ("mine (calibrated)", "Calibrated it")):
        c = results.compare(name, "bootstrap", "crps")
        (line,) = [one for one in section.splitlines() if one.startswith(f"| {called} | CRPS")]
        cells = [cell.strip() for cell in line.split("|")]
        assert float(cells[3]) == pytest.approx(c.mean_a, rel=6e-3)
        assert cells[4].startswith(f"{c.mean_b:#.3g}")
        assert cells[6] == f"**{c.verdict}**"
    assert "other" not in section, "what else was evaluated is nobody's business here"
    assert f"{results.state['windows']} windows of 2 symbols" in section
    assert "Its 90% band covered" in card
    assert "This model beats naive at nothing, is worse at" in section, "weights of one step"
    assert "It shows nothing." in card.split("### Signal head")[1]
    with pytest.raises(ConfigError, match=r"is an evaluation of other weights \(other, mine\)"):
        Publication.of(_other(run), "me/mine", evaluation=judged)


def _other(run: Path) -> Path:
    made = Kronos.from_pretrained(run / "predictor")
    torch.nn.init.ones_(made.norm.weight)
    torch.nn.init.zeros_(made.embedding.emb_s1.weight)
    made.save_pretrained(run / "predictor")
    return run


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: changed(run / "summary.json", stages={}), r"has not finished \(tokenizer, predictor\)\. Go on .* --resume"),
        (lambda run: (run / "summary.json").unlink(), "has not finished"),
        (lambda run: (run / "predictor" / "model.safetensors").unlink(), r"predictor holds no model\.safetensors"),
        (lambda run: shutil.rmtree(run), "there is no such folder"),
        (lambda run: [shutil.rmtree(run / part) for part in PARTS], "holds no tokenizer/ and no predictor/"),
        (lambda run: shutil.copytree(run / "predictor", run, dirs_exist_ok=True) and [shutil.rmtree(run / p) for p in PARTS],
         "is one checkpoint"),
        (lambda run: (run / "calibration.json").write_text("{}"), r"calibration\.json: cannot be used"),
        (lambda run: with_head(run, "0" * 16), "this signal head belongs to other weights"),
        (lambda run: (run / "predictor" / "model.safetensors").write_bytes(b"half"), "cannot be read as safetensors"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_asks_no_hub(spoil: Any, said: str, hub: Hub, run: Path) -> None:
    spoil(run)
    with pytest.raises(ChandlerError, match=said):
        push(run, "me/mine")
    assert hub.asked == []


def test_names_are_checked_and_dry_runs_ask_no_hub(
    hub: Hub, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for given, said in (
        ((run, "mine"), "mine: a repository is named owner/name"),
        ((run, "me/mine", "--license", "my own!"), "Give one of them, such as --license mit"),
        ((run, "me/mine", "--evaluation", tmp_path), "no evaluation"),
        ((run, "me/mine", "--dry-run", "--out", tmp_path / "o"), "give one of them"),
        ((run, "me/mine", "--out", run), "which is read (the models)"),
    ):
        assert chandler("push", *given) == 2
        told = capfd.readouterr().err.splitlines()
        assert said in told[-1]
        assert len([line for line in told if line.startswith("chandler: ")]) == 1
    assert chandler("push", run, "me/mine", "--dry-run") == 0
    shown = capfd.readouterr()
    assert "README.md" in shown.out
    assert "# me/mine" in shown.out
    assert "push: no licence was given" in shown.err
    assert not list(tmp_path.glob("o*"))
    assert chandler("push", run, "me/mine", "--out", tmp_path / "out") == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert chandler("push", run, "me/mine", "--out", tmp_path / "out") == 2
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert hub.asked == []
    # What lies there is what would be pushed, and is pushed from there with all that is known of it.
    (tmp_path / "out" / "notes.txt").unlink()
    again = Publication.of(tmp_path / "out", "me/mine")
    assert again.card == (tmp_path / "out" / "README.md").read_text()
    assert Forecaster.from_pretrained(tmp_path / "out", device="cpu").lookback == 20


def test_models_without_a_run_and_a_tokenizer_alone(hub: Hub, run: Path, tmp_path: Path) -> None:
    pair = f"{run / 'tokenizer'}+{run / 'predictor'}"
    card = Publication.of(pair, "me/mine").card
    assert "how it was trained is not on record" in card
    assert "Its checkpoint was chosen on bars up to 30 Dec 2011" in card, "exposure.json lies beside the weights"
    assert "It sees 24 bars at most" in card, "summary.json lies beside the predictor"
    lone = [shutil.copytree(run / part, tmp_path / f"lone-{part}") for part in PARTS]
    made = Publication.of("+".join(map(str, lone)), "me/mine")
    assert "How many bars it was trained to see is not on record" in made.card
    assert json.loads(bytes(made.files["summary.json"])) == {"forecast": {}}
    assert any("forecasts will take max_context 512" in note for note in made.notes)
    saved = Forecaster.from_pretrained(run, device="cpu").save_pretrained(tmp_path / "saved")
    push(saved, "me/saved")
    assert (
        Forecaster.from_pretrained("me/saved", device="cpu").max_context
        == Forecaster.from_pretrained(run, device="cpu").max_context
    )
    shutil.rmtree(run / "predictor")
    summary = json.loads((run / "summary.json").read_text())
    summary["stages"]["predictor"] = {"status": "off"}
    (run / "summary.json").write_text(json.dumps(summary))
    push(run, "me/half")
    assert not any(name.startswith("predictor/") for name in hub.repositories["me/half"].files)
    assert 'KronosTokenizer.from_pretrained("me/half")' in text_of(hub, "README.md", "me/half")
    back = KronosTokenizer.from_pretrained("me/half").state_dict()
    assert all(torch.equal(back[k], one) for k, one in KronosTokenizer.from_pretrained(run).state_dict().items())


# --- what the hub says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "repo", "refused", "said"),
    [
        ("", "me/mine", {}, "there is no token. Log in with `hf auth login`"),
        ("hf_wrong", "me/mine", {}, "the token is not valid"),
        (READER, "me/mine", {}, "the token is of me and may read, not write"),
        (WRITER, "someone/mine", {}, "the token is of me, who may not write as someone. Name a repository of me or owner"),
        (WRITER, "readers/mine", {}, "who may not write as readers"),
        (WRITER, "me/mine", {"/api/repos/create": 403}, "refused with 403"),
        (WRITER, "me/mine", {"/api/models/me/mine": 500}, "500"),
        (WRITER, "me/mine", {"/preupload/main": 500}, "The repository that was made for it is removed again"),
        (WRITER, "me/mine", {"/info/lfs/objects/batch": 404}, "The repository that was made for it is removed again"),
        (WRITER, "me/mine", {"/commit/main": 500}, "The repository that was made for it is removed again"),
        (WRITER, "me/mine", {"/commit/main": 403}, "The repository that was made for it is removed again"),
        (WRITER, "me/mine", {"/commit/main": 500, "/api/repos/delete": 500}, "Whether anything is left there could not be found out"),
    ],
)  # fmt: skip
def test_a_push_that_is_refused_leaves_nothing(
    token: str, repo: str, refused: dict[str, int], said: str, hub: Hub, trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    hub.refused = refused
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    assert chandler("push", trained, repo) == 2
    lines = capfd.readouterr().err.splitlines()
    (told,) = [line for line in lines if line.startswith("chandler: ")]
    assert said in told, told
    assert f"{repo}: nothing was pushed to {hub.address}" in told
    left = hub.repositories.get("me/mine")
    assert left is None or (len(left.commits) == 1 and "/api/repos/delete" in refused), "an empty one, and it is said"


@pytest.mark.parametrize("how", ["offline", "away"])
def test_no_network_is_said(how: str, hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    said = "offline mode is on" if how == "offline" else "Is the network there?"
    with pytest.raises(CheckpointError, match=said):
        push(trained, "me/mine")
    assert not hub.repositories


def test_an_interruption_leaves_nothing(hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def interrupted(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HfApi, "create_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        push(trained, "me/mine")
    assert "POST /api/repos/create" in hub.asked
    assert not hub.repositories


def test_a_lost_answer_and_a_commit_in_between_are_told(
    hub: Hub, trained: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.deaf = True
    with pytest.raises(CheckpointError, match="But there is a commit that was not there before: look at"):
        push(trained, "me/mine")
    assert len(hub.repositories["me/mine"].commits) == 2, "it is there, so it is not removed"
    hub.deaf = False
    check = Publication.push.__globals__["_replaceable"]

    def meanwhile(*given: Any) -> Any:
        found = check(*given)
        hub.repositories["me/mine"].commits.append({**hub.repositories["me/mine"].files, "theirs.txt": b"new"})
        return found

    monkeypatch.setitem(Publication.push.__globals__, "_replaceable", meanwhile)
    with_head(run)
    with pytest.raises(CheckpointError, match="a commit has happened since"):
        push(run, "me/mine")
    assert hub.repositories["me/mine"].files["theirs.txt"] == b"new"
    assert "signal/head.json" not in hub.repositories["me/mine"].files


def test_only_what_chandler_wrote_is_replaced(hub: Hub, run: Path, calibrated: Path) -> None:
    push(calibrated, "me/mine", license="mit")
    mine = hub.repositories["me/mine"]
    # Ours alone: written anew, and what the new models lack goes with the old ones.
    push(run, "me/mine", license="mit")
    assert {"calibration.json", "signal/head.json", "signal/head.safetensors"}.isdisjoint(mine.files)
    assert len(mine.commits) == 3
    for name, data in (("notes.txt", b"kept"), ("README.md", mine.files["README.md"] + b"by hand")):
        before = dict(mine.files)
        mine.commits.append({**before, name: data})
        with pytest.raises(CheckpointError, match=rf"changed since: {name}\. Nothing was pushed.* overwrite=True"):
            push(run, "me/mine")
        assert mine.files == {**before, name: data}
        push(run, "me/mine", overwrite=True)
        assert mine.files.pop("notes.txt", b"kept") == b"kept"
        assert b"by hand" not in mine.files["README.md"]
    # What would be read as the new models' own is not chandler's to remove.
    theirs = hub.add("me/theirs", {"calibration.json": b"{}", "config.json": b"{}"})
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=r"me/theirs holds calibration\.json, which would be taken for"):
            push(run, "me/theirs", overwrite=overwrite)
    assert len(theirs.commits) == 2
    # Saved models of `Forecaster.push_to_hub` are chandler's, a card beside them is not.
    forecaster = Forecaster.from_pretrained(calibrated, device="cpu")
    forecaster.push_to_hub("me/pair")
    with pytest.raises(CheckpointError, match=r"changed since: README\.md"):
        push(run, "me/pair")
    push(run, "me/pair", overwrite=True)
    assert "calibration.json" not in hub.repositories["me/pair"].files
    # The other way round the card would be of other weights.
    with pytest.raises(CheckpointError, match="me/pair holds a run"):
        forecaster.push_to_hub("me/pair")
    with pytest.raises(CheckpointError, match="is there and is public"):
        push(run, "me/pair", private=True)
    with pytest.raises(CheckpointError, match="there is no revision 'absent'"):
        push(run, "me/pair", branch="absent")
