"""Windows cut from tensors are those that numpy cuts."""

import numpy as np
import pytest
import torch
from tests.data.datasets.test_windows import all_rows, store_of

from chandler.data import Windows
from chandler.training.datasets.device_cache import BYTES_PER_ROW, DeviceRows, DeviceWindows, fetch

CPU = torch.device("cpu")


def windows(*rows: int, **options: int) -> Windows:
    store = store_of(*rows)
    return Windows(store, all_rows(store), 20, 5, **options)


@pytest.mark.parametrize("stride", [1, 3])
def test_every_window_is_the_same(stride: int) -> None:
    plain = windows(60, 25, 300, stride=stride)
    moved = DeviceWindows(plain, DeviceRows(plain.store, CPU))
    assert len(moved) == len(plain)
    order = np.random.default_rng(0).permutation(len(plain))
    (a, a_stamps), (b, b_stamps) = (fetch(w, order, CPU)() for w in (plain, moved))
    assert a.dtype == b.dtype == torch.float32
    assert a_stamps.dtype == b_stamps.dtype == torch.int64
    assert torch.equal(a_stamps, b_stamps)
    # Sums in another order: a float64 differs in its last bits, and few of them round to another float32.
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert (a == b).float().mean() > 0.999


def test_constant_columns_and_huge_volumes() -> None:
    plain = windows(40)
    plain.store.values[:, 4] = 0.1
    plain.store.values[:, 5] = np.linspace(1e37, 3e38, 40)
    moved = DeviceWindows(plain, DeviceRows(plain.store, CPU))
    every = np.arange(len(plain))
    (a, _), (b, _) = fetch(plain, every, CPU)(), fetch(moved, every, CPU)()
    assert (b[..., 4] == 0).all()
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert torch.isfinite(b).all()


def test_tiny_prices_have_the_unit_that_they_have_elsewhere() -> None:
    plain = windows(60)
    plain.store.values[:, :4] *= 1e-9
    moved = DeviceWindows(plain, DeviceRows(plain.store, CPU))
    every = np.arange(len(plain))
    (a, _), (b, _) = fetch(plain, every, CPU)(), fetch(moved, every, CPU)()
    assert a[..., :4].std() > 0.5
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_store_on_disk_is_brought_over_as_it_is(tmp_path) -> None:
    store = store_of(50, 70)
    store.save(tmp_path / "store")
    rows = DeviceRows(type(store).open(tmp_path / "store"), CPU)
    assert np.array_equal(rows.values.numpy(), store.values)
    assert np.array_equal(rows.stamps.numpy(), store.stamps)
    assert BYTES_PER_ROW * store.rows == rows.values.nbytes + rows.stamps.nbytes


def test_an_empty_batch_and_a_window_that_is_not_there() -> None:
    plain = windows(40)
    moved = DeviceWindows(plain, DeviceRows(plain.store, CPU))
    assert fetch(moved, np.empty(0, np.int64), CPU)()[0].shape == (0, 26, 6)
    with pytest.raises(IndexError):
        fetch(moved, np.array([len(plain)]), CPU)()
