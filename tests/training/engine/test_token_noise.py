"""Token noise: what the model sees is replaced, what it has to predict is not; interrupted or shared out, the same bits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import tiny_run

from chandler.errors import ConfigError
from chandler.hub import WEIGHTS_NAME
from chandler.nn.predictor import Kronos, PredictorConfig
from chandler.training.datasets import Batch
from chandler.training.engine import Interrupted, PredictorStage, trainer
from chandler.training.run import finetune
from chandler.training.settings import load_settings

BITS = 4


class Codes(torch.nn.Module):
    """In the place of a tokenizer: the first two columns are the tokens."""

    def encode(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return values[..., 0].long(), values[..., 1].long()


class Seen(torch.nn.Module):
    """In the place of a model: keeps what it was given, and is sure of the token 3."""

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.given = given
        logits = torch.zeros(*given[0].shape, 2**BITS)
        logits[..., 3] = 9.0
        return logits, logits


def batch(noise: torch.Tensor | None) -> Batch:
    """Four windows of 12 bars whose tokens are all of the same kind in a window's first half, and 3 in its second."""
    values = torch.zeros(4, 12, 6)
    values[:, :6, :2] = torch.arange(4.0)[:, None, None] + 4
    values[:, 6:, :2] = 3.0
    uniforms = torch.rand(4, 12, generator=torch.Generator().manual_seed(1))
    return Batch(values, torch.zeros(4, 12, 5, dtype=torch.long), uniforms, noise=noise)


@pytest.mark.parametrize("condition", ["sampled", "true"])
def test_the_context_is_replaced_and_targets_and_condition_are_not(condition: Any) -> None:
    def given(noise: torch.Tensor | None) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        nothing: Any = None
        codes: Any = Codes()
        net, stage = Seen(), PredictorStage(nothing, codes, 6, condition, noise=0.5)
        losses = stage.losses(net, batch(noise), lambda x: x)
        return net.given, losses

    (s1, s2, stamps, asked), plain = given(None)
    always = torch.zeros(4, 12, 2)  # every pair by the one before it
    (noisy1, noisy2, noisy_stamps, noisy_asked), noisy = given(always)
    assert torch.equal(noisy1[:, 1:], s1[:, :-1])
    assert torch.equal(noisy2[:, 1:], s2[:, :-1])
    assert not torch.equal(noisy1, s1)
    assert torch.equal(noisy_stamps, stamps)
    assert torch.equal(noisy_asked, asked)
    # This model answers without a look at its context: only other targets could change the loss.
    assert plain == noisy


def test_validation_sees_the_true_context() -> None:
    net = Kronos(PredictorConfig(s1_bits=BITS, s2_bits=BITS, n_layers=1, d_model=16, n_heads=2, ff_dim=32)).eval()
    codes: Any = Codes()
    with torch.no_grad():
        scores = [
            PredictorStage(net, codes, 6, noise=share).validation(batch(torch.zeros(4, 12, 2))) for share in (0.0, 0.9)
        ]
    assert scores[0] == scores[1]


def run(folder: Path, noise: float | None, **other: Any) -> dict[str, Any]:
    """Settings of a short predictor stage with dropout, on a tokenizer of random weights that one epoch has trained."""
    config = tiny_run(folder)
    config["tokenizer"]["epochs"] = 1
    config["predictor"]["architecture"] |= {"ffn_dropout_p": 0.2, "token_dropout_p": 0.1}
    config["predictor"] |= {"loss": "horizon", "least_lookback": 10} | other
    if noise is not None:
        config["predictor"]["token_noise"] = noise
    return config


def weights(folder: Path) -> bytes:
    return (folder / "predictor" / WEIGHTS_NAME).read_bytes()


def test_none_is_the_same_bits_and_some_is_not(tmp_path: Path) -> None:
    finetune(run(tmp_path / "without", None))
    finetune(run(tmp_path / "zero", 0.0))
    finetune(run(tmp_path / "some", 0.3))
    assert weights(tmp_path / "without") == weights(tmp_path / "zero")
    assert weights(tmp_path / "without") != weights(tmp_path / "some")


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune(run(tmp_path / "whole", 0.3))
    step = trainer.Trainer._train_step

    def stops_at_3(self: trainer.Trainer) -> None:
        step(self)
        if self.stage.name == "predictor" and self.state.step == 3:
            self.run.stop.signal = signal.SIGTERM

    monkeypatch.setattr(trainer.Trainer, "_train_step", stops_at_3)
    with pytest.raises(Interrupted, match="stopped at step 3"):
        finetune(run(tmp_path / "stopped", 0.3))
    monkeypatch.undo()
    finetune(run(tmp_path / "stopped", 0.3), resume=True)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_a_changed_share_is_no_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.Trainer, "fit", lambda self: (_ for _ in ()).throw(Interrupted("stopped", 143)))
    with pytest.raises(Interrupted):
        finetune(run(tmp_path / "run", 0.3))
    with pytest.raises(ConfigError, match="token_noise"):
        finetune(run(tmp_path / "run", 0.2), resume=True)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_at_least_0_and_below_1(share: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token_noise"):
        load_settings(run(tmp_path, share))


def test_a_tokenizer_has_no_context(tmp_path: Path) -> None:
    config = run(tmp_path, None)
    config["tokenizer"]["token_noise"] = 0.1
    with pytest.raises(ConfigError, match="token_noise"):
        load_settings(config)
