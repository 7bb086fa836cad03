"""Where a stage stands, on disk: enough to go on as if it had never stopped, whole at any moment.

`checkpoints/STAGE/step-N/` holds model and moments of the optimiser after step N; `best-N/` the best model so far. All
randomness is a function of (seed, step), so no generator and no order of windows needs to be kept; nor a schedule, a function
of settings and step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chandler.atomic import atomic_folder, stands_for
from chandler.checkpoint import PretrainedMixin
from chandler.errors import TrainingError
from chandler.nn import merged, save_adapters
from chandler.training.engine.evaluator import BestScore, OverfittingMonitor
from chandler.training.runs import STATES, digest, is_write_error

KEPT = 2
"""Saved states kept per stage: if the newest is damaged, the one before it serves."""


@dataclass
class TrainerState:
    """Beside model and optimiser: everything the loop carries from one step to the next."""

    tracker: BestScore
    step: int = 0
    watch: OverfittingMonitor = field(default_factory=OverfittingMonitor)
    seconds: float = 0.0
    """Time spent before this state was saved."""
    skipped: int = 0
    """Steps left out because a loss or gradient was not finite."""
    logged: list[list[float]] = field(default_factory=list)
    """Losses of the steps since the last record in metrics.jsonl."""
    at_start: dict[str, float] = field(default_factory=dict)
    at_best: dict[str, float] = field(default_factory=dict)
    """All validation measures at step 0, and at the best step so far."""
    replay_start: float | None = None
    replay_best: float | None = None
    """Score on the replay store at step 0, and at the best step so far."""

    def validated(self, scores: dict[str, float]) -> bool:
        """Take in the scores of a validation at this step; whether the one that chooses is the best so far."""
        better = self.tracker.add(scores[self.tracker.measure], self.step)
        self.watch.validated(better)
        if self.step == 0:
            self.at_start = scores
        if better:
            self.at_best = scores
        return better

    def replayed(self, measure: str, score: float, best: bool) -> dict[str, float]:
        """Take in a score on the replay store; what a record of it says. Forgetting above 0 is a loss."""
        if self.step == 0 or self.replay_start is None:
            self.replay_start = score
        if best:
            self.replay_best = score
        return {f"replay_{measure}": score, "forgetting": score - self.replay_start}


class CheckpointManager:
    """Reads and writes the states of one stage in its folder. Writing is rank 0's, reading everyone's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def best(self, step: int) -> Path:
        """The folder of the best model found at `step`."""
        return self.folder / f"best-{step:07d}"

    def save_best(self, step: int, model: nn.Module) -> None:
        """Keep a model as the best so far, adapters merged; older ones stay until no saved state refers to them.

        Its adapters alone lie beside the weights.
        """
        plain = merged(model)
        assert isinstance(plain, PretrainedMixin)
        with self._new(self.best(step), step) as folder:
            plain.save_pretrained(folder)
            if plain is not model:
                save_adapters(model, folder)

    def save(self, state: TrainerState, model: nn.Module, optimizer: dict[str, Any]) -> None:
        """Write a state beside the others, whole or not at all; then remove what is no longer needed.

        `optimizer` is the state dict of the optimiser.
        """
        with self._new(self.folder / f"step-{state.step:07d}", state.step) as folder:
            save_file(_contiguous(model.state_dict()), folder / "model.safetensors")
            tensors, groups = _pack(optimizer)
            save_file(tensors, folder / "optimizer.safetensors")
            content = {"state": asdict(state), "groups": groups}
            (folder / "state.json").write_text(json.dumps(content))
            sums = {path.name: digest(path) for path in sorted(folder.iterdir())}
            (folder / "checksums.json").write_text(json.dumps(sums))
        self._prune()

    def load(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, warn: Callable[[str], None]
    ) -> TrainerState | None:
        """Put the newest whole state into model and optimiser, whose own settings stay; None if there is none.

        `warn` is called with a text for each damaged state that was passed over.

        Raises:
            TrainingError: it is that of another model, or of one of which something else was trained.
        """
        for path in reversed(self.saved()):
            complaint = _damage(path)
            if complaint:
                warn(f"{path} is damaged ({complaint}); the state before it is used.")
                continue
            content = json.loads((path / "state.json").read_text())
            moments = _unpack(load_file(path / "optimizer.safetensors"), content["groups"])
            try:
                model.load_state_dict(load_file(path / "model.safetensors"))
                _load_moments(optimizer, moments)
            except (RuntimeError, ValueError) as error:
                raise TrainingError(
                    f"{path} is the state of another model than these settings make, or of one of which other parts were "
                    "trained. Undo changes of the settings, or start anew with overwrite=True or in another folder (out=)."
                ) from error
            state = content["state"]
            return TrainerState(
                **{**state, "tracker": BestScore(**state["tracker"]), "watch": OverfittingMonitor(**state["watch"])}
            )
        return None

    def saved(self) -> list[Path]:
        """Folders of saved states, oldest first."""
        return sorted(p for p in self.folder.glob("step-*") if re.fullmatch(r"step-\d{7,}", p.name))

    def _prune(self) -> None:
        """Keep the last states, the best models they refer to, and nothing that an interruption left behind."""
        states = self.saved()
        gone = [path.name for path in states[:-KEPT]]
        needed = set()
        for path in states[-KEPT:]:
            if not _damage(path, deep=False):
                needed.add(self.best(json.loads((path / "state.json").read_text())["state"]["tracker"]["best_step"]))
        for path in self.folder.iterdir():
            if stands_for(path.name) != path.name or (path.name.startswith("best-") and path not in needed):
                gone.append(path.name)
        STATES.clear(self.folder, only=gone)

    def clear(self) -> None:
        """Remove all states, and the folder if nothing else is in it."""
        STATES.clear(self.folder)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    @contextmanager
    def _new(self, target: Path, step: int) -> Iterator[Path]:
        """A folder to write, whole or not at all; without what an interruption left there: damaged, or referred to by no
        state."""
        try:
            STATES.clear(self.folder, only=[target.name])
            if target.exists():
                raise TrainingError(
                    f"{target} holds what is no state of chandler's. Move it away, then go on with resume=True."
                )
            with atomic_folder(target) as scratch:
                yield scratch
        except Exception as error:
            if is_write_error(error):
                saved = self.saved()
                last = f"the state of step {int(saved[-1].name[5:])} is intact" if saved else "nothing was saved before"
                raise TrainingError(
                    f"{self.folder}: the state of step {step} cannot be written ({error}); {last}. "
                    "Make room, then go on with resume=True."
                ) from error
            raise


def _contiguous(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _pack(state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors ("0.exp_avg") and its parameter groups as plain values."""
    tensors = {f"{i}.{name}": t for i, entries in state["state"].items() for name, t in entries.items()}
    return _contiguous(tensors), state["param_groups"]


def _unpack(tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = tensor
    return {"state": state, "param_groups": groups}


def _load_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take over the state of the parameters, not how they are to be trained. ValueError where they are others."""
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if [group["params"] for group in groups] != [group["params"] for group in saved["param_groups"]]:
        raise ValueError("other parameters were trained")
    for place, entries in saved["state"].items():
        if any(moment.dim() and moment.shape != parameters[place].shape for moment in entries.values()):
            raise ValueError("parameters of other shapes were trained")
    optimizer.load_state_dict({**saved, "param_groups": groups})


def _damage(path: Path, deep: bool = True) -> str:
    """What is wrong with a saved state; empty if it is whole."""
    try:
        sums = json.loads((path / "checksums.json").read_text())
        for name, expected in sums.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if deep and digest(path / name) != expected:
                return f"{name} does not match its checksum"
    except (OSError, ValueError) as error:
        return f"checksums.json cannot be read: {error}"
    return ""
