"""The folder of a journal: files of entries and of scores, each written once, whole, and never changed or removed."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chandler.atomic import atomic_file, stands_for, write_text
from chandler.checkpoint import weights_hash
from chandler.data import Bars
from chandler.errors import ConfigError, DataError
from chandler.forecasting import Forecast, Forecaster
from chandler.journal import clock
from chandler.journal.entries import Entry, entry_of, read_entries, read_facts, read_ids, write_entries
from chandler.journal.record import Record, record_of
from chandler.journal.scoring import (
    MISSING,
    REVISED,
    ROUNDING,
    SCORED,
    SCORES,
    Told,
    match,
    missing_rows,
    revised_rows,
    score_rows,
)
from chandler.places import Layout
from chandler.text import count
from chandler.version import __version__

MARK, ENTRIES, SCORED_IN, PAGE = "journal.json", "entries", "scores", "journal.html"
JOURNAL = Layout("a journal", (MARK, PAGE, f"{ENTRIES}/*.parquet", f"{SCORED_IN}/*.parquet"), {MARK: "journal"})
"""What the folder holds; nothing of it is ever removed."""
_NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True)
class Kept:
    """What came of keeping forecasts."""

    new: int
    already: int
    """That the journal had."""
    late: int
    """Of the new ones, made when their first bars were over."""
    unclear: int
    """Of the new ones, whose times have no zone, so that nobody can tell."""

    def to_text(self) -> str:
        """For a terminal."""
        parts = [f"{count(self.new, 'forecast')} kept"]
        parts += [f"{self.already:,} there already"] * bool(self.already)
        parts += [f"{self.late:,} made after the fact: their first bars were over"] * bool(self.late)
        if self.unclear:
            parts.append(
                f"{self.unclear:,} counted as made after the fact, for their times have no zone (name it with timezone=, or an "
                "exchange with calendar=)"
            )
        return "; ".join(parts)


class Journal:
    """Forecasts kept in a folder, and their scores.

    Args:
        folder: a journal, or a folder that is empty or not there yet: it is made as the first forecast is kept.

    Raises:
        ConfigError: the folder holds other things, or is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if JOURNAL.is_at(self.folder):
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: this is a file. A journal is a folder: choose another place.")
        inside = [one.name for one in self.folder.iterdir()] if self.folder.is_dir() else []
        # What another process is writing at this moment, or left as it was killed, is no sign of anything.
        foreign = sorted(name for name in inside if stands_for(name) == name)
        if foreign and MARK not in foreign:
            raise ConfigError(
                f"{self.folder} holds {', '.join(foreign[:5])}, and no {MARK} of chandler's: it is no journal, and none is "
                "begun there. Choose a folder that is empty or not there yet."
            )
        if foreign:
            raise ConfigError(
                f"{self.folder / MARK} is not as chandler wrote it. Put it back, or choose another folder for the journal."
            )

    @property
    def begun(self) -> bool:
        """Whether anything was kept."""
        return JOURNAL.is_at(self.folder)

    def keep(self, forecasts: Iterable[Forecast], forecaster: Forecaster | None = None, asked: str = "") -> Kept:
        """Keep forecasts, all in one file; those that the journal has are left as they are.

        Args:
            forecasts: of any symbols and horizons.
            forecaster: what made them: a digest of its weights is kept. None: not known.
            asked: the request that they were made for, as JSON: kept with them.

        Raises:
            ConfigError: the folder cannot be written.
            DataError: entries that cannot be read.
        """
        weights = "" if forecaster is None else weights_hash(forecaster.tokenizer, forecaster.predictor)
        made = clock.now()
        entries = {one.id: one for one in (entry_of(forecast, made, weights, asked) for forecast in forecasts)}
        there = read_ids(self._files(ENTRIES))
        new = [one for key, one in entries.items() if key not in there]
        if new:
            with self._writing():
                if not self.begun:
                    write_text(self.folder / MARK, json.dumps({"journal": 1, "chandler": __version__}))
                write_entries(new, self._fresh(ENTRIES, made))
        late = [one for one in new if not one.live]
        unclear = sum(one.clock == clock.UNKNOWN and made < one.over + clock.AROUND for one in late)
        return Kept(len(new), len(entries) - len(new), len(late) - unclear, unclear)

    def facts(self) -> pd.DataFrame:
        """What every entry says of itself but its paths, a row each: `entries.FACTS`.

        Raises:
            DataError: a file that cannot be read.
        """
        return read_facts(self._files(ENTRIES))

    def entries(self, ids: Iterable[str] | None = None) -> Iterator[Entry]:
        """Entries with their paths, one file in memory at a time; None: all.

        Raises:
            DataError: a file that cannot be read, or an entry that was changed.
        """
        facts = self.facts()
        chosen = facts if ids is None else facts[facts["id"].isin(set(ids))]
        for file, rows in chosen.groupby("file", sort=True):
            yield from read_entries(Path(str(file)), rows["id"])

    def scores(self) -> pd.DataFrame:
        """A row per scored step, `scoring.SCORES`, in order of time: of one that two processes scored at once the first.

        `inside50` and `pit` are NA in rows that were written before there were such columns.

        Raises:
            DataError: a file that cannot be read.
        """
        rows = self._rows()
        scored = rows[rows["kind"] == SCORED].drop_duplicates(["id", "step"])
        scored = scored.sort_values(["time", "id"], ignore_index=True)
        return scored.astype({"inside50": "boolean", "inside80": bool, "inside90": bool})

    def revised(self) -> pd.DataFrame:
        """Bars that came to disagree with what was scored, a row each as `scores`, `truth` what they said then."""
        rows = self._rows()
        scored = rows[rows["kind"] == SCORED]
        # Two processes that scored a step at one time of different data: the first stays, the other disagrees.
        first = scored.groupby(["id", "step"])["truth"].transform("first")
        other = scored[(scored["truth"] - first).abs() > ROUNDING * first.abs()]
        found = pd.concat([rows[rows["kind"] == REVISED], other]) if len(other) else rows[rows["kind"] == REVISED]
        return found.drop_duplicates(["id", "step", "truth"]).reset_index(drop=True)

    def missing(self) -> pd.DataFrame:
        """Steps whose bar was not in data that went on after it, a row each; one that came later all the same has a score."""
        rows = self._rows()
        return rows[rows["kind"] == MISSING].drop_duplicates(["id", "step"]).reset_index(drop=True)

    def score(self, bars: Iterable[Bars]) -> Told:
        """Score every forecast whose bars have come, each step once, in a new file.

        Args:
            bars: a store, or bars of each symbol.

        Returns:
            What was scored, what waits, and what could not be matched and why.

        Raises:
            ConfigError: nothing was ever kept there, or the folder cannot be written.
            DataError: files of the journal that cannot be read or were changed.
        """
        self.require_begun()
        now, facts, scores = clock.now(), self.facts(), self.scores()
        known: dict[str, dict[int, float]] = {}
        for key, step, truth in zip(scores["id"], scores["step"], scores["truth"], strict=True):
            known.setdefault(key, {})[int(step) - 1] = float(truth)
        gone = set(self.missing()[["id", "step"]].itertuples(index=False, name=None))
        found = match(facts, known, gone, bars, now)
        rows = [
            row
            for entry in self.entries(found.due)
            for row in score_rows(entry, found.due[entry.id], found.sources[entry.id], now)
        ]
        steps = len(rows)
        told_before = set(self.revised()[["id", "step", "truth"]].itertuples(index=False, name=None))
        rows += missing_rows(found, now)
        rows += [row for row in revised_rows(found, now) if (row["id"], row["step"], row["truth"]) not in told_before]
        if rows:
            with self._writing(), atomic_file(self._fresh(SCORED_IN, now)) as scratch:
                pq.write_table(pa.Table.from_pylist(rows, schema=SCORES), scratch, compression="zstd")
        unmatched: Mapping[str, list[str]] = dict(found.unmatched)
        missing = [said for *_, said in found.missing]
        revised = [one for _, _, one in found.revised]
        return Told(len(found.due), steps, found.waiting, unmatched, missing, revised, found.adjusted)

    def record(self) -> Record:
        """What the scores come to, as of now.

        Raises:
            ConfigError: nothing was ever kept there.
            DataError: files of the journal that cannot be read.
        """
        self.require_begun()
        return record_of(self.facts(), self.scores(), self.missing(), self.revised(), clock.now())

    def require_begun(self) -> None:
        """ConfigError where nothing was ever kept."""
        if not self.begun:
            raise ConfigError(
                f"{self.folder}: there is no journal. Keep a forecast first: chandler forecast DATA --journal {self.folder}"
            )

    def _files(self, part: str) -> list[Path]:
        """Those that chandler wrote; others in the folder are not looked at."""
        place = self.folder / part
        return sorted(path for path in place.glob("*.parquet") if _NAME.fullmatch(path.name)) if place.is_dir() else []

    def _fresh(self, part: str, moment: pd.Timestamp) -> Path:
        """A name that no other process takes."""
        return self.folder / part / f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(8)}.parquet"

    def _rows(self) -> pd.DataFrame:
        tables = [SCORES.empty_table()]
        for path in self._files(SCORED_IN):
            try:
                # By this schema a file has the columns that came after it, all null.
                tables.append(pq.read_table(path, schema=SCORES))
            except (OSError, pa.ArrowException) as error:
                raise DataError(
                    f"{path}: cannot be read as scores of a journal ({error}). Put it back as it was, or move it away."
                ) from None
        return pa.concat_tables(tables).to_pandas().sort_values("at", kind="stable")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{self.folder}: the journal cannot be written ({error.strerror or error}).") from error
