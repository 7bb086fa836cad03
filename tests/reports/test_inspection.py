"""The page of `chandler inspect` says what the report holds, and text from the data stays text."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from chandler.data.bars import Bars
from chandler.data.datasets.splits import SplitSettings
from chandler.data.inspection import InspectReport, inspect_store
from chandler.data.store.store import BarStore
from chandler.reports import inspection_html
from chandler.reports.inspection import inspection_page


def report(index: pd.DatetimeIndex, *names: str, **split: object) -> InspectReport:
    close = 100 + np.arange(len(index)) % 7 / 10
    values = np.stack([close, close + 1, close - 1, close, np.full(len(index), 5.0), 5 * close], axis=1)
    store = BarStore.from_bars([Bars(name, index, values.astype(np.float32)) for name in names])
    return inspect_store(store, lookback=9, horizon=1, split=SplitSettings.model_validate(split))


def test_the_page_is_self_contained_and_escapes_names() -> None:
    found = report(pd.bdate_range("2024-01-01", periods=60), "<b>&A", "B\"'", train=0.5, val=0.5)
    page = inspection_html(found, "bars/<script>.csv")
    assert "http" not in page
    assert "<b>&A" not in page
    assert "&lt;b&gt;&amp;A" in page
    assert "B&#34;&#39;" in page
    assert "bars/&lt;script&gt;.csv" in page
    assert page.count("<svg") == 2
    assert '<th title="breaks in time in which the calendar expects bars">gaps</th>' in page
    assert "counted without cleaning" in page
    assert "Training would begin." in page


def test_one_bar_gives_a_page_that_says_training_would_fail() -> None:
    one = report(pd.bdate_range("2024-01-01", periods=1), "A")
    page = inspection_html(one)
    assert "Training would fail." in page
    assert one.problems
    assert all(("Problem", text) in inspection_page(one).lines for text in one.problems)
    assert one.to_text()


def test_the_parts_of_the_split_are_stretches_of_one_bar() -> None:
    found = report(pd.date_range("2024-01-01", periods=100), "A", train=0.5, val=0.3, test=0.2)
    page = inspection_page(found)
    assert [(one.kind, page.report.split_rows[one.kind], one.width, one.before) for one in page.parts] == [
        ("train", 50, "49.495%", ""), ("val", 30, "29.293%", "1.010%"), ("test", 20, "19.192%", "1.010%"),
    ]  # fmt: skip
    text = " ".join(re.sub("<[^>]+>", " ", inspection_html(found)).split())
    assert "validation: 2024-02-20 to 2024-03-20, 30 rows" in text
    assert "test: 2024-03-21 to 2024-04-09, 20 rows, 10 windows" in text


def test_the_fold_of_a_walk_forward_is_marked() -> None:
    walk = {"folds": 3, "fold": 1, "test": 10, "val": 12}
    page = inspection_html(report(pd.bdate_range("2024-01-01", periods=80), "A", walk=walk))
    assert "<b>1, this report</b>" in page
