"""The five tasks of the Kronos paper: `paper` (their sampling and windows), `measures` (their tables), `generation` with
`discriminators` (can a classifier tell bars from paths).
"""
