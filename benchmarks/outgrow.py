"""Trains from a store larger than it may hold: 100 million rows, resident memory watched. `make bench-outgrow`."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.data.bars import Bars
from chandler.data.store.store import BarStore
from chandler.training.run import finetune


def resident() -> float:
    """Megabytes in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def write_store(folder: Path, rows: int, symbols: int) -> None:
    """A store of random walks, symbol after symbol, straight into its files."""
    each = rows // symbols
    index = pd.date_range("1990-01-01", periods=each, freq="min")
    first = BarStore.from_bars([Bars("S0", index[:10], np.full((10, 6), 100.0))])
    first.save(folder)
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (each * symbols, *shape))
        for name, dtype, shape in (
            ("values", np.float32, (6,)),
            ("timestamps", np.int64, ()),
            ("stamps", np.uint8, (5,)),
        )
    }
    from chandler.data.calendars.time_features import time_features

    stamps, ticks = time_features(index), index.as_unit("ns").asi8
    random = np.random.default_rng(0)
    for number in range(symbols):
        part = slice(number * each, (number + 1) * each)
        close = 100 * np.exp(np.cumsum(random.normal(0, 1e-4, each)))
        volume = random.lognormal(5, 1, each)
        arrays["values"][part] = np.stack([close, close * 1.001, close * 0.999, close, volume, volume * close], axis=1)
        arrays["timestamps"][part], arrays["stamps"][part] = ticks, stamps
        for array in arrays.values():
            array.flush()
    np.save(folder / "offsets.npy", np.arange(symbols + 1, dtype=np.int64) * each)
    if (folder / "segments.npy").exists():
        edges = np.arange(symbols + 1, dtype=np.int64) * each
        np.save(folder / "segments.npy", np.stack([edges[:-1], edges[1:]], axis=1))
    path = next(folder.glob("*.json"))
    about = json.loads(path.read_text())
    names = [f"S{number}" for number in range(symbols)]
    about |= {"symbols": names, "zones": [None] * symbols}
    about |= {"notes": {}, "sources": {} if isinstance(about.get("sources"), dict) else [""] * symbols}
    path.write_text(json.dumps(about))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--windows", type=int, default=20_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chandler-outgrow-"))
    try:
        write_store(folder / "store", options.rows, options.symbols)
        size = sum(path.stat().st_size for path in (folder / "store").iterdir()) / 1e6
        small = {"d_model": 32, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
        stage = {"start": "random", "epochs": 1, "batch_size": 50}
        settings = {
            "out": str(folder / "run"),
            "device": "cpu",
            "data": {
                "path": str(folder / "store"), "windows_per_epoch": options.windows, "validation_stride": 100_000,
                "split": {"train": 0.9, "val": 0.1},
            },
            "tokenizer": {**stage, "architecture": {**small, "n_enc_layers": 2, "n_dec_layers": 2}},
            "predictor": {**stage, "architecture": {**small, "n_layers": 1}},
        }  # fmt: skip
        finetune({**settings, "out": str(folder / "warm"), "data": {**settings["data"], "windows_per_epoch": 100}})
        before = resident()
        finetune(settings)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"store {size:,.0f} MB, {options.rows:,} rows; {options.windows:,} windows in each stage")
        print(f"resident before {before:,.0f} MB, after {resident():,.0f} MB, peak of the process {peak:,.0f} MB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
