"""An evaluation restarts where it stopped, refuses changed settings, and its report says what the scores say."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from chandler.data import load_bars
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward import results as results_module
from chandler.evaluation.walk_forward.calibration import calibrate, calibrate_missing
from chandler.evaluation.walk_forward.contamination import exposure
from chandler.evaluation.walk_forward.forecasters import ModelForecaster
from chandler.evaluation.walk_forward.results import QUESTIONS, Results
from chandler.evaluation.walk_forward.runner import evaluate, read_state
from chandler.evaluation.walk_forward.settings import EvaluationSettings, load_evaluation, name_models
from chandler.forecasting.forecaster import Forecaster
from chandler.measures import adaptive_bands, significance
from chandler.measures import bootstrap as bootstrap_module
from chandler.progress import Counter, Progress
from chandler.reports import evaluation_summary, evaluation_text, write_evaluation_report
from chandler.reports.render import sentence

GOLDEN = Path(__file__).parents[2] / "golden"
ASSET = Path(__file__).parents[3] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"


def settings(out: Path, **more: Any) -> EvaluationSettings:
    raw: dict[str, Any] = {
        "out": str(out),
        "data": {"path": str(ASSET), "symbols": ["AAPL", "IBM", "GOOG"], "start": "2011-01-03"},
        "lookback": 24, "horizon": 4, "stride": 5, "paths": 20, "chunk": 16, "device": "cpu",
        "baselines": ["last_close", "bootstrap", "dlinear", "volume_by_time_of_day"],
    }  # fmt: skip
    return load_evaluation({**raw, **more})


@pytest.fixture(scope="module")
def done(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of that run, calibrated, on bars it has not seen."""
    calibrate(run, paths=20, stride=8, device="cpu")
    return evaluate(settings(tmp_path_factory.mktemp("eval") / "e", models={"tiny": str(run)}))


def test_every_contender_forecasts_the_same_unseen_windows(done: Path) -> None:
    scores = pd.read_parquet(done / "scores.parquet")
    names = ["last_close", "bootstrap", "dlinear", "volume_by_time_of_day", "tiny", "tiny (calibrated)"]
    assert list(scores["model"].unique()) == names
    windows = scores.groupby("model", sort=False)[["window", "step"]].apply(lambda rows: rows.to_numpy().tolist())
    assert all(found == windows.iloc[0] for found in windows)
    assert scores["timestamp"].min() >= pd.Timestamp("2012-09-29")
    assert set(scores["mark"]) == {""}
    # The context of the model is 20: it sees the last 20 of the 24 rows, and the report says so.
    assert scores.groupby("model")["visible"].first().to_dict() == {
        **dict.fromkeys(names, 24),
        "tiny": 20,
        "tiny (calibrated)": 20,
    }
    assert "sees the last 20 of the 24 bars" in (done / "evaluation.json").read_text()


def test_a_row_holds_what_the_measures_need(done: Path) -> None:
    scores = pd.read_parquet(done / "scores.parquet")
    row = scores[(scores["model"] == "last_close") & (scores["window"] == 0) & (scores["step"] == 2)].iloc[0]
    bars = pd.read_csv(ASSET, parse_dates=["timestamp"])
    aapl = bars[bars["symbol"] == row["symbol"]].set_index("timestamp")
    # Adjusted prices, as read: the ratio of two closes tells all the same.
    factor = aapl["adj_close"] / aapl["close"] if "adj_close" in aapl else 1.0
    close = aapl["close"] * factor
    assert row["truth_close"] / row["last"] == pytest.approx(close[row["timestamp"]] / close[row["origin"]], rel=1e-5)
    assert row["crps"] == pytest.approx(abs(row["truth_close"] - row["last"]))
    assert row["crps_return"] == pytest.approx(abs(np.log(row["truth_close"] / row["last"])))
    assert (row["q05"], row["variance"], row["up"]) == (pytest.approx(row["last"]), 0.0, 0.0)
    tiny = scores[scores["model"] == "tiny"]
    assert (tiny["q05"] < tiny["q95"]).all()
    assert (tiny["paths"] == 20).all()


