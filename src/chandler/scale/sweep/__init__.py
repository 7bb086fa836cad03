"""Many finetunes of one YAML: `parameters` (what is varied, and how trials are drawn), `settings` (the trials, each a run of its own,
and whether their scores can be compared), `book` (OUT/sweep.json: what became of each), `halving` (which are hopeless), `trial` (one of
them), `tune` (many at once, by Ray), `verdict` (which differences are more than the scatter of seeds), `runner` (the whole).
"""

from chandler.scale.sweep.book import Trial
from chandler.scale.sweep.runner import sweep
from chandler.scale.sweep.settings import SweepSettings, load_sweep
from chandler.scale.sweep.verdict import Verdict, sweep_verdict

__all__ = [
    "SweepSettings",
    "Trial",
    "Verdict",
    "load_sweep",
    "sweep",
    "sweep_verdict",
]
