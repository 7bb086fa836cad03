"""A model is not asked about bars it knows: what it has seen is read from its run, and forcing leaves a mark."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from chandler.data import Bars, BarStore, load_bars
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward.contamination import (
    check_contamination,
    exposure,
    first_clean_origin,
    not_on_record,
)
from chandler.evaluation.walk_forward.origins import find_origins
from chandler.training.run import finetune


def run(folder: Path, *, names: list[str] | None, train: str, val: str, start: str = "random", **more: Any) -> str:
    """A run folder as far as it says what was trained on."""
    folder.mkdir(parents=True)
    splits = {"train": {"last": train}, "val": {"last": val}}
    data = {"splits": splits, **({} if names is None else {"names": names}), **more}
    (folder / "summary.json").write_text(json.dumps({"data": data}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"predictor": {"start": start}, "tokenizer": {"start": start}}))
    return str(folder)


def store(*symbols: str) -> BarStore:
    index = pd.date_range("2024-01-01", periods=20).as_unit("ns")
    return BarStore.from_bars([Bars(symbol, index, np.ones((20, 6))) for symbol in symbols])


def marks(source: str, *symbols: str) -> dict[str, list[str]]:
    """By symbol, the marks of origins whose first forecast bars are 4, 8, 12 and 16 January."""
    origins = find_origins(store(*symbols), 3, 2, stride=4)
    found = exposure(source).marks(origins)
    return {s: found[origins.numbers == n].tolist() for n, s in enumerate(origins.store.symbols)}


def test_bars_up_to_the_last_of_each_split_are_marked(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    assert marks(source, "A") == {"A": ["trained", "validated", "", ""]}


def test_other_symbols_of_the_same_days_are_marked_but_not_refused(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    assert marks(source, "A", "B")["B"] == ["period", "period", "", ""]
    origins = find_origins(store("B"), 3, 2, stride=4)
    assert check_contamination(origins, {"m": exposure(source)}, force=False)["m"].tolist() == [
        "period",
        "period",
        "",
        "",
    ]
    assert first_clean_origin(store("B"), {"m": exposure(source)}) is None


def test_periods_of_a_symbol_say_what_the_marks_say(tmp_path: Path) -> None:
    start = run(tmp_path / "s", names=["C"], train="2024-01-10T00:00:00", val="2024-01-02T00:00:00")
    source = run(
        tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00", start=f"{start}/predictor"
    )
    told = {
        symbol: [
            (one.mark, None if one.until is None else str(pd.Timestamp(one.until).date()))
            for one in exposure(source).periods(symbol)
        ]
        for symbol in ("A", "B", "C")
    }
    assert told == {
        "A": [("trained", "2024-01-04"), ("validated", "2024-01-08"), ("period", "2024-01-10"), ("", None)],
        "B": [("period", "2024-01-10"), ("", None)],
        "C": [("trained", "2024-01-10"), ("", None)],
    }
    found = marks(source, "A", "B", "C")  # 4, 8, 12 and 16 January
    assert found == {
        "A": ["trained", "validated", "", ""],
        "B": ["period"] * 2 + [""] * 2,
        "C": ["trained"] * 2 + [""] * 2,
    }
    assert [one.mark for one in exposure(str(tmp_path)).periods("A")] == ["unknown"]
    released = exposure("NeoQuasar/Kronos-small").periods("A")
    assert [(one.mark, one.until and str(pd.Timestamp(one.until).date())) for one in released] == [
        ("released", "2024-06-30"), ("", None),
    ]  # fmt: skip


def test_without_names_any_symbol_may_have_been_seen(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=None, train="2024-01-04T00:00:00", val="2024-01-04T00:00:00")
    assert marks(source, "Z")["Z"] == ["trained", "", "", ""]


def test_symbols_of_many_sources_are_recognised(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["crypto:kraken:BTCUSD@1D"], train="2024-01-04", val="2024-01-04")
    found = marks(source, "kraken:BTCUSD", "BTCUSD", "ETHUSD")
    assert {symbol: found[symbol][0] for symbol in found} == {
        "kraken:BTCUSD": "trained", "BTCUSD": "trained", "ETHUSD": "period",
    }  # fmt: skip


def test_replayed_bars_and_the_run_it_started_from_count(tmp_path: Path) -> None:
    first = run(tmp_path / "first", names=["A"], train="2024-01-12T00:00:00", val="2024-01-12T00:00:00")
    replay = {"splits": {"train": {"last": "2024-01-16T00:00:00"}}, "names": ["C"]}
    source = run(
        tmp_path / "r", names=["B"], train="2024-01-04T00:00:00", val="2024-01-04T00:00:00",
        start=f"{first}/predictor", replay=replay,
    )  # fmt: skip
    found = marks(source, "A", "B", "C")
    assert found["A"] == ["trained", "trained", "trained", "period"]
    assert found["C"] == ["trained"] * 4


def test_released_weights_may_have_seen_all_before_june_2024(tmp_path: Path) -> None:
    assert marks("NeoQuasar/Kronos-small", "A")["A"] == ["released"] * 4
    tuned = run(tmp_path / "r", names=["B"], train="2023-01-04", val="2023-01-04", start="NeoQuasar/Kronos-small")
    assert marks(tuned, "A")["A"] == ["released"] * 4
    with pytest.raises(DataError, match=r"up to 2024-06-30 .* there is none after that"):
        first_clean_origin(store("A"), {"m": exposure(tuned)})


def test_a_folder_without_a_record_is_unknown(tmp_path: Path) -> None:
    assert marks(str(tmp_path), "A")["A"] == ["unknown"] * 4


def test_seen_windows_are_refused_unless_forced(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    origins = find_origins(store("A"), 3, 2, stride=4)
    with pytest.raises(DataError, match=r"1 of 4 windows for m: the model was trained .* pass force=True"):
        check_contamination(origins, {"m": exposure(source)}, force=False)
    assert check_contamination(origins, {"m": exposure(source)}, force=True)["m"].tolist() == [
        "trained",
        "validated",
        "",
        "",
    ]
    assert first_clean_origin(store("A"), {"m": exposure(source)}) == "2024-01-09"


# --- what a start knew travels with the run -----------------------------------------------------------------------

GOLDEN = Path(__file__).parents[2] / "golden"
ASSET = Path(__file__).parents[3] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"


def train(out: Path, start: str, symbol: str, train_end: str, val_end: str, **more: Any) -> Path:
    """Some steps of both stages from `start` ("random", or a run), on one stock from 2010 to `val_end`."""
    tiny = {"d_model": 16, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
    stages: dict[str, Any] = {}
    for name, extra in (("tokenizer", {"n_enc_layers": 2, "n_dec_layers": 2}), ("predictor", {"n_layers": 1})):
        source = {"start": "random", "architecture": {**tiny, **extra}} if start == "random" else {
            "start": f"{start}/{name}"}  # fmt: skip
        stages[name] = {**source, "epochs": 1, "batch_size": 8}
    data = {
        "path": str(ASSET), "symbols": [symbol], "start": "2010-01-04", "lookback": 20, "horizon": 4,
        "windows_per_epoch": 8, "validation_stride": 40, "split": {"train_end": train_end, "val_end": val_end},
    }  # fmt: skip
    return finetune({"out": str(out), "device": "cpu", "data": data, **stages}, **more).folder


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `first` of AAPL to September 2012, and `second`, from it, of IBM to the end of 2011."""
    home = tmp_path_factory.mktemp("weeks")
    train(home / "first", "random", "AAPL", "2012-03-30", "2012-09-28")
    train(home / "second", str(home / "first"), "IBM", "2011-06-30", "2011-12-30")
    return home


