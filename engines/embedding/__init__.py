"""Embedding: texts into chunks, chunks into vectors. Owns the models; imports specs, state and engines.errors only."""
