"""The record's figures are those of the measures, worked out by hand; the page and the table say them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chandler import Journal
from chandler.journal import LEVELS, Record
from chandler.journal.calibration import independent, overlap
from chandler.measures import block_bootstrap, compare, optimal_block
from chandler.reports import journal_text, write_journal_page, write_report
from chandler.reports.journal import coverage, difference, headline, journal_page
from tests.journal.conftest import forecast_at, ranked, store_of, walk
from tests.reports.drawn import drawn

Clock = Callable[[object], pd.Timestamp]
ROWS = range(30, 90, 2)
"""Origins two bars apart, of four bars each: neighbours overlap."""


def fill(folder: Path, at: Clock) -> Journal:
    """Two symbols, two models, one of them after the fact in part, thirty origins, the last ones not whole."""
    bars = [walk(symbol, 100, seed=seed) for seed, symbol in enumerate(("ACME", "<b>X</b>"))]
    journal = Journal(folder)
    for row in ROWS:
        at(bars[0].timestamps[row])
        journal.keep([forecast_at(one, row, model="<i>toy</i>") for one in bars])
    at(bars[0].timestamps[-1])
    journal.keep([forecast_at(bars[0], row, model="late") for row in ROWS[:3]])
    journal.score(store_of(*(one.slice(0, 91) for one in bars)))
    return journal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal as of one of its last bars."""
    with pytest.MonkeyPatch.context() as patch:

        def at(moment: Any) -> pd.Timestamp:
            found = pd.Timestamp(moment).as_unit("ns")
            patch.setattr("chandler.journal.clock.now", lambda: found)
            return found

        return fill(tmp_path_factory.mktemp("journals") / "kept", at).folder


@pytest.fixture
def record(folder: Path, at: Clock) -> Record:
    at("2024-03-08 05:30")  # the last bar of the data, 90, began at 2024-03-07 18:00
    return Journal(folder).record()


def test_the_figures_are_those_of_the_measures(folder: Path, record: Record) -> None:
    (row,) = record.rows
    journal = Journal(folder)
    facts, scores = journal.facts().set_index("id"), journal.scores()
    scores = scores.join(facts[["origin", "last", "symbol", "model"]], on="id")
    scores = scores[scores["model"] == "<i>toy</i>"]
    losses = scores[["crps", "naive", "error", "naive_error"]].div(scores["last"], axis=0) * 100
    scores["inside50"] = scores["inside50"].astype(float)
    each = scores[["id", "origin", "inside50", "inside80", "inside90"]].join(losses).groupby("id").mean()
    found = compare(each["crps"], each["naive"], each["origin"], 2)
    assert (found.mean_a, found.low, found.p_value) == pytest.approx((row.crps.mean_a, row.crps.low, row.crps.p_value))
    assert row.crps.verdict == found.verdict
    error = compare(each["error"], each["naive_error"], each["origin"], 2)
    assert (error.mean_a, error.mean_b, error.high) == pytest.approx((row.mae.mean_a, row.mae.mean_b, row.mae.high))
    for level, name in ((0.5, "inside50"), (0.8, "inside80"), (0.9, "inside90")):
        shares = each.groupby("origin")[name].mean().to_numpy(np.float64)
        band = block_bootstrap(shares, max(2.0, optimal_block(shares)))
        assert row.coverage[level].mean == pytest.approx(shares.mean())
        assert row.coverage[level].low == pytest.approx(band.low)
        assert row.coverage[level].high == pytest.approx(min(1.0, band.high))
    assert (row.forecasts, row.origins, row.independent, row.unfinished) == (60, 30, 15, 2)
    (course,) = record.courses
    by_origin = (each["crps"] - each["naive"]).groupby(each["origin"]).mean()
    np.testing.assert_allclose(course.crps, by_origin.cumsum())
    assert course.coverage[0.9][-1] == pytest.approx(row.coverage[0.9].mean)


def stripped(journal: Journal) -> None:
    """As scores were written before there were a PIT and a 50% band."""
    for path in (journal.folder / "scores").iterdir():
        pq.write_table(pq.read_table(path).drop_columns(["inside50", "pit"]), path)


