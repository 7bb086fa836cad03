"""A planted signal is found, noise is called nothing, and no period knows of the next."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.shell import chandler
from tests.training.conftest import tiny_run
from tests.training.ranks import in_two

from chandler import Bars, BarStore, Forecaster
from chandler.cli.remedies import options_of
from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.forecasting import SignalHead
from chandler.reports import write_run_report
from chandler.training import finetune
from chandler.training.engine import Interrupted
from chandler.training.runs import Known, Run, known
from chandler.training.runs.lineage import Seen
from chandler.training.settings import SignalSettings, load_settings
from chandler.training.signal import (
    Calendar,
    Samples,
    Score,
    SignalResult,
    find_samples,
    fit_signal,
    ic_series,
    plan_signal,
    score,
    split_samples,
    verdict,
)
from chandler.training.signal.fit import Task, fit_member, within
from chandler.training.signal.scores import mean_ic, standard_ranks

GOLDEN = Path(__file__).parents[2] / "golden"
DAYS, LOOKBACK = 160, 8
SMALL = SignalSettings(horizon=1, lookback=LOOKBACK, path_dates=2, paths=2)


def panel(strength: float, symbols: int = 20, seed: int = 0) -> BarStore:
    """Random walks; the bar after one of high volume rises by `strength` deviations, all else is noise."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2020-01-01", periods=DAYS, freq="D")
    made = []
    for number in range(symbols):
        loud = generator.random(DAYS) < 0.5
        moves = 0.01 * generator.standard_normal(DAYS)
        moves[1:] += 0.01 * strength * (loud[:-1] - 0.5)
        close = 50 * np.exp(np.cumsum(moves))
        open_ = np.r_[close[0], close[:-1]]
        high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
        volume = np.where(loud, 900.0, 100.0)
        made.append(Bars(f"S{number:02d}", times, np.stack([open_, high, low, close, volume, volume * close], axis=1)))
    return BarStore.from_bars(made)


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"], device="cpu", max_context=32)


@pytest.fixture(scope="module")
def planted() -> BarStore:
    return panel(2.0)


@pytest.fixture(scope="module")
def found(forecaster: Forecaster, planted: BarStore) -> SignalResult:
    return fit_signal(forecaster, planted, SMALL)


def named(result: SignalResult) -> dict[str, Score]:
    return {one.name.strip(): one for one in result.scores}


def test_a_planted_signal_is_found(found: SignalResult) -> None:
    scores = named(found)
    assert scores["signal head"].mean > 0.3
    assert scores["signal head"].t > 5
    assert all(scores[f"seed {seed}"].t > 5 for seed in range(3))
    assert scores["the same beyond these"].t > 5
    assert abs(scores["momentum (7 bars)"].t) < 3  # not 20: a window has no more
    assert scores["path mean (2 paths)"].dates == 2
    assert found.verdict.startswith("It orders later dates than any that chose it")
    assert found.verdict.endswith("better than what needs no model.")


def test_a_hidden_layer_finds_it_as_well(forecaster: Forecaster, planted: BarStore) -> None:
    settings = SMALL.model_copy(update={"hidden": 4, "seeds": 1, "path_dates": 0})
    made = fit_signal(forecaster, planted, settings)
    assert named(made)["signal head"].t > 5
    assert made.head.tensors["inner"].shape == (1, 4, forecaster.predictor.config.d_model)


def test_noise_shows_nothing(forecaster: Forecaster) -> None:
    settings = SMALL.model_copy(update={"path_dates": 0})
    made = fit_signal(forecaster, panel(0.0, symbols=12, seed=1), settings)
    assert abs(named(made)["signal head"].t) < 2
    assert made.verdict.startswith("It shows nothing: on later dates than any that chose it")
    assert "It shows nothing" in made.to_text()


def test_noise_passes_as_rarely_as_it_should() -> None:
    """Panels of noise, learned on, chosen on and tested: t beyond 2 about as often as chance has it."""
    generator, found = np.random.default_rng(0), []
    for _ in range(24):
        samples = samples_of(generator.standard_normal((110, 8)))
        z = generator.standard_normal((len(samples), 4), dtype=np.float32)
        task = Task(samples, samples.dates < 50, (samples.dates >= 50) & (samples.dates < 70), True, 5, 0)
        w = fit_member(task, z, 0).tensors["weight"]
        test = samples.dates >= 70
        found.append(score("", ic_series(z[test] @ w, samples.take(test), True, 5), 1).t)
    assert np.mean(np.abs(found) > 2) <= 0.15
    assert abs(np.mean(found)) < 0.6