STOCKS = ("AAPL", "IBM")
CLEAN = "2012-10-01"
"""The first trading day after what the first run saw."""


def begins(source: Path | str) -> str | None:
    """Where an evaluation of both stocks begins."""
    return first_clean_origin(load_bars(ASSET, symbols=STOCKS), {"m": exposure(str(source))})


def test_a_start_is_remembered_wherever_its_folder_goes(weeks: Path, tmp_path: Path) -> None:
    home = shutil.copytree(weeks, tmp_path / "home")
    first, second = home / "first", home / "second"
    # As trained on the spot: paths in the copy's config still lead to where the first run was.
    assert begins(second) == CLEAN
    first.rename(home / "renamed")
    assert begins(second) == begins(second / "predictor") == CLEAN
    shutil.rmtree(home / "renamed")
    moved = second.rename(tmp_path / "elsewhere")
    assert begins(moved) == begins(moved / "tokenizer") == CLEAN
    for what in ("predictor", "tokenizer"):
        assert begins(shutil.copytree(moved / what, tmp_path / f"{what} alone")) == CLEAN
    pair = f"{tmp_path / 'tokenizer alone'}+{tmp_path / 'predictor alone'}"
    assert begins(pair) == CLEAN
    assert not exposure(pair).unknown


def test_the_record_names_symbols_and_moments(weeks: Path) -> None:
    starts = json.loads((weeks / "second" / "summary.json").read_text())["starts"]
    weights = weeks / "first" / "predictor" / "model.safetensors"
    assert starts["predictor"] == {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "start": str(weeks / "first" / "predictor"),
        "seen": [
            {"kind": "trained", "until": "2012-03-30T00:00:00", "symbols": ["AAPL"]},
            {"kind": "validated", "until": "2012-09-28T00:00:00", "symbols": ["AAPL"]},
        ],
        "unknown": False,
    }
    beside = json.loads((weeks / "second" / "predictor" / "exposure.json").read_text())
    assert {(one["kind"], one["until"][:10], *one["symbols"]) for one in beside["seen"]} == {
        ("trained", "2012-03-30", "AAPL"), ("validated", "2012-09-28", "AAPL"),
        ("trained", "2011-06-30", "IBM"), ("validated", "2011-12-30", "IBM"),
    }  # fmt: skip
    assert not list((weeks / "second" / "checkpoints").iterdir())


