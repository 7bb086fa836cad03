"""What is kept stays as it was, once; what comes is matched exactly, scored once, and told where it does not fit."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chandler import Bars, ConfigError, DataError, Forecaster, Journal
from chandler.checkpoint import weights_hash
from chandler.evaluation.baselines import bootstrap
from chandler.journal.entries import Entry
from chandler.journal.scoring import NAIVE_PATHS
from chandler.measures import crps, pit
from tests.journal.conftest import forecast_at, store_of, walk

Clock = Callable[[object], pd.Timestamp]
LATER = "2024-04-01"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "kept")


def moved(bars: Bars, factor: float, rows: slice = slice(None)) -> Bars:
    values = bars.values.copy()
    values[rows, :4] *= factor
    return replace(bars, values=values)


def files(journal: Journal) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in journal.folder.rglob("*.parquet")}


def test_a_forecast_comes_back_as_it_was(journal: Journal, at: Clock) -> None:
    bars = walk(zone="America/New_York")
    made = forecast_at(bars, 30, anchored=True, calibrated=True, seed=7)
    now = at(made.timestamps[0] - pd.Timedelta(minutes=1))
    kept = journal.keep([made])
    assert (kept.new, kept.already, kept.late) == (1, 0, 0)
    (entry,) = journal.entries()
    assert (entry.symbol, entry.model, entry.seed, entry.calendar) == ("ACME", "toy", 7, "24/7")
    assert (entry.anchored, entry.calibrated, entry.live, entry.made) == (True, True, True, now)
    assert entry.times.equals(made.timestamps)
    assert str(entry.times.tz) == "America/New_York"
    assert entry.origin == made.history.timestamps[-1]
    assert entry.sampling == made.sampling
    np.testing.assert_array_equal(entry.closes, made.paths[:, :, 3].astype(np.float32))
    np.testing.assert_array_equal(entry.means, made.paths.mean(0).astype(np.float32))
    np.testing.assert_array_equal(entry.history, made.history.values[:, 3])
    assert Entry.of_row(entry.to_row()).id == entry.id


def test_the_weights_that_made_it_are_known(journal: Journal) -> None:
    forecaster = Forecaster.from_pretrained("chandler-nano", device="cpu")
    made = forecaster.forecast(walk(rows=40), horizon=2, paths=2)
    assert made.anchored
    assert not forecaster.forecast(walk(rows=40), horizon=2, paths=2, anchor=False).anchored
    journal.keep([made], forecaster)
    (entry,) = journal.entries()
    assert entry.weights == weights_hash(forecaster.tokenizer, forecaster.predictor)
    assert entry.model == "chandler-nano"


def test_what_is_kept_twice_is_there_once_and_stays_as_it_was_first(journal: Journal, at: Clock) -> None:
    bars = walk()
    first = forecast_at(bars, 30)
    early = at(bars.timestamps[30])
    journal.keep([first])
    before = files(journal)
    at(LATER)
    again = journal.keep([first, first, forecast_at(bars, 31)])
    assert (again.new, again.already, again.late) == (1, 1, 1)
    assert before.items() <= files(journal).items()
    assert {entry.id: entry.made for entry in journal.entries()}[next(iter(journal.entries())).id] == early
    assert len(journal.facts()) == 2
    other = forecast_at(bars, 30, seed=1)
    assert journal.keep([other]).new == 1  # other paths are another forecast


def test_what_it_was_asked_with_is_kept_and_files_without_it_are_read(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    [path] = journal.folder.glob("entries/*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["asked"]), path)  # as it was written before
    again = journal.keep([forecast_at(bars, 30), forecast_at(bars, 31)], asked='{"lookback": 64}')
    assert (again.new, again.already) == (1, 1)  # what asked makes no other forecast
    assert sorted(entry.asked for entry in journal.entries()) == ["", '{"lookback": 64}']
    assert sorted(journal.facts()["asked"]) == ["", '{"lookback": 64}']


def test_hindsight_is_marked(journal: Journal, at: Clock) -> None:
    bars = walk()
    over = bars.timestamps[31] + pd.Timedelta(hours=1)
    at(over)
    assert journal.keep([forecast_at(bars, 30)]).late == 1
    at(over - pd.Timedelta(seconds=1))
    assert journal.keep([forecast_at(bars, 30, seed=1)]).late == 0
    at(LATER)
    journal.score(store_of(bars))
    record = journal.record()
    assert [(row.age, row.forecasts) for row in record.rows] == [("all", 1)]
    assert {row.forecasts for row in record.late} == {1}
    assert (record.late_kept, record.scored) == (1, 2)


@pytest.mark.parametrize(
    ("zone", "calendar", "made", "live"),
    [
        (None, "inferred", "2024-03-07 09:59", True),  # before it is the 8th anywhere
        (None, "inferred", "2024-03-07 10:01", False),
        (None, "XNYS", "2024-03-08 20:59", True),  # before New York closes
        (None, "XNYS", "2024-03-08 21:01", False),
        (None, "24/7", "2024-03-08 23:59", True),
        (None, "24/7", "2024-03-09 00:01", False),
        ("Asia/Tokyo", "inferred", "2024-03-07 14:59", True),
        ("Asia/Tokyo", "inferred", "2024-03-07 15:01", False),
    ],
)
def test_a_day_is_over_where_its_market_is(
    journal: Journal, at: Clock, zone: str | None, calendar: str, made: str, live: bool
) -> None:
    bars = walk(zone=zone, freq="D", rows=10)
    at(made)
    kept = journal.keep([forecast_at(bars, 3, calendar=calendar)])  # of the 8th on
    assert [entry.live for entry in journal.entries()] == [live]
    assert (kept.late, kept.unclear) == ((1, 0) if calendar != "inferred" or zone else (0, 1)) if not live else (0, 0)
    at(LATER)
    again = journal.keep([forecast_at(bars, 3, calendar=calendar, seed=1)])
    assert (again.late, again.unclear) == (1, 0)  # a month later it is clear, whatever the zone


def test_days_without_a_break_are_over_a_day_later(journal: Journal, at: Clock) -> None:
    bars = walk(freq="D", rows=20)
    at(bars.timestamps[11] + pd.Timedelta(hours=23))
    journal.keep([forecast_at(bars, 10, calendar="inferred")])
    (entry,) = journal.entries()
    assert entry.live
    assert entry.over == bars.timestamps[12]


def test_naive_hours_of_an_exchange_are_read_the_stricter_way(journal: Journal, at: Clock) -> None:
    bars = walk(zone=None)  # night and day: its sessions do not tell which end of a bar a timestamp names
    at("2024-03-05 06:59")
    journal.keep([forecast_at(bars, 30, calendar="XNYS")])  # 07:00: in UTC earlier than in New York
    at("2024-03-05 07:01")
    journal.keep([forecast_at(bars, 30, calendar="XNYS", seed=1)])
    at("2024-03-04 22:01")
    journal.keep([forecast_at(bars, 30, calendar="XTKS", seed=2)])  # in Tokyo 07:01
    assert {entry.seed: entry.live for entry in journal.entries()} == {0: True, 1: False, 2: False}


def test_times_that_name_the_ends_of_bars_are_those_at_which_they_are_over(journal: Journal, at: Clock) -> None:
    days = [pd.date_range(f"2024-03-{day:02} 10:30", periods=6, freq="h", tz="America/New_York") for day in range(4, 9)]
    times = pd.DatetimeIndex(np.concatenate([one.tz_convert("UTC").tz_localize(None) for one in days]), tz="UTC")
    bars = replace(walk(rows=30), timestamps=times.tz_convert("America/New_York").as_unit("ns"))
    ends = bars.timestamps + pd.Timedelta(minutes=30)  # 11:00 to 16:00, the close
    journal.keep([forecast_at(replace(bars, timestamps=ends), 20, calendar="XNYS")])
    (entry,) = journal.entries()
    assert entry.over == ends[21]


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", None])
def test_the_last_bar_of_a_session_is_over_as_it_closes(journal: Journal, at: Clock, zone: str | None) -> None:
    """Bars of four hours from 09:30 on: the second one of a day lasts until 16:00."""
    days = pd.bdate_range("2024-02-01", periods=20, tz="America/New_York")
    times = pd.DatetimeIndex([day + pd.Timedelta(hours=hours) for day in days for hours in (9.5, 13.5)])
    times = (times.tz_localize(None) if zone is None else times.tz_convert(zone)).as_unit("ns")
    bars = replace(walk(rows=40), timestamps=times)
    journal.keep([forecast_at(bars, 20, calendar="XNYS"), forecast_at(bars, 21, calendar="XNYS")])
    morning, afternoon = sorted(entry.over for entry in journal.entries())
    assert morning == (
        pd.Timestamp("2024-02-15 21:00", tz="UTC") if zone else pd.Timestamp("2024-02-15 17:30", tz="UTC")
    )
    assert afternoon == (
        pd.Timestamp("2024-02-16 18:30", tz="UTC") if zone else pd.Timestamp("2024-02-16 13:30", tz="UTC")
    )


def test_bars_that_came_are_scored_and_the_rest_waits(journal: Journal, at: Clock) -> None:
    bars = walk()
    made = forecast_at(bars, 30)
    at(bars.timestamps[30])
    journal.keep([made])
    assert journal.score(store_of(bars.slice(0, 31))).steps == 0
    at(bars.timestamps[32] + pd.Timedelta(minutes=30))
    told = journal.score(store_of(bars.slice(0, 33)))  # the last bar is not over
    assert (told.forecasts, told.steps, len(told.waiting)) == (1, 1, 1)
    assert (told.waiting[0].left, told.waiting[0].next, told.waiting[0].until) == (3, *bars.timestamps[[32, 34]])
    assert "Waiting: 1 forecast: the next bar is of 2024-03-05 08:00 UTC" in told.to_text()
    first = journal.scores()
    at(bars.timestamps[33])
    assert journal.score(store_of(bars.slice(0, 33))).steps == 1
    at(LATER)
    told = journal.score(store_of(bars))
    assert (told.steps, told.waiting, told.unmatched) == (2, [], {})
    rows = journal.scores()
    pd.testing.assert_frame_equal(rows.iloc[:1], first)
    assert rows["step"].tolist() == [1, 2, 3, 4]
    assert journal.score(store_of(bars)).steps == 0


def test_scores_are_those_of_the_measures(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    made = forecast_at(bars, 30)
    journal.keep([made])
    (entry,) = journal.entries()
    at(LATER)
    for last in (33, len(bars)):  # in two parts: the walk of the later part is the same
        journal.score(store_of(bars.slice(0, last)))
    rows, truth = journal.scores(), bars.float32()[31:35, 3].astype(np.float64)
    closes = made.paths[:, :, 3].astype(np.float32).astype(np.float64)
    walked = bootstrap(made.history.values[:, 3], 4, NAIVE_PATHS, seed=int(entry.id[:12], 16))
    np.testing.assert_allclose(rows["truth"], truth)
    np.testing.assert_allclose(rows["crps"], crps(closes, truth))
    np.testing.assert_allclose(rows["naive"], crps(walked, truth))
    np.testing.assert_allclose(rows["error"], np.abs(closes.mean(0) - truth))
    np.testing.assert_allclose(rows["naive_error"], np.abs(made.history.values[-1, 3] - truth))
    # Of all four at once, as if they had not been scored in two parts.
    np.testing.assert_array_equal(rows["pit"], pit(closes, truth, seed=int(entry.id[12:], 16)))
    for share in (50, 80, 90):
        low, high = np.quantile(closes, [0.5 - share / 200, 0.5 + share / 200], axis=0)
        assert rows[f"inside{share}"].tolist() == ((truth >= low) & (truth <= high)).tolist()


def test_scores_of_before_the_pit_are_read_and_stay(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30), forecast_at(bars, 26)])
    at(LATER)
    journal.score(store_of(bars.slice(0, 33)))  # of the first two bars, of the second all
    (old,) = (journal.folder / "scores").iterdir()
    whole = pq.read_table(old)
    pq.write_table(whole.drop_columns(["inside50", "pit"]), old)
    before = files(journal)
    assert journal.scores()[["inside50", "pit"]].isna().all(axis=None)
    assert journal.record().older == 2
    journal.score(store_of(bars))
    assert before.items() <= files(journal).items()
    rows = journal.scores()
    assert rows["inside80"].dtype == bool
    assert rows.groupby("id")["pit"].count().tolist() in ([0, 2], [2, 0])
    assert rows["inside50"].notna().equals(rows["pit"].notna())
    assert rows[rows["pit"].notna()]["step"].tolist() == [3, 4]
    assert journal.record().older == 1


def test_revised_bars_are_told_and_change_nothing(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    at(LATER)
    journal.score(store_of(bars))
    before = journal.scores()
    revised = store_of(moved(bars, 1.01, slice(32, 33)))
    for _ in range(2):
        told = journal.score(revised)
        assert [(one.symbol, one.time) for one in told.revised] == [("ACME", bars.timestamps[32])]
        assert "Revised: 1 bar scored before now read otherwise; scores stay (ACME 2024-03-05 08:00" in told.to_text()
    pd.testing.assert_frame_equal(journal.scores(), before)
    assert len(journal.revised()) == 1
    assert (journal.record().revised, journal.record().revised_symbols) == (1, ["ACME"])
    assert not journal.score(store_of(bars)).revised


def test_adjusted_prices_are_no_wrong_forecast(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    at(LATER)
    halved = store_of(moved(bars, 0.5))
    told = journal.score(halved)
    assert told.steps == 0
    ((why, which),) = told.unmatched.items()
    assert "prices were adjusted or revised" in why
    assert which == ["ACME from 2024-03-05 06:00 UTC"]
    assert journal.score(store_of(moved(bars, 1 + 1e-7))).steps == 4  # rounding
    told = journal.score(halved)
    assert (len(told.adjusted), told.revised) == (1, [])
    assert "Adjusted: prices of 1 forecast scored before were scaled since; scores stay" in told.to_text()


def test_what_cannot_be_matched_is_told_with_its_reason(journal: Journal, at: Clock) -> None:
    bars, other, naive = walk(), walk("GONE", seed=1), walk("BARE", zone=None, seed=2)
    at(bars.timestamps[30])
    journal.keep([forecast_at(one, 30) for one in (bars, other, naive)])
    at(bars.timestamps[30])
    assert journal.score(store_of(walk("ELSE"))).unmatched == {}  # nothing is due yet: all wait
    at(LATER)
    rows = np.delete(np.arange(len(bars)), 32)
    holed = replace(bars, timestamps=bars.timestamps[rows], values=bars.values[rows])
    told = journal.score(store_of(holed, walk("BARE", seed=2)))
    reasons = {why.split(":")[0]: which for why, which in told.unmatched.items()}
    assert reasons == {
        "no such symbol in the data": ["GONE from 2024-03-05 06:00 UTC"],
        "zones differ": ["BARE from 2024-03-05 06:00"],
    }
    assert (told.steps, told.waiting, told.missing) == (3, [], ["ACME 2024-03-05 08:00 UTC"])
    assert "Missing: 1 forecast bar not there though the data go on (ACME 2024-03-05 08:00 UTC)" in told.to_text()
    assert "Not scored: 1 forecast: no such symbol in the data (GONE from" in told.to_text()
    assert {one.symbol for one in journal.record().due} == {"BARE", "GONE"}  # no bar of ACME is to come
    assert not journal.score(store_of(holed)).missing  # told once
    assert journal.score(store_of(bars)).steps == 1  # it came late


def test_an_origin_that_is_not_there_is_no_match(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    at(LATER)
    (why,) = journal.score(store_of(bars.slice(31, 60))).unmatched
    assert "the bar that they were made from is not in the data" in why
    shifted = replace(bars, timestamps=bars.timestamps.tz_localize(None).tz_localize("Asia/Kolkata"))
    (why,) = journal.score(store_of(shifted)).unmatched
    assert "zones differ (forecast UTC, data Asia/Kolkata)" in why
    same = replace(bars, timestamps=bars.timestamps.tz_convert("Asia/Tokyo"))
    assert journal.score(store_of(same)).steps == 4  # one moment, two clocks


def test_two_writers_lose_nothing(tmp_path: Path, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[20])
    barrier = threading.Barrier(4)

    def write(number: int) -> None:
        barrier.wait()
        for row in range(20, 26):
            Journal(tmp_path / "kept").keep([forecast_at(bars, row, seed=number), forecast_at(bars, row, seed=99)])

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    journal = Journal(tmp_path / "kept")
    assert len(journal.facts()) == 6 * 5  # of each row four of their own and one in common, once
    assert len(list(journal.entries())) == 30
    at(LATER)
    assert journal.score(store_of(bars)).forecasts == 30


def test_two_scorers_that_disagree_are_told(tmp_path: Path, at: Clock) -> None:
    bars = walk()
    one, two = Journal(tmp_path / "kept"), Journal(tmp_path / "copy")
    at(bars.timestamps[30])
    one.keep([forecast_at(bars, 30)])
    at(LATER)
    assert not two.begun
    for name in ("journal.json", *(path.relative_to(one.folder) for path in one.folder.rglob("*.parquet"))):
        (two.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (two.folder / name).write_bytes((one.folder / name).read_bytes())
    one.score(store_of(bars))
    at("2024-04-02")
    two.score(store_of(moved(bars, 1.01, slice(32, 33))))
    (theirs,) = (two.folder / "scores").iterdir()
    first = one.scores()
    (one.folder / "scores" / theirs.name).write_bytes(theirs.read_bytes())
    pd.testing.assert_frame_equal(one.scores(), first)
    assert one.revised()["step"].tolist() == [2]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, at: Clock) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds notes\.txt, and no journal\.json"):
        Journal(tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="this is a file"):
        Journal(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.json").write_text(json.dumps({"theirs": 1}))
    with pytest.raises(ConfigError, match="not as chandler wrote it"):
        Journal(tmp_path / "other")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".journal.json.0123abcd").write_text("")  # of a process that was killed
    journal = Journal(tmp_path / "new")
    with pytest.raises(ConfigError, match="there is no journal"):
        journal.score(store_of(walk()))
    journal.keep([forecast_at(walk(), 30)])
    (journal.folder / "entries" / "mine.parquet").write_text("mine")
    (journal.folder / "README").write_text("mine")
    assert len(Journal(tmp_path / "new").facts()) == 1


def test_what_was_changed_after_it_was_kept_is_no_record(journal: Journal, at: Clock) -> None:
    bars = walk()
    at(bars.timestamps[30])
    journal.keep([forecast_at(bars, 30)])
    at(LATER)
    (path,) = (journal.folder / "entries").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index("seed"), "seed", [["3"]]), path)
    with pytest.raises(DataError, match="was changed after it was kept"):
        journal.score(store_of(bars))
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as entries"):
        journal.record()


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Journal(tmp_path / "file" / "kept").keep([forecast_at(walk(), 30)])
