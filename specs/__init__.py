"""Specs: what is wanted. Kinds, parsing with file:line errors, digests, references. Imports nothing of ours and does no I/O."""
