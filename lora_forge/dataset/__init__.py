"""Photos, captions and the prepared images a run is fed with. Imports no torch."""
