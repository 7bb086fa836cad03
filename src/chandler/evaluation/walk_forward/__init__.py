"""Models and baselines over the same past windows: `settings`, `origins` (which windows), `contamination` (what models have seen),
`forecasters`, `scores` (a row per window and step), `runner` (parts that restart), `results` (tables and comparisons), `calibrate`.
"""
