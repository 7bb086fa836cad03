"""The YAML of the reference's CSV pipeline runs as it is, becomes settings of ours, and what is different is said."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import yaml
from pydantic import BaseModel
from rich.console import Console
from tests.shell import chandler
from tests.training.conftest import ASSET, NO_DROPOUT, TINY

from chandler.errors import ConfigError
from chandler.evaluation.backtest.settings import BacktestSettings
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.logging.console import RunProgress
from chandler.training.run import finetune
from chandler.training.runs.folder import Run
from chandler.training.settings import PRETRAINING, Settings, load_settings, save_settings, settings_to_run

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = (ROOT / "docs" / "from-the-reference.md").read_text(encoding="utf-8")
THEIRS: dict[str, Any] = {
    "data": {
        "data_path": "bars.csv",
        "lookback_window": 512,
        "predict_window": 48,
        "max_context": 512,
        "clip": 5.0,
        "train_ratio": 0.9,
        "val_ratio": 0.1,
        "test_ratio": 0.0,
    },
    "training": {
        "tokenizer_epochs": 30,
        "basemodel_epochs": 20,
        "batch_size": 32,
        "log_interval": 50,
        "num_workers": 6,
        "seed": 42,
        "tokenizer_learning_rate": 2e-4,
        "predictor_learning_rate": 1e-6,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_weight_decay": 0.1,
        "accumulation_steps": 1,
    },
    "model_paths": {
        "pretrained_tokenizer": "models/Kronos-Tokenizer-base",
        "pretrained_predictor": "models/Kronos-base",
        "exp_name": "alibaba_5min",
        "base_path": "finetuned/",
        "base_save_path": "",
        "finetuned_tokenizer": "",
        "tokenizer_save_name": "tokenizer",
        "basemodel_save_name": "basemodel",
    },
    "experiment": {
        "name": "kronos_custom_finetune",
        "description": "",
        "use_comet": False,
        "train_tokenizer": True,
        "train_basemodel": True,
        "skip_existing": False,
    },
    "device": {"use_cuda": True, "device_id": 0},
}
"""All keys of such a file."""


def changed(**values: Any) -> dict[str, Any]:
    """`THEIRS` with other values: training__seed=1; None leaves a key out."""
    found = deepcopy(THEIRS)
    for name, value in values.items():
        section, _, key = name.partition("__")
        found[section].pop(key, None)
        if value is not None:
            found[section][key] = value
    return found


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Their paths are relative: an empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(somewhere: Path) -> Path:
    """Their YAML for a file in their layout, with models of a size that trains in seconds."""
    frame = pd.read_csv(ASSET).query("symbol == 'IBM'").tail(160).rename(columns={"timestamp": "timestamps"})
    frame["amount"] = frame["close"] * frame["volume"]
    frame[["timestamps", "open", "high", "low", "close", "volume", "amount"]].to_csv("bars.csv", index=False)
    for part, shape in (
        ("tokenizer", {"d_in": 6, "n_enc_layers": 2, "n_dec_layers": 2, **TINY}),
        ("predictor", {"n_layers": 1, "learn_te": True, **NO_DROPOUT, **TINY}),
    ):
        (somewhere / part).mkdir()
        (somewhere / part / "config.json").write_text(json.dumps(shape))
    theirs = changed(
        data__lookback_window=20, data__predict_window=4, data__max_context=24, data__train_ratio=0.6,
        data__val_ratio=0.3, data__test_ratio=0.1, training__tokenizer_epochs=1, training__basemodel_epochs=2,
        training__accumulation_steps=2, model_paths__pretrained_tokenizer="tokenizer",
        model_paths__pretrained_predictor="predictor", experiment__pre_trained_tokenizer=False,
        experiment__pre_trained_predictor=False, device__use_cuda=False,
    )  # fmt: skip
    return written(somewhere / "theirs.yaml", theirs)


def written(path: Path, settings: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def test_every_key_becomes_ours() -> None:
    s = load_settings(changed(training__accumulation_steps=4, training__adam_beta2=0.97, data__test_ratio=0.05,
                              data__train_ratio=0.8, experiment__skip_existing=True))  # fmt: skip
    assert (s.out, s.seed, s.device, s.max_context, s.log_every) == ("finetuned/alibaba_5min", 42, "auto", 512, 50)
    assert (s.data.path, s.data.lookback, s.data.horizon, s.data.windows_per_epoch) == ("bars.csv", 512, 48, None)
    assert (s.data.split.train, s.data.split.val, s.data.split.test) == (0.8, 0.1, 0.05)
    t, p = s.tokenizer, s.predictor
    assert (t.start, p.start) == ("models/Kronos-Tokenizer-base", "models/Kronos-base")
    assert (t.epochs, t.batch_size, t.accumulation_steps, t.learning_rate) == (30, 8, 4, 2e-4)
    assert (p.epochs, p.batch_size, p.accumulation_steps, p.learning_rate) == (20, 32, 1, 1e-6)
    assert (t.betas, p.betas) == ((0.9, 0.999), (0.9, 0.97))
    assert (t.clip, p.clip, t.weight_decay, p.weight_decay) == (2.0, 3.0, 0.1, 0.1)
    assert (t.schedule, t.warmup, t.div_factor) == ("onecycle", 0.03, 10.0)
    assert t.skip_existing
    assert p.skip_existing
    assert load_settings(changed(device__use_cuda=False)).device == "cpu"


def test_keys_that_are_left_out_have_the_published_values() -> None:
    bare = {
        "data": {"data_path": "bars.csv"},
        "model_paths": {k: v for k, v in THEIRS["model_paths"].items() if v},
        "experiment": None,
    }
    full = changed(training__seed=100, training__log_interval=10)
    assert load_settings(bare) == load_settings(full)


def test_both_forms_are_one_object(tmp_path: Path) -> None:
    s, _ = settings_to_run(THEIRS, ["predictor.patience=3"])
    save_settings(s, tmp_path / "mine.yaml")
    assert load_settings(tmp_path / "mine.yaml") == s
    saved = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert saved["predictor"]["patience"] == 3
    assert "clip" not in saved["predictor"]  # what was not given stays a default


def test_a_saved_file_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    s = load_settings(THEIRS)
    save_settings(s, path)
    path.write_text("# my notes\n" + path.read_text())
    save_settings(s, path)
    assert path.read_text().startswith("# my notes")  # it says the same
    other = load_settings(THEIRS, ["seed=1"])
    with pytest.raises(ConfigError, match=r"mine\.yaml is there and holds something else"):
        save_settings(other, path)
    assert load_settings(path) == s
    save_settings(other, path, overwrite=True)
    assert load_settings(path) == other


def test_overrides_take_their_keys_and_ours() -> None:
    s = load_settings(
        THEIRS,
        ["training.batch_size=8", "data.lookback_window=64", "data.stride=2", "predictor.epochs=1", "device=cpu"],
        out="runs/x",
    )
    assert (s.predictor.batch_size, s.data.lookback, s.data.stride, s.predictor.epochs) == (8, 64, 2, 1)
    assert (s.device, s.out) == ("cpu", "runs/x")


@pytest.mark.parametrize(
    ("theirs", "overrides", "message"),
    [
        (changed(training__batchsize=1), [], r"unknown key training\.batchsize \(did you mean batch_size\?\)"),
        ({**THEIRS, "devices": {}}, [], r"unknown key devices \(did you mean device\?\)"),
        (THEIRS, ["training.tokeniser_epochs=1"], r"training\.tokeniser_epochs \(did you mean tokenizer_epochs\?\)"),
        (THEIRS, ["predictor.epoch=1"], r"unknown key predictor\.epoch \(did you mean epochs\?\)"),
        (changed(data__data_path=None), [], r"data\.data_path is missing"),
        (changed(model_paths__pretrained_tokenizer=None), [], r"model_paths\.pretrained_tokenizer: give a folder"),
        (changed(model_paths__pretrained_predictor=""), [], r"model_paths\.pretrained_predictor: give a folder"),
        (changed(model_paths__base_path=None), [], r"model_paths\.base_path and model_paths\.exp_name are missing"),
        (changed(training__batch_size=0), [], r"training\.batch_size: .*greater than or equal to 1, found 0"),
        (changed(training__accumulation_steps=5), [], "batch_size 32 cannot be cut into accumulation_steps 5"),
        (changed(data__clip=3.0), [], r"data\.clip: training and forecasts clip at 5\.0.*found 3\.0"),
        (changed(data__val_ratio=0.0), [], r"data\.val_ratio: .*greater than 0"),
        (changed(data__val_ratio=0.2), [], r"train_ratio \+ val_ratio \+ test_ratio is 1\.1"),
        (changed(experiment__train_tokenizer=False, experiment__train_basemodel=False), [], "are both false"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_their_terms(theirs: dict[str, Any], overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(theirs, overrides)


def test_a_folder_of_results_is_named_in_one_of_three_ways() -> None:
    assert load_settings(changed(model_paths__base_save_path="kept/{exp_name}")).out == "kept/alibaba_5min"
    assert load_settings(changed(model_paths__exp_name=700)).out == "finetuned/700"
    assert load_settings(changed(model_paths__base_path=None), out="runs/x").out == "runs/x"
    assert load_settings(changed(model_paths__base_path=None), ["out=runs/x"]).out == "runs/x"


def test_random_weights_have_the_shape_that_is_named(small: Path) -> None:
    released = changed(model_paths__pretrained_predictor="NeoQuasar/Kronos-base",
                       experiment__pre_trained_predictor=False, experiment__pre_trained_tokenizer=False)  # fmt: skip
    s, told = settings_to_run(released)
    assert (s.tokenizer.start, s.predictor.start) == ("random", "random")
    assert s.predictor.random_config().n_layers == 12
    assert s.tokenizer.random_config().d_model == 256
    assert "pre_trained_predictor: random weights in the shape of the released size base." in told
    unknown = changed(model_paths__pretrained_predictor="", experiment__pre_trained_predictor=False)
    assert load_settings(unknown).predictor.random_config().n_layers == 8  # small
    assert load_settings(small).predictor.random_config().d_model == 16  # of the folder's config.json


def test_the_differences_are_said() -> None:
    theirs = changed(
        experiment__use_comet=True, device__device_id=2, model_paths__finetuned_tokenizer="other/{exp_name}/tokenizer",
        data__train_ratio=0.7, data__val_ratio=0.2, data__test_ratio=0.1,
    )  # fmt: skip
    _, told = settings_to_run(theirs)
    for part in (
        "    start: models/Kronos-base",
        "split: the first 70% of the time line trains, the next 20% validates; the next 10% stays unseen",
        "scale: mean and deviation of a window come from its 512 lookback bars alone",
        "validation: all windows, causally",
        "epochs: each training window once an epoch",
        "batch_size: 32 windows a step and process, as there",
        "the tokenizer's has (0.9, 0.999), as there",
        "results: finetuned/alibaba_5min/tokenizer and finetuned/alibaba_5min/predictor",
        "model_paths.finetuned_tokenizer is not used",
        "CUDA_VISIBLE_DEVICES=2",
        "experiment.use_comet is not used",
        "without effect: training.num_workers, experiment.name, experiment.description",
    ):
        assert part in told, part
    assert settings_to_run({"out": "x", "data": {"path": "a.csv"}})[1] == ""


def test_pretraining_takes_no_settings_of_finetuning() -> None:
    with pytest.raises(ConfigError, match="chandler finetune reads them"):
        load_settings(THEIRS, defaults=PRETRAINING)


def test_results_of_the_reference_are_never_written_over(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Path("finetuned/alibaba_5min/tokenizer/best_model/model.safetensors")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weeks of work")
    for more in ([], ["--overwrite"], ["--resume"], ["--set", "experiment.skip_existing=true"]):
        assert chandler("finetune", small, *more) == 2
        message = capsys.readouterr().err
        assert "finetuned/alibaba_5min holds something that is no run of chandler (tokenizer)" in message
        assert "--out" in message
        assert "model_paths.finetuned_tokenizer=finetuned/alibaba_5min/tokenizer/best_model" in message
    assert [path for path in Path("finetuned").rglob("*") if path.is_file()] == [kept]
    # Their settings file in the folder makes no run of it.
    written(kept.parents[2] / "config.yaml", THEIRS)
    with pytest.raises(ConfigError, match="no run of chandler"):
        settings_to_run(small)


def test_the_tokenizer_of_a_run_that_trains_none(small: Path) -> None:
    off = ["experiment.train_tokenizer=false"]
    with pytest.raises(ConfigError) as caught:
        settings_to_run(small, off)
    assert "no finetuned tokenizer in finetuned/alibaba_5min/tokenizer/best_model" in str(caught.value)
    assert settings_to_run(small, [*off, "tokenizer.start=chandler-nano"])[0].tokenizer.start == "chandler-nano"
    KronosTokenizer.from_pretrained("chandler-nano").save_pretrained("finetuned/alibaba_5min/tokenizer/best_model")
    s = load_settings(small, off)
    assert (s.tokenizer.enabled, s.tokenizer.start) == (False, "finetuned/alibaba_5min/tokenizer/best_model")
    named = load_settings(small, [*off, "model_paths.finetuned_tokenizer=kept/{exp_name}/t"])
    assert named.tokenizer.start == "kept/alibaba_5min/t"


def test_their_file_on_the_command_line(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stages; again with skip_existing; the predictor alone, on the tokenizer that is there and on a given one;
    and the form that was saved trains to the same bits."""
    before = small.read_bytes()
    assert chandler("inspect", "--config", small, "--set", "data.test_ratio=0") == 0
    assert "Training would begin." in capsys.readouterr().out
    assert "chandler finetune THEIR.yaml --save-as mine.yaml" in README
    assert chandler("finetune", small, "--save-as", "mine.yaml") == 0
    out = capsys.readouterr().out
    assert "theirs.yaml: written for the reference's CSV pipeline. They became:" in out
    assert "1 symbol, 160 bars; windows of 20 + 4 bars: 72 to train on, 24 to validate on" in out
    run = Run(Path("finetuned/alibaba_5min"))
    first = run.summary["stages"]
    # 72 windows in batches of 32; the tokenizer's are cut into 2 x 16, which are one step.
    assert (first["tokenizer"]["steps"], first["predictor"]["steps"]) == (3, 6)
    assert run.summary["forecast"]["max_context"] == 24

    assert chandler("finetune", "mine.yaml", "--out", "again") == 0
    for part in ("tokenizer", "predictor"):
        weights = [Path(folder, part, "model.safetensors").read_bytes() for folder in (run.folder, "again")]
        assert weights[0] == weights[1]

    capsys.readouterr()
    assert chandler("finetune", small) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert chandler("finetune", small, "--set", "experiment.skip_existing=true") == 0
    assert capsys.readouterr().out.count("kept the result of an earlier run") == 2

    # An earlier run of ours in the folder of results: its tokenizer stays, the predictor is trained on it.
    trained = (run.folder / "tokenizer" / "model.safetensors").read_bytes()
    no_predictor = ["--set", "experiment.train_basemodel=false", "--out", "stage1"]
    assert chandler("finetune", small, *no_predictor) == 0
    assert not Path("stage1/predictor").exists()
    off = ["--set", "experiment.train_tokenizer=false"]
    assert chandler("finetune", small, *off, "--set", "model_paths.base_save_path=stage1") == 0
    assert Run(Path("stage1")).summary["stages"]["predictor"]["best"] == first["predictor"]["best"]

    # A given one is used as it is.
    given = f"model_paths.finetuned_tokenizer={run.folder / 'tokenizer'}"
    assert chandler("finetune", small, *off, "--set", given, "--out", "third") == 0
    third = Run(Path("third"))
    assert third.summary["stages"]["tokenizer"] == {"status": "off", "start": "finetuned/alibaba_5min/tokenizer"}
    assert (third.folder / "tokenizer" / "model.safetensors").read_bytes() == trained
    assert third.summary["stages"]["predictor"]["best"] == first["predictor"]["best"]
    assert small.read_bytes() == before


