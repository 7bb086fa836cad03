"""Where pieces of work run: one after another in this process (`local`), or on many processes and machines (`cluster`, by
Ray, which is imported there alone and only when it is asked for).

An engine has one method, `spread`: a function that can be imported anywhere, what it is called with, results as they come.
"""

from chandler.engines.cluster import RayEngine, prepare_worker, require_ray, sharers
from chandler.engines.local import Engine, FewerAtATime, Item, Local
from chandler.errors import ConfigError

__all__ = [
    "Engine",
    "FewerAtATime",
    "Item",
    "Local",
    "RayEngine",
    "engine_of",
    "prepare_worker",
    "require_ray",
    "sharers",
]


def engine_of(engine: Engine | str) -> Engine:
    """An engine by its name, or itself.

    Raises:
        ConfigError: no such engine.
    """
    if not isinstance(engine, str):
        return engine
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine {engine!r} is unknown: there are local and ray.")
    return RayEngine() if engine == "ray" else Local()
