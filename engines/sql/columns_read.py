"""Which columns of which tables a statement reads, told from its text by sqlglot, which has no dialect of DataFusion: PostgreSQL's is near.

The tables are those that the query's session looked up. A name without a table counts for every table of its scope that has such a column;
a star for all columns of the tables that it stands over, even where a query around it keeps few: rather too many than too few. Where the
text is not understood, or a table does not turn up in it, nothing is known, and whoever asks says "all columns". A statement that is
explained or described reads what it would read, and a table that is described all of its columns.

sqlglot is Python, and recursive: what is long or deep is not shown to it, and what it goes over again and again it gives up. It takes a few
hundred microseconds for a statement of a line, and at most some tens of milliseconds; statements that differ in their literals only are
looked at once. Next: `bounded_parser.py`; `engines/audited.py`, which asks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from engines.sql.statement_shape import Shape, shape

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

MOST_TOKENS = 2_000
DEEPEST = 40
"""Brackets in brackets. sqlglot takes some twenty calls for each, of the thousand that Python allows."""
_KEPT = 2_000

_EXPLAIN = re.compile(r"\s*EXPLAIN(?:\s+(?:ANALYZE|VERBOSE|FORMAT\s+\w+))*\s", re.IGNORECASE)
"""What stands before a statement that is explained. One behind a comment is not looked for: comments nest."""

Schemas: TypeAlias = Mapping[str, tuple[str, ...] | None]
"""Columns by table, as SQL calls them; None where any name may be one."""
Read: TypeAlias = Mapping[str, tuple[str, ...]]
"""Columns that are read by table, sorted."""
Sources: TypeAlias = Mapping[str, str | None]
"""Tables by what a statement calls them; None for what is no table: a subquery, a name of WITH, a function."""


class Unclear(Exception):
    """The text does not tell."""


class ColumnsRead:
    """Answers, and remembers what was answered. Thread-safe; CPU."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[tuple[str, tuple[str, ...] | None], ...]], Read | None] = {}

    def known(self, said: Shape, tables: Schemas) -> tuple[bool, Read | None]:
        """Whether this was answered before, and with what. From memory."""
        key = (said.text, tuple(tables.items()))
        return (True, self._known[key]) if key in self._known else (False, None)

    def of(self, sql: str, said: Shape, tables: Schemas) -> Read | None:
        """The columns of each of `tables` that the statement reads; None where that is not known. said: its shape."""
        key = (said.text, tuple(tables.items()))
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = columns_read(sql, said, tables)
        return self._known[key]


def plain_name(table: str) -> str:
    """The one name of a table that a statement may call by two: `"job-orders"` is job_orders."""
    return table.replace("-", "_")


def columns_read(sql: str, said: Shape, tables: Schemas) -> Read | None:
    """As `ColumnsRead.of`, looked at anew."""
    try:
        return _read(_parsed(sql, said), tables)
    except Unclear:
        return None


def parses(sql: str) -> bool:
    """Whether it is SQL at all, as far as that can be told."""
    try:
        _parsed(sql, shape(sql, "unread"))
    except Unclear:
        return False
    return True


def _parsed(sql: str, said: Shape) -> exp.Expr:
    """Raises Unclear."""
    if said.cut or said.tokens > MOST_TOKENS or said.depth > DEEPEST:
        raise Unclear
    from sqlglot import exp

    from engines.sql.bounded_parser import parse

    explains = _EXPLAIN.match(sql)
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL + 1)  # it would quote statements
    try:
        found = parse(sql[explains.end() :] if explains else sql)
    except Exception as error:
        raise Unclear from error
    match found:
        case [exp.Query() as query]:
            return query
        case [exp.Describe(this=exp.Query() as query)]:
            return query
        case [exp.Describe(this=exp.Table() as table)]:  # of each column its name and type
            return exp.select("*").from_(table)
        case _:
            raise Unclear


