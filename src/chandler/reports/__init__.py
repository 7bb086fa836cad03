"""Pages: one file each that loads nothing, written from the files in a folder. All of them are looked at in one style.

Read `render` (what a page is made of), then the page you are after, with its template in templates/: `run`, `evaluation`
(its sentences in `evaluation_summary`), `backtest`, `generation`, `inspection`, `journal`, `sweep`; `charts` and `score_charts` draw.
"""

from pathlib import Path

from chandler.evaluation.walk_forward import STATE, Results
from chandler.journal import JOURNAL, Journal
from chandler.reports.backtest import backtest_text, backtest_verdict, write_backtest_report
from chandler.reports.card import Card, card_text
from chandler.reports.evaluation import write_evaluation_report
from chandler.reports.evaluation_summary import evaluation_text, evaluation_verdict
from chandler.reports.generation import generation_text, generation_verdict, write_generation_report
from chandler.reports.inspection import inspection_html
from chandler.reports.journal import journal_text, write_journal_page
from chandler.reports.render import ToldVerdict
from chandler.reports.run import write_run_report
from chandler.reports.sweep import BOOK, sweep_text, write_sweep_report

__all__ = [
    "Card",
    "ToldVerdict",
    "backtest_text",
    "card_text",
    "evaluation_text",
    "generation_text",
    "inspection_html",
    "journal_text",
    "sweep_text",
    "verdict_of",
    "write_backtest_report",
    "write_evaluation_report",
    "write_generation_report",
    "write_journal_page",
    "write_report",
    "write_run_report",
    "write_sweep_report",
]


def write_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a run, an evaluation, a backtest, a generation task or a sweep, or journal.html into that of a
    journal; returns its path.

    Raises:
        ConfigError: none of these, or not finished.
    """
    folder = Path(folder)
    if (folder / STATE).is_file():
        return write_evaluation_report(Results(folder))
    if (folder / "curve.parquet").is_file():
        return write_backtest_report(folder)
    if (folder / "generation.json").is_file():
        return write_generation_report(folder)
    if (folder / BOOK).is_file():
        return write_sweep_report(folder)
    if JOURNAL.is_at(folder):
        return write_journal_page(Journal(folder))
    return write_run_report(folder)


def verdict_of(folder: Path) -> ToldVerdict:
    """What the command said of a finished evaluation, task or backtest, as values.

    Raises:
        ConfigError: none of these, or not finished.
    """
    if (folder / STATE).is_file():
        return evaluation_verdict(Results(folder))
    if (folder / "curve.parquet").is_file():
        return backtest_verdict(folder)
    return generation_verdict(folder)
