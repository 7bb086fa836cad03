"""Which windows a step gets: each at most once per epoch over all ranks, the same for any number of ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chandler.data.datasets.windows import epoch_order
from chandler.training.datasets.batching import BatchPlan, derive_seed


@given(
    windows=st.integers(0, 200),
    batch=st.integers(1, 9),
    accumulation=st.integers(1, 3),
    ranks=st.integers(1, 4),
    limit=st.none() | st.integers(1, 150),
)
def test_every_window_at_most_once_per_epoch_over_all_ranks(
    windows: int, batch: int, accumulation: int, ranks: int, limit: int | None
) -> None:
    drawn = min(windows, limit) if limit else windows
    plan = BatchPlan(drawn, 5, batch, accumulation, ranks, seed=1)
    order = epoch_order(windows, seed=1, epoch=3, limit=limit)
    seen: list[int] = []
    for index in range(plan.steps_per_epoch):
        micros = [list(plan.step(order, index, rank, step=index)) for rank in range(ranks)]
        assert len({len(m) for m in micros}) == 1, "every rank takes part in every batch"
        assert sum(m.weight for rank in micros for m in rank) == pytest.approx(1)
        for number in range(len(micros[0])):
            assert sum(rank[number].share for rank in micros) == pytest.approx(1)
            assert all(1 <= len(rank[number].indices) <= batch for rank in micros)
            seen += [int(i) for rank in micros for i in rank[number].indices]
    assert len(seen) == len(set(seen)) == plan.per_epoch
    assert drawn - ranks < plan.per_epoch <= drawn


def test_windows_and_their_randomness_do_not_depend_on_the_sharding() -> None:
    def steps(batch: int, accumulation: int, ranks: int) -> list[dict[int, list[Any]]]:
        plan = BatchPlan(100, 6, batch, accumulation, ranks, seed=5, noise=True)
        order = epoch_order(100, seed=5, epoch=1)
        return [
            {
                int(i): [u.tolist(), noise.tolist()]
                for rank in range(ranks)
                for micro in plan.step(order, index, rank, step=index)
                if micro.noise is not None
                for i, u, noise in zip(micro.indices, micro.uniforms, micro.noise, strict=True)
            }
            for index in range(plan.steps_per_epoch)
        ]

    assert steps(16, 1, 1) == steps(8, 1, 2) == steps(4, 2, 2) == steps(4, 1, 4)
    assert sum(map(len, steps(16, 1, 1))) == 100


def test_noise_is_drawn_where_it_is_asked_for_and_beside_the_other_draws() -> None:
    order = epoch_order(20, seed=5, epoch=1)
    (plain,) = BatchPlan(20, 6, 20, 1, 1, seed=5).step(order, 0, 0, step=1)
    (noisy,) = BatchPlan(20, 6, 20, 1, 1, seed=5, noise=True).step(order, 0, 0, step=1)
    assert plain.noise is None
    assert noisy.noise is not None
    assert noisy.noise.shape == (20, 6, 2)
    assert torch.equal(plain.uniforms, noisy.uniforms)
    assert torch.equal(plain.chances, noisy.chances)
    assert len({*noisy.noise.flatten().tolist(), *noisy.uniforms.flatten().tolist()}) == 360


def test_seeds_of_different_purposes_differ() -> None:
    assert len({derive_seed(a, b) for a in range(30) for b in range(30)}) == 900
