"""Pages: one file each that loads nothing, made from the files in a folder. Nothing is computed here that a table could not show.

Read `render` (what a page is made of), then the page you are after, with its template in templates/: `run`, `evaluation`
(its sentences in `evaluation_summary`), `backtest`, `generation`, `inspection`; `charts` and `score_charts` draw.
"""

from chandler.reports.inspection import inspection_html

__all__ = ["inspection_html"]
