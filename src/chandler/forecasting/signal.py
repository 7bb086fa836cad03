"""A signal head: what a few numbers read out of the predictor's hidden state, and the folder it lies in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from chandler.atomic import atomic_file, write_text
from chandler.checkpoint import weights_hash
from chandler.errors import CheckpointError, ConfigError
from chandler.hub import fetch, is_repository
from chandler.places import Layout

if TYPE_CHECKING:
    from chandler.forecasting.forecaster import Forecaster

PLACE = "signal"
"""The folder of a head, beside tokenizer/ and predictor/ where it lies with them. Nothing else needs it."""
WEIGHTS, ABOUT = f"{PLACE}/head.safetensors", f"{PLACE}/head.json"
SIGNAL = Layout("a signal head", (WEIGHTS, ABOUT), {ABOUT: "predictor"})
"""What is written, and all that is ever replaced."""
_FACTS = {"horizon": int, "lookback": int, "predictor": str, "weights": str}


@dataclass(frozen=True, eq=False)
class SignalHead:
    """K readouts of a hidden state (d,), whose mean orders symbols by their return over `horizon` bars.

    A linear one is w z + b of the standardised state z = (h - mean) / std, one with a hidden layer w silu(V z + v) + b.
    The unit of a score is its own deviation over the dates that were trained on.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    """mean, std (d,); weight (K, d), bias (K,); of a hidden layer of m units weight (K, m), and inner (K, m, d),
    inner_bias (K, m)."""
    horizon: int
    """Bars ahead."""
    lookback: int
    """Bars that the predictor sees."""
    predictor: str
    """`weights_hash` of the tokenizer and the predictor that it reads."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on and until when, what chose it, and how it did later."""

    def read(self, states: NDArray[Any]) -> NDArray[np.float64]:
        """Scores (N,) of hidden states (N, d)."""
        return self.members(states).mean(axis=0)

    def members(self, states: NDArray[Any]) -> NDArray[np.float64]:
        """(K, N) scores of each readout."""
        t = {name: np.asarray(one, np.float64) for name, one in self.tensors.items()}
        z = (np.asarray(states, np.float64) - t["mean"]) / t["std"]
        if "inner" not in t:
            return t["weight"] @ z.T + t["bias"][:, None]
        scores = np.empty((len(t["weight"]), len(z)))
        for member, (inner, bias) in enumerate(zip(t["inner"], t["inner_bias"], strict=True)):
            a = z @ inner.T + bias
            scores[member] = (a / (1 + np.exp(-np.clip(a, -500, 500)))) @ t["weight"][member] + t["bias"][member]
        return scores

    def score(self, forecaster: Forecaster, bars: Any, *, every: int = 1, progress: bool | None = None) -> pd.Series:
        """Scores along the bars of each symbol: a float series "score" over (symbol, timestamp), as `Forecaster.embed`.

        Raises:
            CheckpointError: the head belongs to another model.
            ConfigError, DataError: as `Forecaster.embed`.
        """
        self.require(forecaster)
        states = forecaster.embed(bars, every=every, lookback=self.lookback, progress=progress)
        return pd.Series(self.read(states.to_numpy()), states.index, name="score")

    def require(self, forecaster: Forecaster) -> None:
        """Raise CheckpointError unless the head was trained on what this forecaster's models say."""
        if model_hash(forecaster) != self.predictor:
            raise CheckpointError(
                f"this signal head belongs to other weights ({self.predictor}) than those of {forecaster.name or 'this model'} "
                f"({model_hash(forecaster)}): it would read noise. Fit one for this model: chandler signal MODEL DATA."
            )

    def save(self, folder: str | Path) -> Path:
        """Write signal/head.safetensors and signal/head.json into a folder, beside whatever is there; signal/ itself.

        Raises:
            ConfigError: files of these names are there that chandler did not write.
            OSError: there is no room, or the place cannot be written.
        """
        folder = Path(folder).expanduser()
        require_place(folder)
        weights = save({name: np.ascontiguousarray(one) for name, one in self.tensors.items()})
        facts = {
            "horizon": self.horizon,
            "lookback": self.lookback,
            "predictor": self.predictor,
            "weights": _digest(weights),
        }
        # First what says whose the other is: a process that is killed in between leaves nothing that is not known.
        write_text(folder / ABOUT, json.dumps({**facts, **self.about}, indent=1, ensure_ascii=False) + "\n")
        with atomic_file(folder / WEIGHTS) as scratch:
            scratch.write_bytes(weights)
        return folder / PLACE

    @classmethod
    def load(cls, folder: str | Path) -> SignalHead:
        """The head of a folder, or of a repository, that has signal/.

        Raises:
            CheckpointError: there is none, or it is damaged or half written; the repository cannot be reached.
        """
        source, folder = folder, Path(folder).expanduser()
        if not folder.is_dir() and is_repository(str(source)) and not folder.parent.is_dir():
            folder = fetch(str(source), SIGNAL.files)
        if not (folder / ABOUT).is_file():
            raise CheckpointError(f"{folder} has no {ABOUT}. Fit a head with chandler signal MODEL DATA --out {folder}")
        try:
            facts = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            known = {name: kind(facts.pop(name)) for name, kind in _FACTS.items()}
            tensors = load_file(folder / WEIGHTS)
            wrong = sorted({"mean", "std", "weight", "bias"} - set(tensors))
            if known.pop("weights") != _digest((folder / WEIGHTS).read_bytes()) or wrong:
                raise ValueError("the two files do not belong together")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder / PLACE}: the signal head cannot be read ({error}). Fit it again with chandler signal."
            ) from error
        return cls(tensors, about=facts, **known)


def model_hash(forecaster: Forecaster) -> str:
    """What a head belongs to: a digest of both models, for the states depend on both."""
    return weights_hash(forecaster.tokenizer, forecaster.predictor)


def require_place(folder: Path, *, overwrite: bool = True) -> None:
    """Whether a head may be written into a folder; nothing is changed.

    Raises:
        ConfigError: the place cannot be written, files of these names are there that chandler did not write, or a head is there
            that is not to be replaced.
    """
    above = next((place for place in (folder / PLACE, *(folder / PLACE).parents) if place.exists()), folder)
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ConfigError(
            f"{folder / PLACE}: cannot write there ({above} is no folder that can be written into). Choose another folder (out=)."
        )
    if any(os.path.lexists(folder / name) for name in SIGNAL.files):
        SIGNAL.require(folder)
        if not overwrite:
            raise ConfigError(
                f"{folder} already holds a signal head. Choose another folder (out=), or pass overwrite=True."
            )


def _digest(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()[:16]
