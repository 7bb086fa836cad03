"""Sampling: the reference's distributions, and randomness that belongs to one series and one path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chandler.errors import ConfigError
from chandler.forecasting.engine.sampling import Sampling, path_uniforms, probabilities, sample


@pytest.mark.parametrize(
    ("case", "top_k", "top_p"),
    [
        ("k0_p0.9", 0, 0.9),
        ("k0_p0.5", 0, 0.5),
        ("k5_p1.0", 5, 1.0),
        ("k1_p1.0", 1, 1.0),
        # The reference ignores top_p once top_k is on; that is top_p off here, since ours compose.
        ("k5_p0.9", 5, None),
    ],
)
def test_probabilities_are_the_reference_s(golden: Path, case: str, top_k: int, top_p: float | None) -> None:
    tensors = load_file(golden / "filtering.safetensors")
    ours = probabilities(tensors["logits"], Sampling(temperature=0.7, top_k=top_k, top_p=top_p))
    torch.testing.assert_close(ours, tensors[f"probs.T0.7_{case}"], rtol=0, atol=1e-6)


def test_top_k_and_top_p_compose_k_first() -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
    both = probabilities(logits, Sampling(top_k=3, top_p=0.8))  # of three: 0.556, 0.278, 0.167
    torch.testing.assert_close(both, torch.tensor([2 / 3, 1 / 3, 0, 0]))


def test_the_token_that_crosses_top_p_stays() -> None:
    logits = torch.tensor([0.4, 0.35, 0.2, 0.05]).log()
    kept = probabilities(logits, Sampling(top_p=0.5)) > 0
    assert kept.tolist() == [True, True, False, False]
    assert (probabilities(logits, Sampling(top_p=0.01)) > 0).tolist() == [True, False, False, False]


@pytest.mark.parametrize("off", [Sampling(top_k=0, top_p=1.0), Sampling(top_k=None, top_p=None)])
def test_zero_none_and_one_switch_a_rule_off(off: Sampling) -> None:
    logits = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(probabilities(logits, off), logits.softmax(-1))


def test_top_k_beyond_the_vocabulary_keeps_all() -> None:
    logits = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(probabilities(logits, Sampling(top_k=9, top_p=None)), logits.softmax(-1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": 1e-31},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "hot"},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_k": True},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_greedy_takes_the_most_likely_whatever_the_uniforms() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    for u in (0.0, 0.5, 0.999):
        assert sample(logits, Sampling(top_k=1), torch.full((2,), u)).tolist() == [1, 0]


def test_sample_inverts_the_cumulative_distribution() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(4, 3)
    ids = sample(logits, Sampling(top_p=None), torch.tensor([0.0, 0.19, 0.21, 0.99]))
    assert ids.tolist() == [0, 0, 1, 2]


def test_sampled_frequencies_follow_the_distribution() -> None:
    rule = Sampling(temperature=0.8, top_k=3, top_p=0.95)
    logits = torch.tensor([1.0, 0.5, 0.0, -1.0])
    uniforms = path_uniforms(0, 0, 1, 10_000).flatten()
    ids = sample(logits.expand(len(uniforms), 4), rule, uniforms)
    frequency = torch.bincount(ids, minlength=4) / len(ids)
    torch.testing.assert_close(frequency, probabilities(logits, rule), rtol=0, atol=0.02)


def test_uniforms_lie_in_the_half_open_unit_interval() -> None:
    uniforms = path_uniforms(3, 0, 50, 200)
    assert uniforms.shape == (50, 200, 2)
    assert uniforms.dtype == torch.float32
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    assert abs(uniforms.mean() - 0.5) < 0.01
    assert abs(uniforms.std() - 12**-0.5) < 0.01


def test_few_paths_begin_many_and_short_horizons_begin_long() -> None:
    many = path_uniforms(7, 2, 100, 24)
    assert torch.equal(path_uniforms(7, 2, 9, 24), many[:9])
    assert torch.equal(path_uniforms(7, 2, 100, 5), many[:, :5])


def test_seed_series_and_path_each_change_the_numbers() -> None:
    base = path_uniforms(7, 2, 2, 8)
    assert not torch.equal(base, path_uniforms(8, 2, 2, 8))
    assert not torch.equal(base, path_uniforms(7, 3, 2, 8))
    assert not torch.equal(base[0], base[1])


def test_uniforms_are_the_same_on_every_machine() -> None:
    # Written down, so that a change of stream, which would change every seeded forecast, is seen.
    expected = torch.tensor([9481337, 15693963, 8050958, 12932440, 6120380, 15775386, 10500006, 4118933]) / 2**24
    assert torch.equal(path_uniforms(0, 0, 2, 2).flatten(), expected)


def test_global_seed_has_no_say() -> None:
    torch.manual_seed(1)
    first = path_uniforms(0, 0, 2, 4)
    torch.manual_seed(2)
    assert torch.equal(first, path_uniforms(0, 0, 2, 4))


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed"):
        path_uniforms(seed, 0, 1, 1)  # type: ignore[arg-type]
