"""The reader that a Profile is: what it binds, its role and its moment, under the policies in force. Pure. Next: `reading.py`."""

from __future__ import annotations

from engines.at import at_from
from engines.reading import Binding, Reader, Rules
from specs.kinds.profile import ProfileSpec

LATEST = "latest"
"""The moment of a profile that reads what is newest."""


def reader_of(name: str, spec: ProfileSpec, rules: Rules) -> Reader:
    """By its spec."""
    binding = Binding(frozenset(spec.datasets), frozenset(spec.indexes))
    at = None if spec.at == LATEST else at_from(spec.at).every
    return Reader(profile=name, role=spec.role, binding=binding, rules=rules, at=at, trusted=spec.trusted)
