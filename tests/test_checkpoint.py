"""Folders and hub repositories: what loads, what is refused and in which words."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chandler.atomic import replacing_folder
from chandler.errors import CheckpointError
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
    with pytest.raises(CheckpointError, match=r"unknown keys d_modle; missing keys d_model.*Expected exactly: s1_bits"):
        Kronos.from_pretrained(copy)


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


def test_the_wrong_kind_of_checkpoint_is_refused(golden: Path) -> None:
    with pytest.raises(CheckpointError, match="no PredictorConfig: unknown keys beta"):
        Kronos.from_pretrained(golden / "tokenizer")


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


def test_saving_over_a_checkpoint_is_all_or_nothing(copy: Path) -> None:
    before = {p.name: p.read_bytes() for p in copy.iterdir()}

    def interrupted() -> None:
        with replacing_folder(copy) as scratch:
            (scratch / "config.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]
    Kronos.from_pretrained(copy).save_pretrained(copy)
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def load_in_new_process(repo: str, home: Path, revision: str | None = None, **environment: str) -> str:
    """The hub client reads its environment on import, so each case gets a process of its own."""
    code = (
        "from chandler import Kronos, ChandlerError\n"
        f"try: print('loaded', Kronos.from_pretrained({repo!r}, revision={revision!r}).config.d_model)\n"
        "except ChandlerError as e: print(e)"
    )
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE")) and "proxy" not in k.lower()
    }
    env = clean | {"HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_repository_that_cannot_be_reached_says_so_and_what_to_do(tmp_path: Path) -> None:
    text = load_in_new_process("NeoQuasar/Kronos-small", tmp_path, HF_HUB_OFFLINE="1")
    assert text.startswith("NeoQuasar/Kronos-small: ")
    assert "could not be reached (offline mode is on (HF_HUB_OFFLINE))" in text
    assert "local folder" in text
    assert "HF_ENDPOINT" in text
    assert "positional argument" not in text


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as the client asks for when it downloads one file."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.respond(body=False)

    def do_GET(self) -> None:
        self.respond(body=True)

    def respond(self, body: bool) -> None:
        self.asked.append(self.path)
        name = self.path.rsplit("/", 1)[-1]
        if not self.path.startswith("/owner/model/resolve/") or name not in self.files:
            self.send_response(404)
            code = "RevisionNotFound" if "/resolve/absent/" in self.path else "RepoNotFound"
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "/resolve/absent/" in self.path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.files[name]
        self.send_response(200)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(golden: Path) -> Any:
    files = {p.name: p.read_bytes() for p in (golden / "predictor").iterdir()}
    handler = type("GoldenHub", (Hub,), {"files": files, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_a_mirror_is_used_kept_in_the_cache_and_then_enough_offline(hub: Any, tmp_path: Path) -> None:
    mirror = f"http://127.0.0.1:{hub.server_port}"
    assert load_in_new_process("owner/model", tmp_path, HF_ENDPOINT=mirror) == "loaded 32"
    assert any("/resolve/main/" in path for path in hub.RequestHandlerClass.asked)
    assert (tmp_path / "hub" / "models--owner--model").is_dir()
    assert load_in_new_process("owner/model", tmp_path, HF_HUB_OFFLINE="1") == "loaded 32"
    assert load_in_new_process("owner/model", tmp_path, revision="v2", HF_ENDPOINT=mirror) == "loaded 32"
    assert any("/resolve/v2/" in path for path in hub.RequestHandlerClass.asked)


def test_an_absent_repository_or_revision_is_named(hub: Any, tmp_path: Path) -> None:
    mirror = f"http://127.0.0.1:{hub.server_port}"
    assert f"{mirror} has no such repository" in load_in_new_process("owner/other", tmp_path, HF_ENDPOINT=mirror)
    text = load_in_new_process("owner/model", tmp_path, revision="absent", HF_ENDPOINT=mirror)
    assert text == f"owner/model: there is no revision 'absent' at {mirror}."


def test_train_mode_is_not_saved(golden: Path, tmp_path: Path) -> None:
    model = KronosTokenizer.from_pretrained(golden / "tokenizer")
    assert not model.training
    folder = model.train().save_pretrained(tmp_path / "t")
    assert not KronosTokenizer.from_pretrained(folder).training
