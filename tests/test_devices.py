"""Which device is taken, where a model is, and what is refused in words; moves are in `accelerator/forecasting.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from chandler import compat
from chandler.devices import bring, device_of, has_float64, require_name, resolve, wide
from chandler.errors import ConfigError
from chandler.forecasting.forecaster import Forecaster
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.engine.distributed import make_accelerator
from tests.shell import chandler

CPU = torch.device("cpu")


@pytest.fixture
def predictor_name() -> str:
    """One of the golden predictors is enough here."""
    return "predictor"


def test_the_cpu_by_any_name() -> None:
    assert resolve("cpu") == resolve("cpu:0") == resolve(CPU) == CPU
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        assert resolve("auto") == CPU


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("nonsense", "Expected one of cpu, cuda"),
        ("meta", "it has shapes and no memory"),
        (torch.device("meta"), "it has shapes and no memory"),
        ("cuda:99", "."),
        ("vulkan", "torch was built without it"),
        ("hpu", "."),
        ("", "must not be empty"),
        (None, "device"),
    ],
)
def test_what_is_not_there_or_holds_nothing(device: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^device '{device}' cannot be used here: .*{says}.*\. Try auto or cpu\.$"):
        resolve(device)
    with pytest.raises(ConfigError, match="cannot be used here"):
        make_accelerator(device)


def test_names_of_settings() -> None:
    assert [require_name(name) for name in ("auto", "cpu", "cuda:3", "mps")] == ["auto", "cpu", "cuda:3", "mps"]
    with pytest.raises(ValueError, match='give "auto", "cpu", "cuda"'):
        require_name("gpu")


def test_weights_without_numbers_are_lost(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    predictor.dep_layer.to("meta")
    for ask in (device_of, lambda model: bring(CPU, model), lambda model: Forecaster(tokenizer, model, device="cpu")):
        with pytest.raises(ConfigError, match=r'weights of this Kronos are on "meta".*from_pretrained'):
            ask(predictor)
    assert device_of(tokenizer) == CPU


def test_a_forecaster_finds_out_when_it_is_asked(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    forecaster = Forecaster(tokenizer, predictor, device=None)
    assert forecaster.device == CPU
    tokenizer.head.to("meta")
    with pytest.raises(ConfigError, match=r'weights of this KronosTokenizer are on "meta"'):
        forecaster.bring_models()
    predictor.head.to("meta")
    with pytest.raises(ConfigError, match=r'weights of this Kronos are on "meta"'):
        _ = forecaster.device


def test_what_another_library_holds_is_refused_in_words() -> None:
    class Held(nn.Linear):
        def to(self, *args: object, **kwargs: object) -> Held:
            raise RuntimeError("You can't move a model that has some modules offloaded to disk.\nMore of that")

    held = Held(2, 2)
    bring(CPU, held)  # it is there
    with pytest.raises(ConfigError, match="this Held cannot be brought to meta: You can't move a model"):
        bring(torch.device("meta"), held)


def test_a_module_without_weights_is_on_the_cpu() -> None:
    assert device_of(nn.Identity()) == CPU


def test_float64() -> None:
    assert has_float64(CPU)
    assert wide(torch.ones(2)).dtype == torch.float64


def test_processes_of_torchrun_take_devices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="cuda:0 is one device, and torchrun starts a process for each"):
        make_accelerator("cuda:0")


def test_the_command_says_so_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = Path(__file__).parents[1] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
    assert chandler("forecast", bars, "--symbols", "AAPL", "--device", "meta", "--out", tmp_path / "f.csv") == 2
    shown = capsys.readouterr()
    assert "device 'meta' cannot be used here: it has shapes and no memory. Try auto or cpu." in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert not list(tmp_path.iterdir())


def test_a_reference_s_map_location_is_a_device_like_any_other(golden: Path) -> None:
    for device in ("meta", "nonsense"):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
            compat.Kronos.from_pretrained(golden / "predictor", map_location=device)
