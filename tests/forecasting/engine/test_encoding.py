"""Many histories encoded together have the tokens that each has alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chandler.forecasting.engine import encoding
from chandler.forecasting.engine.encoding import encode_histories
from chandler.nn.tokenizer import KronosTokenizer

LENGTHS = (20, 1, 7, 20, 33, 2, 19, 20)
EDGE = 1e-6
"""So near 0 a bit may fall on either side: sums round with the number of rows."""


def windows() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, 6, generator=generator) for rows in LENGTHS]


@pytest.fixture
def calls(tokenizer: KronosTokenizer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what passes through the encoder."""
    seen, unit = list[tuple[int, ...]](), tokenizer.unit

    def counted(x: Tensor) -> Tensor:
        assert not tokenizer.training
        seen.append(tuple(x.shape[:2]))
        return unit(x)

    monkeypatch.setattr(tokenizer, "unit", counted)
    return seen


def same(tokenizer: KronosTokenizer, window: Tensor, got: tuple[Tensor, Tensor]) -> bool:
    """Whether tokens are those of a window alone, bits on the edge aside."""
    with torch.no_grad():
        unit = tokenizer.eval().unit(window[None])[0]
    ids = got[0] | got[1] << tokenizer.config.s1_bits
    bits = (ids[:, None] >> torch.arange(tokenizer.bits)) & 1
    return ids.shape == (len(window),) and bool(((bits == (unit > 0)) | (unit.abs() < EDGE)).all())


def test_on_a_cpu_each_passes_alone(tokenizer: KronosTokenizer, calls: list[tuple[int, ...]]) -> None:
    told = list[int]()
    got, finite = encode_histories(tokenizer.train(), windows(), encoded=told.append)
    assert tokenizer.training
    assert calls == [(1, rows) for rows in LENGTHS]
    assert told == list(LENGTHS)
    assert finite
    for window, ids in zip(windows(), got, strict=True):
        with torch.no_grad():
            alone = KronosTokenizer.encode(tokenizer.eval(), window[None])
        assert all(torch.equal(a, b[0]) for a, b in zip(ids, alone, strict=True))


@pytest.mark.parametrize(
    ("rows", "budget", "shapes"),
    [
        (1 << 18, None, [(8, 33)]),
        (1 << 18, 0, [(1, rows) for rows in sorted(LENGTHS)]),
        (60, None, [(3, 7), (3, 20), (1, 20), (1, 33)]),
    ],
)
def test_elsewhere_those_of_similar_lengths_pass_together(
    tokenizer: KronosTokenizer,
    calls: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    budget: int | None,
    shapes: list[tuple[int, int]],
) -> None:
    monkeypatch.setattr(encoding, "suits_cpu", lambda device: False)
    monkeypatch.setattr(encoding, "MOST_ROWS", rows)
    told = list[int]()
    got, finite = encode_histories(tokenizer, windows(), memory_budget=budget, encoded=told.append)
    assert calls == shapes
    assert sum(told) == sum(LENGTHS)
    assert finite
    assert all(same(tokenizer, window, ids) for window, ids in zip(windows(), got, strict=True))


def test_a_kernel_is_not_given_more_sequences_than_it_takes(
    tokenizer: KronosTokenizer, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "suits_cpu", lambda device: False)
    monkeypatch.setattr(encoding, "MOST_SEQUENCES", 5)
    encode_histories(tokenizer, windows())
    assert calls == [(5, 20), (3, 33)]


def test_nothing_to_encode(tokenizer: KronosTokenizer) -> None:
    assert encode_histories(tokenizer, [])[0] == []
