"""Queries of paths over the history that they share and the rows of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chandler.forecasting.engine.attention import attend_shared_prefix

HEADS, WIDTH, HISTORY, OWN, PADDED = 4, 16, 64, 7, 5


def memory(series: int, paths: int, count: int = 1) -> tuple[Tensor, ...]:
    """q, keys transposed and values of the history, bias, keys and values of the own rows."""
    g = torch.Generator().manual_seed(0)
    q = torch.randn(series, HEADS, paths, count, WIDTH, generator=g)
    keys = torch.randn(series * HEADS, WIDTH, HISTORY, generator=g)
    values = torch.randn(series * HEADS, HISTORY, WIDTH, generator=g)
    bias = torch.zeros(series, 1, 32)
    bias[0, :, -PADDED:] = -torch.inf
    rows = OWN if count == 1 else count
    own = [torch.randn(series, HEADS, paths, rows, WIDTH, generator=g) for _ in range(2)]
    return q, keys, values, bias, *own


@pytest.mark.parametrize("series", [1, 3])
@pytest.mark.parametrize("paths", [1, 2, 9])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("parts", ["both", "history", "own"])
def test_it_is_softmax_over_both_parts_as_one(series: int, paths: int, count: int, parts: str) -> None:
    q, keys, values, bias, own_keys, own_values = memory(series, paths, count)
    flat = (own_keys.flatten(0, 2), own_values.flatten(0, 2))
    got = attend_shared_prefix(
        q, None if parts == "own" else (keys, values, bias), None if parts == "history" else flat
    )
    for i in range(series):
        seen = HISTORY - (PADDED if i == 0 else 0)
        old = keys.view(series, HEADS, WIDTH, HISTORY)[i].mT[:, :seen], values.view(series, HEADS, HISTORY, WIDTH)[i]
        for path in range(paths):
            for query in range(count):
                end = OWN if count == 1 else query + 1  # of several queries each sees the own rows up to itself
                new = own_keys[i, :, path, :end], own_values[i, :, path, :end]
                found = {"both": (old, new), "history": (old,), "own": (new,)}[parts]
                k = torch.cat([part[0] for part in found], 1)
                v = torch.cat([part[1][:, : part[0].shape[1]] for part in found], 1)
                want = (q[i, :, path, query, None] @ k.mT).softmax(-1) @ v
                torch.testing.assert_close(got[i, :, path, query, None], want, rtol=0, atol=1e-5)


def test_a_path_agrees_whatever_the_number_of_paths() -> None:
    q, keys, values, bias, *own = memory(1, 40)
    every = attend_shared_prefix(q, (keys, values, bias), (own[0].flatten(0, 2), own[1].flatten(0, 2)))
    largest = 0.0
    for paths in (*range(1, 13), 33):
        few = [part[:, :, :paths].flatten(0, 2) for part in own]
        got = attend_shared_prefix(q[:, :, :paths].contiguous(), (keys, values, bias), (few[0], few[1]))
        largest = max(largest, float((got - every[:, :, :paths]).abs().max()))
    print(f"1 to 33 paths against 40: the largest difference is {largest:.1e}")
    assert largest < 1e-5
