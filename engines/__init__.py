"""Engines: with what it is computed: SQL workers, vector indexes, embedders, file readers, the job executor. Imports specs and state."""
