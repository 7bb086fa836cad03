"""The same signals through pyqlib's TopkDropoutStrategy and SimulatorExecutor give the same curve, bar by bar.

Runs where pyqlib is importable, or CHANDLER_QLIB_PYTHON names an interpreter that has it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chandler
from chandler.data import load_bars, write_qlib
from chandler.data.bars import Bars
from chandler.data.store import BarStore
from chandler.evaluation.panel import Panel
from chandler.evaluation.performance import equal_weight
from chandler.evaluation.portfolio import PortfolioSettings, simulate

ASSET = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
PYQLIB = """
import json, sys
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
    report.reset_index().to_parquet(job["out"])

if __name__ == "__main__":
    jobs = json.load(open("jobs.json"))
    for job in jobs:
        frame = pd.read_parquet(f"{job['data']}.parquet").set_index(["datetime", "instrument"])
        qlib.init(provider_uri=job["data"], region="us", logging_level=40, kernels=1, expression_cache=None,
                  dataset_cache=None, skip_if_reg=False)
        run(job, frame["score"])
"""


def qlib_python() -> str:
    python = os.environ.get("CHANDLER_QLIB_PYTHON")
    if python is None:
        if importlib.util.find_spec("qlib") is None:
            pytest.skip("pyqlib is not installed, and CHANDLER_QLIB_PYTHON names no interpreter that has it")
        python = sys.executable
    return python


def bundled(suspended: float) -> BarStore:
    """The bundled stocks of 2012, each with a share of its days left out."""
    generator = np.random.default_rng(7)
    series = []
    for bars in load_bars(ASSET):
        keep = (bars.timestamps >= "2012-01-01") & (bars.timestamps < "2013-01-01")
        keep &= generator.random(len(keep)) >= suspended
        series.append(Bars(bars.symbol, bars.timestamps[keep], bars.values[keep].astype(np.float32)))
    return BarStore.from_bars(series)


# Limits and suspensions apart: after a suspension, qlib's Ref($close, 1) is missing and no limit holds, while ours
# is against the last close there was.
RULES = [
    {"k": 2, "n_drop": 1, "hold": 1, "limit": None, "invest": 0.95, "data": "holes"},
    {"k": 2, "n_drop": 1, "hold": 5, "limit": None, "invest": 0.95, "data": "holes"},
    {"k": 3, "n_drop": 2, "hold": 3, "limit": 0.01, "invest": 0.95, "data": "whole"},
]


def test_pyqlib_agrees_bar_by_bar(tmp_path):
    python = qlib_python()
    panels, scores = {}, {}
    for name, share in (("holes", 0.04), ("whole", 0.0)):
        store = bundled(share)
        panels[name] = panel = Panel.from_store(store)
        noise = np.random.default_rng(1).normal(size=(len(panel), len(store)))
        scores[name] = np.where(panel.has_bar, noise, np.nan)
        write_qlib(store, tmp_path / name)
        table = pd.DataFrame(scores[name], index=panel.times, columns=list(panel.symbols)).rename_axis("datetime")
        long = table.reset_index().melt("datetime", var_name="instrument", value_name="score").dropna()
        long.to_parquet(tmp_path / f"{name}.parquet")
    times = panels["whole"].times
    span = {"start": str(times[1].date()), "end": str(times[-2].date()), "symbols": list(panel.symbols)}
    jobs = [{**rule, **span, "out": f"{number}.out.parquet"} for number, rule in enumerate(RULES)]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "job.py").write_text(PYQLIB)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "job.py"], capture_output=True, text=True, cwd=tmp_path, timeout=500, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]

    for number, rule in enumerate(RULES):
        panel, settings = panels[rule["data"]], {key: value for key, value in rule.items() if key != "data"}
        theirs = pd.read_parquet(tmp_path / f"{number}.out.parquet")
        ours = simulate(
            panel, scores[rule["data"]], PortfolioSettings(**settings, one_price=False), equal_weight(panel)
        )
        daily = ours.daily.iloc[1:-1]
        assert theirs["datetime"].tolist() == daily["timestamp"].tolist()
        assert theirs["names"].tolist() == daily["names"].tolist()
        np.testing.assert_allclose(theirs["account"] / 1e6, daily["value"], rtol=1e-6)
        np.testing.assert_allclose(theirs["turnover"], daily["turnover"], atol=1e-6)
        np.testing.assert_allclose(theirs["cost"], daily["cost"], atol=1e-8)
        np.testing.assert_allclose(theirs["return"] - theirs["cost"], daily["return"], atol=1e-6)
        if rule["data"] == "whole":  # qlib gives no return on the bar after a suspension
            np.testing.assert_allclose(theirs["bench"], daily["benchmark_return"], atol=1e-6)
        assert len(ours.trades) > 50
