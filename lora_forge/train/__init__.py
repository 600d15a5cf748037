"""Training: objective, adapters, batches, the loop, and its resume."""
