"""Refusals of one kind that come one upon the other: the first of a second is a row of its own, the others are counted in one row more.

Whoever may not ask can ask as often as it likes; what each refusal costs is bounded here, and none of them is without a trace: each waits
until the first one's row is durable, and the row that counts is written at the second's end. A process that dies before then leaves the
first row. Of very many kinds in one second those beyond MOST_KINDS are told apart no more by their detail.
Next: `audit.py`, which writes the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from state.audit_query import REPEATED
from state.streams.committer import Written

SECONDS = 1.0
MOST_KINDS = 32


@dataclass(slots=True)
class _Flood:
    """Since its first one. kind: columns that all of them share; written: how the first one's writing ended."""

    kind: Mapping[str, Any]
    written: Written
    more: int = 0


class RefusalFloods:
    """Used on one event loop; `left` once nobody asks any more."""

    def __init__(self, count: Callable[[Mapping[str, Any]], None]) -> None:
        """count: takes rows that nobody waits for."""
        self._count = count
        self._floods: dict[str, _Flood] = {}

    def join(self, kind: Mapping[str, Any], begin: Callable[[], Written]) -> Written:
        """How the writing of the first one of this kind and second ends; not to be cancelled. begin: has this one written."""
        name = str(kind)
        if name not in self._floods and len(self._floods) >= MOST_KINDS:
            kind = {column: value for column, value in kind.items() if column != "detail"}
            name = str(kind)
        flood = self._floods.get(name)
        if flood is not None and not _failed(flood.written):
            flood.more += 1
            return flood.written
        written = begin()
        self._floods[name] = begun = _Flood(kind, written)
        asyncio.get_running_loop().call_later(SECONDS, self._end, name, begun)
        return written

    def left(self) -> list[Mapping[str, Any]]:
        """Rows that count what came since the last second ended."""
        floods, self._floods = self._floods, {}
        return [_counted(flood) for flood in floods.values() if flood.more and not _failed(flood.written)]

    def _end(self, name: str, flood: _Flood) -> None:
        if self._floods.get(name) is not flood:
            return
        del self._floods[name]
        if flood.more and not _failed(flood.written):
            self._count(_counted(flood))


def _failed(written: Written) -> bool:
    """Then none of those that waited for it was answered."""
    return written.cancelled() or (written.done() and written.result() is not None)


def _counted(flood: _Flood) -> Mapping[str, Any]:
    return {**flood.kind, "outcome": "refused", "detail": {**flood.kind.get("detail", {}), REPEATED: flood.more}}
