"""The one loop of both stages: `trainer` steps, `stages` says what is optimised, `batching` which windows make a step, `evaluator`
and `validation` judge, `checkpoints` saves and resumes; `distributed` and `fsdp` know processes.
"""
