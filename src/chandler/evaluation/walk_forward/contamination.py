"""Which bars a model may know: read from the run folder it comes from, or from what is known of a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.checkpoint import EXPOSURE_NAME
from chandler.data.datasets import PRETRAINING_CUTOFF
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.walk_forward.origins import Origins
from chandler.forecasting import model_parts
from chandler.training.runs import Known, known, write_record

ContaminationFlag = Literal["", "trained", "validated", "released", "period", "unknown"]
"""What is to be said of an origin, the worst first: its bars trained the model; chose its checkpoint; lie before a
release's cutoff; lie in the period of training, which other symbols lived through; nobody knows. "" is clean."""
REFUSED = ("trained", "validated", "released")
_WORST: tuple[ContaminationFlag, ...] = ("trained", "validated", "released", "period")
_NEVER = -(2**63)
_PARTS = ("tokenizer", "predictor")
SAYS: Mapping[str, str] = {
    "trained": "the model was trained on these bars, or on later ones of the same symbol",
    "validated": "these bars, or later ones of the same symbol, chose the model's checkpoint",
    "released": f"the released weights were trained on data up to {PRETRAINING_CUTOFF:%B %Y} and may have seen these bars",
    "period": "other symbols of these days were trained on: a market's moves are shared",
    "unknown": "what the model was trained on is not on record",
}


@dataclass(frozen=True)
class Period:
    """A stretch of time of which one thing is to be said."""

    mark: ContaminationFlag
    until: int | None
    """ns, its last moment; None: it has no end. It begins where the one before it ends, the first with all time."""


@dataclass(frozen=True)
class TrainingExposure(Known):
    """What a model knows, held against bars: of which symbol, of what time.

    What counts is time: a bar before the last that was trained on is marked although it was not trained on itself, since
    the model knows what came after it.
    """

    def marks(self, origins: Origins) -> NDArray[np.str_]:
        """(W,) a `ContaminationFlag` for each window, the worst that applies to the first bar it forecasts."""
        targets, (numbers, each) = origins.targets(), np.unique(origins.numbers, return_inverse=True)
        ends = [self._ends(origins.store.symbols[number]) for number in numbers]
        marks = np.full(len(origins), self._rest, dtype="<U9")
        for mark in reversed(_WORST):
            until = np.array([one.get(mark, _NEVER) for one in ends], np.int64)[each]
            marks[targets <= until] = mark
        return marks

    def periods(self, symbol: str) -> list[Period]:
        """All time as the model knows it in one symbol, in order; the last period has no end."""
        ends, found = self._ends(symbol), []
        last = _NEVER
        for mark in _WORST:
            if ends.get(mark, _NEVER) > last:
                last = ends[mark]
                found.append(Period(mark, last))
        return [*found, Period(self._rest, None)]

    @property
    def _rest(self) -> ContaminationFlag:
        """Of what nothing on record speaks."""
        return "unknown" if self.unknown else ""

    def _ends(self, symbol: str) -> dict[ContaminationFlag, int]:
        """Each mark that a symbol's bars have, and the last moment that has it."""
        ends: dict[ContaminationFlag, int] = {}
        for one in self.seen:
            own = one.symbols is None or symbol in one.symbols
            mark: ContaminationFlag = one.kind if own else "period"
            ends[mark] = max(one.until, ends.get(mark, _NEVER))
        return ends


def exposure(source: str) -> TrainingExposure:
    """What the model of a source (a run folder, a release, TOKENIZER+PREDICTOR) knows.

    Its own splits count, those of replayed bars, and what the runs it started from knew.
    """
    found = Known()
    for part in model_parts(source):
        found |= known(part)
    return TrainingExposure(found.seen, found.unknown)


def hand_on(source: str, folder: Path) -> None:
    """Lay what a model knows beside the weights of its copy in a folder, where no record of theirs came along."""
    known = exposure(source)
    for part in _PARTS:
        if known.seen and not (folder / part / EXPOSURE_NAME).is_file():
            write_record(folder / part, known)


def not_on_record(exposures: Mapping[str, TrainingExposure]) -> list[str]:
    """A sentence for each model of whose past something is not on record: what it may have seen cannot be told."""
    return [
        f"{name}: {'not all' if one.seen else 'nothing'} that the model was trained on is on record, so it may have seen the "
        f"bars that are forecast ({EXPOSURE_NAME} beside its weights and summary.json of its run would tell)."
        for name, one in exposures.items()
        if one.unknown
    ]


def check_contamination(
    origins: Origins, exposures: Mapping[str, TrainingExposure], force: bool
) -> dict[str, NDArray[np.str_]]:
    """The marks of each model's windows.

    Raises:
        DataError: windows that a model has seen, unless `force`.
    """
    marks = {name: one.marks(origins) for name, one in exposures.items()}
    complaints = []
    for name, found in marks.items():
        for mark in REFUSED:
            count = int((found == mark).sum())
            if count:
                complaints.append(f"{count:,} of {len(origins):,} windows for {name}: {SAYS[mark]}")
    if complaints and not force:
        raise DataError(
            f"a forecast of bars that a model knows proves nothing. {'; '.join(complaints)}. Leave `start` out, which "
            "begins after them, or pass force=True: they are then marked in the results and in the report."
        )
    return marks


def mark_notes(marks: NDArray[np.str_], what: str) -> list[str]:
    """A sentence for each mark that there is; `what` is marked."""
    return [
        f"{int((marks == mark).sum()):,} of {len(marks):,} {what}: {SAYS[mark]}."
        for mark in dict.fromkeys(marks.tolist())
        if mark
    ]


def first_clean_origin(store: BarStore, exposures: Mapping[str, TrainingExposure]) -> str | None:
    """The first moment of the data after everything that would be refused; None where nothing would be.

    Raises:
        DataError: no bar is later.
    """
    known = {
        name: one.until
        for name, exposed in exposures.items()
        for one in sorted(exposed.seen, key=lambda seen: seen.until)
        if one.symbols is None or not one.symbols.isdisjoint(store.symbols)
    }
    if not known:
        return None
    name = max(known, key=lambda one: known[one])
    times = np.asarray(store.timestamps)
    later = times[times > known[name]]
    if not len(later):
        begin = str(pd.Timestamp(int(times.min())).date())
        raise DataError(
            f"{name} knows bars up to {pd.Timestamp(known[name]).floor('s')}, and there is none after that: a forecast of "
            "what a model was trained or chosen on proves nothing. Keep a test part when training (data.split.val_end "
            "or data.split.test), give later bars, or pass "
            f"start={begin!r}, force=True: the windows are then marked."
        )
    first = pd.Timestamp(int(later.min()))
    text = str(first.date()) if first == first.normalize() else first.isoformat()
    return text if not any(store.zones) else f"{first.isoformat()}+00:00"