def test_of_one_symbol_dates_are_ordered_along_time(forecaster: Forecaster) -> None:
    store = panel(3.0, symbols=1)
    made = fit_signal(forecaster, store, SMALL.model_copy(update={"path_dates": 0}))
    assert made.head.about["across"] is False
    assert named(made)["signal head"].mean > 0.3
    assert "judged along time" in made.to_text()


def test_every_part_of_the_work_can_be_stopped(forecaster: Forecaster, planted: BarStore) -> None:
    asked: dict[int, int] = {}
    for dates in (0, 3):
        calls: list[None] = []
        settings = SMALL.model_copy(update={"seeds": 1, "path_dates": dates})
        fit_signal(forecaster, planted, settings, between=lambda calls=calls: calls.append(None))  # type: ignore[misc]
        asked[dates] = len(calls)
    assert asked[0] > 1
    assert asked[3] - asked[0] == 3, "after each date that is forecast"


def test_the_same_call_gives_the_same_head(forecaster: Forecaster, planted: BarStore, found: SignalResult) -> None:
    again = fit_signal(forecaster, planted, SMALL.model_copy(update={"path_dates": 0}))
    for name, tensor in found.head.tensors.items():
        np.testing.assert_array_equal(again.head.tensors[name], tensor)


def test_later_bars_change_no_head_that_was_chosen_before(
    forecaster: Forecaster, planted: BarStore, found: SignalResult
) -> None:
    """What comes after the last return of the validation is replaced: the head stays, the test does not."""
    until = pd.Timestamp(found.head.about["validation"]["until"])
    generator, made = np.random.default_rng(5), []
    for bars in planted:
        values = bars.values.copy()
        late = bars.timestamps > until
        values[late, :4] *= np.exp(np.cumsum(0.05 * generator.standard_normal(late.sum())))[:, None]
        made.append(Bars(bars.symbol, bars.timestamps, values))
    other = fit_signal(forecaster, BarStore.from_bars(made), SMALL.model_copy(update={"path_dates": 0}))
    for name, tensor in found.head.tensors.items():
        np.testing.assert_allclose(other.head.tensors[name], tensor, atol=1e-5)
    assert named(other)["signal head"].mean < 0.5 * named(found)["signal head"].mean


def test_samples_know_what_came_by_a_date_that_all_share() -> None:
    store = panel(0.0, symbols=2)
    short = store["S01"]
    suspended = np.r_[0:40, 60:DAYS]
    store = BarStore.from_bars([store["S00"], Bars("S01", short.timestamps[suspended], short.values[suspended])])
    samples = find_samples(store, Calendar.of(store), LOOKBACK, (0, 5), 1, (20, 3))
    bars = store["S00"]
    one = samples.take((samples.numbers == 0) & (samples.dates == 30))
    closes = np.log(bars.values[:, 3].astype(np.float32).astype(float))
    assert one.returns[0] == pytest.approx(closes[35] - closes[30], abs=1e-6)
    assert one.reversal[0] == pytest.approx(closes[27] - closes[30], abs=1e-6)
    assert one.momentum[0] == pytest.approx(closes[30] - closes[23], abs=1e-6)  # as far back as the window goes
    later = find_samples(store, Calendar.of(store), LOOKBACK, (1, 5), 1, (20, 3))
    delayed = later.take((later.numbers == 0) & (later.dates == 30))
    assert delayed.returns[0] == pytest.approx(closes[36] - closes[31], abs=1e-6)
    # Two bars before it is suspended: its return ends with the last close within five days of the calendar.
    two = samples.take((samples.numbers == 1) & (samples.dates == 37))
    own = np.log(short.values[:, 3])
    assert two.returns[0] == pytest.approx(own[39] - own[37], abs=1e-5)
    assert not ((samples.numbers == 1) & (samples.dates == 39)).any()
    # After it, a window reaches over the hole only where the store lets it.
    assert samples.dates.max() == DAYS - 1 - 5


