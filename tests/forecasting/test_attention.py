"""One query per path over the history that paths share and the rows of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chandler.forecasting.attention import look
from chandler.forecasting.kernels import exact_rows

HEADS, WIDTH, HISTORY, OWN, PADDED = 4, 16, 64, 7, 5


def memory(series: int, paths: int) -> tuple[Tensor, ...]:
    """q, keys transposed and values of the history, bias, keys and values of the own rows."""
    g = torch.Generator().manual_seed(0)
    q = torch.randn(series, HEADS, paths, WIDTH, generator=g)
    keys = torch.randn(series * HEADS, WIDTH, HISTORY, generator=g)
    values = torch.randn(series * HEADS, HISTORY, WIDTH, generator=g)
    bias = torch.zeros(series, 1, 32)
    bias[0, :, -PADDED:] = -torch.inf
    own = [torch.randn(series, HEADS, paths, OWN, WIDTH, generator=g) for _ in range(2)]
    return q, keys, values, bias, *own


@pytest.mark.parametrize("series", [1, 3])
@pytest.mark.parametrize("paths", [1, 2, 9])
@pytest.mark.parametrize("parts", ["both", "history", "own"])
def test_it_is_softmax_over_both_parts_as_one(series: int, paths: int, parts: str) -> None:
    q, keys, values, bias, own_keys, own_values = memory(series, paths)
    flat = (own_keys.flatten(0, 2), own_values.flatten(0, 2))
    got = look(q, None if parts == "own" else (keys, values, bias), None if parts == "history" else flat)
    for i in range(series):
        seen = HISTORY - (PADDED if i == 0 else 0)
        old = keys.view(series, HEADS, WIDTH, HISTORY)[i].mT[:, :seen], values.view(series, HEADS, HISTORY, WIDTH)[i]
        for path in range(paths):
            new = own_keys[i, :, path], own_values[i, :, path]
            found = {"both": (old, new), "history": (old,), "own": (new,)}[parts]
            k, v = torch.cat([part[0] for part in found], 1), torch.cat([part[1][:, :seen] for part in found], 1)
            want = (q[i, :, path, None] @ k.mT).softmax(-1) @ v
            torch.testing.assert_close(got[i, :, path, None], want, rtol=0, atol=1e-5)


def test_a_path_does_not_depend_on_the_number_of_paths() -> None:
    if not exact_rows():
        pytest.skip("without MKL a row's rounding depends on how many rows there are")
    q, keys, values, bias, *own = memory(1, 40)
    every = look(q, (keys, values, bias), (own[0].flatten(0, 2), own[1].flatten(0, 2)))
    for paths in (1, 2, 3, 8, 33):
        few = [part[:, :, :paths].flatten(0, 2) for part in own]
        assert torch.equal(
            look(q[:, :, :paths].contiguous(), (keys, values, bias), (few[0], few[1])), every[:, :, :paths]
        )
