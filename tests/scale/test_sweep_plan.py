"""What a sweep is before anything is trained: parameters as typed, the trials of a seed, and which may be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandler.data.reading.discovery import find_files
from chandler.errors import ConfigError
from chandler.measures import group_difference
from chandler.scale.sweep import SweepSettings
from chandler.scale.sweep.halving import behind, rungs
from chandler.scale.sweep.parameters import draw_trials, read_parameter
from chandler.scale.sweep.settings import plan_sweep
from tests.training.conftest import tiny_run


def drawn(*texts: str, samples: int = 1, seed: int = 0) -> list[dict[str, str]]:
    return draw_trials([read_parameter(text) for text in texts], samples, seed)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("predictor.learning_rate=1e-6, 1e-5", ("1e-6", "1e-5")),
        ("seed=1..3", ("1", "2", "3")),
        ("seed=7,1..2", ("7", "1", "2")),
        ("predictor.freeze=[a, b],[c]", ("[a, b]", "[c]")),
        (
            "data.split={train: 0.9, val: 0.1},{train: 0.8, val: 0.2}",
            ("{train: 0.9, val: 0.1}", "{train: 0.8, val: 0.2}"),
        ),
        ("data.path='a,b.csv',c(1).csv", ("'a,b.csv'", "c(1).csv")),
        ("predictor.patience=null,3", ("null", "3")),
        ("predictor.batch_size=choice(8,16..18)", ("8", "16", "17", "18")),
    ],
)
def test_values_stand_between_commas(text: str, values: tuple[str, ...]) -> None:
    assert read_parameter(text).values == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("predictor.epochs", "expected KEY=VALUES"),
        ("predictor.epochs=", "expected KEY=VALUES"),
        (".epochs=1", "expected KEY=VALUES"),
        ("seed=3..1", "a range goes from a number to a higher one"),
        ("seed=1..100000", "sweep 1,000 trials at most"),
        ("seed=1,,2", "a value is missing"),
        ("seed=[1,2", "not valid YAML"),
        ("predictor.weight_decay=logunifrom(0.1,1)", "did you mean loguniform"),
        ("predictor.weight_decay=loguniform(0,1)", "above 0"),
        ("predictor.weight_decay=uniform(1,1)", "below the second"),
        ("predictor.weight_decay=uniform(1)", "takes two numbers"),
        ("predictor.weight_decay=uniform(.nan,1)", "takes two"),
        ("out=a,b", "a folder of its own"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
        read_parameter(text)


def test_every_list_meets_every_sample_and_the_seed_decides() -> None:
    texts = ("a.x=1,2", "a.y=loguniform(0.001,0.1)", "seed=1..2")
    trials = drawn(*texts, samples=3)
    assert len(trials) == 12
    assert [list(one) for one in trials] == [["a.x", "a.y", "seed"]] * 12
    assert [one["seed"] for one in trials[:4]] == ["1", "2", "1", "2"]
    draws = list(dict.fromkeys(one["a.y"] for one in trials))
    assert len(draws) == 3
    assert all(0.001 <= float(one) <= 0.1 and len(one.lstrip("0.")) <= 4 for one in draws)
    for pair in (("1", "1"), ("2", "2")):
        assert [one["a.y"] for one in trials if (one["a.x"], one["seed"]) == pair] == draws
    assert drawn(*texts, samples=3) == trials != drawn(*texts, samples=3, seed=1)
    # More samples come on top, and other parameters do not move these.
    assert drawn(*texts, "a.z=uniform(0,1)", samples=5)[:1][0]["a.y"] == draws[0]
    assert [one["a.y"] for one in drawn("a.y=loguniform(0.001,0.1)", samples=3)] == draws


def test_draws_are_what_they_are_called() -> None:
    low = [float(one["a"]) for one in drawn("a=loguniform(0.0001,1)", samples=900)]
    assert 0.45 < np.mean(np.array(low) < 0.01) < 0.55
    even = [float(one["a"]) for one in drawn("a=uniform(-2,2)", samples=900)]
    assert abs(np.mean(even)) < 0.15
    assert {one["a"] for one in drawn("a=choice(x,y,z)", samples=3)} == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("texts", "samples", "told"),
    [
        (("seed=1..2",), 3, "draws from nothing"),
        (("a=choice(1,2)",), 3, "a gives 2. Ask for samples=2"),
        (("seed=1..100", "a=1..100"), 1, "10,000 trials"),
        (("seed=1", "seed=2"), 1, "given twice"),
    ],
)
def test_what_cannot_be_drawn_is_told(texts: tuple[str, ...], samples: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        drawn(*texts, samples=samples)


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    return {"config": tiny_run(tmp_path / "x"), "out": str(tmp_path / "sweep")}


def test_a_tokenizer_that_no_parameter_touches_is_shared(asked: dict[str, Any]) -> None:
    plan = plan_sweep(SweepSettings(**asked, params=["predictor.learning_rate=1e-4,1e-3", "seed=1..2"]))
    assert plan.tokenizer is not None
    assert not plan.tokenizer.predictor.enabled
    assert (plan.stage, plan.measure, plan.incomparable) == ("predictor", "nll", "")
    shared = str(plan.folder / "tokenizer" / "tokenizer")
    assert all((one.tokenizer.start, one.tokenizer.enabled) == (shared, False) for one in plan.settings)
    assert [one.seed for one in plan.settings] == [1, 2, 1, 2]
    assert [Path(one.out).name for one in plan.settings] == ["000", "001", "002", "003"]
    assert [one.predictor.learning_rate for one in plan.settings] == [1e-4, 1e-4, 1e-3, 1e-3]


@pytest.mark.parametrize(
    "text", ["*.csv", "deep/*.csv", "deep/*/*.csv", "deep/**/*.csv", "*/?/*.csv", "deep/[ab]/*.csv"]
)
def test_trials_in_another_folder_find_what_a_glob_finds_here(
    text: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here [1]"
    for place in ("", "deep", "deep/a", "deep/b"):
        (here / place).mkdir(exist_ok=True)
        (here / place / "one.csv").touch()
    monkeypatch.chdir(here)
    found = [here / source.path for source in find_files(text)[0]]
    asked["config"]["data"]["path"] = text
    (settings,) = plan_sweep(SweepSettings(**asked, params=["seed=1"])).settings
    monkeypatch.chdir(tmp_path)
    assert [source.path for source in find_files(str(settings.data.path))[0]] == found


def test_other_tokenizers_need_a_judge_that_forecasts(asked: dict[str, Any]) -> None:
    params = ["tokenizer.epochs=1,2"]
    with pytest.raises(ConfigError, match=r"one tokenizer only.*predictor\.promote_on"):
        plan_sweep(SweepSettings(**asked, params=params))
    plan = plan_sweep(SweepSettings(**asked, params=params, overrides=["predictor.promote_on=crps"]))
    assert (plan.measure, plan.tokenizer, plan.incomparable) == ("crps", None, "")


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("data.horizon=4,5", "rows of its own"),
        ("predictor.promote_on=loss,crps", "different measures, crps and nll"),
        ("predictor.loss=window,horizon", "different measures, nll and nll_horizon"),
        ("predictor.scoring.paths=4,5", "questions of its own"),
    ],
)
def test_other_questions_have_no_best_and_no_early_stop(asked: dict[str, Any], param: str, told: str) -> None:
    asked |= {"params": [param]}
    if param.startswith("predictor.scoring"):
        asked["overrides"] = ["predictor.promote_on=crps"]
    assert told in plan_sweep(SweepSettings(**asked)).incomparable
    with pytest.raises(ConfigError, match=told):
        plan_sweep(SweepSettings(**asked, early_stop="asha"))


def test_wrong_keys_and_values_are_told_before_anything_runs(asked: dict[str, Any]) -> None:
    for param, told in (
        ("predictor.learnin_rate=1,2", "did you mean learning_rate"),
        ("predictor.epochs=1,0", "greater than or equal to 1"),
        ("predictor.learning_rate=1e-5,0.00001", "comes twice: trials 000 and 001"),
    ):
        with pytest.raises(ConfigError, match=told):
            plan_sweep(SweepSettings(**asked, params=[param]))
    assert not Path(asked["out"]).exists()


def test_two_scores_decide_nothing_and_a_third_of_more_goes_on() -> None:
    assert rungs(1) == ()
    assert rungs(30) == (1, 3, 9, 27)
    assert behind("nll", 2.0, [1.0]) is None
    assert behind("nll", 2.0, [1.0, 3.0]) == 1
    assert behind("nll", 1.0, [1.0, 3.0]) is None
    assert behind("rank_ic", 2.0, [1.0, 3.0]) == 1
    assert behind("nll", 3.5, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 3
    assert behind("nll", 2.5, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) is None


def test_seeds_without_a_difference_are_seldom_told_apart() -> None:
    """Three settings of three seeds, one of which scatters ten times as much."""
    rng = np.random.default_rng(0)
    for scale in (np.ones(3), np.array([10.0, 1.0, 1.0])):
        wrong = 0
        for _ in range(40):
            groups = rng.standard_normal((3, 3)) * scale[:, None]
            wrong += any(group_difference(groups, a, b).p < 0.05 for a, b in ((0, 1), (0, 2), (1, 2)))
        assert wrong <= 6
    apart = [rng.standard_normal(3) + shift for shift in (0, 0, 12)]
    assert group_difference(apart, 2, 0).p < 0.05


def test_two_groups_are_compared_by_welch() -> None:
    from scipy.stats import ttest_ind

    a, b = [1.0, 2.0, 4.0, 4.5], [3.0, 9.0, 11.0, 20.0]
    assert group_difference([a, b], 0, 1).p == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-5)


def test_equal_scatter_is_pooled_as_by_tukey() -> None:
    from scipy.stats import tukey_hsd

    groups = [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0], [2.0, 5.0, 8.0]]
    found = group_difference(groups, 0, 1)  # both scatter less than the third
    assert found.p == pytest.approx(tukey_hsd(*groups).pvalue[0, 1], rel=1e-4)
    assert found.n == 6


def test_one_seed_tells_nothing() -> None:
    assert np.isnan(group_difference([[1.0], [2.0, 3.0]], 0, 1).p)
    assert np.isnan(group_difference([[1.0, 1.0], [2.0, 2.0]], 0, 1).p)
