"""What a run's YAML can say: `run` (the whole), `data` (bars and windows), `stage` (a stage), `reference` (the reference's YAML
turned into ours).
"""
