"""What pyqlib 0.9.7 answers, kept as numbers in tests/golden, so that it is compared with in every run of the tests.

Where pyqlib is at hand the tests ask it as well: it is importable, or CHANDLER_QLIB_PYTHON names an interpreter that has
it. To write the numbers again:

    CHANDLER_QLIB_PYTHON=elsewhere/bin/python python -m tests.qlib_answers
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import chandler
from chandler.data import load_bars, write_qlib
from chandler.data.bars import Bars
from chandler.data.store.store import BarStore
from chandler.evaluation.backtest.panel import Panel

ASSET = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
GOLDEN = Path(__file__).parent / "golden"
FEATURES, PORTFOLIO = GOLDEN / "qlib_features.parquet", GOLDEN / "qlib_portfolio.parquet"
PYTHON = os.environ.get("CHANDLER_QLIB_PYTHON") or (sys.executable if importlib.util.find_spec("qlib") else None)
SOURCES = ["kept", *(["asked"] if PYTHON else [])]
"""Where answers come from: "kept" as numbers, "asked" of pyqlib itself."""

READ = """
import sys
import qlib
from qlib.data import D

if __name__ == "__main__":
    qlib.init(provider_uri=sys.argv[1], region="us", logging_level=40, kernels=1, expression_cache=None, dataset_cache=None)
    fields = ["$open", "$high", "$low", "$close", "$volume", "$amount", "$vwap", "$factor"]
    frame = D.features(D.instruments(sys.argv[2]), fields, freq="day", disk_cache=0)
    frame.reset_index().to_parquet(sys.argv[3])
"""
TRADE = """
import json
import pandas as pd
import qlib
from qlib.backtest import backtest, executor
from qlib.contrib.strategy import TopkDropoutStrategy

def run(job, scores):
    strategy = TopkDropoutStrategy(signal=scores, topk=job["k"], n_drop=job["n_drop"], hold_thresh=job["hold"],
                                   risk_degree=job["invest"], forbid_all_trade_at_limit=False)
    limit = job["limit"]
    exchange = dict(freq="day", deal_price="open", open_cost=0.0015, close_cost=0.0015, min_cost=0, trade_unit=None,
                    limit_threshold=None if limit is None else (
                        f"$open/Ref($close,1)-1>={limit}", f"$open/Ref($close,1)-1<=-{limit}"))
    metrics, _ = backtest(start_time=job["start"], end_time=job["end"], strategy=strategy, benchmark=job["symbols"],
                          executor=executor.SimulatorExecutor(time_per_step="day", generate_portfolio_metrics=True),
                          account=1e6, exchange_kwargs=exchange)
    report, positions = metrics["1day"]
    report["names"] = [len(positions[day].get_stock_list()) for day in report.index]
    return report.reset_index()

if __name__ == "__main__":
    found = []
    for number, job in enumerate(json.load(open("jobs.json"))):
        frame = pd.read_parquet(f"{job['data']}.parquet").set_index(["datetime", "instrument"])
        qlib.init(provider_uri=job["data"], region="us", logging_level=40, kernels=1, expression_cache=None,
                  dataset_cache=None, skip_if_reg=False)
        found.append(run(job, frame["score"]).assign(rule=number))
    pd.concat(found, ignore_index=True).to_parquet("answers.parquet")
"""

# Limits and suspensions apart: after a suspension, qlib's Ref($close, 1) is missing and no limit holds, while ours
# is against the last close there was.
RULES: list[dict[str, Any]] = [
    {"k": 2, "n_drop": 1, "hold": 1, "limit": None, "invest": 0.95, "data": "holes"},
    {"k": 2, "n_drop": 1, "hold": 5, "limit": None, "invest": 0.95, "data": "holes"},
    {"k": 3, "n_drop": 2, "hold": 3, "limit": 0.01, "invest": 0.95, "data": "whole"},
]


def bundled(suspended: float) -> BarStore:
    """The bundled stocks of 2012, each with a share of its days left out."""
    generator = np.random.default_rng(7)
    series = []
    for bars in load_bars(ASSET):
        keep = (bars.timestamps >= "2012-01-01") & (bars.timestamps < "2013-01-01")
        keep &= generator.random(len(keep)) >= suspended
        series.append(Bars(bars.symbol, bars.timestamps[keep], bars.values[keep].astype(np.float32)))
    return BarStore.from_bars(series)


def signals() -> tuple[dict[str, BarStore], dict[str, Panel], dict[str, np.ndarray]]:
    """The bars of the two data sets of RULES, as store and panel, and scores (rows, symbols) drawn at random."""
    stores = {"holes": bundled(0.04), "whole": bundled(0.0)}
    panels = {name: Panel.from_store(store) for name, store in stores.items()}
    scores = {}
    for name, panel in panels.items():
        noise = np.random.default_rng(1).normal(size=(len(panel), len(stores[name])))
        scores[name] = np.where(panel.has_bar, noise, np.nan)
    return stores, panels, scores


def features(source: str, folder: Path) -> pd.DataFrame:
    """The features of `bundled(0.04)` as qlib reads them from `folder`, which `write_qlib` wrote, by instrument and day."""
    if source == "kept":
        return pd.read_parquet(FEATURES).set_index(["instrument", "datetime"])
    with tempfile.TemporaryDirectory() as place:
        _ask(READ, place, str(folder.resolve()), "us5", "answers.parquet")
        return pd.read_parquet(Path(place) / "answers.parquet").set_index(["instrument", "datetime"])


def portfolio(source: str) -> pd.DataFrame:
    """The curves of RULES on `signals()` as qlib's strategy and simulator give them: a row for each rule and day."""
    if source == "kept":
        return pd.read_parquet(PORTFOLIO)
    stores, panels, scores = signals()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name, panel in panels.items():
            write_qlib(stores[name], root / name)
            table = pd.DataFrame(scores[name], index=panel.times, columns=list(panel.symbols)).rename_axis("datetime")
            long = table.reset_index().melt("datetime", var_name="instrument", value_name="score").dropna()
            long.to_parquet(root / f"{name}.parquet")
        times = panels["whole"].times
        span = {"start": str(times[1].date()), "end": str(times[-2].date()), "symbols": list(panels["whole"].symbols)}
        (root / "jobs.json").write_text(json.dumps([{**rule, **span} for rule in RULES]))
        _ask(TRADE, place)
        return pd.read_parquet(root / "answers.parquet")


def _ask(script: str, place: str, *arguments: str) -> None:
    assert PYTHON is not None
    (Path(place) / "job.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # On 8 November two held stocks have no score: which of them qlib sells goes by the order of a set of names.
    environment["PYTHONHASHSEED"] = "1"
    done = subprocess.run(
        [PYTHON, "job.py", *arguments], capture_output=True, text=True, cwd=place, timeout=500, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]


def main() -> None:
    """Write what pyqlib answers into tests/golden."""
    if PYTHON is None:
        sys.exit("pyqlib is not installed here: let CHANDLER_QLIB_PYTHON name an interpreter that has it.")
    with tempfile.TemporaryDirectory() as place:
        read = features("asked", write_qlib(bundled(0.04), Path(place) / "q", market="us5"))
    read.reset_index().to_parquet(FEATURES, compression="zstd")
    portfolio("asked").to_parquet(PORTFOLIO, compression="zstd")


if __name__ == "__main__":
    main()
