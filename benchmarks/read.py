"""Rows per second from CSV files to a bar store, against plain pandas.read_csv of the same files in the same run.

    make bench-read            # or: python benchmarks/read.py --files 8 --rows 200000 --workers 2

pandas reads the columns and no more; the other lines include parsing times, every check of the values, sorting,
and the time features, and `prepare` writes the store to disk as well. Each line is the best of --repeat.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.data import load_bars, prepare


def write_files(folder: Path, files: int, rows: int) -> None:
    """Minute bars of random walks, as vendors write them: prices with two decimals, whole volumes."""
    times = pd.date_range("2015-01-01", periods=rows, freq="min").strftime("%Y-%m-%d %H:%M:%S")
    for number in range(files):
        rng = np.random.default_rng(number)
        close = np.round(100 * np.exp(rng.normal(0, 1e-4, rows).cumsum()), 2)
        spread = np.round(np.abs(rng.normal(0, 0.05, (2, rows))), 2)
        frame = pd.DataFrame(
            {"timestamp": times, "open": close, "high": close + spread[0], "low": close - spread[1], "close": close,
             "volume": rng.integers(0, 10**6, rows)}
        )  # fmt: skip
        frame.to_csv(folder / f"S{number:04d}.csv", index=False, float_format="%.2f")


def best(run: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of `repeat` runs."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rows", type=int, default=200_000, help="rows per file")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data, store = Path(place, "data"), Path(place, "store")
        data.mkdir()
        write_files(data, options.files, options.rows)
        total = options.files * options.rows
        size = sum(file.stat().st_size for file in data.iterdir())

        def with_pandas(**more: object) -> None:
            for file in sorted(data.iterdir()):
                pd.read_csv(file, **more)

        def with_prepare() -> None:
            shutil.rmtree(store, ignore_errors=True)
            prepare(data, store, workers=options.workers)

        print(f"{options.files} files, {total:,} rows, {size / 1e6:.0f} MB, {os.cpu_count()} cores", flush=True)
        base = 0.0
        for name, run in (
            ("pandas.read_csv", with_pandas),
            ("pandas.read_csv, dates parsed", lambda: with_pandas(parse_dates=["timestamp"])),
            ("load_bars", lambda: load_bars(data)),
            (f"prepare, {options.workers} workers", with_prepare),
        ):
            seconds = best(run, options.repeat)
            base = base or seconds
            print(f"{name:32} {seconds:7.2f} s {total / seconds:13,.0f} rows/s {base / seconds:6.2f} x", flush=True)


if __name__ == "__main__":
    main()