def test_the_pit_is_where_the_closes_lay(tmp_path: Path, at: Clock) -> None:
    bars, journal = [walk(symbol, seed=seed) for seed, symbol in enumerate("ABCD")], Journal(tmp_path / "kept")
    for row in range(20, 40):
        at(bars[0].timestamps[row])
        # Four symbols of one origin count as one of another.
        some = bars if row == 20 else bars[:1]
        journal.keep([ranked(one, row, row % 10, "flat") for one in some])
        journal.keep([ranked(bars[0], row, (0, 9)[row % 2], "narrow")])
    journal.keep([ranked(bars[0], row, 4, "few") for row in (39, 40)])
    at("2024-06-01")
    journal.score(store_of(*(one.slice(0, 45) for one in bars)))
    few, flat, narrow = record = journal.record().rows
    np.testing.assert_allclose(flat.pit.shares, 0.1)
    assert (flat.forecasts, flat.pit.origins, flat.pit.independent, flat.covered(0.5)) == (23, 20, 20, 20)
    # Between the third and the seventh of nine paths lie four of ten ranks.
    assert (flat.coverage[0.5].mean, flat.coverage[0.9].mean) == pytest.approx((0.4, 0.8))
    assert narrow.pit.shares.tolist() == [0.5, *[0.0] * 8, 0.5]
    assert narrow.coverage[0.9].mean == 0
    assert (few.pit.enough, [row.pit.enough for row in record]) == (False, [False, True, True])
    text = journal_text(journal.record(), journal.folder)
    [line] = re.findall(r"^narrow +all +20 \(20\) +(.*)", text, flags=re.M)
    assert line.split() == ["50.0", *["0.0"] * 8, "50.0"]
    [line] = re.findall(r"^few +all +2 \(2\) +(-.*)", text, flags=re.M)
    assert line.split() == ["-"] * 10
    page = journal_page(journal.record(), journal.folder)
    assert [None if made is None else drawn(made.figure).data[0].y for _, made in page.pit] == [
        None, (10.0,) * 10, (50.0, *(0.0,) * 8, 50.0)
    ]  # fmt: skip
    body = write_journal_page(journal).read_text()
    assert "Too few origins, it takes 10 that share no time: few, 1 bar." in body


def test_of_how_many_origins_is_said_where_scores_are_older(tmp_path: Path, at: Clock) -> None:
    bars, journal = walk(), Journal(tmp_path / "kept")
    for row in range(20, 45):
        at(bars.timestamps[row])
        journal.keep([ranked(bars, row, row % 10, "toy")])
    at("2024-06-01")
    journal.score(store_of(bars.slice(0, 26)))
    stripped(journal)
    assert "PIT: too few origins; it takes 10" in journal_text(journal.record(), journal.folder)
    assert np.isnan(journal.record().rows[0].coverage[0.5].mean)
    write_journal_page(journal)
    journal.score(store_of(bars))
    record = journal.record()
    (row,) = record.rows
    assert (record.older, row.origins, row.pit.origins, row.covered(0.5), row.covered(0.8)) == (5, 25, 20, 20, 25)
    np.testing.assert_allclose(row.pit.shares, 0.1)
    (course,) = record.courses
    assert np.isnan(course.coverage[0.5][:5]).all()
    assert course.coverage[0.5][-1] == pytest.approx(0.4)
    assert np.isfinite(course.coverage[0.8]).all()
    text, page = journal_text(record, journal.folder), write_journal_page(journal).read_text()
    assert re.search(r"40\.0% \(\d+% to \d+%, 20 origins\)", text)
    for said in ("5 forecasts were scored before the 50% band and the PIT were kept", "20 origins of 25"):
        assert said in " ".join(page.split())


def test_origins_that_share_bars_are_not_independent() -> None:
    origins = np.arange(10, dtype=np.int64)
    for length, shared, alone in ((1, 1, 10), (2, 2, 5), (3, 3, 4), (20, 10, 1)):
        assert overlap(origins, origins + length) == shared
        assert independent(origins, origins + length) == alone
    mixed = np.array([1, 9, 3, 4], np.int64)  # one long forecast among short ones
    assert overlap(origins[:4], mixed) == 3
    assert independent(origins[:4], mixed) == 3


