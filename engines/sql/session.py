"""What a worker does with a statement: find its names, plan it read-only over exactly the tables it was given, stream its result.

One DataFusion context serves all queries of a worker, so that footers and statistics of files, which never change, are read once. What a
query can see is only what its catalog provider answers, and that is emptied after each; nothing else in a context can be changed by
statements that only read. Parameters are values, never text.

It refuses to know readers and versions: the daemon chose the tables. Next: `merge.py` for tables, `results.py` for what goes back.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from datafusion import DataFrame, RuntimeEnvBuilder, SessionConfig, SessionContext, SQLOptions
from datafusion.catalog import CatalogProvider, SchemaProvider, Table

from engines.row_keys import identity_columns
from engines.sql.merge import check_files, open_table
from engines.sql.problems import CATALOG, invalid, same_names, translate, translated
from engines.sql.readings import quote
from engines.sql.source import ArrowTable, TableSource

KEPT_TABLES = 64
_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)
_TOKENS = re.compile(
    r"""[eE]'(?:\\.|''|[^'\\])*' | '(?:''|[^'])*' | "(?:""|[^"])*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?<![\w$@\#])\$(?P<name>\w+)""",
    re.DOTALL | re.VERBOSE,
)


class Session:
    """Runs statements one after the other. Not thread-safe."""

    def __init__(self, scratch: Path | None = None, memory: int | None = None, partitions: int | None = None) -> None:
        """scratch: folder for spilling, none without one; memory: bytes that operators may hold; partitions: by default all cores."""
        self.scratch = scratch
        config = SessionConfig().with_create_default_catalog_and_schema(False).with_default_catalog_and_schema(CATALOG, "public")
        if partitions is not None:
            config = config.with_target_partitions(partitions)
        runtime = RuntimeEnvBuilder()
        runtime = runtime.with_disk_manager_disabled() if scratch is None else runtime.with_temp_file_path(scratch)
        if memory is not None:
            runtime = runtime.with_fair_spill_pool(memory)
        self._context = SessionContext(config, runtime)
        self._workshop = SessionContext(SessionConfig(), runtime)  # where deltas are merged, out of any statement's sight
        self._seen = _Seen()
        self._context.register_catalog_provider(CATALOG, _Catalog(self._seen))
        self._tables: OrderedDict[bytes, Table] = OrderedDict()

    def names(self, sql: str) -> list[str]:
        """Every table that the statement touches, `system.` before those of that schema. Raises QueryProblem if it is none."""
        self._seen.asked.clear()
        try:
            self._context.sql_with_options(sql, _READ_ONLY)
        except Exception as error:
            if not self._seen.asked:
                raise translate(error) from error
        # A public table with a dot in its quoted name would be taken for one of another schema; there is none, so it stays unknown.
        return sorted({name if schema == "public" else f"{schema}.{name}" for schema, name in self._seen.asked if "." not in name})

    @contextmanager
    def frame(self, sql: str, parameters: Mapping[str, pa.Scalar], sources: Sequence[TableSource]) -> Iterator[DataFrame]:
        """The planned statement, valid inside. Raises QueryProblem, also for what happens to the frame inside."""
        check_parameters(sql, parameters)
        with self._showing(sources), translated():
            frame = self._context.sql_with_options(sql, _READ_ONLY, param_values=dict(parameters))
            names = frame.schema().names
            if len(set(names)) < len(names):
                raise same_names([name for name in names if names.count(name) > 1])
            yield frame

    @contextmanager
    def identities(
        self, source: TableSource, condition: str | None, primary_key: Sequence[str], extra: Sequence[str] = ()
    ) -> Iterator[DataFrame]:
        """The identity columns, and others, of the rows that satisfy a condition: one boolean expression and nothing else."""
        with self._showing([source], identity=True), translated():
            frame = self._context.table(quote(source.name))
            if condition is not None:
                frame = frame.filter(frame.parse_sql_expr(condition))
            wanted = dict.fromkeys((*identity_columns(primary_key), *extra))
            yield frame.select(*[quote(name) for name in wanted])

    def merge(self, source: TableSource) -> None:
        """Makes what later readings of the source need, once for all workers. Raises QueryProblem."""
        with translated():
            self._open(source, identity=False)

    @contextmanager
    def _showing(self, sources: Sequence[TableSource], *, identity: bool = False) -> Iterator[None]:
        with translated():
            for source in sources:
                schema, _, name = source.name.rpartition(".")
                self._seen.tables[schema or "public", name] = self._open(source, identity=identity)
        try:
            yield
        finally:
            self._seen.tables.clear()

    def _open(self, source: TableSource, *, identity: bool) -> Table:
        if isinstance(source, ArrowTable):  # replaced with every event, and cheap to map
            return open_table(source, self._workshop)
        check_files(source)
        description = orjson.dumps([source.to_dict(), identity])
        table = self._tables.get(description)
        if table is None:
            table = self._tables[description] = open_table(source, self._workshop, identity=identity)
            if len(self._tables) > KEPT_TABLES:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(description)
        return table


def check_parameters(sql: str, parameters: Mapping[str, object]) -> None:
    """Raises QueryProblem unless exactly the statement's parameters have values."""
    used = {found["name"] for found in _TOKENS.finditer(sql) if found["name"]}
    if missing := sorted(used - parameters.keys()):
        raise invalid(f"No value is given for the parameter ${missing[0]}.", "Give one in `params`.")
    if unused := sorted(parameters.keys() - used):
        known = ", ".join(f"${name}" for name in sorted(used)) or "none"
        raise invalid(f"The statement has no parameter ${unused[0]}.", f"It has: {known}.")


class _Seen:
    """What the current statement asked for, and what it is shown."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()
        self.tables: dict[tuple[str, str], Table] = {}


class _Schema(SchemaProvider):
    def __init__(self, name: str, seen: _Seen) -> None:
        self._name, self._seen = name, seen

    def table_names(self) -> set[str]:
        return {name for schema, name in self._seen.tables if schema == self._name}

    def table(self, name: str) -> Table | None:
        self._seen.asked.add((self._name, name))
        return self._seen.tables.get((self._name, name))

    def table_exist(self, name: str) -> bool:
        return (self._name, name) in self._seen.tables


class _Catalog(CatalogProvider):
    def __init__(self, seen: _Seen) -> None:
        self._seen = seen

    def schema_names(self) -> set[str]:
        return {"public", "system"}

    def schema(self, name: str) -> Any:
        return _Schema(name, self._seen)
