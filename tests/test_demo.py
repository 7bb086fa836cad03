"""The demo from end to end with a micro model: sessions held out for good, all files written, losses printed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from chandler.data.splits import split_ranges
from chandler.demo import demo_settings, report_again, run_demo, token_references
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.progress import Progress
from chandler.training.run import Run
from chandler.training.sources import load_sources, load_store

ROOT = Path(__file__).parents[1]
HELD_OUT = [f"2013-02-{day}" for day in (15, 19, 20, 21, 22, 25, 26, 27, 28)] + ["2013-03-01"]
TINY = "d_model: 16, n_heads: 2, ff_dim: 32, s1_bits: 4, s2_bits: 4"
MICRO = [
    "data.lookback=20", "data.horizon=4", "data.windows_per_epoch=64", "data.validation_stride=40",
    f"tokenizer.architecture={{{TINY}, n_enc_layers: 2, n_dec_layers: 2}}", "tokenizer.epochs=1",
    f"predictor.architecture={{{TINY}, n_layers: 1}}", "predictor.epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """A micro demo, over an earlier one, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "run"
    out.mkdir()
    (out / "summary.json").write_text('{"stages": {}}')
    printed = io.StringIO()
    progress = Progress(Console(file=printed, width=400))
    return run_demo(out, overrides=MICRO, paths=8, progress=progress), printed.getvalue()


def test_the_recipe_in_configs_is_the_one_that_is_shipped() -> None:
    assert (ROOT / "configs/demo.yaml").read_bytes() == (ROOT / "src/chandler/assets/demo.yaml").read_bytes()


def test_held_out_sessions_are_in_no_training_or_validation_row() -> None:
    settings = demo_settings("unused")
    store = load_store(settings)
    sources = load_sources(settings)
    ranges = split_ranges(store, settings.data.split)
    first = pd.Timestamp(HELD_OUT[0]).value
    for windows in (sources.train.main, sources.validation):
        rows = windows.starts(np.arange(len(windows)))[:, None] + np.arange(windows.length)
        assert np.asarray(store.timestamps)[rows].max() < first
    assert np.asarray(store.timestamps)[ranges["val"][:, 1] - 1].max() < first
    for number, (lo, hi) in enumerate(ranges["test"]):
        assert [f"{day:%Y-%m-%d}" for day in store.index(number, lo, hi)] == HELD_OUT


def test_validation_has_a_window_of_every_symbol() -> None:
    assert (load_sources(demo_settings("unused")).validation.counts > 0).all()


def test_every_symbol_gets_forecasts_of_the_held_out_sessions(demo: tuple[Run, str]) -> None:
    paths = pd.read_parquet(demo[0].folder / "forecasts.parquet")
    assert sorted(paths["symbol"].unique()) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert len(paths) == 5 * 8 * len(HELD_OUT)
    assert sorted(f"{day:%Y-%m-%d}" for day in paths["timestamp"].unique()) == HELD_OUT
    assert np.isfinite(paths[["open", "high", "low", "close"]]).all(axis=None)


def test_the_run_is_complete_and_said_what_it_found(demo: tuple[Run, str]) -> None:
    run, printed = demo
    assert {stage: done["status"] for stage, done in run.summary["stages"].items()} == {
        "tokenizer": "improved",
        "predictor": "improved",
    }
    report = run.folder / "report.html"
    assert f"Report: {report}" in printed
    table = re.search(r"(?m)^mean +([\d.]+) +([\d.]+) +([\d.]+)$", printed)
    assert table is not None
    assert re.search(r"closer for \d of 5 symbols .*farther off for \d", printed)
    text = re.sub(r"(?s)<script>.*?</script>", "", report.read_text())
    assert f"<td>{table[1]}</td>" in text
    assert "5 forecasts from one origin (14 Feb 2013) prove nothing" in text
    assert "FB: too few bars before 2011-12-30" in text
    assert "neither the weights nor the choice of the checkpoint has seen any" in text
    assert "given the true dates of the bars to come" in text
    assert text.count('class="chart') == 7  # two loss curves, five symbols


def test_token_frequencies_are_counted_right(demo: tuple[Run, str]) -> None:
    sources = load_sources(demo[0].settings)
    references = token_references(demo[0].folder, sources.train.main, sources.validation)
    values = sources.validation.gather(np.arange(len(sources.validation))).values
    assert references["tokenizer"][1] == pytest.approx(float((values**2).mean()))
    # With 4 + 4 bits no distribution need be worse than the uniform one, 8 ln 2, by much, and none is free.
    assert 1.0 < references["predictor"][1] < 8 * np.log(2) + 0.5
    # Frequencies of the very tokens that are asked for come close to their entropy.
    own = token_references(demo[0].folder, sources.validation, sources.validation)["predictor"][1]
    tokens = KronosTokenizer.from_pretrained(demo[0].folder / "tokenizer").eval()
    with torch.no_grad():
        s1, s2 = tokens.encode(torch.from_numpy(values))
    counts = np.unique((s1 * 16 + s2)[:, 1:].numpy(), return_counts=True)[1] / s1[:, 1:].numel()
    assert own == pytest.approx(float(-(counts * np.log(counts)).sum()), rel=0.05)


def test_the_report_is_written_again_from_the_folder_alone(demo: tuple[Run, str]) -> None:
    path = demo[0].folder / "report.html"
    first = path.read_text()
    path.unlink()
    assert report_again(demo[0].folder) == path
    assert path.read_text() == first