def test_a_return_goes_on_over_a_hole() -> None:
    """Holes and rows that no window uses break windows, not returns: all symbols have the same dates."""
    whole, reach = panel(0.0, symbols=3), 5

    def samples(bars: Bars) -> Samples:
        store = BarStore.from_bars([bars, whole["S01"], whole["S02"]])
        return find_samples(store, Calendar.of(store), LOOKBACK, (0, reach), 1, (20, 3))

    bars = whole["S00"]
    closes = np.log(bars.values[:, 3].astype(np.float32).astype(float))
    kept = np.r_[0:50, 51 : len(closes)]  # a row is missing, then five that no window uses
    cut = Bars("S00", bars.timestamps[kept], bars.values[kept], segments=np.array([[0, 50], [50, 80], [85, len(kept)]]))
    found = samples(cut)
    mine = {
        int(date): one
        for date, one, number in zip(found.dates, found.returns, found.numbers, strict=True)
        if not number
    }
    # From every date with an unbroken lookback; to the date itself, or to the last row before it where it has none.
    assert set(mine) == {*range(7, 50), *range(58, 81), *range(93, DAYS - reach)}
    for date, one in mine.items():
        assert one == pytest.approx(closes[date + reach - (date + reach == 50)] - closes[date], abs=1e-6), date
    # Delisted for longer than the horizon: returns end with the last close, not with the first after the hole.
    late = np.r_[0:50, 100 : len(closes)]
    gone = samples(Bars("S00", bars.timestamps[late], bars.values[late], segments=np.array([[0, 50], [50, len(late)]])))
    gone = gone.take((gone.numbers == 0) & (gone.dates < 100))
    assert gone.dates.max() == 48
    assert gone.returns[-1] == pytest.approx(closes[49] - closes[48], abs=1e-6)


def test_a_return_ends_before_a_jump_at_which_bars_were_cut() -> None:
    whole, reach, cut = panel(0.0, symbols=3), 5, 50
    bars = whole["S00"]
    values = bars.values.copy()
    values[cut:, :4] /= 2  # an unadjusted split: no date is missing, and nobody lost half
    closes = np.log(values[:, 3].astype(np.float32).astype(float))
    split = Bars("S00", bars.timestamps, values, segments=np.array([[0, cut], [cut, len(values)]]))
    store = BarStore.from_bars([split, whole["S01"], whole["S02"]])
    found = find_samples(store, Calendar.of(store), LOOKBACK, (0, reach), 1, (20, 3))
    mine = {
        int(date): one
        for date, one, number in zip(found.dates, found.returns, found.numbers, strict=True)
        if not number
    }
    assert set(mine) == {*range(LOOKBACK - 1, cut - 1), *range(cut + LOOKBACK - 1, DAYS - reach)}
    for date, one in mine.items():
        end = min(date + reach, cut - 1) if date < cut else date + reach
        assert one == pytest.approx(closes[end] - closes[date], abs=1e-6), date


def test_a_return_that_begins_later_misses_what_the_next_bar_does(forecaster: Forecaster, planted: BarStore) -> None:
    made = fit_signal(forecaster, planted, SMALL.model_copy(update={"delay": 1}))
    assert abs(named(made)["signal head"].mean) < 0.1


def test_periods_are_a_horizon_apart() -> None:
    store = panel(0.0, symbols=2)
    samples = find_samples(store, Calendar.of(store), LOOKBACK, (0, 5), 1, (5, 2))
    parts = split_samples(samples, 5, 80, 120)
    train, later, test = (samples.dates[parts[name]] for name in ("train", "validation", "test"))
    assert train.max() + 5 == 79
    assert (later.min(), later.max() + 5) == (85, 119)
    assert test.min() == 125


def test_dates_that_the_model_knows_are_refused(planted: BarStore) -> None:
    def seen(day: str) -> Known:
        return Known((Seen("trained", int(pd.Timestamp(day).value), frozenset(planted.symbols)),))

    plan = plan_signal(planted, SMALL, LOOKBACK)
    assert plan.span("test")["first"].startswith("2020-05-09")
    later = plan_signal(planted, SMALL, LOOKBACK, seen("2020-05-20"))
    assert later.span("test")["first"].startswith("2020-05-22")  # the day after, and an embargo of the horizon
    assert later.notes == []
    with pytest.raises(DataError, match=r"the model knows bars up to 2020-12-01.*pass force=True"):
        plan_signal(planted, SMALL, LOOKBACK, seen("2020-12-01"))
    given = SMALL.model_copy(update={"test_start": "2020-05-01"})
    with pytest.raises(DataError, match=r"the model knows bars up to 2020-05-20.*Leave out test_start"):
        plan_signal(planted, given, LOOKBACK, seen("2020-05-20"))
    [note] = plan_signal(planted, given, LOOKBACK, seen("2020-05-20"), force=True).notes
    assert note.startswith("The model was trained on bars of 20 of these 20 symbols up to 2020-05-20")
    assert plan_signal(planted, SMALL, LOOKBACK, Known((Seen("trained", 2**62, frozenset({"X"})),))).notes == []


