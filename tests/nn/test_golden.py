"""The model reproduces the reference implementation: forwards, gradients and training trajectories."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from chandler.nn.layers import JointParameters
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer

FORWARD = {"rtol": 0.0, "atol": 1e-5}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Gradients under their released names (joint parameters split)."""
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        parts = module.released_parts if isinstance(module, JointParameters) else {}
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.grad is None:
                continue
            names = parts.get(name, (name,))
            for part_name, grad in zip(names, parameter.grad.chunk(len(names)), strict=True):
                found[f"{prefix}.{part_name}"] = grad
    return found


def assert_gradients_match(model: nn.Module, case: dict[str, Tensor], rtol: float = 1e-4) -> None:
    """Every golden gradient is matched to `rtol` of its tensor's largest entry, and there are no others."""
    expected = {name.removeprefix("grad."): t for name, t in case.items() if name.startswith("grad.")}
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        # The key bias shifts every score of a query alike: its true gradient is 0 and what is left is rounding.
        floor = 1e-7
        worst = (found[name] - want).abs().max().item()
        assert worst <= rtol * want.abs().max().item() + floor, (name, worst)


def dropout_off(model: nn.Module) -> nn.Module:
    """Train mode would drop; eval mode is the deterministic pass, and gradients flow in it all the same."""
    return model.eval()


# --- tokenizer ---------------------------------------------------------------------------------------------


def test_tokenizer_forward(tokenizer: KronosTokenizer, golden: Path) -> None:
    case = load_file(golden / "tokenizer_case.safetensors")
    out = tokenizer(case["x"])
    for name, got in {
        "recon_s1": out.recon_s1,
        "recon": out.recon,
        "quantized": out.quantized,
        "bsq_loss": out.bsq_loss,
        "recon_loss_s1": F.mse_loss(out.recon_s1, case["x"]),
        "recon_loss": F.mse_loss(out.recon, case["x"]),
    }.items():
        torch.testing.assert_close(got, case[name], **FORWARD)


def test_tokenizer_ids_and_decoding(tokenizer: KronosTokenizer, golden: Path) -> None:
    case = load_file(golden / "tokenizer_case.safetensors")
    s1, s2 = tokenizer.encode(case["x"])
    assert torch.equal(s1, case["s1_ids"])
    assert torch.equal(s2, case["s2_ids"])
    assert torch.equal(s1 | (s2 << 6), case["full_ids"])  # s1 holds the low bits
    assert torch.equal(case["full_ids"], case["token_ids"])
    torch.testing.assert_close(tokenizer.decode(s1, s2), case["decoded_from_halves"], **FORWARD)
    torch.testing.assert_close(tokenizer.decode(s1, s2), case["decoded_from_full"], **FORWARD)


def tokenizer_loss(model: KronosTokenizer, x: Tensor) -> Tensor:
    out = model(x)
    return (F.mse_loss(out.recon_s1, x) + F.mse_loss(out.recon, x) + out.bsq_loss) / 2


def test_tokenizer_gradients(tokenizer: KronosTokenizer, golden: Path) -> None:
    case = load_file(golden / "tokenizer_case.safetensors")
    loss = tokenizer_loss(tokenizer, case["x"])
    torch.testing.assert_close(loss, case["loss"], **FORWARD)
    loss.backward()
    assert_gradients_match(tokenizer, case)


# --- predictor ---------------------------------------------------------------------------------------------


def test_predictor_inference(predictor: Kronos, predictor_name: str, golden: Path) -> None:
    case = load_file(golden / f"{predictor_name}_case.safetensors")
    h = predictor.hidden(case["s1_ids"], case["s2_ids"], case["stamp"])
    torch.testing.assert_close(h, case["context"], **FORWARD)
    torch.testing.assert_close(predictor.s1_logits(h), case["s1_logits"], **FORWARD)
    last = predictor.s2_logits(h, case["sampled_s1"], causal=False, positions="reference")
    torch.testing.assert_close(last[:, -1], case["s2_logits_last"], **FORWARD)
    unstamped = predictor.s1_logits(predictor.hidden(case["s1_ids"], case["s2_ids"]))
    torch.testing.assert_close(unstamped, case["s1_logits_no_stamp"], **FORWARD)


def predictor_losses(model: Kronos, s1: Tensor, s2: Tensor, stamps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    logits1, logits2 = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1], s1[:, 1:])
    ce1 = F.cross_entropy(logits1.flatten(0, 1), s1[:, 1:].flatten())
    ce2 = F.cross_entropy(logits2.flatten(0, 1), s2[:, 1:].flatten())
    return logits1, logits2, ce1, ce2


