"""Tuning: what is tried next of a space of recipes, from what was measured. Imports specs, state, engines."""