def test_too_little_is_said(planted: BarStore) -> None:
    with pytest.raises(ConfigError, match="give horizon="):
        plan_signal(planted, SignalSettings(), LOOKBACK)
    with pytest.raises(DataError, match=r"too few dates for a signal: train 1\d \(.*it takes 20 to learn"):
        plan_signal(planted, SMALL.model_copy(update={"horizon": 8}), LOOKBACK)
    with pytest.raises(DataError, match="no window to learn from: one needs 170 unbroken bars"):
        plan_signal(planted, SMALL, 170)
    with pytest.raises(DataError, match="it takes dates between them"):
        plan_signal(planted, SMALL.model_copy(update={"val_start": "2020-05-20"}), LOOKBACK)
    with pytest.raises(DataError, match="'soon' is no date or time"):
        plan_signal(planted, SMALL.model_copy(update={"test_start": "soon"}), LOOKBACK)


def samples_of(returns: np.ndarray) -> Samples:
    """(dates, symbols) returns as samples."""
    dates, numbers = (one.ravel() for one in np.indices(returns.shape))
    ones = np.ones(returns.size)
    return Samples(numbers, np.arange(returns.size), dates, returns.ravel(), ones, 0 * ones, 0 * ones)


def test_ridge_finds_the_direction_that_orders() -> None:
    generator = np.random.default_rng(3)
    z = generator.standard_normal((80 * 30, 6), dtype=np.float32)
    direction = np.array([1.0, -2.0, 0.0, 0.0, 0.5, 0.0])
    market = np.repeat(generator.standard_normal(80), 30)  # moves all symbols of a date: no part of the order
    samples = samples_of((z @ direction + market + generator.standard_normal(2400)).reshape(80, 30))
    task = Task(samples, samples.dates < 50, samples.dates >= 50, True, 5, 0)
    w = fit_member(task, z, 0).tensors["weight"]
    assert w @ direction / np.linalg.norm(w) / np.linalg.norm(direction) > 0.99
    place = samples.dates
    assert np.abs(np.add.reduceat(within(z, place), np.arange(0, 2400, 30))).max() < 1e-4
    ranked = standard_ranks(samples.returns, place).reshape(80, 30)
    assert ranked.mean(axis=1) == pytest.approx(np.zeros(80), abs=1e-12)
    assert ranked.std(axis=1) == pytest.approx(np.ones(80))


def test_coefficients_by_date_and_their_test() -> None:
    samples = samples_of(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]]))
    scores = np.array([1.0, 2.0, 3.0] * 3)
    across = ic_series(scores, samples, True, 3)
    assert across[0] == 1
    assert across[1] == -1
    assert np.isnan(across[2])
    assert mean_ic(scores, samples, True, 3) == pytest.approx(across.mean(), abs=1e-12)
    assert mean_ic(0 * scores, samples, True, 3) == mean_ic(scores, samples, True, 4) == -1
    along = ic_series(np.arange(3.0).repeat(3), samples, False, 5)
    by_hand = [pd.Series(column).corr(pd.Series([0.0, 1.0, 2.0]), method="spearman") for column in
               ([1.0, 3.0, 5.0], [2.0, 2.0, 5.0], [3.0, 1.0, 5.0])]  # fmt: skip
    assert along.mean() == pytest.approx(np.mean(by_hand))
    # Overlapping returns: 40 dates that repeat each other four at a time are ten.
    values = pd.Series(np.random.default_rng(0).standard_normal(10).repeat(4) + 0.3)
    assert abs(score("", values, 4).t) < abs(score("", values, 1).t)


