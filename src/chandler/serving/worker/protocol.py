"""What the server and the child agree on, without torch."""

from __future__ import annotations

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Quantiles of the close that are told of every step."""
SERIES, PATHS = "series-*.json", "paths-*.parquet"
"""What the child writes into a forecast's folder, a pair for each chunk of symbols."""
