"""Decoding with a shared history gives the bars of the plain pass over every path."""

from __future__ import annotations

import pytest
import torch

from chandler.forecasting.engine import decoding
from chandler.forecasting.engine.decoding import decode_paths
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
    got, last = decode_paths(tokenizer, history, new, max_context=32)
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
    torch.testing.assert_close(decode_paths(bare, history, new, max_context=32).bars, expected)
    assert bare.training
