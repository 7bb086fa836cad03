"""From bars to a distribution of futures: sampling, generation, and the forecasts that come out."""
