"""Adapters add nothing at first, equal the merged weights after, and leave the released names alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chandler.errors import CheckpointError, ConfigError
from chandler.nn.lora import adapters, add_adapters, load_adapters, merged, projections, save_adapters
from chandler.nn.predictor import Kronos
from chandler.nn.released import matches, released_parts
from chandler.nn.tokenizer import KronosTokenizer

ALL = ["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"]


def logits(model: Kronos) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    s1, s2 = (torch.randint(0, 2**6, (2, 12), generator=g) for _ in range(2))
    stamps = torch.randint(1, 7, (2, 12, 5), generator=g)
    with torch.no_grad():
        return model.eval()(s1, s2, stamps, s1)


def shake(model: torch.nn.Module) -> None:
    """Make the adapters add something."""
    g = torch.Generator().manual_seed(4)
    for lora in adapters(model).values():
        lora.up.data.normal_(std=0.1, generator=g)


def test_new_adapters_change_nothing_at_all(predictor: Kronos) -> None:
    before = logits(predictor)
    names = add_adapters(predictor, ALL, rank=4, alpha=8, generator=torch.Generator().manual_seed(0))
    assert len(names) == len(adapters(predictor)) == 7 * len(predictor.transformer) + 4  # and the dependency layer
    for a, b in zip(before, logits(predictor), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("targets", [["q_proj", "w3"], [*ALL, "proj_s*", "fusion_proj"], ["transformer.1"]])
def test_merged_equals_adapted(predictor: Kronos, targets: list[str]) -> None:
    names = set(predictor.state_dict())
    before = logits(predictor)
    add_adapters(predictor, targets, rank=4, alpha=8, generator=torch.Generator().manual_seed(0))
    shake(predictor)
    adapted = logits(predictor)
    assert (adapted[0] - before[0]).abs().max() > 1e-2
    plain = merged(predictor)
    assert set(plain.state_dict()) == names
    assert not adapters(plain)
    for a, b in zip(adapted, logits(plain), strict=True):
        # One product or two: summed in another order, logits agree to 1e-5 as everywhere.
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_merged_tokenizer(tokenizer: KronosTokenizer) -> None:
    x = torch.randn(2, 10, 6, generator=torch.Generator().manual_seed(1))
    add_adapters(tokenizer, ["decoder", "head"], rank=2, alpha=2)
    shake(tokenizer)
    with torch.no_grad():
        torch.testing.assert_close(tokenizer(x).recon, merged(tokenizer)(x).recon, atol=1e-6, rtol=1e-5)


def test_adapters_alone_beside_their_base_are_the_merged_model(predictor: Kronos, golden: Path, tmp_path: Path) -> None:
    add_adapters(predictor, ALL, rank=3, alpha=6)
    shake(predictor)
    save_adapters(predictor, tmp_path)
    name = "predictor" if predictor.config.learn_te else "predictor-fixed-time"
    base = Kronos.from_pretrained(golden / name)
    assert load_adapters(base, tmp_path) == list(adapters(predictor))
    for a, b in zip(merged(base).state_dict().values(), merged(predictor).state_dict().values(), strict=True):
        assert torch.equal(a, b)
    other = KronosTokenizer.from_pretrained(golden / "tokenizer")
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_adapters(other, tmp_path)
    with pytest.raises(CheckpointError, match="no adapters can be read"):
        load_adapters(base, tmp_path / "nowhere")


def test_parts_are_the_released_parameters(predictor: Kronos, tokenizer: KronosTokenizer) -> None:
    for model in (predictor, tokenizer):
        state = model.state_dict()
        buffers = {name for name, _ in model.named_buffers()}
        parts = released_parts(model)
        assert {part.name for part in parts} == set(state) - buffers
        for part in parts:
            assert torch.equal(part.tensor, state[part.name])
        add_adapters(model, ["q_proj", "out_proj"], rank=2, alpha=2)
        assert [part.name for part in released_parts(model)] == [part.name for part in parts]


def test_a_target_that_fits_nothing_names_what_there_is(predictor: Kronos) -> None:
    with pytest.raises(ConfigError, match=r"'query' names no projection. There are .*q_proj, k_proj, v_proj"):
        add_adapters(predictor, ["query"], rank=2, alpha=2)
    assert "transformer.0.ffn.w1" in projections(predictor)
    assert "embedding.emb_s1" not in projections(predictor)


def test_patterns_fit_names_and_the_modules_that_hold_them() -> None:
    assert matches("transformer.0.norm1.weight", ["transformer.0"])
    assert not matches("transformer.01.norm1.weight", ["transformer.0"])
    assert matches("transformer.3.norm1.weight", ["transformer.[0-3]"])
    assert matches("transformer.3.self_attn.q_proj.bias", ["*.bias"])