def test_predictor_training_pass(predictor: Kronos, predictor_name: str, golden: Path) -> None:
    case = load_file(golden / f"{predictor_name}_case.safetensors")
    logits1, logits2, ce1, ce2 = predictor_losses(predictor, case["s1_ids"], case["s2_ids"], case["stamp"])
    torch.testing.assert_close(logits1, case["train_s1_logits"], **FORWARD)
    torch.testing.assert_close(logits2, case["train_s2_logits"], **FORWARD)
    torch.testing.assert_close(ce1, case["s1_loss"], **FORWARD)
    torch.testing.assert_close(ce2, case["s2_loss"], **FORWARD)
    loss = (ce1 + ce2) / 2
    torch.testing.assert_close(loss, case["loss"], **FORWARD)
    loss.backward()
    assert_gradients_match(predictor, case)


# --- trajectories: ten AdamW + OneCycle steps ------------------------------------------------------------------


def trajectory(
    model: nn.Module, losses: list, *, lr: float, betas: tuple[float, float], clip: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient norm before clipping and learning rate of each step, by the trainer's own pieces."""
    from chandler.training.engine.optim import make_optimizer, make_schedule

    optimizer = make_optimizer(model, lr=lr, betas=betas, weight_decay=0.1)
    schedule = make_schedule(optimizer, lr=lr, steps=len(losses), warmup=0.03, div_factor=10)
    rows = []
    for step in losses:
        loss = step()
        rate = optimizer.param_groups[0]["lr"]
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        rows.append((loss.item(), norm.item(), rate))
    columns = torch.tensor(rows, dtype=torch.float64)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def assert_trajectory(got: tuple[Tensor, Tensor, Tensor], case: dict[str, Tensor]) -> None:
    for value, name in zip(got, ("loss", "grad_norm", "lr"), strict=True):
        torch.testing.assert_close(value, case[name].double(), rtol=1e-4, atol=0.0, msg=lambda m, n=name: f"{n}: {m}")


def test_tokenizer_trajectory(tokenizer: KronosTokenizer, golden: Path) -> None:
    case = load_file(golden / "tokenizer_training.safetensors")
    steps = [lambda x=x: tokenizer_loss(tokenizer, x) for x in case["x"]]
    assert_trajectory(trajectory(tokenizer, steps, lr=2e-4, betas=(0.9, 0.999), clip=2.0), case)


def test_predictor_trajectory(predictor: Kronos, predictor_name: str, golden: Path) -> None:
    case = load_file(golden / f"{predictor_name}_training.safetensors")

    def loss(i: int) -> Tensor:
        *_, ce1, ce2 = predictor_losses(predictor, case["s1_ids"][i], case["s2_ids"][i], case["stamp"][i])
        return (ce1 + ce2) / 2

    steps = [lambda i=i: loss(i) for i in range(10)]
    assert_trajectory(trajectory(predictor, steps, lr=4e-5, betas=(0.9, 0.95), clip=3.0), case)


# --- properties ----------------------------------------------------------------------------------------------


def test_future_rows_change_nothing_before_them(tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 20, 6, generator=g)
    changed = x.clone()
    changed[:, 12:] = 3.0
    for a, b in zip(tokenizer.encode(x), tokenizer.encode(changed), strict=True):
        assert torch.equal(a[:, :12], b[:, :12])
    s1, s2 = tokenizer.encode(x)
    t1, t2 = tokenizer.encode(changed)
    assert not torch.equal(s1, t1)
    stamps = torch.zeros(2, 20, 5)
    condition = torch.zeros(2, 20, dtype=torch.long)
    for mode in (predictor.eval(), predictor.train()):
        # In train mode dropout draws; the same seed draws the same mask, so any difference is a leak.
        torch.manual_seed(0)
        a1, a2 = mode(s1, s2, stamps, condition)
        torch.manual_seed(0)
        b1, b2 = mode(t1, t2, stamps, condition)
        torch.testing.assert_close(a1[:, :12], b1[:, :12], rtol=0, atol=1e-6)
        torch.testing.assert_close(a2[:, :12], b2[:, :12], rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", ["tokenizer", "predictor"])
def test_released_names_survive_a_round_trip(layer: str, tmp_path: Path, golden: Path) -> None:
    cls = {"tokenizer": KronosTokenizer, "predictor": Kronos}[layer]
    cls.from_pretrained(golden / layer).save_pretrained(tmp_path / "copy")
    want, got = (
        load_file(golden / layer / "model.safetensors"),
        load_file(tmp_path / "copy" / "model.safetensors"),
    )
    assert want.keys() == got.keys()
    assert all(torch.equal(want[name], got[name]) and want[name].dtype == got[name].dtype for name in want)
    assert (golden / layer / "config.json").read_text().split() == (
        tmp_path / "copy" / "config.json"
    ).read_text().split()
