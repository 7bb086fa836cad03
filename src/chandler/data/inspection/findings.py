"""What whoever uses the bars of a store should know of them: what reading noted, and what shows in the bars themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from chandler.data.calendars import NS_DAY
from chandler.data.datasets import REASONS, CleaningSettings, clean_store
from chandler.data.notes import Finding, Note, over_symbols
from chandler.data.store import BarStore
from chandler.text import count

LEVELS = 0.05
"""Share of the rows from which on it is told that the paper's cleaning would cut them."""


def findings(store: BarStore, *, cleaned: bool = False) -> list[Finding]:
    """All that is known of a store, what matters first.

    `cleaned`: whether the paper's rules are applied to the bars, so that it need not be told what they would cut.
    """
    found = over_symbols(store.notes, len(store))
    shown = [*_clocks(store), *_to_come(store), *([] if cleaned else _levels(store))]
    return sorted([*shown, *found], key=lambda one: not one.note.matters)


def _clocks(store: BarStore) -> Iterator[Finding]:
    """Symbols under several clocks, where they are the same moments or where one clock is unknown."""
    rows, longest = np.diff(store.offsets), dict[str | None, int]()
    for number, zone in enumerate(store.zones):
        if zone not in longest or rows[number] > rows[longest[zone]]:
            longest[zone] = number
    (first, one), *others = longest.items()
    for zone, other in others:
        pair = store.symbols[one], store.symbols[other]
        a, b = (store.timestamps[slice(*store.span(number))] for number in (one, other))
        if zone is None or first is None:
            text = (
                f"{pair[zone is None]} has times without a zone beside times of {zone or first}: say which zone they are "
                "of, with timezone"
            )
        elif np.isin(a, b).sum() > 0.5 * min(len(a), len(b)):
            text = (
                f"{pair[0]} and {pair[1]} have bars of the same moments under two clocks ({first} and {zone}): to a model "
                f"their hours of the day are different ones. Put them on one clock, with timezone {first}"
            )
        else:
            continue
        yield Finding(Note(text, "clocks"), pair, len(store))


def _to_come(store: BarStore) -> Iterator[Finding]:
    """Symbols with bars of after today, as where a date was read in another century or number than it was written in."""
    limit = pd.Timestamp.now("UTC").as_unit("ns").value + NS_DAY  # clocks of the east are ahead
    lo, hi = store.offsets[:-1], store.offsets[1:]
    # One bar may be: those of weeks and months can be dated by their end.
    late = np.flatnonzero((hi - lo > 1) & (np.asarray(store.timestamps[np.maximum(lo, hi - 2)]) > limit))
    if len(late):
        parts = [store.timestamps[lo[number] : hi[number]] for number in late]
        rows = np.concatenate([own[own > limit] for own in parts])
        text = "{rows} dated after today: are the dates read as they are meant? date_format says how they are written"
        note = Note(text, "clocks", len(rows), *(str(pd.Timestamp(int(one))) for one in (rows.min(), rows.max())))
        yield Finding(note, tuple(store.symbols[number] for number in late), len(store))


def _levels(store: BarStore) -> Iterator[Finding]:
    """Jumps of a price, and where it stands still for long: what the paper's cleaning would cut."""
    events = clean_store(store, CleaningSettings(enabled=True, min_rows=False))[1].events
    store.release()
    for reason in ("jump", "illiquid", "stagnant"):
        own = events[events["reason"] == reason]
        rows, symbols = int(own["rows"].sum()), tuple(own["symbol"].drop_duplicates())
        if reason == "jump" and len(own):
            text = f"{count(len(own), 'jump')} between a close and the next open, as of splits or wrong ticks"
            at = own["last"]
        elif rows > LEVELS * store.rows:
            text = f"{{rows}} that the paper's cleaning would have {REASONS[reason]}"
            at = own["first"]
        else:
            continue
        note = Note(text, "cleaning", rows, at.min(), own["last"].max())
        yield Finding(note, symbols, len(store))
