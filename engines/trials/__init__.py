"""Trials: queries with known answers, and how well and how fast a build of an index finds them. Imports specs, state, engines."""
