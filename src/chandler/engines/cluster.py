"""Ray as an engine: tasks on the processes of this machine, or of a cluster.

Ray gives tasks of one function to the same processes, so what a function keeps in a cache of its module is made once a
worker. A lost worker or node costs the calls in its hands, which are made again; a lost driver loses its workers, and the
same command finds what they have written.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chandler.engines.local import Item, Smaller, ran_out_of_memory
from chandler.errors import ChandlerError, ConfigError, TrainingError
from chandler.version import __version__

RETRIES = 3
"""Times that a call is made again whose process was lost."""
OBJECT_STORE = 100 << 20
"""Bytes of Ray's shared memory on this machine: results are small, bars and forecasts go by files."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # of a lost worker Ray prints lines of its own: here it is told once, in other words
    "RAY_worker_niceness": "0",  # 15 is Ray's, with which workers get next to nothing of a machine that others use as well
}
"""What Ray reads where the user has not set it otherwise."""
_COUNT_SECONDS = 5.0
"""Between two counts of the processes that there is room for: nodes come and go."""


def require_ray() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed; says how.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "engine='ray' needs Ray, which is not installed: pip install \"chandler-kronos[ray]\"."
        ) from None
    return ray


@dataclass(frozen=True)
class RayEngine:
    """Processes of a Ray cluster, or of this machine.

    Raises:
        ConfigError: an impossible number.
    """

    address: str | None = None
    """Of a cluster; None: that of RAY_ADDRESS, and without it processes of this machine, which end with the work."""
    workers: int | None = None
    """Processes at most; None: as many as there is room for."""
    cpus: int = 1
    """Cores of a worker, which are its threads."""
    gpus: float = 0.0
    """GPUs of a worker, such as 0.25: a booking, by which memory is shared."""

    def __post_init__(self) -> None:
        if (self.workers is not None and self.workers < 1) or self.cpus < 1 or self.gpus < 0:
            raise ConfigError(
                f"workers={self.workers}, cpus={self.cpus}, gpus={self.gpus:g}: at least one worker with one core each."
            )
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigError(f"gpus={self.gpus:g}: give a part of one GPU, or whole ones.")

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Ray, connected; it ends with the block unless somebody had connected before.

        Raises:
            ConfigError: Ray is not installed, the cluster cannot be reached, or has another version.
        """
        ray = require_ray()
        if ray.is_initialized():
            yield ray
            return
        address = self.address or os.environ.get("RAY_ADDRESS")
        here: dict[str, Any] = {}
        if address is not None:
            _require_reachable(address)
        if address is None:
            cores = self.workers * self.cpus if self.workers else os.cpu_count()
            here = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
        except Exception as error:  # Ray raises bare ones, as where it was too slow to start
            told = (str(error).strip() or type(error).__name__).splitlines()
            text = " ".join(line.strip() for line in told)
            where = (
                "Ray could not be started here" if address is None else f"the Ray cluster at {address} does not take us"
            )
            raise ConfigError(f"{where}: {text[:400]}. Versions here: {_told(_versions())}.") from error
        try:
            yield ray
        finally:
            ray.shutdown()

    def room(self, ray: Any) -> int:
        """Workers that there is room for now, at least one: for none Ray would wait for ever.

        Raises:
            ConfigError: no node has what a worker asks for; says what there is.
        """
        there = {one["NodeManagerHostname"]: one["Resources"] for one in ray.nodes() if one["Alive"]}
        found = sum(self.fit(one["Resources"]) for one in ray.nodes() if one["Alive"])
        if not found:
            told = [f"{host}: {one.get('CPU', 0):g} cores, {one.get('GPU', 0):g} GPUs" for host, one in there.items()]
            raise ConfigError(
                f"no node has {self.cpus} cores and {self.gpus:g} GPUs, which a worker asks for (cpus=, gpus=). There are: "
                f"{'; '.join(told[:5]) or 'none'}."
            )
        return found

    def fit(self, resources: Mapping[str, float]) -> int:
        """Workers that a node of these resources has room for."""
        cores = int(resources.get("CPU", 0) // self.cpus)
        return cores if not self.gpus else min(cores, int(resources.get("GPU", 0) / self.gpus + 1e-9))

    def setup(self) -> WorkerSetup:
        """What each worker begins with: see `prepare_worker`."""
        return WorkerSetup(_versions(), self)

    def spread(
        self, function: Callable[..., Any], items: Iterable[Item], common: Item = (), smaller: Smaller | None = None
    ) -> Iterator[Any]:
        """As `Engine.spread`; nothing is started where there are no items."""
        todo = [(item, 0) for item in items][::-1]
        if not todo:
            return
        with self.session() as ray:
            room, counted = self.room(ray), time.monotonic()
            kept = ray.put(common)
            # max_retries: `_again` sees to them, since Ray would repeat for ever what memory does not suffice for. max_calls:
            # Ray ends the process of a GPU task after each call otherwise, and the model with it.
            booked = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0, max_calls=0)
            task, setup = booked(_call), self.setup()
            running: dict[Any, tuple[Item, int]] = {}
            try:
                while todo or running:
                    # As many wait at the workers as are worked on; not where they would start more than were asked for.
                    most = self.workers if self.workers and self.workers < room else 2 * room
                    while todo and len(running) < most:
                        item, losses = todo.pop()
                        running[task.remote(setup, function, kept, item)] = item, losses
                    ready, _ = ray.wait(list(running), num_returns=1, timeout=_COUNT_SECONDS)
                    for one in ready:
                        item, losses = running.pop(one)
                        try:
                            found = ray.get(one)
                        except ray.exceptions.RayError as error:
                            todo.append(_again(ray, error, item, losses, smaller))
                            continue
                        yield found
                    if time.monotonic() - counted > _COUNT_SECONDS:
                        room, counted = self.room(ray), time.monotonic()
            finally:
                for one in running:
                    ray.cancel(one, force=True)


def _require_reachable(address: str) -> None:
    """Ray itself waits for minutes. ConfigError: nobody answers there, or it is an address of Ray's client."""
    if "://" in address:
        raise ConfigError(f"address={address!r}: run this on a node of the cluster, with address='auto' or HOST:PORT.")
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"address={address!r}: nobody answers there ({error}). Start the cluster's head first, or leave it out to work "
            "on this machine."
        ) from None


