"""Claims about the models beyond the golden values: sizes, initialisation, explicit causality, drawing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chandler.nn.predictor import Kronos, PredictorConfig, draw
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.quantizer import ids_to_signs, signs_to_ids
from chandler.nn.tokenizer import KronosTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("mini", 4_108_032), ("small", 24_741_376), ("base", 102_310_592), ("large", 499_246_976)],
)
def test_predictor_sizes(size: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(Kronos(PREDICTORS[size])) == parameters


def test_tokenizer_base_size() -> None:
    with torch.device("meta"):
        assert count(KronosTokenizer(TOKENIZERS["base"])) == 3_958_042


def test_random_weights_depend_on_the_generator_alone() -> None:
    config = PredictorConfig(s1_bits=3, s2_bits=3, n_layers=1, d_model=16, n_heads=2, ff_dim=16)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch.seed())  # whatever the global state
        return Kronos(config, generator=torch.Generator().manual_seed(seed)).state_dict()

    a, b, c = weights(1), weights(1), weights(2)
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not torch.equal(a["embedding.emb_s1.weight"], c["embedding.emb_s1.weight"])


def test_initialisation_follows_the_shape_of_each_part() -> None:
    model = Kronos(PredictorConfig(d_model=256, n_heads=4, ff_dim=512, n_layers=1))
    state = model.state_dict()
    for name, fans in {
        "transformer.0.self_attn.q_proj.weight": 256 + 256,
        "transformer.0.ffn.w1.weight": 256 + 512,
        "transformer.0.ffn.w2.weight": 256 + 512,
        "head.proj_s1.weight": 256 + 1024,
    }.items():
        assert state[name].std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.03), name
    assert state["embedding.emb_s1.weight"].std().item() == pytest.approx(256**-0.5, rel=0.03)
    assert state["transformer.0.self_attn.k_proj.bias"].abs().max() == 0
    assert state["norm.weight"].eq(1).all()


def test_fixed_time_tables_are_not_trained() -> None:
    model = Kronos(PredictorConfig(s1_bits=3, s2_bits=3, n_layers=1, d_model=16, n_heads=2, learn_te=False))
    table = model.state_dict()["time_emb.hour_embed.emb.weight"]
    assert table[0].tolist() == [0.0, 1.0] * 8  # sin 0, cos 0
    assert not any("time_emb" in n for n, p in model.named_parameters() if p.requires_grad)


def test_ids_are_least_significant_bit_first() -> None:
    signs = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0], [1.0, 1.0, 1.0]])
    assert signs_to_ids(signs).tolist() == [1, 4, 7]
    assert torch.equal(ids_to_signs(torch.tensor([1, 4, 7]), 3), signs)


def test_one_query_equals_the_last_row_of_the_causal_pass(predictor: Kronos) -> None:
    g = torch.Generator().manual_seed(0)
    s1, s2 = torch.randint(64, (2, 3, 15), generator=g)
    condition = torch.randint(64, (3, 15), generator=g)
    h = predictor.hidden(s1, s2)
    every = predictor.s2_logits(h, condition, causal=True, positions="rotary")
    last = predictor.s2_logits(h, condition[:, -1:], causal=False, positions="rotary")
    torch.testing.assert_close(every[:, -1:], last, rtol=0, atol=1e-5)
    assert not torch.allclose(predictor.s2_logits(h, condition[:, -1:], causal=False, positions="reference"), last)


def test_draw_follows_the_probabilities_and_never_picks_a_zero() -> None:
    p = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    u = torch.linspace(0, 1, 4001)[:-1]
    ids = draw(p.expand(4000, 5), u)
    assert ids.unique().tolist() == [1, 3]
    assert (ids == 1).float().mean().item() == pytest.approx(0.25, abs=1e-3)
    assert draw(p * 1e-3, torch.tensor(1 - 2**-24)).item() == 3
    assert draw(p, torch.tensor(0.0)).item() == 1


def test_sampled_condition_is_the_draw_from_s1(predictor: Kronos) -> None:
    g = torch.Generator().manual_seed(3)
    s1, s2 = torch.randint(64, (2, 2, 9), generator=g)
    uniforms = torch.rand(2, 9, generator=g)
    logits1, logits2 = predictor(s1, s2, None, uniforms)
    chosen = draw(logits1.softmax(-1), uniforms)
    assert torch.equal(predictor(s1, s2, None, chosen)[1], logits2)


def test_bfloat16_leaves_everything_but_the_blocks_exact() -> None:
    tokenizer = KronosTokenizer.from_pretrained(GOLDEN / "tokenizer")
    tokenizer.encoder, tokenizer.decoder = torch.nn.ModuleList(), torch.nn.ModuleList()
    bars = torch.randn(16, 64, 6, generator=torch.Generator().manual_seed(0))
    whole = tokenizer(bars)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tokenizer(bars)
    # With these layers in bfloat16 both reconstructions are off by 0.1, and the loss of the code by 3e-5.
    assert all(torch.equal(a, b) for a, b in zip(whole, half, strict=True))


def test_bfloat16_adds_up_blocks_in_float32() -> None:
    tokenizer = KronosTokenizer.from_pretrained(GOLDEN / "tokenizer")
    bars = torch.randn(16, 64, 6, generator=torch.Generator().manual_seed(0))
    entered: list[torch.dtype] = []
    for block in [*tokenizer.encoder, *tokenizer.decoder]:
        block.register_forward_pre_hook(lambda _, given: entered.append(given[0].dtype))
    whole = tokenizer(bars)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = tokenizer(bars)
    assert entered[4:] == [torch.float32] * 4
    # 7 of 12,288 signs turn; 15 where what enters the blocks is rounded, 17 with all layers in bfloat16.
    turned = int(((whole.quantized > 0) != (half.quantized > 0)).sum())
    assert 0 < turned <= 11
