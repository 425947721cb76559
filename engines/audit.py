"""The audit: one row of the stream `audit` for every read, whoever answers it, a daemon or an offline `lakectl`, and however it ends.

A row is appended without a wait for the disk, and is durable within a second; a read fails for no audit. Who may read is not decided here
(`reading.py`), what a row holds is declared in `state/streams/schemas.py`: values of parameters and results are not in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from engines.at import PRESENT, At
from engines.errors import (
    EngineUnsupported,
    IndexUnknown,
    QueryForbidden,
    QueryInvalid,
    QueryTooLarge,
    SearchInvalid,
    TableUnknown,
    VersionUnknown,
)
from engines.judgments import Query
from engines.reading import ANONYMOUS, Reader
from engines.search import SearchRequest, SearchResult, SearchService
from engines.sql.service import QueryResult, QueryService
from specs.errors import LakehouseError
from state.errors import StateError

STREAM = "audit"
NOBODY = "anonymous"
LONGEST_STATEMENT = 16_384
"""Characters; what is longer is cut."""

Read: TypeAlias = Literal["query", "search", "object", "export", "diff", "replay"]

REFUSALS: tuple[type[LakehouseError], ...] = (
    QueryForbidden, QueryInvalid, QueryTooLarge, TableUnknown, VersionUnknown, IndexUnknown, SearchInvalid,
    EngineUnsupported,
)  # fmt: skip
"""What is the fault of whoever asks; any other error is a failure of ours."""

_log = logging.getLogger(__name__)


class Journal(Protocol):
    """Streams, for appending."""

    def append_lazy(self, stream: str, event: Mapping[str, Any]) -> str:
        """Returns at once. Raises StateError."""


@dataclass(slots=True)
class Access:
    """What is known of one read so far; whoever answers fills it in. error: why it ended, where it raises nothing."""

    tables: Sequence[str] | None = None
    versions: Mapping[str, int] | None = None
    rows: int | None = None
    bytes: int | None = None
    error: LakehouseError | None = None


class Audit:
    """Writes the rows. Thread-safe; costs some microseconds a read."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: seconds."""
        self._journal = journal
        self._clock = clock

    @contextmanager
    def access(
        self, action: Read, reader: Reader, *, refusals: tuple[type[LakehouseError], ...] = REFUSALS, **asked: Any
    ) -> Iterator[Access]:
        """One read, from here to the end of the block, by value or error. asked: further columns; refusals: what is not our failure."""
        begun, access = self._clock(), Access()
        outcome, reason = "done", None
        try:
            yield access
            if access.error is not None:
                outcome, reason = "failed", access.error.slug
        except LakehouseError as error:
            outcome, reason = ("refused" if isinstance(error, refusals) else "failed"), error.slug
            raise
        except Exception:
            outcome, reason = "failed", "internal-error"
            raise
        except BaseException:
            outcome, reason = "cancelled", None
            raise
        finally:
            took = round((self._clock() - begun) * 1000, 3)
            facts = {"tables": access.tables, "versions": access.versions, "rows": access.rows, "bytes": access.bytes}
            self._write(action, reader, {**asked, **facts, "duration_ms": took, "outcome": outcome, "reason": reason})

    def _write(self, action: Read, reader: Reader, facts: Mapping[str, Any]) -> None:
        who = {"reader": reader.token or NOBODY, "profile": reader.profile, "role": reader.role, "action": action}
        row = who | ({"bucket": reader.bucket} if reader.bucket is not None else {}) | dict(facts)
        try:
            self._journal.append_lazy(STREAM, {name: value for name, value in row.items() if value is not None})
        except StateError as error:
            _log.warning("a %s of %s is not in the audit: %s", action, who["reader"], error.explain())


@dataclass(frozen=True, slots=True)
class AuditedQueries:
    """Queries that leave a row each. Otherwise as `QueryService`."""

    queries: QueryService
    audit: Audit

    async def run(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        reader: Reader = ANONYMOUS,
        *,
        at: At = PRESENT,
        max_rows: int | None = None,
    ) -> QueryResult:
        """See `QueryService.run`."""
        with self.audit.access("query", reader, statement=sql[:LONGEST_STATEMENT]) as access:
            result = await self.queries.run(sql, params, reader, at=at, max_rows=max_rows)
            access.tables, access.versions = result.tables, result.versions
            access.rows, access.bytes = result.count, len(result.ipc)
            return result


@dataclass(frozen=True, slots=True)
class AuditedSearches:
    """Searches that leave a row each. Otherwise as `SearchService`."""

    searches: SearchService
    audit: Audit

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """See `SearchService.search`."""
        text = request.text[:LONGEST_STATEMENT] if request.text is not None else None
        filters = [request.filter] if request.filter is not None else None
        asked, model = {"index": request.index, "k": request.k}, request.version or request.model
        with self.audit.access("search", reader, statement=text, filters=filters, model=model, detail=asked) as access:
            result = await self.searches.search(request, reader)
            access.tables, access.versions = tuple(result.versions), result.versions
            access.rows = len(result.hits)
            return result

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Query, frozenset[str]]:
        """See `SearchService.queries`: each is a search of its own by then."""
        return await self.searches.queries(index, eval_set, reader)

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        """See `SearchService.judged`: nothing of the dataset is read but what the search of this request reads."""
        return await self.searches.judged(request, reader)
