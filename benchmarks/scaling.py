"""Past one machine, on paper: what 50,000 symbols x 250 origins x 100 paths x 10 bars cost on 1, 8, 64 and 512 GPUs.

Measured here: what a part of scores takes on disk, to read and to join; given: what a window takes on a GPU and what a task
takes the driver (`make bench-scale`). Simulated: workers that take their turn at one driver, parts of uneven length.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tests.scale.conftest import universe

from chandler import evaluate
from chandler.evaluation.walk_forward import load_evaluation


def simulate(parts: int, workers: int, seconds: float, task: float, seed: int = 0) -> float:
    """Seconds until all parts are done: a part takes a worker `seconds`, a quarter more or less (its longest a twentieth of
    parts, three times that), and the driver `task`, one after another; as many wait as are worked on."""
    rng = np.random.default_rng(seed)
    lengths = seconds * rng.uniform(0.75, 1.25, parts) * np.where(rng.random(parts) < 0.05, 3, 1)
    lengths *= seconds / lengths.mean()
    free, driver = [0.0] * min(workers, parts), 0.0
    given = [0.0] * parts
    ended: list[float] = []
    for number in range(parts):
        # A part is handed out when no more than two for each worker are out.
        if number >= 2 * workers:
            driver = max(driver, heapq.heappop(ended))
        driver += task
        given[number] = driver
        begin = max(heapq.heappop(free), driver)
        heapq.heappush(free, begin + lengths[number])
        heapq.heappush(ended, begin + lengths[number])
    return max(max(ended), driver)


def part_costs(chunk: int, horizon: int, paths: int) -> tuple[float, float]:
    """Bytes of a part of scores, and seconds to read it and append it to the file of all."""
    with tempfile.TemporaryDirectory() as folder:
        store = universe(chunk, 60 + 12 * horizon)
        store.save(Path(folder) / "bars")
        raw = {"out": f"{folder}/out", "data": {"path": f"{folder}/bars"}, "lookback": 50, "horizon": horizon, "paths": paths,
               "chunk": chunk, "baselines": ["bootstrap"], "origins": 8}  # fmt: skip
        found = sorted((evaluate(load_evaluation(raw)) / "parts" / "bootstrap").glob("*.parquet"))
        size, schema = sum(path.stat().st_size for path in found) / len(found), pq.read_schema(found[0])
        begun = time.perf_counter()
        with pq.ParquetWriter(Path(folder) / "all.parquet", schema, compression="zstd") as writer:
            for path in found * 4:
                writer.write_table(pq.read_table(path).cast(schema))
        return size, (time.perf_counter() - begun) / len(found) / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=50_000)
    parser.add_argument("--origins", type=int, default=250)
    parser.add_argument("--paths", type=int, default=100)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--window-ms", type=float, default=12.0, help="of a GPU for a window")
    parser.add_argument("--task-ms", type=float, default=1.7, help="of the driver for a task")
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 512])
    o = parser.parse_args()
    windows = o.symbols * o.origins
    rows = o.origins * o.horizon + 400
    print(f"{windows:,} windows, {windows * o.paths * o.horizon:,} bars of paths; bars {o.symbols * rows * 37 / 1e9:.1f} GB, "
          f"origins {windows * 24 / 1e9:.1f} GB, both mapped; scores {windows * o.horizon:,} rows")  # fmt: skip
    for chunk in o.chunks:
        size, joining = part_costs(chunk, o.horizon, o.paths)
        parts, seconds = -(-windows // chunk), chunk * o.window_ms / 1e3
        print(f"\nparts of {chunk}: {parts:,}, {size / 1e3:.0f} KB each, {parts * size / 1e9:.0f} GB in all; a worker takes "
              f"{seconds:.1f} s, the join {joining * 1e3:.0f} ms")  # fmt: skip
        print("| GPUs | forecasting, h | lost to the driver and the end | driver busy | written, MB/s | join, h |")
        print("|---:|---:|---:|---:|---:|---:|")
        for gpus in (1, 8, 64, 512):
            ideal = parts * seconds / gpus
            took = simulate(parts, gpus, seconds, o.task_ms / 1e3)
            print(f"| {gpus} | {took / 3600:.2f} | {took / ideal - 1:.1%} | {parts * o.task_ms / 1e3 / took:.1%} | "
                  f"{parts * size / took / 1e6:.1f} | {parts * joining / 3600:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
