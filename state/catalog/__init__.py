"""The catalog: a write-once log of small entries, folded into one immutable state per object. Imports specs and the rest of state."""
