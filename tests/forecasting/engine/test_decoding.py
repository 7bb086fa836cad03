"""Decoding with a shared history gives the bars of the plain pass over every path, for one series and for many."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chandler.forecasting.engine import decoding
from chandler.forecasting.engine.decoding import decode_many
from chandler.forecasting.engine.reference import decode_tail
from chandler.nn.tokenizer import KronosTokenizer, TokenizerConfig


def ids(*shape: int, bits: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(sum(shape))
    return torch.randint(2**bits, shape, generator=g), torch.randint(2**bits, shape, generator=g)


@pytest.mark.parametrize(
    ("rows", "horizon"), [(20, 5), (24, 8), (40, 8), (1, 1), (3, 29), (31, 1), (10, 31), (10, 32), (10, 50), (50, 90)]
)
@pytest.mark.parametrize("rows_at_once", [4096, 7])
def test_equals_the_plain_pass(
    tokenizer: KronosTokenizer, rows: int, horizon: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "ROWS", rows_at_once)
    history, new = ids(rows), ids(5, horizon)
    whole = [torch.cat((old.expand(5, -1), own), dim=1) for old, own in zip(history, new, strict=True)]
    expected = decode_tail(tokenizer, *whole, horizon=horizon, max_context=32)
    [(got, last)] = decode_many(tokenizer, [history], [new], max_context=32)
    assert got.shape == (5, horizon, 6)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    # The history as far as the forecast rows see it; all that fits where they see none of it.
    seen = [ids[None, -(32 - horizon) :] if horizon < 32 else ids[None] for ids in history]
    torch.testing.assert_close(
        last, decode_tail(tokenizer, *seen, horizon=1, max_context=32)[0, 0], rtol=1e-4, atol=1e-5
    )


def test_a_decoder_without_blocks_and_one_in_train_mode() -> None:
    config = TokenizerConfig(
        d_model=16, n_heads=2, ff_dim=32, s1_bits=6, s2_bits=6, n_enc_layers=1, n_dec_layers=1, ffn_dropout_p=0.5
    )
    bare = KronosTokenizer(config).train()
    history, new = ids(9), ids(2, 4)
    whole = [torch.cat((old.expand(2, -1), own), dim=1) for old, own in zip(history, new, strict=True)]
    expected = decode_tail(bare, *whole, horizon=4, max_context=32)
    [got] = decode_many(bare, [history], [new], max_context=32)
    torch.testing.assert_close(got.bars, expected)
    assert bare.training


SERIES = ((20, 5), (1, 5), (40, 5), (20, 5), (33, 2), (31, 5), (24, 1), (20, 5), (7, 5))
"""Rows of history and paths: unequal, and some alike."""


def many(horizon: int) -> tuple[list[decoding.Ids], list[decoding.Ids]]:
    return [ids(rows) for rows, _ in SERIES], [ids(paths, horizon) for _, paths in SERIES]


@pytest.mark.parametrize("horizon", [1, 8, 31, 32, 50])
@pytest.mark.parametrize("budget", [None, 0, 60_000, 200_000])
def test_many_have_the_bars_that_each_has_alone(
    tokenizer: KronosTokenizer, horizon: int, budget: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories, news = many(horizon)
    alone = [
        decode_many(tokenizer, [history], [new], max_context=32)[0]
        for history, new in zip(histories, news, strict=True)
    ]
    together = decode_many(tokenizer, histories, news, max_context=32)
    assert all(
        torch.equal(a, b) for one, other in zip(together, alone, strict=True) for a, b in zip(one, other, strict=True)
    )
    monkeypatch.setattr(decoding, "suits_cpu", lambda device: False)
    told = list[int]()
    got = decode_many(tokenizer, histories, news, max_context=32, memory_budget=budget, decoded=told.append)
    assert sum(told) == horizon * sum(paths for _, paths in SERIES)
    for one, other in zip(got, alone, strict=True):
        torch.testing.assert_close([*one], [*other], rtol=1e-4, atol=1e-5)


def test_on_an_accelerator_those_alike_pass_together(
    tokenizer: KronosTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "suits_cpu", lambda device: False)
    passed, through = list[tuple[int, ...]](), decoding._after_history

    def counted(tokenizer: KronosTokenizer, history: torch.Tensor, new: torch.Tensor, count: int) -> Any:
        passed.append((*history.shape[1:], new.shape[2], count))
        return through(tokenizer, history, new, count)

    monkeypatch.setattr(decoding, "_after_history", counted)
    histories, news = many(8)

    def chunks(**limits: int) -> list[tuple[int, ...]]:
        passed.clear()
        for name, value in limits.items():
            monkeypatch.setattr(decoding, name, value)
        decode_many(tokenizer, histories, news, max_context=32)
        return passed

    # Series, their rows of history in view, paths, paths at once. 40 and 31 rows show 24 rows, as all above do.
    assert chunks() == [(3, 20, 5, 5), (1, 1, 5, 5), (2, 24, 5, 5), (1, 24, 2, 2), (1, 24, 1, 1), (1, 7, 5, 5)]
    assert chunks(MOST_ROWS=2 * 60)[:3] == [(2, 20, 5, 5), (1, 20, 5, 5), (1, 1, 5, 5)]
    assert chunks(MOST_ROWS=3 * 8)[:2] == [(1, 20, 5, 3), (1, 20, 5, 3)]
    assert chunks(MOST_ROWS=1 << 18, MOST_SEQUENCES=10)[:2] == [(2, 20, 5, 5), (1, 20, 5, 5)]


def test_nothing_to_decode(tokenizer: KronosTokenizer) -> None:
    assert decode_many(tokenizer, [], [], max_context=32) == []
