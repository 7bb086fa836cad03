"""Rows per second from CSV files to bars, against plain pandas.read_csv of the same files in the same run.

    make bench-read            # or: python -m benchmarks.read --files 8 --rows 200000 --workers 2

pandas reads the columns and leaves times as text; "with dates" it parses them. `load_bars` parses times, checks every
value and makes the time features; `prepare` also hashes the files and writes the store to disk. Every run of a shape
takes its turn, --repeat times, and its best counts. "faster" is against `pandas`, which reads by several threads itself since
3.1; "work" is the time of all cores together against that of `pandas`, which hardly depends on how many of them are free.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from chandler.data import load_bars, prepare
from chandler.data.parallel import cores

PARALLEL = hasattr(pd.options.mode, "max_threads")
"""Whether this pandas reads files of 5 MB and more by several threads, as pandas 3.1 does and 3.0 does not."""
SHAPES = ("files", "symbols", "epochs")


def bars(rows: int, seed: int, times: pd.Index) -> pd.DataFrame:
    """Minute bars of a random walk, as vendors write them: prices with two decimals, whole volumes."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(rng.normal(0, 1e-4, rows).cumsum()), 2)
    spread = np.round(np.abs(rng.normal(0, 0.05, (2, rows))), 2)
    return pd.DataFrame(
        {"timestamp": times, "open": close, "high": close + spread[0], "low": close - spread[1], "close": close,
         "volume": rng.integers(0, 10**6, rows)}
    )  # fmt: skip


def write_files(folder: Path, shape: str, files: int, rows: int) -> None:
    """`files`: one symbol each, ISO times; `symbols`: the same in one file; `epochs`: times in milliseconds."""
    index = pd.date_range("2015-01-01", periods=rows, freq="min")
    epochs = index.as_unit("ns").asi8 // 10**6
    times = pd.Index(epochs) if shape == "epochs" else index.strftime("%Y-%m-%d %H:%M:%S")
    for number in range(files):
        frame = bars(rows, number, times)
        if shape == "symbols":
            frame.insert(1, "symbol", f"S{number:04d}")
        name = "all.csv" if shape == "symbols" else f"S{number:04d}.csv"
        frame.to_csv(
            folder / name, index=False, float_format="%.2f", mode="a", header=number == 0 or shape != "symbols"
        )


def best(runs: dict[str, Callable[[], object]], repeat: int) -> dict[str, tuple[float, float]]:
    """Seconds, and seconds of work of all cores together, of the best of `repeat` turns of each."""
    found = dict.fromkeys(runs, (np.inf, np.inf))
    for _ in range(repeat):
        for name, run in runs.items():
            start, work = time.perf_counter(), time.process_time()
            run()
            took = time.perf_counter() - start, time.process_time() - work
            found[name] = min(found[name][0], took[0]), min(found[name][1], took[1])
    return found


def measure(shape: str, place: Path, options: argparse.Namespace) -> None:
    """Print the lines of one shape."""
    data, store = place / "data", place / "store"
    data.mkdir()
    write_files(data, shape, options.files, options.rows)
    files = sorted(data.iterdir())
    total, size = options.files * options.rows, sum(file.stat().st_size for file in files)

    def with_prepare() -> None:
        shutil.rmtree(store, ignore_errors=True)
        prepare(data, store, workers=options.workers)

    def with_one_thread() -> None:
        with pd.option_context("mode.max_threads", 1) if PARALLEL else nullcontext():
            for file in files:
                pd.read_csv(file)

    found = best(
        {
            "pandas": lambda: [pd.read_csv(file) for file in files],
            "pandas, one thread": with_one_thread,
            "load_bars": lambda: load_bars(data),
            "prepare": with_prepare,
            "pandas with dates": lambda: [
                pd.to_datetime(pd.read_csv(file)["timestamp"], unit="ms" if shape == "epochs" else None)
                for file in files
            ],
        },
        options.repeat,
    )
    for name, (seconds, work) in found.items():
        print(f"{shape:8} {len(files):5} {total:11,} {size / 1e6:6.0f}  {name:18} {seconds:7.2f} s "
              f"{total / seconds:12,.0f} {found['pandas'][0] / seconds:7.2f} x {1e9 * work / total:12,.0f} "
              f"{work / found['pandas'][1]:7.2f} x", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20, help="files, or symbols of the one file")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of each")
    parser.add_argument("--workers", type=int, default=None, help="of prepare; default: its own choice")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    options = parser.parse_args()
    print(f"{cores()} cores, {pa.cpu_count()} threads of Arrow; pandas {pd.__version__}, pyarrow {pa.__version__}")
    print(f"{'shape':8} {'files':>5} {'rows':>11} {'MB':>6}  {'':18} {'':9} {'rows/s':>12} {'faster':>9} "
          f"{'CPU ns/row':>12} {'work':>9}", flush=True)  # fmt: skip
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as place:
            measure(shape, Path(place), options)


if __name__ == "__main__":
    main()