def test_saving_over_the_file_that_is_read_is_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = small.read_bytes()
    assert chandler("finetune", small, "--save-as", small, "--overwrite") == 2
    assert "theirs.yaml is the file that is read" in capsys.readouterr().err
    assert small.read_bytes() == before


def test_python_takes_their_file_and_says_the_same(small: Path) -> None:
    said = StringIO()
    shown = RunProgress(Console(file=said, soft_wrap=True, width=300))
    run = finetune(small, overrides=["training.basemodel_epochs=1", "out=mine"], progress=shown)
    assert run.settings.predictor.epochs == 1
    assert set(run.summary["stages"]) == {"tokenizer", "predictor"}
    assert "They became:" in said.getvalue()
    assert "What is different here:" in said.getvalue()


QLIB = """
qlib_data_path instrument dataset_begin_time dataset_end_time lookback_window predict_window max_context
feature_list time_feature_list train_time_range val_time_range test_time_range backtest_time_range clip epochs
log_interval batch_size n_train_iter n_val_iter tokenizer_learning_rate predictor_learning_rate accumulation_steps
adam_beta1 adam_beta2 adam_weight_decay seed use_comet comet_config save_path tokenizer_save_folder_name
predictor_save_folder_name pretrained_tokenizer_path pretrained_predictor_path finetuned_tokenizer_path
finetuned_predictor_path backtest_n_symbol_hold backtest_n_symbol_drop backtest_hold_thresh inference_T
inference_top_p inference_top_k inference_sample_count backtest_benchmark
"""
"""All attributes of its Config class."""


