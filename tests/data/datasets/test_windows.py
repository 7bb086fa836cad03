import numpy as np
import pandas as pd
import pytest

from chandler.data import (
    Bars,
    BarStore,
    SplitSettings,
    Windows,
    denormalise,
    epoch_order,
    normalise,
    require_windows,
    split_ranges,
)
from chandler.data.datasets import feistel_permutation
from chandler.errors import DataError


def store_of(*lengths, seed=0):
    """Random walks, one symbol per length, hourly."""
    generator = np.random.default_rng(seed)
    bars = []
    for number, length in enumerate(lengths):
        index = pd.date_range("2024-01-01", periods=length, freq="h").as_unit("ns")
        prices = 100 * np.exp(generator.normal(0, 0.01, (length, 4)).cumsum(axis=0))
        volume = generator.uniform(1e6, 1e9, (length, 2))
        bars.append(Bars(f"S{number}", index, np.hstack([prices, volume])))
    return BarStore.from_bars(bars)


def all_rows(store):
    return np.stack([store.offsets[:-1], store.offsets[1:]], axis=1)


def test_normalise_by_hand():
    x = np.zeros((4, 6), np.float32)
    x[:, 0] = [1, 3, 5, 100]
    z, mean, std = normalise(x, lookback=3)
    deviation = np.sqrt(8 / 3)  # of 1, 3, 5 around 3, population
    assert mean[0] == 3
    assert std[0] == pytest.approx(deviation)
    assert z[:, 0].tolist() == pytest.approx([-2 / (deviation + 1e-5), 0, 2 / (deviation + 1e-5), 5.0])
    assert (z[:, 1:] == 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 123.456, 1e12 + 1, 3e37])
def test_a_constant_column_is_exactly_zero(value):
    z, mean, std = normalise(np.full((2, 90, 6), value), lookback=77)
    assert (z == 0).all()
    assert (std == 0).all()
    assert (mean == np.float32(value)).all()


def test_huge_volumes_neither_overflow_nor_lose_their_spread():
    x = np.full((10, 6), 1e30, np.float32)
    x[::2] *= 2
    z, _, std = normalise(x, lookback=10)
    assert std == pytest.approx(np.full(6, 5e29), rel=1e-6)
    assert np.abs(z) == pytest.approx(np.ones((10, 6)), rel=1e-5)


def test_scale_ignores_future_rows():
    store = store_of(200)
    before = Windows(store, all_rows(store), lookback=20, horizon=5).gather([3, 60, 111])
    changed = store.values.copy()
    for start in (3, 60, 111):
        changed[start + 20 : start + 26] *= 1000  # the horizon and the extra row
    after_store = BarStore(changed, store.timestamps, store.stamps, store.offsets, store.symbols, store.zones, {}, {})
    after = Windows(after_store, all_rows(store), lookback=20, horizon=5).gather([3, 60, 111])
    assert np.array_equal(before.mean, after.mean)
    assert np.array_equal(before.std, after.std)
    assert np.array_equal(before.values[:, :20], after.values[:, :20])
    assert not np.array_equal(before.values[:, 20:], after.values[:, 20:])


def test_a_window_does_not_depend_on_its_batch():
    store = store_of(500)
    windows = Windows(store, all_rows(store), lookback=90, horizon=10)
    together = windows.gather(np.arange(len(windows)))
    for index in (0, 1, 200, len(windows) - 1):
        alone = windows.gather([index])
        assert np.array_equal(alone.values[0], together.values[index])
        assert np.array_equal(alone.mean[0], together.mean[index])
        z, mean, std = normalise(store.values[index : index + 101], 90)
        assert np.array_equal(z, together.values[index])
        assert np.array_equal(mean, together.mean[index])
        assert np.array_equal(std, together.std[index])


def test_denormalise_goes_back():
    store = store_of(60)
    batch = Windows(store, all_rows(store), lookback=40, horizon=10, clip=1e9).gather([0, 5])
    raw = np.stack([store.values[0:51], store.values[5:56]])
    assert denormalise(batch.values, batch.mean, batch.std) == pytest.approx(raw, rel=1e-5)


@pytest.mark.parametrize("power", [-5, -9, -20])
def test_tiny_prices_give_the_windows_of_a_larger_unit(power):
    values = np.array(store_of(200).values, np.float64)
    values[:, :4] *= 0.03  # some 3
    index = pd.date_range("2024-01-01", periods=200, freq="h").as_unit("ns")
    small = values * np.array([10.0**power] * 4 + [1, 1])
    stores = [BarStore.from_bars([Bars("S", index, one)]) for one in (values, small)]
    usual, tiny = (Windows(store, all_rows(store), 40, 10).gather(np.arange(100)) for store in stores)
    assert usual.values[..., :4].std() > 0.5
    assert tiny.values == pytest.approx(usual.values, abs=2e-4)
    assert denormalise(tiny.values, tiny.mean, tiny.std)[..., :4] == pytest.approx(
        denormalise(usual.values, usual.mean, usual.std)[..., :4] * 10.0**power, rel=1e-6
    )