def test_another_run_where_the_start_was_is_not_believed(weeks: Path, tmp_path: Path) -> None:
    home = shutil.copytree(weeks, tmp_path / "home")
    train(home / "first", "random", "AAPL", "2010-09-30", "2010-12-31", overwrite=True)
    second = train(home / "new", str(home / "first"), "IBM", "2010-09-30", "2010-12-31")
    assert begins(second) == "2011-01-03"
    train(home / "first", "random", "AAPL", "2012-03-30", "2012-12-31", overwrite=True)
    assert begins(second) == "2011-01-03"  # what it started from, not what is there now
    assert begins(train(home / "third", str(second), "IBM", "2010-09-30", "2011-12-30")) == "2012-01-03"


def test_a_run_that_goes_on_keeps_its_first_record(weeks: Path, tmp_path: Path) -> None:
    home = shutil.copytree(weeks, tmp_path / "home")
    third = train(home / "third", str(home / "second"), "IBM", "2010-09-30", "2010-12-31")
    for name in ("summary.json", "tokenizer", "predictor"):  # as if it was stopped in its first stage
        path = third / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    starts = json.loads((weeks / "second" / "summary.json").read_text())["starts"]
    noted = {name: {**record, "start": f"{home / 'second'}/{name}"} for name, record in starts.items()}
    (third / "checkpoints" / "starts.json").write_text(json.dumps(noted))
    shutil.rmtree(home / "second")
    train(home / "second", "random", "IBM", "2010-06-30", "2010-09-30")
    assert begins(train(third, str(home / "second"), "IBM", "2010-09-30", "2010-12-31", resume=True)) == CLEAN


def test_runs_without_such_a_record_are_followed_to_where_they_started(weeks: Path, tmp_path: Path) -> None:
    home = shutil.copytree(weeks, tmp_path / "home")
    for path in home.glob("*/*/exposure.json"):
        path.unlink()
    second = home / "second"
    summary = json.loads((second / "summary.json").read_text())
    del summary["starts"]
    (second / "summary.json").write_text(json.dumps(summary))
    config = yaml.safe_load((second / "config.yaml").read_text())
    for stage in ("tokenizer", "predictor"):
        config[stage]["start"] = str(home / "first" / stage)
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    assert begins(second) == CLEAN
    (home / "first").rename(home / "renamed")
    assert begins(second) == "2012-01-03"  # all that is left to know, and it says so
    found = {"week2": exposure(str(second))}
    assert not_on_record(found) == [
        "week2: not all that the model was trained on is on record, so it may have seen the bars that are forecast "
        "(exposure.json beside its weights and summary.json of its run would tell)."
    ]


def test_a_kept_tokenizer_brings_its_past(weeks: Path, tmp_path: Path) -> None:
    run = shutil.copytree(weeks / "first", tmp_path / "run")
    shutil.rmtree(run / "predictor")  # which would be refused, for it would be lost
    with pytest.raises(ConfigError, match="finished tokenizer of other data"):
        train(run, "random", "IBM", "2010-09-30", "2010-12-31", overrides=["tokenizer.skip_existing=true"])
    taken = [f"tokenizer.start={run / 'tokenizer'}", "tokenizer.enabled=false", "tokenizer.architecture=null"]
    kept = train(tmp_path / "next", "random", "IBM", "2010-09-30", "2010-12-31", overrides=taken)
    assert begins(kept) == begins(kept / "predictor") == CLEAN
    again = train(run, "random", "AAPL", "2012-03-30", "2012-09-28", overrides=["tokenizer.skip_existing=true"])
    assert begins(again) == begins(again / "predictor") == CLEAN


def test_a_record_is_of_the_weights_it_was_written_for(weeks: Path, tmp_path: Path) -> None:
    home = shutil.copytree(weeks, tmp_path / "home")
    assert not exposure(str(home / "second")).unknown
    shutil.copy(GOLDEN / "predictor" / "model.safetensors", home / "second" / "predictor")
    changed = exposure(str(home / "second"))
    assert changed.unknown
    assert begins(home / "second") == CLEAN  # and what is known still counts
    (home / "second" / "predictor" / "exposure.json").write_text("{")
    assert exposure(str(home / "second" / "predictor")).unknown


def test_weights_of_unknown_past_are_told_of() -> None:
    found = {"m": exposure(f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"), "n": exposure("NeoQuasar/Kronos-small")}
    assert [line[:50] for line in not_on_record(found)] == ["m: nothing that the model was trained on is on rec"]