def test_verdicts() -> None:
    def of(mean: float, t: float) -> Score:
        return Score("reversal (5 bars)", mean, t, 50)

    seeds = [of(0.05, 3.0)] * 3
    assert verdict(of(0.05, 1.9), seeds, [of(0.0, 0.0)], None).startswith("It shows nothing: on later dates")
    assert verdict(of(0.05, float("nan")), seeds, [], None).startswith("It shows nothing")
    assert verdict(of(-0.05, -4.0), seeds, [of(0.0, 0.0)], None).startswith("It shows nothing of use")
    lonely = [of(0.05, 3.0), of(0.01, 0.5), of(0.01, 0.4)]
    assert verdict(of(0.05, 3.0), lonely, [of(0.0, 0.0)], None).startswith("It shows nothing that lasts: 1 of 3 seeds")
    assert "nothing that reversal (5 bars) does not" in verdict(of(0.05, 3.0), seeds, [of(0.06, 3.5)], None)
    assert "is not shown: +0.010, t 0.5" in verdict(of(0.05, 3.0), seeds, [of(0.04, 2.5)], of(0.01, 0.5))
    assert verdict(of(0.05, 3.0), seeds, [of(0.01, 0.4)], of(0.04, 2.5)).endswith("than what needs no model.")


def test_the_command_writes_a_head_beside_what_is_there(
    planted: BarStore, found: SignalResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = planted.save(tmp_path / "bars"), tmp_path / "models"
    (out / "signal").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "signal" / "also.txt").write_text("mine")
    model = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
    command = ["signal", model, data, "--horizon", 1, "--lookback", LOOKBACK, "--path-dates", 0, "--out", out]
    about = out / "signal" / "head.json"
    about.write_text("{}")
    assert chandler(*command) == 2
    assert "holds signal, and no sign that chandler wrote a signal head there" in capsys.readouterr().err
    about.unlink()
    assert chandler(*command[:-1], out / "notes.txt") == 2
    assert "notes.txt is no folder that can be written into). Choose another folder (--out)." in capsys.readouterr().err
    assert chandler(*command) == 0
    printed = capsys.readouterr().out
    assert "signal head" in printed
    assert "It orders later dates" in printed
    assert "is not, or not all, on record" in printed
    head = SignalHead.load(out)
    np.testing.assert_allclose(head.tensors["weight"], found.head.tensors["weight"], atol=1e-5)
    assert {path.name for path in out.iterdir()} == {"notes.txt", "signal"}
    assert chandler(*command) == 2
    assert "already holds a signal head. Choose another folder (--out), or pass --overwrite" in capsys.readouterr().err
    assert chandler(*command, "--overwrite", "--seeds", 1) == 0
    assert len(SignalHead.load(out).tensors["weight"]) == 1
    assert (out / "signal" / "also.txt").read_text() == (out / "notes.txt").read_text() == "mine"
    assert chandler(*command[:3], "--horizon", 0) == 2
    assert "signal: horizon: Input should be greater than or equal to 1, found 0" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(planted: BarStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signal") / "run"
    finetune(settings_of(folder, planted.save(folder.parent / "bars")))
    return folder


def settings_of(folder: Path, data: Path) -> dict[str, Any]:
    settings = tiny_run(folder)
    settings["data"] |= {
        "path": str(data), "symbols": None, "lookback": LOOKBACK, "horizon": 1, "split": {"train": 0.6, "val": 0.4},
    }  # fmt: skip
    settings["tokenizer"]["epochs"] = settings["predictor"]["epochs"] = 1
    return settings | {"signal": {"enabled": True, "seeds": 1, "path_dates": 0}}


def test_a_run_trains_one_on_its_own_split(run: Path) -> None:
    head = SignalHead.load(run)
    forecaster = Forecaster.from_pretrained(run, device="cpu")
    head.require(forecaster)
    about, data = head.about, Run(run).summary["data"]["splits"]
    assert head.horizon == 1
    assert head.lookback == LOOKBACK
    assert pd.Timestamp(about["train"]["until"]) < pd.Timestamp(data["val"]["first"])
    assert pd.Timestamp(about["validation"]["first"]) > pd.Timestamp(data["val"]["first"])
    assert about["test"]["dates"] == pytest.approx(32, abs=3)
    summary = json.loads((run / "summary.json").read_text())["signal"]
    assert summary["verdict"] == about["verdict"]
    assert any("was chosen on bars of 20 of" in note for note in about["notes"])
    assert about["verdict"] in html.unescape(write_run_report(run).read_text(encoding="utf-8"))
    assert known(run).seen  # the head changes nothing of what is on record


def test_a_run_goes_on_with_its_head(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "signal").iterdir()}
    summary = (run / "summary.json").read_text()
    settings = load_settings(run / "config.yaml")
    finetune(settings, resume=True)
    assert "kept the head of an earlier run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (run / "signal").iterdir()} == before
    assert json.loads((run / "summary.json").read_text()) == json.loads(summary)
    (run / "signal" / "head.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="cannot be read"):
        SignalHead.load(run)
    finetune(settings, resume=True)
    SignalHead.load(run)
    (run / "signal" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.txt is not of a run that chandler wrote"):
        finetune(settings, overwrite=True)
    (run / "signal" / "mine.txt").unlink()
    finetune(settings.model_copy(update={"signal": SignalSettings()}), overwrite=True)
    assert not (run / "signal").exists()


def test_a_run_that_stopped_at_its_head_goes_on_there(
    planted: BarStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path / "run", planted.save(tmp_path / "bars"))

    def stopped(*_: Any, between: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        between()

    with monkeypatch.context() as patched:
        patched.setattr("chandler.training.run.fit_signal", stopped)
        with pytest.raises(Interrupted, match="Both stages are finished, the signal head is not"):
            finetune(settings)
    assert not (tmp_path / "run" / "signal").exists()
    capsys.readouterr()
    finetune(settings, resume=True)
    told = capsys.readouterr().out
    assert "tokenizer: kept the result" in told
    assert "predictor: kept the result" in told
    SignalHead.load(tmp_path / "run").require(Forecaster.from_pretrained(tmp_path / "run", device="cpu"))


@pytest.mark.slow
def test_other_processes_do_not_wait_for_a_head(planted: BarStore, tmp_path: Path) -> None:
    """Rank 0 begins with it once rank 1 has returned: they share no group whose patience could end."""
    settings, program = settings_of(tmp_path / "run", planted.save(tmp_path / "bars")), tmp_path / "script.py"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    program.write_text("""
import json, os, time
from pathlib import Path
import chandler.training.run as training
from chandler.training.engine import leave

folder, fit = Path(__file__).parent, training.fit_signal

def late(*args, **kwargs):
    end = time.monotonic() + 120
    while not (folder / "returned").exists():
        assert time.monotonic() < end, "rank 1 waits for the head"
        time.sleep(0.01)
    return fit(*args, **kwargs)

training.fit_signal = late
training.finetune(json.loads((folder / "settings.json").read_text()))
if os.environ["RANK"] == "1":
    (folder / "returned").touch()
leave(0)
""")
    done = in_two(tmp_path, str(program))
    assert done.codes == (0, 0), done.stdout + done.stderr
    head = SignalHead.load(tmp_path / "run")
    assert Run(tmp_path / "run").summary["signal"]["verdict"] == head.about["verdict"]


def test_the_page_lists_all_settings() -> None:
    page = (Path(__file__).parents[3] / "docs" / "signal.md").read_text(encoding="utf-8")
    columns = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", page, flags=re.M)
    assert set(re.findall(r"[a-z_]+", " ".join(columns))) == set(SignalSettings.model_fields)
    known = {option for name in ("signal", "backtest", "finetune") for option, _ in options_of(name).values()}
    assert set(re.findall(r"(?<![-|])--[a-z][a-z-]*", page)) <= known


def test_the_example_of_the_page_runs(
    planted: BarStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "signal.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    for part in ("tokenizer", "predictor"):
        shutil.copytree(GOLDEN / part, tmp_path / "runs" / "mine" / part)
    sees = {"forecast": {"max_context": 32, "lookback": LOOKBACK}}
    (tmp_path / "runs" / "mine" / "summary.json").write_text(json.dumps(sees))
    planted.to_frame().to_parquet(tmp_path / "panel.parquet")
    monkeypatch.chdir(tmp_path)
    exec(block.replace("horizon=5", "horizon=1, path_dates=0"), {})
    assert "It orders later dates" in capsys.readouterr().out
    assert (tmp_path / "runs" / "mine" / "signal" / "head.json").is_file()


def test_a_run_without_dates_enough_says_so_before_it_trains(planted: BarStore, tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run", planted.save(tmp_path / "bars"))
    settings["signal"]["every"] = 10
    with pytest.raises(DataError, match="too few dates for a signal"):
        finetune(settings)
    assert not (tmp_path / "run" / "config.yaml").exists()
    settings["signal"] |= {"every": 1, "lookback": 170}
    with pytest.raises(DataError, match="one needs 170 unbroken bars"):
        finetune(settings | {"max_context": 200})
    assert not (tmp_path / "run" / "config.yaml").exists()
    settings["data"] |= {"path": [], "sources": [{"path": str(tmp_path / "bars")}]}
    with pytest.raises(ConfigError, match=r"signal\.enabled needs one set of bars"):
        load_settings(settings)
