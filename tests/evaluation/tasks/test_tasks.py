"""The paper's tasks as shipped: each file parses to what the paper says and runs, made tiny, on real bars."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.shell import chandler as shell

import chandler
from chandler.data import load_bars
from chandler.errors import ConfigError
from chandler.evaluation.backtest.runner import load_backtest
from chandler.evaluation.tasks.discriminators import discriminative_score
from chandler.evaluation.tasks.generation import SEEDS, generation, judge, past_stretch, shuffled_bars
from chandler.evaluation.tasks.measures import task_table
from chandler.evaluation.walk_forward.paper import SAMPLING, window_for
from chandler.evaluation.walk_forward.results import Results
from chandler.evaluation.walk_forward.runner import evaluate
from chandler.evaluation.walk_forward.settings import load_evaluation
from chandler.measures import newey_west_t
from chandler.text import signed

ASSET = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
MODEL = f"tiny={GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
TINY = [part for one in ("data.start=2012-09-01", "lookback=20", "horizon=4", "baselines=[bootstrap, ewma, last_close]")
        for part in ("--set", one)]  # fmt: skip


def config(task: str) -> Path:
    return ROOT / "configs" / "tasks" / f"{task}.yaml"


def test_windows_are_the_paper_s_by_interval():
    assert window_for(pd.Timedelta("5min")) == (480, 96)
    assert window_for(pd.Timedelta("15min")) == (160, 32)
    assert window_for(pd.Timedelta("1h")) == (80, 12)
    assert window_for(pd.Timedelta("4h")) == (90, 18)
    assert window_for(pd.Timedelta("1D")) == (40, 12)
    assert window_for(pd.Timedelta("1D"), "investment") == (90, 10)
    # Not in the paper: the nearest by ratio.
    assert window_for(pd.Timedelta("1min")) == (480, 96)
    assert window_for(pd.Timedelta("30min")) == (90, 24)
    assert window_for(pd.Timedelta("7D")) == (40, 12)


@pytest.mark.parametrize("task", ["price", "return", "volatility", "generation"])
def test_shipped_evaluations_sample_as_the_paper(task):
    settings = load_evaluation(config(task))
    assert settings.task == task
    assert (settings.temperature, settings.top_p, settings.paths) == SAMPLING[task]
    daily = settings.for_bars(load_bars(ASSET))
    assert (daily.lookback, daily.horizon) == (40, 12)
    # The keys that the file writes out are the defaults of the task.
    bare = load_evaluation({"task": task, "data": {"path": "x"}})
    assert (bare.temperature, bare.top_p, bare.paths) == SAMPLING[task]
    assert bare.for_bars(load_bars(ASSET)).horizon == 12
    # What is left to the interval stays so in the file of a job.
    assert (yaml.safe_load(bare.to_yaml())["horizon"], load_evaluation(yaml.safe_load(bare.to_yaml()))) == (None, bare)


def test_the_shipped_backtest_trades_as_the_paper():
    settings = load_backtest(config("investment"))
    assert (settings.temperature, settings.top_p, settings.paths) == (0.6, 0.9, 10)
    assert settings.portfolio.hold == 5
    assert (settings.portfolio.costs.buy, settings.portfolio.costs.sell) == (15, 15)
    assert settings.portfolio.sized(300) == (50, 5)
    with pytest.raises(ConfigError, match="run it with chandler backtest"):
        load_evaluation(config("investment"))


@pytest.mark.parametrize(("task", "head"), [("price", "RankIC"), ("return", "RankIC by date"), ("volatility", "R2")])
def test_shipped_evaluations_run(task, head, tmp_path, capsys):
    out = tmp_path / task
    code = shell("evaluate", ASSET, "--config", config(task), "--models", MODEL, "--out", out, *TINY,
                 "--set", "origins=12", "--set", "paths=1" if task == "volatility" else "paths=3")  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0, said
    assert head in said
    assert "tiny" in said
    assert f"The paper's task: {task}" in (out / "report.html").read_text()


def test_the_t_of_the_price_task_is_that_of_the_mean_shown_and_knows_that_windows_overlap(tmp_path):
    """Windows of 12 bars, an origin on each bar; symbols are not on all of them."""
    frame = pd.read_csv(ASSET).query("symbol in ('IBM', 'AAPL') and timestamp >= '2012-06-01'")
    frame = frame[(frame["symbol"] == "AAPL") | (frame["timestamp"] >= "2012-11-01")]
    frame.to_csv(tmp_path / "bars.csv", index=False)
    asked = {"task": "price", "data": {"path": str(tmp_path / "bars.csv")}, "out": str(tmp_path / "e"), "lookback": 20,
             "horizon": 12, "stride": 1, "baselines": ["bootstrap"]}  # fmt: skip
    results = Results(evaluate(load_evaluation(asked)))
    kinds = ("ic", "rank_ic")
    linear, ranked = (results.by_round(results.path_correlations("bootstrap", kind)["close"]) for kind in kinds)
    assert abs(ranked.mean() - results.path_correlations("bootstrap", "rank_ic")["close"].mean()) > 0.001
    t = newey_west_t(ranked, 12).t
    assert abs(t - newey_west_t(ranked).t) > 0.1
    [(name, cells)] = task_table(results, "price").rows
    assert name == "bootstrap"
    assert cells[:3] == (signed(linear.mean()), signed(ranked.mean()), f"{t:.1f}")


def test_the_shipped_backtest_runs(tmp_path, capsys):
    small = ("data.start=2012-09-01", "lookback=20", "horizon=4", "paths=2", "every=20", "random=2")
    code = shell("backtest", ASSET, "--config", config("investment"), "--model", MODEL.partition("=")[2], "--out", tmp_path / "o",
                 *(part for one in small for part in ("--set", one)))  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "Above benchmark: " in said.out
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["k"] == 1  # a sixth of five symbols, at least one


def test_every_command_of_the_page_names_a_shipped_file():
    page = (ROOT / "docs" / "tasks.md").read_text()
    named = sorted(part for part in page.split() if part.startswith("configs/tasks/"))
    assert named == sorted(f"configs/tasks/{path.name}" for path in (ROOT / "configs" / "tasks").glob("*.yaml"))


def test_the_generation_task_runs(tmp_path, capsys):
    out = tmp_path / "generation"
    command = ["evaluate", ASSET, "--config", config("generation"), "--models", MODEL, "--out", out, *TINY,
               "--set", "origins=10"]  # fmt: skip
    assert shell(*command) == 0
    assert "told from real ones with an error of" in capsys.readouterr().out
    found = json.loads((out / "generation.json").read_text())
    assert [one["name"] for one in found["results"]] == ["shuffled_bars", "past_stretch", "tiny"]
    assert found["windows"] == 50
    assert found["test_windows"] == 15  # the last 3 of 10 rounds, 5 symbols each
    for one in found["results"]:
        assert 0 <= one["discriminative"] <= 1
        assert one["tstr_mae"] > 0
    page = (out / "report.html").read_text()
    assert "Discriminative" in page

    # Stopped and called again: what is sampled stays, what is missing is sampled to the same numbers.
    samples = {path.name: path.stat().st_mtime_ns for path in (out / "samples").iterdir()}
    assert len(samples) == 3
    (out / "samples" / "tiny.npz").unlink()
    (out / "generation.json").unlink()
    assert shell(*command) == 0
    assert json.loads((out / "generation.json").read_text()) == found
    again = {path.name: path.stat().st_mtime_ns for path in (out / "samples").iterdir()}
    assert {name for name in samples if samples[name] != again[name]} == {"tiny.npz"}


def test_samples_of_changed_bars_are_made_anew(tmp_path):
    frame = pd.read_csv(ASSET).query("symbol == 'IBM' and timestamp >= '2012-09-01'")
    path, out = tmp_path / "bars.csv", tmp_path / "generation"
    settings = load_evaluation(
        {"task": "generation", "data": {"path": str(path)}, "out": str(out), "lookback": 20, "horizon": 2}
    )
    made = []
    for volume in (1, 2):
        frame.assign(volume=frame["volume"] * np.where(np.arange(len(frame)) == 5, volume, 1)).to_csv(path, index=False)
        generation(settings)
        made.append((out / "samples" / "past_stretch.npz").stat().st_mtime_ns)
    assert made[0] != made[1]


def test_naive_futures_are_made_of_past_bars():
    """Shapes relative to the close before are those of past bars; the first follows the last close."""
    history = load_bars(ASSET, symbols=["IBM"])["IBM"].tail(30)
    shapes = history.values[1:, :4] / history.values[:-1, 3][:, None]
    for draw in (shuffled_bars, past_stretch):
        future = draw(history, 8, np.random.default_rng(0))
        before = np.concatenate([[history.values[-1, 3]], future[:-1, 3]])
        for row in future[:, :4] / before[:, None]:
            assert np.abs(shapes - row).max(axis=1).min() < 1e-9
    stretch = past_stretch(history, 8, np.random.default_rng(1))
    at = int(np.flatnonzero(history.values[:, 4] == stretch[0, 4])[0])
    assert stretch[:, 4].tolist() == history.values[at : at + 8, 4].tolist()
    assert past_stretch(history.tail(4), 8, np.random.default_rng(0)).shape == (8, 6)


def test_the_error_of_the_networks_is_a_mean_over_rounds_as_its_interval_is():
    """Of ten rounds that judge the last has twenty symbols whose futures anybody can tell; the others are real ones."""
    rounds = np.array([*range(49), *[49] * 20])
    generator = np.random.default_rng(0)
    real, made = generator.standard_normal((2, len(rounds), 3, 6))
    made[(rounds < 40) & (rounds % 2 == 1) | (rounds == 49)] += 5
    test = rounds >= 40
    found = judge(real, made, test, rounds, seed=1)
    wrong = np.mean([discriminative_score(real, made, test, seed=1 + one) for one in range(SEEDS)], axis=0)
    by_round = pd.Series(wrong).groupby(rounds[test]).mean()
    assert abs(by_round.mean() - wrong.mean()) > 0.1
    assert found["discriminative"] == pytest.approx(by_round.mean())
    assert found["discriminative_low"] < found["discriminative"] < found["discriminative_high"]
