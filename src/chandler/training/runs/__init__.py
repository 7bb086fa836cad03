"""Run folders as plain files: `folder` (what may be written and replaced), `history` (metrics of a run), `lineage` (what a model was
trained on), `listing` (`chandler runs`).
"""
