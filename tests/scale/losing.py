"""Losses that a Ray with settings of its own is needed for, of which a process can have one: `python -m tests.scale.losing WHAT
FOLDER`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chandler import ConfigError
from chandler.engines import FewerAtATime, RayEngine, cluster, require_ray
from chandler.forecasting import ForecastSettings
from chandler.progress import Progress
from chandler.scale import forecast_parts
from tests.scale import calls
from tests.scale.conftest import universe

SYMBOLS, CHUNK, HORIZON, SEED, HOW = 24, 2, 3, 3, ForecastSettings(paths=5, lookback=32)


def node(folder: Path) -> None:
    """A cluster that has another version than this process, then as it is: a forecast on two nodes of one core each, of
    which the second goes when a quarter of the parts is there."""
    ray = require_ray()
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})

    class Losing(Progress):
        done = 0

        @contextmanager
        def track(self, *told: object) -> Iterator[Callable[[int], None]]:  # type: ignore[override]
            yield self.advance

        def advance(self, more: int) -> None:
            self.done += 1
            if self.done == SYMBOLS // CHUNK // 4:
                nodes.remove_node(second, allow_graceful=False)

    engine = RayEngine(address=nodes.address)
    ray.__version__, known = "2.99", ray.__version__
    try:
        with engine.session():
            pass
    except ConfigError as error:
        print(error)
    ray.__version__ = known
    with engine.session():  # first, so that this process is not on the node that is lost
        second = nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
        forecast_parts("chandler-nano", universe(SYMBOLS), HORIZON, folder / "f.parquet", settings=HOW, seed=SEED, chunk=CHUNK,
                       device="cpu", engine=engine, progress=Losing())  # fmt: skip
    nodes.shutdown()


def memory(folder: Path) -> None:
    """Under a RAY_memory_usage_threshold that is always exceeded Ray itself kills the worker, whenever it looks."""
    cluster.RETRIES = int(os.environ.get("RETRIES", "0"))
    try:
        list(RayEngine(workers=1).spread(calls.wait, [("first", 8)], (folder,), FewerAtATime(lambda _: folder / "now")))
    except ConfigError as error:
        print(error)


if __name__ == "__main__":
    {"node": node, "memory": memory}[sys.argv[1]](Path(sys.argv[2]))
