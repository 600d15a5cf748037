"""The grid of epochs against strengths, its scores, and the recommendation."""
