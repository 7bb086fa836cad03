"""What training draws from: the windows of the main store, weighted by symbol, and a share from a replay store.

The order of an epoch is one list over both, so batches, ranks and resuming treat all windows alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from chandler.data.datasets import Windows, epoch_order, feistel_permutation, weighted_sample
from chandler.devices import upload
from chandler.errors import ConfigError
from chandler.training.datasets.batching import derive_seed
from chandler.training.datasets.device_cache import Gather, fetch


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Window i < len(main) is one of the main store; i >= len(main) is window i - len(main) of the replay store."""

    main: Windows
    replay: Windows | None = None
    share: float = 0.0
    """Part of every batch that is replayed, in [0, 1)."""
    temperature: float = 1.0
    """A symbol of the main store is drawn in proportion to its windows to this power: 1 by rows, 0 equally."""
    limit: int | None = None
    """Windows of the main store in an epoch; None: all."""
    weights: np.ndarray | None = None
    """(S,) > 0: what each symbol counts on top of `temperature`; None: all the same."""

    def __post_init__(self) -> None:
        assert self.replay is not None or self.share == 0
        everything = self.limit is None or self.limit >= len(self.main)
        if self._weighted and everything and np.count_nonzero(self.main.counts) > 1:
            raise ConfigError(
                f"data.weighting has no effect: an epoch draws every one of the {len(self.main):,} windows, none of "
                f"them twice. Set data.windows_per_epoch below that, for example {max(1, len(self.main) // 2)}, or "
                "data.weighting: rows."
            )

    @property
    def length(self) -> int:
        """Rows of a window, T."""
        return self.main.length

    @property
    def drawn(self) -> int:
        """Windows of an epoch, replayed ones included."""
        return self._drawn_main + self._replayed

    @property
    def _weighted(self) -> bool:
        return self.temperature != 1 or (self.weights is not None and bool(np.ptp(self.weights)))

    @property
    def _drawn_main(self) -> int:
        return len(self.main) if self.limit is None else min(self.limit, len(self.main))

    @property
    def _replayed(self) -> int:
        return round(self._drawn_main * self.share / (1 - self.share))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The windows of an epoch (from 1) in their order, (drawn,) int64; depends on its arguments only.

        Each main window comes at most once. Replayed ones are spread evenly, so that every run of windows, be it a
        batch or a rank's part, has its share within one; they go through the replay store in passes that may span
        epochs, each window once a pass.
        """
        if not self._weighted:
            main = epoch_order(len(self.main), seed=seed, epoch=epoch, limit=self.limit)
        else:
            main = weighted_sample(
                self.main.counts, self._drawn_main, self.temperature, seed=seed, epoch=epoch, weights=self.weights
            )
        if not self._replayed:
            return main
        place = np.arange(self.drawn + 1, dtype=np.int64) * self._replayed // self.drawn
        replayed = np.diff(place).astype(bool)
        order = np.empty(self.drawn, np.int64)
        order[~replayed] = main
        order[replayed] = len(self.main) + self._replay_order(seed, (epoch - 1) * self._replayed)
        return order

    def _replay_order(self, seed: int, first: int) -> np.ndarray:
        """Positions first .. first + replayed of the passes through the replay store, one after another."""
        assert self.replay is not None
        size, seed = len(self.replay), derive_seed(seed, 3)
        positions = np.arange(first, first + self._replayed, dtype=np.int64)
        found = np.empty(len(positions), np.int64)
        for number in range(first // size, (first + self._replayed - 1) // size + 1):
            inside = positions // size == number
            found[inside] = feistel_permutation(positions[inside] % size, size, seed=derive_seed(seed, number))
        return found

    def fetch(self, indices: np.ndarray, device: torch.device, lookbacks: np.ndarray | None = None) -> Gather:
        """The host's half of a gather of `indices` (B,), in that order, to `device`; what comes back does the other.

        `lookbacks` (B,): the rows that scale each window; None: the lookback of all.
        """
        indices = np.asarray(indices, np.int64)
        other = indices >= len(self.main)
        if self.replay is None or not other.any():
            return fetch(self.main, indices, device, lookbacks)
        ours, theirs = (None if lookbacks is None else lookbacks[part] for part in (~other, other))
        main = fetch(self.main, indices[~other], device, ours)
        replay = fetch(self.replay, indices[other] - len(self.main), device, theirs)
        order = torch.from_numpy(np.argsort(np.argsort(other, kind="stable")))

        def joined() -> tuple[Tensor, Tensor]:
            place = upload(order, device)
            values, stamps = (torch.cat(parts)[place] for parts in zip(main(), replay(), strict=True))
            return values, stamps

        return joined

    def describe(self, index: int) -> tuple[str, pd.Timestamp, pd.Timestamp]:
        """Symbol, first and last timestamp (local) of a window; the symbol says so if it is replayed."""
        if index < len(self.main):
            return self.main.describe(index)
        assert self.replay is not None
        symbol, first, last = self.replay.describe(index - len(self.main))
        return f"{symbol} (replay)", first, last
