"""Where a reader opens a hit of documents: the file, and of a PDF the page.

A document's row is told apart by its file's content and its place in it, or by a key that names the path. Of what else becomes rows, a
file and a line are not what anybody opens. Next: `engines/files/documents.py`, which makes rows of documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from state.catalog.tables import Table

_DOCUMENT = frozenset({"path", "title", "text"})
"""Columns that rows of documents have."""


class Place(NamedTuple):
    """path: of the file, as the glob of the dataset finds it. page: from 1; None but of a PDF."""

    path: str
    page: int | None = None


class HitPlaces:
    """Of the documents of one version of a table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        names = {column.name for column in table.columns}
        self.known = names >= _DOCUMENT
        self._paged = "page" in names
        self._paths = _paths(table) if self.known and not table.primary_key else {}

    def of(self, key: str) -> Place | None:
        """By a row's key; None where nothing tells it."""
        if not self.known:
            return None
        if self.table.primary_key:
            named = dict(zip(self.table.primary_key, json.loads(key), strict=True))
            page = named.get("page")
            return Place(str(named["path"]), page if isinstance(page, int) else None) if named.get("path") else None
        content, _, row = key.partition(":")
        path = self._paths.get(content)
        if path is None:
            return None
        return Place(path, int(row) + 1 if self._paged and path.lower().endswith(".pdf") else None)


def _paths(table: Table) -> Mapping[str, str]:
    """By content, of several files with the same the one that is there, and comes first."""
    last_first = sorted(table.bindings.values(), key=lambda binding: binding.path, reverse=True)
    return {binding.digest: binding.path for binding in sorted(last_first, key=lambda binding: binding.present)}
