"""Finetuning: both stages of a run in order, each from its start to its published checkpoint.

Begin with `run`; then `settings` (what a YAML says), `datasets` (which windows), `engine` (the one loop), `logging`, and `runs` (folders
as files, which reports read without any of the rest).
"""
