"""Where data comes from and goes to, as edges: source -> content -> job -> dataset -> derived dataset or index. Pure, from the catalog.

A content is known by its digest; the job is the one that read it last. Nothing that a source needs to be opened is in an edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from state.catalog.fold import ObjectState
from state.catalog.tables import Ledger, Table


class Edge(NamedTuple):
    """One thing is made from another. version: of the dataset that it led to, or was read at; `at` of that, ISO 8601."""

    from_kind: str
    from_name: str
    to_kind: str
    to_name: str
    detail: dict[str, Any]
    version: int | None = None
    at: str | None = None


def edges(state: ObjectState) -> Iterator[Edge]:
    """Those that end at this object, or lead to it."""
    about = state.managed.about if state.managed is not None else {}
    if state.table is not None:
        yield from _of_table(state.table, about.get("source", {}))
    if state.index is not None and "dataset" in about:
        index, serving = state.index, state.index.serving
        build = index.builds.get(serving.build) if serving is not None else None
        corpus = index.corpora.get(build.corpus) if build is not None else None
        detail = {"build": build.digest, "corpus": build.corpus, "generation": build.generation} if build is not None else {}
        version = corpus.table_version if corpus is not None else None
        if serving is not None and serving.tail is not None:
            version = serving.tail.table_version
        yield Edge("dataset", about["dataset"], "index", index.name, detail, version)


def _of_table(table: Table, source: dict[str, Any]) -> Iterator[Edge]:
    jobs = {ledger.source: ledger for ledger in table.ledgers if ledger.kind == "profile"}
    rows: dict[str, int] = {}
    for file in table.files:
        rows[file.source] = rows.get(file.source, 0) + file.rows
    for binding in table.bindings.values():
        detail = {"bytes": binding.size, "present": binding.present}
        yield Edge(_kind(source), binding.path, "content", binding.digest, detail)
    for content in sorted({*rows, *(binding.digest for binding in table.bindings.values())}):
        yield from _of_content(table, content, rows.get(content, 0), jobs.get(content))
    for name in source.get("reads", ()):
        yield Edge("dataset", name, "dataset", table.name, {"sql": source.get("sql")}, table.version, table.at or None)


def _of_content(table: Table, content: str, rows: int, profile: Ledger | None) -> Iterator[Edge]:
    if profile is None or not profile.job:
        yield Edge("content", content, "dataset", table.name, {"rows": rows}, table.version, table.at or None)
        return
    yield Edge("content", content, "job", profile.job, {}, profile.version, profile.at or None)
    yield Edge("job", profile.job, "dataset", table.name, {"rows": rows, "content": content}, profile.version, profile.at or None)


def _kind(source: dict[str, Any]) -> str:
    return "query" if source.keys() & {"postgres", "sql"} else "object" if "bucket" in source else "file"
