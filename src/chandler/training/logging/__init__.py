"""What a run tells while it goes on: `callbacks` (the events), `metrics_log` (metrics.jsonl), `trackers` (tensorboard and others)."""
