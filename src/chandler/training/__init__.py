"""Two stages, one loop: settings, losses, the fit() both share, and the run folder."""
