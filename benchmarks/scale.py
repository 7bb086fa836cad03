"""What `--engine ray` costs and brings on this machine, and what it survives: `make bench-scale`, some minutes.

Throughput is steady: from the first part that is done to the last. Ratios are of runs in turn, so that a busy machine is
busy for all of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
from tests.scale.calls import nothing
from tests.scale.conftest import universe
from tests.scale.killing import PartWatch, kill_drivers, workers

from chandler import BarStore, Forecaster
from chandler.engines import Engine, Local, RayEngine
from chandler.forecasting import ForecastSettings, write_table
from chandler.progress import Progress
from chandler.scale import forecast_parts

HORIZON, SEED = 10, 3


class Clock(Progress):
    """When parts were done, and how much memory the workers had."""

    def __init__(self) -> None:
        super().__init__(bars=False)
        self.done: list[tuple[float, int]] = []
        self.resident = 0

    @contextmanager
    def track(self, label: str, total: int, done: int = 0, unit: str = "windows") -> Iterator[Callable[[int], None]]:
        yield self.advance

    def advance(self, more: int) -> None:
        self.done.append((time.perf_counter(), more))
        if len(self.done) % 5 == 0:
            self.resident = max([self.resident, *(one.memory_info().rss for one in workers())])

    def rate(self) -> float:
        """Symbols a second after the first part."""
        return sum(more for _, more in self.done[1:]) / (self.done[-1][0] - self.done[0][0])


def run(store: BarStore, engine: Engine, how: ForecastSettings, chunk: int, out: Path) -> Clock:
    clock = Clock()
    told = {"settings": how, "seed": SEED, "chunk": chunk, "device": "cpu", "engine": engine, "progress": clock}
    forecast_parts("chandler-nano", store, HORIZON, out, **told)
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--paths", type=int, default=50)
    parser.add_argument("--chunk", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=15, help="of workers")
    parser.add_argument("--drivers", type=int, default=5, help="kills of the driver")
    o = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chandler-scale-"))
    store, how, two = universe(o.symbols, 200), ForecastSettings(paths=o.paths, lookback=90), RayEngine(workers=2)
    told = f"{o.symbols} symbols x {o.paths} paths x {HORIZON} bars in parts of {o.chunk}"
    whole = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast_with(how, store, HORIZON, seed=SEED)
    expected = pd.read_parquet(write_table(whole, folder / "whole.parquet"))

    begun = time.perf_counter()
    with two.session():
        started = time.perf_counter() - begun
        list(two.spread(nothing, [(0,)] * 20))
        begun = time.perf_counter()
        list(two.spread(nothing, [(0,)] * 1000))
        each = (time.perf_counter() - begun) / 1000
        print(
            f"Ray starts in {started:.1f} s; a part that does nothing takes {each * 1e3:.1f} ms (1,000 of them)",
            flush=True,
        )
        found: dict[str, list[float]] = {"one": [], "two": []}
        firsts = []
        for number in range(o.rounds):
            one = run(store, Local(), how, o.chunk, folder / f"one-{number}.parquet")
            begun = time.perf_counter()
            many = run(store, two, how, o.chunk, folder / f"two-{number}.parquet")
            firsts.append(many.done[0][0] - begun)
            found["one"].append(one.rate())
            found["two"].append(many.rate())
            ratio = many.rate() / one.rate()
            print(
                f"{told}: 1 process {one.rate():.1f} symbols/s, 2 workers {many.rate():.1f}, ratio {ratio:.2f}",
                flush=True,
            )
        ratios = [b / a for a, b in zip(found["one"], found["two"], strict=True)]
        held = (
            f"a worker holds {many.resident / 1e6:.0f} MB, the driver {psutil.Process().memory_info().rss / 1e6:.0f} MB"
        )
        print(f"2 workers against 1 process: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"first part after {firsts[0]:.1f} s, with warm workers {firsts[-1]:.1f} s; {held}", flush=True)

        small = 1
        watch = PartWatch(folder, kills=o.kills, pause=1.2)
        watch.start()
        begun = time.perf_counter()
        run(store, two, how, small, folder / "killed.parquet")
        killed = watch.stop()
        pd.testing.assert_frame_equal(expected, pd.read_parquet(folder / "killed.parquet"), check_exact=True)
        parts = len(watch.seen)
        print(f"{killed} workers killed in {time.perf_counter() - begun:.0f} s over {parts} parts: none lost, changed or written "
              "twice", flush=True)  # fmt: skip
    store.save(folder / "bars")
    command = ["forecast", folder / "bars", "--horizon", HORIZON, "--paths", o.paths, "--lookback", 90, "--seed", SEED,
               "--device", "cpu", "--out", folder / "f.parquet", "--engine", "ray", "--workers", 2, "--chunk", o.chunk]  # fmt: skip
    begun = time.perf_counter()
    drivers = kill_drivers(command, folder / "f.parquet.parts" / "parts", o.drivers)
    pd.testing.assert_frame_equal(expected, pd.read_parquet(folder / "f.parquet"), check_exact=True)
    print(
        f"{drivers} drivers killed in {time.perf_counter() - begun:.0f} s: none lost, changed or written twice",
        flush=True,
    )


if __name__ == "__main__":
    main()
