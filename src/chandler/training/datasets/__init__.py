"""Which windows are trained on and validated on: `sources` loads and splits, `corpus` joins several sources, `mixture` orders an
epoch, `augment` changes a batch, `device_placement` decides where the rows live.
"""