def table(heading: str) -> list[tuple[str, str]]:
    """The two columns of the table below a heading of the docs."""
    below = DOCS.split(heading)[1].split("\n## ")[0]
    rows = [line.strip("| \n").split(" | ", 1) for line in below.splitlines() if line.startswith("| `")]
    return [(theirs, ours) for theirs, ours in rows]


def test_the_docs_map_every_attribute_and_every_key() -> None:
    assert set(re.findall(r"`(\w+)`", " ".join(left for left, _ in table("## Its Config class")))) == set(QLIB.split())
    keys = {key for section in THEIRS.values() for key in section} | {"pre_trained_tokenizer", "pre_trained_predictor"}
    assert set(re.findall(r"`(\w+)`", " ".join(left for left, _ in table("## Its YAML")))) == keys


@pytest.mark.parametrize("heading", ["## Its YAML", "## Its Config class"])
def test_the_keys_that_the_docs_name_exist(heading: str) -> None:
    named = [
        (key, BacktestSettings if "chandler backtest" in ours else Settings)
        for _, ours in table(heading)
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", ours)
    ]
    assert len(named) > 15
    for key, kind in named:
        model: Any = kind
        for part in key.split("."):
            assert part in model.model_fields, key
            annotation = model.model_fields[part].annotation
            models = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
            model = next((one for one in models if issubclass(one, BaseModel)), None)
