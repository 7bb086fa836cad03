"""A node of a cluster is lost: what it had in hand is made by the others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from chandler.engines import RayEngine
from chandler.forecasting import ForecastSettings
from chandler.progress import Progress
from chandler.scale import forecast_parts
from tests.scale.conftest import universe
from tests.scale.killing import PartWatch
from tests.scale.test_ray import expected

pytest.importorskip("ray")


def test_a_lost_node_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    added = []

    class Losing(Progress):
        """Takes the second node away when parts have come."""

        done = 0

        def track(self, *told: object) -> object:  # type: ignore[override]
            class Block:
                def __enter__(self) -> object:
                    return advance

                def __exit__(self, *told: object) -> None:
                    pass

            def advance(more: int) -> None:
                self.done += 1
                if self.done == 5:
                    cluster.remove_node(added[0], allow_graceful=False)

            return Block()

    store, watch = universe(40), PartWatch(tmp_path)
    watch.start()
    try:
        engine = RayEngine(address=cluster.address)
        with engine.session():  # first, so that this process is not on the node that is lost
            added.append(cluster.add_node(num_cpus=1, object_store_memory=100 << 20))
            forecast_parts("chandler-nano", store, 3, tmp_path / "f.parquet", settings=ForecastSettings(paths=5, lookback=32), seed=3,
                           chunk=2, device="cpu", engine=engine, progress=Losing())  # fmt: skip
    finally:
        watch.stop()
        cluster.shutdown()
    assert len(watch.seen) == 20
    found = pd.read_parquet(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(expected(store, 3, tmp_path / "w.parquet"), found, check_exact=True)
