"""Objects within a record -> columns with dotted names: {"a": {"b": 1, "c": [2]}} has the columns `a.b` and `a.c`.

Arrays stay whole. So does an object whose name a table or a spec knows as a column: it is kept there as JSON text. An empty object is no
value. Refuses two values of one name, as "a.b" beside "a".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any


class TwoOfOneName(Exception):
    """name: what two values of a record would be called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def flattened(record: dict[str, Any], whole: Set[str]) -> dict[str, Any]:
    """The record without objects as values, but those that `whole` names. Raises TwoOfOneName."""
    if not any(type(value) is dict for value in record.values()):
        return record
    found: dict[str, Any] = {}
    for name, value in _parts(record, whole):
        if name in found:
            raise TwoOfOneName(name)
        found[name] = value
    return found


def _parts(record: Mapping[str, Any], whole: Set[str]) -> Iterator[tuple[str, Any]]:
    """Without recursion: a record may be as deep as a parser follows."""
    waiting = [iter([(name, value) for name, value in record.items()])]
    while waiting:
        for name, value in waiting[-1]:
            if type(value) is dict and name not in whole:
                waiting.append(iter([(f"{name}.{part}", inner) for part, inner in value.items()]))
                break
            yield name, value
        else:
            waiting.pop()