def test_it_goes_on_where_it_stopped_and_ends_the_same(done: Path, run: Path) -> None:
    before = pd.read_parquet(done / "scores.parquet")
    kept = done / "parts" / "bootstrap" / "000000.parquet"
    changed = kept.stat().st_mtime_ns
    (done / "parts" / "tiny" / "000001.parquet").unlink()
    (done / "scores.parquet").unlink()
    with pytest.raises(ConfigError, match="has not finished"):
        Results(done)
    evaluate(settings(done, models={"tiny": str(run)}))
    assert kept.stat().st_mtime_ns == changed
    pd.testing.assert_frame_equal(pd.read_parquet(done / "scores.parquet"), before, check_exact=True)


def test_a_window_has_the_same_forecast_in_any_chunk(done: Path, run: Path, tmp_path: Path) -> None:
    again = evaluate(
        settings(tmp_path / "e", models={"tiny": str(run)}, chunk=7, baselines=["bootstrap"], calibration="off")
    )
    left, right = (pd.read_parquet(folder / "scores.parquet") for folder in (done, again))
    for name in ("bootstrap", "tiny"):
        a, b = (one[one["model"] == name].sort_values(["window", "step"])["crps"].to_numpy() for one in (left, right))
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_changed_settings_are_refused_unless_it_begins_anew(done: Path, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    with pytest.raises(ConfigError, match=r"other settings \(horizon changed\)"):
        evaluate(settings(folder, models={"tiny": str(run)}, horizon=3))
    evaluate(settings(folder, horizon=3, baselines=["bootstrap"]), overwrite=True)
    assert read_state(folder)["settings"]["horizon"] == 3
    assert set(pd.read_parquet(folder / "scores.parquet")["model"]) == {"bootstrap"}
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds no evaluation"):
        evaluate(settings(other), overwrite=True)


def test_changed_bars_are_refused(tmp_path: Path) -> None:
    """Also where only volumes did, or bars before the first window: baselines and calibrations are fitted on them."""
    frame = pd.read_csv(ASSET).query("symbol == 'IBM' and timestamp >= '2012-01-01'")
    path = tmp_path / "bars.csv"
    frame.to_csv(path, index=False)
    given = {"data": {"path": str(path)}, "stride": 20, "baselines": ["bootstrap"], "start": "2012-10-01"}
    folder = evaluate(settings(tmp_path / "e", **given))
    for row in (0, len(frame) - 30):
        other = frame.copy()
        other.iloc[row, other.columns.get_loc("volume")] += 100
        other.to_csv(path, index=False)
        with pytest.raises(ConfigError, match="holds an evaluation of other bars"):
            evaluate(settings(folder, **given))
    state = read_state(folder)
    (folder / "evaluation.json").write_text(json.dumps({**state, "fingerprint": "12345.678 91011"}))
    frame.to_csv(path, index=False)
    with pytest.raises(ConfigError, match="or it is of an earlier version"):
        evaluate(settings(folder, **given))
    evaluate(settings(folder, **given), overwrite=True)
    assert read_state(folder)["fingerprint"] == state["fingerprint"]


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    asked = settings(tmp_path / "e", stride=60, baselines=["bootstrap"])
    folder = evaluate(asked)
    whole = (folder / "scores.parquet").read_bytes()
    for damaged in (b"", whole[:200], whole[:-100] + whole[-50:]):
        (folder / "scores.parquet").write_bytes(damaged)
        with pytest.raises(
            ConfigError, match=r"scores\.parquet: cannot be read.*The same `chandler evaluate` writes it"
        ):
            Results(folder)
    evaluate(asked)
    assert (folder / "scores.parquet").read_bytes() == whole
    part = folder / "parts" / "bootstrap" / "000000.parquet"
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(
        ConfigError, match=r"000000\.parquet: cannot be read.*Remove it: the same command makes it anew"
    ):
        evaluate(asked)
    part.unlink()
    evaluate(asked)
    assert (folder / "scores.parquet").read_bytes() == whole
    (folder / "examples.parquet").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"examples\.parquet: cannot be read"):
        Results(folder).table("examples.parquet")