def _read(statement: exp.Expr, tables: Schemas) -> Read:
    """Raises Unclear."""
    from sqlglot.optimizer.scope import traverse_scope

    try:
        scopes = traverse_scope(statement)
        found: dict[str, set[str]] = {name: set() for name in tables}
        seen: set[str] = set()
        for scope in scopes:
            visible = _visible(scope)
            seen.update(name for sources in visible for name in sources.values() if name is not None)
            _of_scope(scope, visible, tables, found)
    except Unclear:
        raise
    except Exception as error:
        raise Unclear from error
    if not tables.keys() <= seen:
        raise Unclear
    return {name: tuple(sorted(columns)) for name, columns in found.items()}


def _table(source: object) -> str | None:
    """A table as SQL calls it; None for a subquery, a name of WITH, or a function."""
    from sqlglot import exp

    if not isinstance(source, exp.Table) or not isinstance(source.this, exp.Identifier):
        return None
    name = plain_name(_name(source.this))
    schema = source.args.get("db")
    return f"system.{name}" if schema is not None and _name(schema) == "system" else name


def _visible(scope: Scope) -> list[Sources]:
    """What a name may be of, the nearest first: what the scope selects from, what it knows besides, and what those around it know."""
    known = {alias: _table(source) for alias, source in scope.sources.items()}
    visible: list[Sources] = [{alias: known[alias] for alias in scope.selected_sources}, known]
    around = scope.parent
    while around is not None:
        visible.append({alias: _table(source) for alias, source in around.sources.items()})
        around = around.parent
    return visible


def _of_scope(scope: Scope, visible: Sequence[Sources], tables: Schemas, found: Mapping[str, set[str]]) -> None:
    from sqlglot import exp

    own = visible[0]
    for node in scope.find_all(exp.Column, exp.Star):
        match node:
            case exp.Star(parent=exp.Select()):
                _all(own.values(), tables, found)
            case exp.Star(parent=exp.Column() | exp.Count() | exp.Distinct()):
                continue  # told by the column, or only counted
            case exp.Column(this=exp.Star()):
                _all([_qualified(node, visible)], tables, found)
            case exp.Column():
                _column(node, visible, tables, found)
            case _:
                raise Unclear
    for join in scope.expression.args.get("joins") or ():
        if str(join.args.get("method") or "").upper() == "NATURAL":
            raise Unclear
        for shared in join.args.get("using") or ():
            _named(_name(shared if isinstance(shared, exp.Identifier) else shared.this), own.values(), tables, found)


def _qualified(star: exp.Column, visible: Sequence[Sources]) -> str | None:
    """The table that a qualified star is of. Raises Unclear."""
    for sources in visible:
        for alias, table in sources.items():
            if star.table in (alias, alias.lower()):
                return table
    raise Unclear


def _column(node: exp.Column, visible: Sequence[Sources], tables: Schemas, found: Mapping[str, set[str]]) -> None:
    """A name of one part or several, of which the first may be a table or a column with fields."""
    parts = [_name(part) for part in node.parts]
    for sources in visible:
        for alias, table in sources.items():
            for at, part in enumerate(parts[:-1]):
                if part in (alias, alias.lower()):
                    _named(parts[at + 1], [table], tables, found)
                    return
    any(_named(parts[0], sources.values(), tables, found) for sources in visible)


def _named(column: str, names: Iterable[str | None], tables: Schemas, found: Mapping[str, set[str]]) -> bool:
    """Whether any of these tables has the column, which is then read."""
    having = [name for name in _these(names, tables) if (schema := tables[name]) is None or column in schema]
    for name in having:
        found[name].add(column)
    return bool(having)


def _all(names: Iterable[str | None], tables: Schemas, found: Mapping[str, set[str]]) -> None:
    """Raises Unclear where a table's columns are not known."""
    for name in _these(names, tables):
        columns = tables[name]
        if columns is None:
            raise Unclear
        found[name].update(columns)


def _these(names: Iterable[str | None], tables: Schemas) -> Iterator[str]:
    return (name for name in names if name is not None and name in tables)


def _name(identifier: exp.Expr) -> str:
    """As DataFusion matches it: in lower case unless quoted."""
    name = identifier.name
    return name if identifier.args.get("quoted") else name.lower()
