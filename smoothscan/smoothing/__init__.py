"""The smoothed classifier g(x) and its noise."""