def test_where_nothing_moves_there_is_no_difference_in_percent(tmp_path: Path, run: Path) -> None:
    """Naive forecasts are then exact."""
    days = pd.date_range("2020-01-01", periods=90)
    prices = dict.fromkeys(["open", "high", "low", "close"], 1.0)
    pd.DataFrame({"timestamp": days, **prices, "volume": 1000.0}).to_csv(tmp_path / "flat.csv", index=False)
    data = {"path": str(tmp_path / "flat.csv")}
    pair = f"{run / 'tokenizer'}+{run / 'predictor'}"
    asked = settings(tmp_path / "e", data=data, models={"tiny": pair}, baselines=["last_close", "bootstrap"])
    results = Results(evaluate(asked))
    with np.errstate(all="raise"):
        told = evaluation_text(results)
        write_evaluation_report(results)
    assert re.search(r"\ntiny .* -, worse ", told)
    assert re.search(r"\nlast close .* -, no difference shown ", told)


def test_parts_are_kept_only_where_it_is_on_record_what_made_them(run: Path, tmp_path: Path) -> None:
    """A name that is used again for another model, after an evaluation without it."""
    quick = {"stride": 60, "baselines": ["bootstrap"], "calibration": "off"}
    pair = {"one": str(run), "two": str(run)}
    folder = evaluate(settings(tmp_path / "e", models=pair, **quick))
    part = folder / "parts" / "two" / "000000.parquet"
    made = part.stat().st_mtime_ns
    evaluate(settings(folder, models={"one": str(run)}, **quick))
    assert list(read_state(folder)["contenders"]) == ["bootstrap", "one"]
    evaluate(settings(folder, models=pair, **quick))
    assert part.stat().st_mtime_ns == made, "what is on record is not made again"

    evaluate(settings(folder, models={"one": str(run)}, **quick))
    other = Forecaster.from_pretrained(run, device="cpu")
    with torch.no_grad():
        next(other.predictor.parameters()).mul_(-1)
    other.save_pretrained(tmp_path / "other")
    pair["two"] = str(tmp_path / "other")
    evaluate(settings(folder, models=pair, **quick))
    fresh = evaluate(settings(tmp_path / "fresh", models=pair, **quick))
    left, right = (pd.read_parquet(place / "scores.parquet") for place in (folder, fresh))
    pd.testing.assert_frame_equal(left, right)
    assert not np.allclose(*(left[left["model"] == name]["crps"] for name in pair))

    # A folder whose record is lost, as earlier versions left them.
    state = read_state(folder)
    del state["contenders"]["two"]
    (folder / "evaluation.json").write_text(json.dumps(state))
    shutil.copy(folder / "parts" / "one" / "000000.parquet", part)
    evaluate(settings(folder, models=pair, **quick))
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "scores.parquet"), right)


def test_bars_the_model_knows_are_refused_or_marked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = settings(tmp_path / "e", models={"tiny": str(run)}, start="2012-01-03", stride=40, baselines=["bootstrap"])
    with pytest.raises(DataError, match="the model was trained on these bars"):
        evaluate(asked)
    assert not (tmp_path / "e").exists()
    loads, load = [], Forecaster.from_pretrained.__func__

    def counted(cls: type, source: Any, **options: Any) -> Forecaster:
        loads.append(source)
        return load(cls, source, **options)

    monkeypatch.setattr(Forecaster, "from_pretrained", classmethod(counted))
    folder = evaluate(asked, force=True)
    assert loads == [str(run)]  # once, before anything is forecast
    tiny = pd.read_parquet(folder / "scores.parquet").query("model == 'tiny'")
    assert set(tiny["mark"]) == {"", "trained", "validated"}
    text = words(write_evaluation_report(Results(folder)))
    assert "the model was trained on these bars, or on later ones" in text
    assert re.search(r"cannot show a difference from naive|Too few origins", text)


