"""The ten kinds, one module each: its model, what it refers to, and what its result depends on. Imports specs only."""
