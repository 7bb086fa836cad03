"""The model: pure torch. Knows tensors, nothing of files, frames or training."""
