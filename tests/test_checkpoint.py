"""Checkpoint folders: what loads, what is refused and in which words, and what saving leaves alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chandler.errors import CheckpointError, ConfigError
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer


@pytest.fixture
def copy(golden: Path, tmp_path: Path) -> Path:
    """A predictor checkpoint to damage."""
    return Kronos.from_pretrained(golden / "predictor").save_pretrained(tmp_path / "copy")


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))


def test_unknown_and_missing_config_keys_are_named(copy: Path) -> None:
    edit_config(copy, d_modle=32, d_model=None)
    with pytest.raises(CheckpointError, match=r"unknown keys d_modle; missing keys d_model.*Expected: s1_bits"):
        Kronos.from_pretrained(copy)


def test_keys_that_other_tools_add_are_ignored_and_said(copy: Path) -> None:
    edit_config(copy, _commit_hash="a" * 40, transformers_version="5.0")
    with pytest.warns(UserWarning, match=r"config\.json: keys .* are ignored: _commit_hash, transformers_version"):
        model = Kronos.from_pretrained(copy)
    assert model.config.d_model == 32


@pytest.mark.parametrize(
    ("key", "value"), [("n_layers", 2.5), ("learn_te", 1), ("ffn_dropout_p", "0.1"), ("d_model", True)]
)
def test_config_values_of_the_wrong_type_are_named(copy: Path, key: str, value: Any) -> None:
    edit_config(copy, **{key: value})
    with pytest.raises(CheckpointError, match=rf"{key} must be .*found {value!r}"):
        Kronos.from_pretrained(copy)


def test_impossible_shapes_are_named(copy: Path) -> None:
    edit_config(copy, n_heads=5)
    with pytest.raises(CheckpointError, match="d_model 32 must be a multiple"):
        Kronos.from_pretrained(copy)


def test_missing_extra_and_misshapen_tensors_are_named(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    del state["transformer.0.self_attn.k_proj.weight"]
    state["lm_head.weight"] = torch.zeros(2)
    state["norm.weight"] = torch.zeros(31)
    save_file(state, copy / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        Kronos.from_pretrained(copy)
    text = str(caught.value)
    assert "1 tensors missing: transformer.0.self_attn.k_proj.weight" in text
    assert "1 tensors not known to this model: lm_head.weight" in text
    assert "norm.weight is (31,), expected (32,)" in text


def test_the_wrong_kind_of_checkpoint_is_told_as_that(golden: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"tokenizer is a tokenizer, not a predictor: load it with KronosTokenizer"
    ):
        Kronos.from_pretrained(golden / "tokenizer")
    with pytest.raises(CheckpointError, match=r"predictor is a predictor, not a tokenizer: load it with Kronos\."):
        KronosTokenizer.from_pretrained(golden / "predictor")


def test_a_folder_with_both_models_gives_the_one_that_is_asked_for(golden: Path, tmp_path: Path) -> None:
    for cls, part in ((KronosTokenizer, "tokenizer"), (Kronos, "predictor")):
        cls.from_pretrained(golden / part).save_pretrained(tmp_path / part)
    assert isinstance(KronosTokenizer.from_pretrained(tmp_path), KronosTokenizer)
    assert isinstance(Kronos.from_pretrained(tmp_path), Kronos)
    assert isinstance(Kronos.from_pretrained(tmp_path, subfolder="predictor"), Kronos)
    with pytest.raises(CheckpointError, match="is a tokenizer, not a predictor"):
        Kronos.from_pretrained(tmp_path, subfolder="tokenizer")


def test_a_truncated_weights_file_is_named(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read as safetensors.*damaged"):
        Kronos.from_pretrained(copy)


def test_a_folder_without_a_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds no config\.json and no model\.safetensors; it has: notes\.txt"):
        Kronos.from_pretrained(tmp_path)


def test_neither_folder_nor_repository() -> None:
    with pytest.raises(CheckpointError, match=r"no such folder, and it is no repository id"):
        Kronos.from_pretrained("runs/missing/predictor")


# Saving


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_saving_writes_two_files_beside_whatever_is_there(golden: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", ".git/HEAD", "src/train.py", "tokenizer/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"three weeks of {name}")
    before = content(tmp_path)
    Kronos.from_pretrained(golden / "predictor").save_pretrained(tmp_path)
    after = content(tmp_path)
    assert after.keys() - before.keys() == {"config.json", "model.safetensors"}
    assert before.items() <= after.items()
    # Again, over itself: the same bytes, and nothing left over.
    Kronos.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert content(tmp_path) == after


def test_a_checkpoint_of_the_other_kind_is_not_replaced(golden: Path, tmp_path: Path) -> None:
    tokenizer, model = (
        KronosTokenizer.from_pretrained(golden / "tokenizer"),
        Kronos.from_pretrained(golden / "predictor"),
    )
    tokenizer.save_pretrained(tmp_path / "t")
    model.save_pretrained(tmp_path / "p")
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=r"t holds a tokenizer; a predictor saved there would replace it"):
        model.save_pretrained(tmp_path / "t")
    with pytest.raises(CheckpointError, match=r"p holds a predictor; a tokenizer saved there would replace it"):
        tokenizer.save_pretrained(tmp_path / "p")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("config.json", '{"model_type": "llama"}', r"holds a config\.json that is no predictor's"),
        ("config.json", "not even JSON", r"holds a config\.json that is no predictor's"),
        ("model.safetensors", "weights of something", r"holds a model\.safetensors of another model"),
    ],
)
def test_what_is_no_checkpoint_of_ours_is_not_replaced(
    golden: Path, tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=says):
        Kronos.from_pretrained(golden / "predictor").save_pretrained(tmp_path)
    assert content(tmp_path) == {name: text.encode()}


def test_here_links_and_home_are_folders_too(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Kronos.from_pretrained(golden / "predictor")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    model.save_pretrained(".")
    assert Path.cwd() == tmp_path / "here"
    (tmp_path / "disk").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "link")
    model.save_pretrained(tmp_path / "link")
    model.save_pretrained("~/home")
    whole = content(tmp_path / "here")
    assert whole.keys() == {"config.json", "model.safetensors"}
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "disk") == content(tmp_path / "home") == whole
    # The weights themselves on another disk.
    (tmp_path / "disk" / "model.safetensors").rename(tmp_path / "weights")
    os.symlink(tmp_path / "weights", tmp_path / "disk" / "model.safetensors")
    before = (tmp_path / "weights").stat().st_ino
    model.save_pretrained(tmp_path / "disk")
    assert (tmp_path / "disk" / "model.safetensors").is_symlink()
    assert (tmp_path / "weights").stat().st_ino != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "here", "home", "link", "weights"]


def test_a_file_is_no_folder_to_save_into(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    os.symlink(tmp_path / "nowhere", tmp_path / "dangling")
    for name in ("file", "dangling"):
        with pytest.raises(CheckpointError, match=f"{name} is no folder"):
            Kronos.from_pretrained(golden / "predictor").save_pretrained(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_save_that_fails_leaves_what_was_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(copy)
    model = Kronos.from_pretrained(copy)
    torch.nn.init.zeros_(model.norm.weight)

    def full(*args: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chandler.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        model.save_pretrained(copy)
    assert content(copy) == before


def test_a_pair_that_an_interruption_left_is_noticed(copy: Path, golden: Path, tmp_path: Path) -> None:
    """Both models have tensors of the same shapes: only the config says how many heads there are."""
    config = Kronos.from_pretrained(copy).config
    other = Kronos(type(config)(**{**config.__dict__, "n_heads": 2})).save_pretrained(tmp_path / "other")
    (other / "config.json").write_bytes((copy / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"saved with n_heads 2, not 4\. .*an interrupted save"):
        Kronos.from_pretrained(other)
    # Between the first weights and their config: not loaded, and the next save puts it right.
    (other / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        Kronos.from_pretrained(other)
    Kronos.from_pretrained(copy).save_pretrained(other)
    Kronos.from_pretrained(other)


def test_rates_of_training_may_be_edited_in_the_config(copy: Path) -> None:
    edit_config(copy, ffn_dropout_p=0.125)
    assert Kronos.from_pretrained(copy).config.ffn_dropout_p == 0.125


def test_only_safetensors_are_written(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="safetensors only"):
        Kronos.from_pretrained(copy).save_pretrained(tmp_path / "pickle", safe_serialization=False)
    assert not (tmp_path / "pickle").exists()


def test_train_mode_is_not_saved(golden: Path, tmp_path: Path) -> None:
    model = KronosTokenizer.from_pretrained(golden / "tokenizer")
    assert not model.training
    folder = model.train().save_pretrained(tmp_path / "t")
    assert not KronosTokenizer.from_pretrained(folder).training
