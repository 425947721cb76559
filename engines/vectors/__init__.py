"""Vectors: corpora (chunks with their vectors), index builds over them, and search in a build. Imports specs, state, engines."""
