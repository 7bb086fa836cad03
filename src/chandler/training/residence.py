"""Decides where the bars live that windows are cut from, and brings them there: `data.device`."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch

from chandler.data.resident import BYTES_PER_ROW, ResidentRows, ResidentWindows
from chandler.data.store import BarStore
from chandler.data.windows import Windows
from chandler.errors import ConfigError
from chandler.forecasting.memory import free_memory
from chandler.training.sources import Sources

AUTO_SHARE = 0.25
"""Part of the free memory that `auto` gives to bars."""
MOST = 0.8
"""Part of the free memory that bars may take where a device is named: the model has to live there as well."""
MaybeWindows = TypeVar("MaybeWindows", Windows, Windows | None)


def place(where: str, device: torch.device, need: int, free: int | None = None) -> torch.device | None:
    """The device that the bars are brought to; None where they stay as they are, on the CPU.

    Args:
        where: the setting.
        device: of the model; "cuda" means this one, if it is a CUDA device.
        need: bytes of the bars.
        free: bytes that are free there; None asks the device.

    Raises:
        ConfigError: a device that is not there, or has no room.
    """
    if where == "cpu" or (where == "auto" and device.type != "cuda"):
        return None
    target = device if where == "auto" or where == device.type else torch.device(where)
    if target.type == "cuda" and not (torch.cuda.is_available() and (target.index or 0) < torch.cuda.device_count()):
        raise ConfigError(f"data.device: {where} was asked for, but there is no such device. Use auto or cpu.")
    free = free_memory(target) if free is None else free
    if where == "auto":
        return target if need <= AUTO_SHARE * free else None
    if need > MOST * free:
        raise ConfigError(
            f"data.device: the bars take {need / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free on {target}, where the "
            "model has to live as well. Use data.device: cpu, or name fewer symbols or a later data.start."
        )
    return target


def settle(sources: Sources, where: str, device: torch.device) -> tuple[Sources, torch.device | None]:
    """Sources whose windows are cut where the setting says, and that device; None for the CPU.

    Raises ConfigError as `place` does.
    """
    target = place(where, device, footprint(sources))
    return (sources, None) if target is None else (resident(sources, target), target)


def footprint(sources: Sources) -> int:
    """Bytes that all bars take on a device."""
    replay = sources.train.replay
    return BYTES_PER_ROW * (sources.train.main.store.rows + (replay.store.rows if replay is not None else 0))


def resident(sources: Sources, device: torch.device) -> Sources:
    """The same windows, their rows on `device`; each store is brought there once."""
    rows: dict[int, ResidentRows] = {}

    def there(windows: MaybeWindows) -> MaybeWindows:
        if windows is None:
            return windows
        store: BarStore = windows.store
        if id(store) not in rows:
            rows[id(store)] = ResidentRows(store, device)
        return ResidentWindows(windows, rows[id(store)])

    train = replace(sources.train, main=there(sources.train.main), replay=there(sources.train.replay))
    return replace(
        sources, train=train, validation=there(sources.validation), replay_validation=there(sources.replay_validation)
    )
