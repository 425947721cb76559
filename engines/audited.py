"""Queries and searches that leave a row each: who saw which columns of which tables, by what statement, as far as policies let them.

Statements are kept without their values (`sql/statement_shape.py`). Tables are those that the query's session looked up; columns are told
from the text (`sql/columns_read.py`), in a thread when it was not seen before; where they cannot be told the row says all columns, and that
this is not known. A text that is looked for may be a secret: it is kept as a keyed digest and a length, unless the settings say otherwise.
Next: `audit.py`, which writes the rows.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engines.audit import EVERY_COLUMN, Audit, Facts
from engines.errors import QuotaExceeded
from engines.judgments import Query
from engines.ollama.calls import speaking_for
from engines.plain_errors import plainly
from engines.quotas import Queries, Searches
from engines.reading import ANONYMOUS, Reader
from engines.search_answer import SearchRequest, SearchResult
from engines.sql.columns_read import ColumnsRead, parses, plain_name
from engines.sql.query_request import QueryRequest
from engines.sql.query_result import QueryResult
from engines.sql.statement_shape import Shape, shape
from engines.sql.tables import sql_name
from engines.sql.touched import Touched
from specs.errors import LakehouseError

MOST_NAMES = 100
LONGEST_NAME = 128
"""Of what a statement names that was not answered: such names may be anything."""
MANY_COLUMNS = 100
"""Of a table that has more a row says `*` where all are read."""


@dataclass(frozen=True, slots=True)
class AuditedQueries:
    """Queries that leave a row each. Otherwise as `QueryService`."""

    queries: Queries
    audit: Audit
    columns: ColumnsRead = field(default_factory=ColumnsRead)

    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        """See `QueryService.run`. Raises AuditUnavailable besides."""
        sql = request.sql
        named: list[str] = []
        looked_at: list[Shape] = []
        # while a worker has the statement: afterwards somebody would wait for it
        glance = asyncio.get_running_loop().call_soon(lambda: looked_at.append(shape(sql, "answered")))

        def looked_up(names: Sequence[str]) -> None:
            named[:] = names
            request.looked_up(names)

        async with self.audit.access("query", reader) as access:
            try:
                with plainly(reader):
                    result = await self.queries.run(replace(request, looked_up=looked_up), reader)
                said = looked_at[0] if looked_at else shape(sql, "answered")
                await _answered(sql, said, result.touched, self.columns, access)
            except BaseException as error:
                _unanswered(sql, named, access)
                told = isinstance(error, LakehouseError) and not isinstance(error, QuotaExceeded)  # which may come in floods
                if told and await asyncio.to_thread(parses, sql):
                    access.statement = shape(sql, "parsed").text
                raise
            finally:
                glance.cancel()
            access.versions, access.rows, access.bytes = result.versions, result.count, len(result.ipc)
            return result


async def _answered(sql: str, said: Shape, read: Sequence[Touched], columns: ColumnsRead, facts: Facts) -> None:
    facts.statement = said.text
    tables = {plain_name(table.name): table for table in read}
    facts.tables = list(tables)
    facts.decisions = {name: table.decision for name, table in tables.items()}
    await _note_columns(sql, said, {name: table.columns for name, table in tables.items()}, columns, facts)


def _unanswered(sql: str, named: Sequence[str], facts: Facts) -> None:
    facts.statement = shape(sql, "unread").text
    facts.tables = list(dict.fromkeys(plain_name(name)[:LONGEST_NAME] for name in named[:MOST_NAMES]))
    facts.decisions = None
    facts.columns = dict.fromkeys(facts.tables, EVERY_COLUMN)
    facts.columns_known = False


async def _note_columns(sql: str, said: Shape, tables: Mapping[str, tuple[str, ...] | None], columns: ColumnsRead, facts: Facts) -> None:
    """Of a statement that was answered."""
    there, read = columns.known(said, tables) if tables else (True, {})
    if not there:
        read = await asyncio.to_thread(columns.of, sql, said, tables)
    facts.columns = dict.fromkeys(tables, EVERY_COLUMN) if read is None else {name: _brief(read[name], tables[name]) for name in tables}
    facts.columns_known = read is not None


def _brief(read: tuple[str, ...], there: tuple[str, ...] | None) -> tuple[str, ...]:
    return EVERY_COLUMN if there is not None and MANY_COLUMNS < len(there) == len(read) else read


@dataclass(frozen=True, slots=True)
class Texts:
    """What is kept of a text that is looked for. key: of its digest, None for none; whole: whether all of it is kept."""

    key: bytes | None = None
    whole: bool = False

    def of(self, text: str) -> dict[str, Any]:
        """Equal texts have equal digests, and whoever has not the key learns no more than that and their length."""
        kept: dict[str, Any] = {"characters": len(text)}
        if self.key is not None:
            kept["digest"] = hmac.digest(self.key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
        return kept | {"text": text} if self.whole else kept


@dataclass(frozen=True, slots=True)
class AuditedSearches:
    """Searches that leave a row each. Otherwise as `SearchService`."""

    searches: Searches
    audit: Audit
    texts: Texts = Texts()
    columns: ColumnsRead = field(default_factory=ColumnsRead)

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """See `SearchService.search`. Raises AuditUnavailable besides."""
        model = request.version or request.model
        async with self.audit.access("search", reader, index=request.index[:LONGEST_NAME]) as access:
            access.model = model and model[:LONGEST_NAME]
            access.detail = asked = _asked(request, self.texts)
            if request.filter is not None:
                access.statement = shape(request.filter, "unread").text
            with speaking_for(reader), plainly(reader):
                result = await self.searches.search(request, reader)
            (dataset,) = result.versions
            table = sql_name(dataset)
            access.tables, access.versions, access.rows = (table,), result.versions, result.given
            access.decisions = {} if result.decision is None else {table: result.decision}
            access.model, access.generation = result.model, result.generation
            access.columns, access.columns_known = {table: tuple(dict.fromkeys((*result.text, *request.facets)))}, True
            if request.facets:  # by now these are names of columns
                access.detail = asked | {"facets": list(request.facets)}
            if request.filter is not None:
                await self._note_filter(request.filter, table, access)
            return result

    async def _note_filter(self, condition: str, table: str, facts: Facts) -> None:
        """The columns of a filter beside those that are searched or counted."""
        said = shape(condition, "answered")
        facts.statement = said.text
        searched = (facts.columns or {}).get(table, ())
        await _note_columns(f"SELECT 1 FROM {table} WHERE ({condition}\n)", said, {table: None}, self.columns, facts)
        if facts.columns_known:
            facts.columns = {name: sorted({*columns, *searched}) for name, columns in (facts.columns or {}).items()}

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Query, frozenset[str]]:
        """See `SearchService.queries`: each is a search of its own by then."""
        return await self.searches.queries(index, eval_set, reader)

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        """See `SearchService.judged`: nothing of the dataset is read but what the search of this request reads."""
        return await self.searches.judged(request, reader)


def _asked(request: SearchRequest, texts: Texts) -> dict[str, Any]:
    """What was looked for, and how."""
    asked: dict[str, Any] = {"k": request.k, "mode": request.ranking.mode}
    if request.text is not None:
        asked["text"] = texts.of(request.text)
    if request.vector is not None:
        asked["dimension"] = len(request.vector)
    return {name: value for name, value in asked.items() if value is not None}