@pytest.mark.parametrize("level", [0.001, 0.5, 100.0, 1e9])
def test_usual_prices_keep_the_scale_of_the_reference_to_the_bit(level):
    x = np.array(store_of(60).values) * np.array([level / 100] * 4 + [1, 1], np.float32)
    for a, b in zip(normalise(x, 40), normalise(x, 40, own_unit=False), strict=True):
        assert np.array_equal(a, b)
    z, mean, std = normalise(x, 40)
    assert np.array_equal(denormalise(z, mean, std), denormalise(z, mean, std, own_unit=False))
    assert np.array_equal(denormalise(z, mean, std), z.astype(np.float64) * (std + 1e-5) + mean)


def test_windows_never_cross_symbols_nor_leave_their_range():
    store = store_of(12, 5, 30, 11)
    ranges = np.array([[0, 12], [12, 17], [20, 40], [47, 58]])
    windows = Windows(store, ranges, lookback=8, horizon=2)  # 11 rows each
    assert windows.counts.tolist() == [2, 0, 10, 1]
    assert len(windows) == 13
    starts = windows.starts(np.arange(13))
    assert starts.tolist() == [0, 1, *range(20, 30), 47]
    batch = windows.gather(np.arange(13))
    assert batch.values.shape == (13, 11, 6)
    assert batch.stamps.shape == (13, 11, 5)
    assert batch.stamps.dtype == np.uint8
    assert batch.stamps[12].tolist() == store.stamps[47:58].tolist()
    with pytest.raises(IndexError):
        windows.starts(np.array([13]))
    with pytest.raises(IndexError):
        windows.gather([-1])


def test_stride_counts_from_the_first_row():
    store = store_of(20, 13)
    windows = Windows(store, all_rows(store), lookback=8, horizon=2, stride=4)
    assert windows.starts(np.arange(len(windows))).tolist() == [0, 4, 8, 20]


def test_extra_row_is_optional():
    store = store_of(10)
    assert len(Windows(store, all_rows(store), lookback=8, horizon=2)) == 0
    assert len(Windows(store, all_rows(store), lookback=8, horizon=2, extra=0)) == 1


def test_describe_names_symbol_and_span():
    store = store_of(12, 12)
    windows = Windows(store, all_rows(store), lookback=8, horizon=2)
    assert windows.describe(3) == ("S1", pd.Timestamp("2024-01-01 01:00"), pd.Timestamp("2024-01-01 11:00"))


def test_a_mapped_store_gives_the_same_windows(tmp_path):
    store = store_of(300, 200)
    opened = BarStore.open(store.save(tmp_path / "store"))
    one = Windows(store, all_rows(store), 50, 10).gather([7, 0, 250])
    two = Windows(opened, all_rows(opened), 50, 10).gather([7, 0, 250])
    assert np.array_equal(one.values, two.values)
    assert two.values.flags.c_contiguous
    assert two.values.flags.writeable
    assert type(two.values) is np.ndarray


def test_an_empty_batch_is_empty():
    store = store_of(30)
    assert Windows(store, all_rows(store), 8, 2).gather([]).values.shape == (0, 11, 6)


def test_epoch_order_depends_on_seed_and_epoch_only():
    order = epoch_order(100, seed=1, epoch=0)
    assert sorted(order.tolist()) == list(range(100))
    assert np.array_equal(order, epoch_order(100, seed=1, epoch=0))
    assert not np.array_equal(order, epoch_order(100, seed=1, epoch=1))
    assert not np.array_equal(order, epoch_order(100, seed=2, epoch=0))
    assert np.array_equal(order[:10], epoch_order(100, seed=1, epoch=0, limit=10))


@pytest.mark.parametrize("size", [1, 2, 5, 64, 1000])
def test_a_shuffle_puts_each_number_somewhere_else(size):
    places = feistel_permutation(np.arange(size), size, seed=3)
    assert sorted(places.tolist()) == list(range(size))
    assert np.array_equal(places[size // 2 :], feistel_permutation(np.arange(size // 2, size), size, seed=3))


def test_a_few_places_of_a_huge_shuffle_need_no_list_of_all():
    places = feistel_permutation(np.arange(10_000), 10**12, seed=1)
    assert len(set(places.tolist())) == 10_000
    tenths = np.bincount(places // 10**11, minlength=10)
    assert tenths.sum() == 10_000
    assert 850 < tenths.min() <= tenths.max() < 1150  # 1,000 each on average, deviation 30
    assert not np.array_equal(places, feistel_permutation(np.arange(10_000), 10**12, seed=2))


def test_too_few_rows_is_an_error_that_counts():
    store = store_of(62, 40)
    ranges = split_ranges(store, SplitSettings(train=0.5, val=0.5))
    windows = Windows(store, ranges["train"], lookback=90, horizon=10)
    with pytest.raises(DataError, match="train split has no window: one needs 101 rows of one symbol") as error:
        require_windows(windows, "train")
    assert "(90 lookback + 10 horizon + 1)" in str(error.value)
    assert "most that a symbol has there is 31 (S0)" in str(error.value)
    assert "together have 62" in str(error.value)
    assert "Lower lookback or horizon" in str(error.value)
    require_windows(Windows(store, all_rows(store), 8, 2), "train")


def test_impossible_sizes_are_refused():
    store = store_of(30)
    for options in (
        {"lookback": 0, "horizon": 5},
        {"lookback": 5, "horizon": -1},
        {"lookback": 5, "horizon": 1, "stride": 0},
    ):
        with pytest.raises(DataError, match="must be at least"):
            Windows(store, all_rows(store), **options)
    with pytest.raises(DataError, match="lookback must be from 1 to 10"):
        normalise(np.ones((10, 6)), lookback=11)
