"""Captured work, by the recorder that stands in for a CUDA graph: what a replay does, and what cannot be captured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from chandler.devices import GraphError, captured, has_graphs
from tests.graphs import graphs_on_cpu

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _graphs() -> Iterator[None]:
    with graphs_on_cpu():
        yield


def test_a_replay_reads_what_the_tensors_hold_now() -> None:
    x, total, layer = torch.ones(2, 3), torch.zeros(2, 1), torch.nn.Linear(3, 1)

    def work() -> None:
        total.add_(layer(x).square()).mul_(0.5)

    again = captured(work, CPU)
    total.zero_()
    x.copy_(torch.arange(6.0).view(2, 3))
    again()
    assert torch.equal(total, layer(x).square().detach() / 2)
    again()
    assert torch.allclose(total, layer(x).square().detach() * 0.75)


def test_gradients_are_written_again() -> None:
    x, weight = torch.randn(4, 3), torch.randn(3, requires_grad=True)
    loss = torch.zeros(())

    def work() -> None:
        weight.grad = None
        made = (x @ weight).square().mean()
        made.backward()
        loss.copy_(made.detach())

    again = captured(work, CPU)
    x.copy_(torch.randn(4, 3))
    again()
    got, told = weight.grad.clone(), loss.clone()
    work()
    assert torch.equal(got, weight.grad)
    assert torch.equal(told, loss)


def test_random_numbers_are_those_of_the_work_itself() -> None:
    x, out = torch.ones(64), torch.zeros(64)

    def work() -> None:
        out.copy_(F.dropout(x, 0.5))

    again = captured(work, CPU)
    for seed in (1, 2):
        torch.manual_seed(seed)
        again()
        got = out.clone()
        torch.manual_seed(seed)
        work()
        assert torch.equal(got, out)


def test_numbers_of_python_are_frozen() -> None:
    """Why the recorder can find a step that hands its counter to the device: that number would never change again."""
    out, number = torch.zeros(()), [0]

    def work() -> None:
        number[0] += 1
        out.fill_(number[0])

    again = captured(work, CPU, warm_ups=0)
    again()
    again()
    assert out == 1


@pytest.mark.parametrize("ask", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero()])
def test_asking_for_a_number_cannot_be_captured(ask: object) -> None:
    x = torch.ones(3)
    with pytest.raises(GraphError, match="not permitted"):
        captured(lambda: ask(x), CPU)  # type: ignore[operator]


def test_a_cpu_has_no_graphs_of_its_own() -> None:
    assert not has_graphs(torch.device("meta"))
    assert has_graphs(torch.device("cuda"))
