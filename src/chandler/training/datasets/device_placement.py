"""Decides where the bars live that windows are cut from, and brings them there: `data.device`."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch

from chandler.data.datasets import Windows
from chandler.data.store import BarStore
from chandler.devices import has_float64, resolve
from chandler.errors import ConfigError
from chandler.forecasting.engine import free_memory
from chandler.training.datasets.device_cache import BYTES_PER_ROW, DeviceRows, DeviceWindows
from chandler.training.datasets.sources import RunData

AUTO_SHARE = 0.25
"""Part of the free memory that `auto` gives to bars."""
MOST = 0.8
"""Part of the free memory that bars may take where a device is named: the model has to live there as well."""
MaybeWindows = TypeVar("MaybeWindows", Windows, Windows | None)


def place(where: str, device: torch.device, need: int, free: int | None = None) -> torch.device | None:
    """The device that the bars are brought to; None where they stay as they are, on the CPU.

    Args:
        where: the setting.
        device: of the model; its type alone ("cuda") means this one.
        need: bytes of the bars.
        free: bytes that are free there; None asks the device.

    Raises:
        ConfigError: a device that is not there, cannot cut windows, or has no room.
    """
    try:
        target = device if where in ("auto", device.type) else resolve(where)
    except ConfigError as error:
        raise ConfigError(f"data.device: {error}") from error
    if target.type == "cpu":
        return None
    if not has_float64(target):
        if where == "auto":
            return None
        raise ConfigError(
            f"data.device: windows are cut in float64, and {target} has none. Use data.device: cpu or auto."
        )
    free = free_memory(target) if free is None else free
    if where == "auto":
        return target if need <= AUTO_SHARE * free else None
    if need > MOST * free:
        raise ConfigError(
            f"data.device: the bars take {need / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free on {target}, where the "
            "model has to live as well. Use data.device: cpu, or name fewer symbols or a later data.start."
        )
    return target


def place_on_device(sources: RunData, where: str, device: torch.device) -> tuple[RunData, torch.device | None]:
    """Sources whose windows are cut where the setting says, and that device; None for the CPU.

    Raises ConfigError as `place` does.
    """
    target = place(where, device, nbytes(sources))
    return (sources, None) if target is None else (on_device(sources, target), target)


def nbytes(sources: RunData) -> int:
    """Bytes that all bars take on a device."""
    replay = sources.train.replay
    return BYTES_PER_ROW * (sources.train.main.store.rows + (replay.store.rows if replay is not None else 0))


def on_device(sources: RunData, device: torch.device) -> RunData:
    """The same windows, their rows on `device`; each store is brought there once."""
    rows: dict[int, DeviceRows] = {}

    def there(windows: MaybeWindows) -> MaybeWindows:
        if windows is None:
            return windows
        store: BarStore = windows.store
        if id(store) not in rows:
            rows[id(store)] = DeviceRows(store, device)
        return DeviceWindows(windows, rows[id(store)])

    train = replace(sources.train, main=there(sources.train.main), replay=there(sources.train.replay))
    return replace(
        sources, train=train, validation=there(sources.validation), replay_validation=there(sources.replay_validation)
    )