def _again(ray: Any, error: Exception, item: Item, losses: int, smaller: Smaller | None) -> tuple[Item, int]:
    """The item that is run after one failed, and how often its process was lost; raises what is the user's, or a defect."""
    kinds, cause = ray.exceptions, getattr(error, "cause", None)
    short = isinstance(error, kinds.OutOfMemoryError)
    # On a node that goes, a call may end by itself before: what it was given is out of reach, which is an ObjectLostError.
    kinds_of_loss = kinds.WorkerCrashedError | kinds.NodeDiedError | kinds.LocalRayletDiedError | kinds.ObjectLostError
    lost = short or isinstance(error, kinds_of_loss)
    if lost and losses < RETRIES:
        why = " for want of memory on its machine" if short else ""
        warnings.warn(f"a worker was lost{why}: what it had in hand is made again", stacklevel=3)
        return item, losses + 1
    if (lost or (cause is not None and ran_out_of_memory(cause))) and smaller is not None:
        return smaller(item), 0
    if lost:
        raise TrainingError(f"{item}: its process was lost {losses + 1} times ({_first_line(error)}).") from None
    if isinstance(cause, ChandlerError):
        raise cause from None
    if isinstance(cause or error, ImportError) or "ModuleNotFoundError" in str(error):
        raise ConfigError(
            f"a worker cannot import what it needs: {_first_line(cause or error)}. Install the same on every node: "
            f"{_told(_versions())}."
        ) from None
    raise error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1].rstrip(".")


def _versions() -> tuple[tuple[str, str], ...]:
    """What must be equal on all nodes for equal results."""
    import torch

    python = ".".join(platform.python_version_tuple()[:2])
    return ("chandler", __version__), ("torch", torch.__version__.partition("+")[0]), ("Python", python)


def _told(versions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker makes sure of before its first call."""

    versions: tuple[tuple[str, str], ...]
    engine: RayEngine


_sharers = 1


def sharers() -> int:
    """Workers on this machine, this process among them, that share its memory: 1 except in a worker of an engine."""
    return _sharers


def _call(setup: WorkerSetup, function: Callable[..., Any], common: Item, item: Item) -> Any:
    """A task of Ray."""
    prepare_worker(setup)
    return function(*common, *item)


@lru_cache(maxsize=1)
def prepare_worker(setup: WorkerSetup) -> None:
    """Once a worker: its threads, and its part of the memory. ConfigError: it differs from the driver."""
    global _sharers
    import ray
    import torch

    node = ray.get_runtime_context().get_node_id()
    found: dict[str, Any] = next((one for one in ray.nodes() if one["NodeID"] == node), {})
    if setup.versions != _versions():
        raise ConfigError(
            f"node {found.get('NodeManagerHostname', node)} has {_told(_versions())}, and here are {_told(setup.versions)}. "
            "Install the same on every node."
        )
    torch.set_num_threads(setup.engine.cpus)
    _sharers = max(1, min(setup.engine.fit(found.get("Resources", {})), setup.engine.workers or 1 << 20))
