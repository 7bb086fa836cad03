"""The routes of /api/v1: what a page or a script can ask. `schema` are the answers; `state` is what all routes share; `system`,
`sources`, `forecasts`, `journal`, `jobs`, `runs`, `evaluations` and `reports` are the routes.
"""

from chandler.serving.api.evaluations import router as evaluations
from chandler.serving.api.forecasts import router as forecasts
from chandler.serving.api.jobs import router as jobs
from chandler.serving.api.journal import router as journal
from chandler.serving.api.reports import router as reports
from chandler.serving.api.runs import router as runs
from chandler.serving.api.sources import router as sources
from chandler.serving.api.state import Server
from chandler.serving.api.system import router as system

__all__ = ["Server", "evaluations", "forecasts", "jobs", "journal", "reports", "runs", "sources", "system"]