def test_the_report_says_what_the_scores_say(done: Path) -> None:
    results = Results(done)
    judged = evaluation_summary.judge(results)
    text = words(write_evaluation_report(Results(done)))
    assert evaluation_summary.headline(results, judged) in text
    for one in judged:
        assert sentence("evaluation", "comparison", one) in text
    # Random weights: worse than naive, and it says so.
    crps = next(one for one in judged if one.question.loss == "crps")
    ours, theirs = (results.losses(name)["crps"] for name in ("tiny", "bootstrap"))
    assert crps.against_naive.verdict == "worse"
    assert crps.against_naive.mean_a == pytest.approx(float(pd.Series(ours).groupby(results.rounds).mean().mean()))
    assert ours.mean() > theirs.mean()
    assert "tiny beats naive at nothing" in text
    assert "What this does not show" in text
    page = (done / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!#)', re.sub(r"(?s)<script>.*?</script>", "", page))


def test_a_comparison_is_made_once_for_text_and_page(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, compare, bootstrap = [], significance.compare, significance.block_bootstrap

    def counted(a: Any, b: Any, *rest: Any, **options: Any) -> Any:
        calls.append((a.tobytes(), b.tobytes()))
        return compare(a, b, *rest, **options)

    def drawn(values: Any, *rest: Any, **options: Any) -> Any:
        # What bands cover of four steps of one, two or three symbols may be equal by chance.
        if not np.allclose(24 * np.asarray(values), np.round(24 * np.asarray(values))):
            draws.append(np.asarray(values).tobytes())
        return bootstrap(values, *rest, **options)

    draws: list[bytes] = []
    monkeypatch.setattr(results_module, "compare_origins", counted)
    for module in (significance, bootstrap_module):
        monkeypatch.setattr(module, "block_bootstrap", drawn)
    results = Results(done)
    text = evaluation_text(results)
    page = words(write_evaluation_report(results))
    assert len(calls) == len(set(calls)) > 8
    assert len(draws) == len(set(draws)) > 8
    assert text == evaluation_text(Results(done))  # to the last digit
    assert page == words(write_evaluation_report(Results(done)))


def test_losses_are_what_the_columns_give_by_hand(done: Path) -> None:
    results, scores = Results(done), pd.read_parquet(done / "scores.parquet")
    one = scores[(scores["model"] == "tiny") & (scores["window"] == 3)]
    assert results.losses("tiny")["crps"][3] == pytest.approx((one["crps"] / one["last"]).mean() * 100)
    assert results.losses("tiny")["mae"][3] == pytest.approx(
        ((one["mean_close"] - one["truth_close"]).abs() / one["last"]).mean() * 100
    )
    inside = scores[scores["model"] == "tiny"].eval("truth_close >= q05 and truth_close <= q95").mean()
    assert results.coverage("tiny", 0.9)[0] == pytest.approx(inside)
    assert results.naive(QUESTIONS[0]) == "bootstrap"
    assert results.naive(QUESTIONS[1]) == "last_close"
    assert not np.isfinite(results.losses("last_close")["qlike"]).any()


def test_tails_rounds_and_symbols_are_what_the_columns_give_by_hand(done: Path) -> None:
    results, scores = Results(done), pd.read_parquet(done / "scores.parquet")
    tiny, naive = (scores[scores["model"] == name].copy() for name in ("tiny", "bootstrap"))
    for rows in (tiny, naive):
        rows["crps"] *= 100 / rows["last"]
    above = {level: tiny["truth_close"] - tiny[column] for level, column in ((0.05, "q05"), (0.95, "q95"))}
    tails = [above[level].where(above[level] > 0, 0) * level for level in above]
    tails += [-above[level].where(above[level] < 0, 0) * (1 - level) for level in above]
    by_round = (sum(tails) / 2 / tiny["last"] * 100).groupby(tiny["round"]).mean()
    assert results.pinball("tiny") == pytest.approx(by_round.mean())
    assert np.isnan(results.pinball("last_close"))
    by_round = tiny.pivot_table(values="crps", index="round", columns="step")
    assert results.crps_by_round("tiny") * 100 == pytest.approx(by_round.to_numpy())
    ours, theirs = (rows.groupby("symbol")["crps"].mean() for rows in (tiny, naive))
    assert results.crps_by_symbol("tiny").to_dict() == pytest.approx(ours.to_dict())
    assert results.crps_by_symbol("tiny", "bootstrap").to_dict() == pytest.approx(((ours / theirs - 1) * 100).to_dict())


def test_adaptive_bands_are_replayed_step_by_step(done: Path) -> None:
    results, scores = Results(done), pd.read_parquet(done / "scores.parquet")
    tiny = scores[scores["model"] == "tiny"]
    shares, widths = [], []
    for step in range(1, 5):
        rows = tiny[tiny["step"] == step].pivot(
            index="round", columns="symbol", values=["q05", "q95", "truth_close", "last"]
        )
        low, high, came, last = (rows[name].to_numpy(np.float64) for name in ("q05", "q95", "truth_close", "last"))
        found = adaptive_bands(
            low, high, came, 0.9, delay=1
        )  # rounds are 5 bars apart: a truth is known one round later
        shares.append(found.coverage())
        widths.append(np.mean((found.high - found.low) / last) * 100)
    assert results.adaptive_coverage("tiny", 0.9) == pytest.approx((np.mean(shares), np.mean(widths)))


def test_calibration_is_stored_applied_and_helps_on_later_bars(done: Path, run: Path) -> None:
    forecaster = Forecaster.from_pretrained(run, device="cpu")
    found = forecaster.calibration
    assert found is not None
    assert found.last < "2012-09-29"
    assert "origins of 2012-04-02 to 2012-09" in found.says()
    assert found.blend is not None
    assert found.judged is not None
    results = Results(done)
    before, after = (abs(results.coverage(name, 0.9)[0] - 0.9) for name in ("tiny", "tiny (calibrated)"))
    assert after < before
    bars = load_bars(ASSET, symbols=["AAPL"])["AAPL"].tail(60)
    fixed = forecaster.forecast(bars, horizon=4, paths=20, calibrated=True)
    assert fixed.calibrated
    again = forecaster.forecast_many([bars.tail(40), bars], horizon=4, paths=20, calibrated=True)[1]
    np.testing.assert_allclose(again.paths, fixed.paths, rtol=1e-4)  # whatever the company
    with pytest.raises(ConfigError, match="fitted with temperature 1, top_p 1"):
        forecaster.forecast(bars, horizon=4, paths=20, temperature=0.6, calibrated=True)
    with pytest.raises(ConfigError, match="fitted for 4 steps"):
        forecaster.forecast(bars, horizon=5, paths=20, calibrated=True)
    plain = Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"], device="cpu")
    with pytest.raises(ConfigError, match="chandler calibrate"):
        plain.forecast(bars, horizon=4, paths=20, calibrated=True)


def test_a_model_without_a_run_is_calibrated_on_bars_of_its_own(tmp_path: Path) -> None:
    pair = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
    out, asked = tmp_path / "calibrated", {"horizon": 4, "paths": 20, "limit": 20, "device": "cpu"}
    with pytest.raises(ConfigError, match="is no run folder"):
        calibrate(pair, **asked)
    with pytest.raises(ConfigError, match="seed"):
        calibrate(pair, data=str(ASSET), out=out, seed=-1, **asked)
    (out / "predictor").mkdir(parents=True)
    (out / "predictor" / "notes.txt").write_text("mine")
    model = tmp_path / "model"
    for part in ("tokenizer", "predictor"):
        shutil.copytree(GOLDEN / part, model / part)
    splits = {"train": {"last": "2005-01-03T00:00:00"}, "val": {"last": "2006-01-03T00:00:00"}}
    (model / "summary.json").write_text(json.dumps({"data": {"splits": splits, "names": ["ORCL"]}}))
    found = calibrate(model, data=str(ASSET), out=out, **asked)
    assert exposure(str(out)) == exposure(str(model)), "the copy knows what the model knows"
    assert [one.mark for one in exposure(str(out)).periods("ORCL")] == ["trained", "validated", ""]
    assert found.origins == 20
    assert 60 < found.windows <= 100
    read = Forecaster.from_pretrained(out, device="cpu")
    assert read.calibration is not None
    assert read.calibration.to_dict() == found.to_dict()
    assert (out / "predictor" / "notes.txt").read_text() == "mine"
    assert found.blend is not None


def test_a_run_is_calibrated_on_later_bars_where_they_are_given(run: Path, tmp_path: Path) -> None:
    asked = {"paths": 20, "stride": 8, "device": "cpu"}
    own = calibrate(run, out=tmp_path / "own", **asked)
    later = calibrate(run, data=str(ASSET), out=tmp_path / "later", **asked)
    known = [one.until for one in exposure(str(run)).periods("AAPL") if one.mark == "trained"]
    assert own.last < later.last
    assert pd.Timestamp(later.first).value > max(known)
    read = Forecaster.from_pretrained(tmp_path / "later", device="cpu")
    assert read.calibration is not None
    assert read.calibration.to_dict() == later.to_dict()
    end = pd.Timestamp(own.last)
    assert own.outdated(end.value) == ""
    assert "calibrate again as bars come" in own.outdated((end + 0.5 * (end - pd.Timestamp(own.first))).value)


def test_origins_that_all_share_bars_are_no_calibration(tmp_path: Path) -> None:
    pair, rows = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}", tmp_path / "few.csv"
    asked = {"horizon": 12, "lookback": 16, "stride": 1, "paths": 20, "device": "cpu", "out": tmp_path / "out"}
    walk = load_bars(ASSET, symbols=["IBM"])["IBM"]
    walk.tail(16 + 12 + 47).to_frame().to_csv(rows)
    with pytest.raises(DataError, match=r"the 48 times found make 4\. Give more bars, lower the horizon"):
        calibrate(pair, data=str(rows), **asked)
    walk.tail(16 + 12 + 48).to_frame().to_csv(rows)
    assert calibrate(pair, data=str(rows), **asked).origins == 49


def test_a_run_is_calibrated_on_its_bars_in_a_store_however_its_files_were_read(run: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(run, tmp_path / "run"))
    config = yaml.safe_load((own / "config.yaml").read_text())
    config["data"] |= {"adjust": "none", "price_scale": 1.0}
    (own / "config.yaml").write_text(yaml.safe_dump(config))
    store = load_bars(ASSET, adjust="none").save(tmp_path / "store")
    found = [calibrate(own, data=data, paths=20, stride=10, device="cpu") for data in (str(ASSET), str(store))]
    assert found[0].to_dict() == found[1].to_dict()


class Watching(Progress):
    """Hears what is counted, and what the folder says is calibrated at that moment."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.told: list[tuple[str, str | None]] = []

    def start(self, label: str, total: int, done: int = 0, unit: str = "") -> Counter:
        self.told.append((label, read_state(self.folder).get("calibrating")))
        return super().start(label, total, done, unit)


def test_without_a_calibration_one_is_fitted_on_the_bars_before_and_kept(tmp_path: Path) -> None:
    pair = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
    asked = settings(tmp_path / "e", models={"tiny": pair}, start="2012-11-01", baselines=["bootstrap"])
    seen = Watching(tmp_path / "e")
    folder = evaluate(asked, progress=seen)
    assert seen.told == [("Calibrating tiny on the bars before", "tiny"), ("bootstrap", None), ("tiny", None)]
    results = Results(folder)
    assert results.models == ["tiny", "tiny (calibrated)"]
    [kept] = (folder / "calibrations").glob("*.json")
    [fitted] = results.calibrations("tiny")
    assert fitted["last"] < "2012-11-01"
    assert fitted["blend"] is not None
    before = kept.stat().st_mtime_ns
    (folder / "scores.parquet").unlink()
    evaluate(asked)
    assert kept.stat().st_mtime_ns == before
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "bars": "others"}))
    evaluate(asked)
    assert json.loads(kept.read_text())["bars"] == read_state(folder)["fingerprint"]
    assert load_evaluation({"data": {"path": "x.csv"}}, ["calibration=off"]).calibration == "off"
    stored = evaluate(settings(tmp_path / "s", models={"tiny": pair}, start="2012-11-01", calibration="stored"))
    assert Results(stored).models == ["tiny"]


def test_along_a_long_period_it_is_fitted_again_on_what_had_come_by_then(tmp_path: Path) -> None:
    pair = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
    asked = {"models": {"tiny": pair}, "start": "2012-06-01", "baselines": ["bootstrap"], "paths": 10}
    folder = evaluate(settings(tmp_path / "e", **asked))
    results, state = Results(folder), read_state(folder)
    along = state["contenders"]["tiny"]["calibrations"]
    assert len(along) == 1 + state["rounds"] // 10 - 1 > 2
    for before, now in pairwise(along):
        assert before["since"] < now["since"]
        assert before["calibration"]["origins"] < now["calibration"]["origins"]
    for one in along:
        assert pd.Timestamp(one["calibration"]["last"]) <= pd.Timestamp(one["since"])
    assert not results.calibrated_here("tiny")
    told = words(write_evaluation_report(results))
    assert "With 10 paths the CRPS of tiny (calibrated) is too good" in told
    assert f"Fitted again {len(along) - 1} times along the period, on all that had come by then; the last: " in told
    assert "Both were fitted on bars before each window, and again as these came." in told
    # Until the second one they are those of a single fit, then others; the model itself stays as it is.
    once = Results(evaluate(settings(tmp_path / "once", **asked, recalibrations=0)))
    assert len(once.calibrations("tiny")) == 1
    twin = "tiny (calibrated)"
    same = (results.column(twin, "crps") == once.column(twin, "crps")).all(axis=1)
    seen = results.table("scores.parquet", ["model", "window", "step", "origin"]).to_pandas()
    origins = seen[(seen["model"] == twin) & (seen["step"] == 1)].sort_values("window")["origin"]
    earlier = (origins < pd.Timestamp(along[1]["since"])).to_numpy()
    assert same[earlier].all()
    assert not same[~earlier].any()
    assert (results.column("tiny", "crps") == once.column("tiny", "crps")).all()


@pytest.mark.parametrize(
    ("asked", "window"), [({}, (12, 4)), ({"task": "price", "lookback": None, "horizon": None}, (40, 12))]
)
def test_a_run_is_calibrated_as_the_evaluation_forecasts(
    run: Path, tmp_path: Path, asked: dict[str, Any], window: tuple[int, int]
) -> None:
    """Not as the run was trained, on windows of 24 + 4: what is fitted could not be used."""
    mine = tmp_path / "mine"
    shutil.copytree(run, mine, ignore=shutil.ignore_patterns("calibration.json"))
    evaluation = settings(tmp_path / "e", models={"mine": str(mine)}, **{"lookback": 12, "paths": 4, **asked})
    assert calibrate_missing(evaluation) == ["mine"]
    model = ModelForecaster("mine", str(mine), evaluation.for_bars(load_bars(ASSET)))
    assert model.calibrations is not None, model.notes
    [found] = model.calibrations.each
    assert (found.lookback, found.bands.steps) == window
    assert calibrate_missing(evaluation) == []


def test_too_few_bars_before_leave_it_uncalibrated_and_say_so(tmp_path: Path) -> None:
    pair = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
    folder = evaluate(settings(tmp_path / "e", models={"tiny": pair}, baselines=["bootstrap"], stride=30))
    assert Results(folder).models == ["tiny"]
    assert "was not calibrated on the bars before" in words(write_evaluation_report(Results(folder)))


def test_a_baseline_that_cannot_be_fitted_is_left_out_and_said(tmp_path: Path) -> None:
    folder = evaluate(settings(tmp_path / "e", stride=60, baselines=["bootstrap", "dlinear"]))
    assert set(pd.read_parquet(folder / "scores.parquet")["model"]) == {"bootstrap"}
    text = words(write_evaluation_report(Results(folder)))
    assert "DLinear was left out: it is trained on the bars before the first that is forecast" in text
    assert "No model was evaluated: these are the baselines alone." in text


def test_models_are_named(tmp_path: Path) -> None:
    assert name_models(["before=NeoQuasar/Kronos-small", "runs/mine"]) == {
        "before": "NeoQuasar/Kronos-small",
        "mine": "runs/mine",
    }
    assert name_models(["a/tok+a/pred"]) == {"pred": "a/tok+a/pred"}
    with pytest.raises(ConfigError, match="two models are called x"):
        load_evaluation({"data": {"path": "x.csv"}, "models": ["runs/x", "old/x"]})
    with pytest.raises(ConfigError, match="did you mean bootstrap"):
        load_evaluation({"data": {"path": "x.csv"}, "baselines": ["bootstap"]})
    with pytest.raises(ConfigError, match="whose edges are kept"):
        load_evaluation({"data": {"path": "x.csv"}, "levels": [0.7]})


def words(path: Path) -> str:
    """What a person reads on a page."""
    import html

    text = re.sub(r"(?s)<(script|style)\b.*?</\1>", "", path.read_text())
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", text)).split())