def test_ages_are_told_where_they_say_something(folder: Path, at: Clock) -> None:
    at("2024-03-12 00:30")
    rows = Journal(folder).record().rows
    assert [(row.age, row.forecasts) for row in rows] == [("all", 60)]  # all within a week
    at("2024-03-14")
    rows = Journal(folder).record().rows
    assert [row.age for row in rows] == ["last week", "all"]
    assert 0 < rows[0].forecasts < 60
    at("2025-03-14")
    assert [row.age for row in Journal(folder).record().rows] == ["all"]


def test_the_table_says_what_the_record_says(folder: Path, record: Record) -> None:
    text = journal_text(record, folder)
    (row,) = record.rows
    line = next(line for line in text.splitlines() if line.startswith("<i>toy</i>  all"))
    scale = row.crps.mean_b / 100
    assert f"{row.crps.difference / scale:+.1f}%".replace("-", "\N{MINUS SIGN}") in line
    assert row.crps.verdict in line
    assert "30 (15)" in line
    assert f"{row.coverage[0.9].mean:.1%}" in line
    assert "Made after the fact:" in text
    assert "3 forecasts were not shown to be made before their first bar was over" in text
    assert "Due: 2 forecasts" in text


def test_the_headline_says_no_more_than_the_comparison(record: Record) -> None:
    said = headline(record)
    verdict = record.rows[0].crps.verdict
    assert {"better": "better than", "worse": "worse than", "no difference shown": "no difference"}[verdict] in said
    assert said.startswith(("<i>toy</i>, 4 bars:", "<i>toy</i>:"))


def test_the_page_escapes_names_and_draws(folder: Path, record: Record) -> None:
    told = [("Not scored", "1 forecast: <script>alert(1)</script>")]
    page = write_journal_page(Journal(folder), record, told)
    assert page == folder / "journal.html"
    text = page.read_text()
    body = re.sub(r"(?s)<(script|style).*?</\1>", "", text)
    for name in ("<i>toy", "<b>X", "<script>alert"):
        assert name not in body
    assert {"&lt;i&gt;toy&lt;/i&gt;", "&lt;b&gt;X&lt;/b&gt;"} <= set(re.findall(r"&lt;[bi]&gt;\w+&lt;/[bi]&gt;", body))
    assert "&lt;script&gt;alert(1)" in body
    for part in ("The record", "Made after the fact", "Told in scoring", "Bars that should be there", "15 independent"):
        assert part in body
    for one in (difference(record), *(coverage(record, level) for level in LEVELS)):
        assert len(drawn(one).data)
        assert "<i>" not in str(one)


def test_a_journal_without_scores_says_what_to_do(tmp_path: Path, at: Clock) -> None:
    bars, journal = walk(), Journal(tmp_path / "kept here")
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    record = journal.record()
    text = journal_text(record, journal.folder)
    assert "No forecast has been scored yet." in text
    assert f"chandler journal score {shlex.quote(str(journal.folder))} DATA" in text
    assert "Waiting: 1 forecast, the next bar is of 5 Mar 2024 07:00 UTC." in text
    page = write_report(journal.folder).read_text()
    assert f"chandler journal score &#39;{journal.folder}&#39; DATA" in page
    assert "Over time" not in page
    assert "5 Mar 2024 07:00 UTC" in page


def test_forecasts_made_otherwise_have_rows_of_their_own(tmp_path: Path, at: Clock) -> None:
    bars, journal = walk(), Journal(tmp_path / "kept")
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30), forecast_at(bars, 30, calibrated=True), forecast_at(bars, 30, horizon=6)])
    at("2024-06-01")
    journal.score(store_of(bars))
    rows = journal.record().rows
    assert [(row.maker.name, row.maker.horizon) for row in rows] == [("toy", 4), ("toy", 6), ("toy (calibrated)", 4)]
    assert {row.crps.verdict for row in rows} == {"too few origins"}
    assert rows[0].maker.details == "4 bars of 1h, weights not known, not anchored"
