"""walk_forward."""
