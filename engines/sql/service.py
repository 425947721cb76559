"""SQL for readers: what a statement touches is decided here, what it does happens in a worker.

One query is one conversation: the worker names the tables, this passes them through `decide` and resolves those that the reader may see to
snapshots, the worker runs. A name that a reader may not see is unknown to it, and suggested to nobody. A file that turns out unreadable is
looked at again and mended where it can be, or given up, then the query runs once more.

It refuses to parse SQL. Next: `pool.py`, `protocol.py`, `tables.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import NoReturn, Protocol, TypeAlias, TypeVar

import pyarrow as pa

from engines.at import At, Moment, of_reader
from engines.errors import (
    FilterInvalid,
    QueryCancelled,
    QueryInvalid,
    QueryTimeout,
    QueryTooLarge,
    SearchInvalid,
    TableUnknown,
    WorkerCrashed,
)
from engines.fair_shares import share_of
from engines.reading import ANONYMOUS, Action, Reader, TableName
from engines.sql.admission import admitted
from engines.sql.bodies import decode_keys, encode_keys, encode_parameters
from engines.sql.facets import Counted, Facet
from engines.sql.hot_cache import HotCache
from engines.sql.hot_shown import ShownForms
from engines.sql.limits import MIB, Limits
from engines.sql.merges import Merges, Pending, pending
from engines.sql.placeholders import placeholders
from engines.sql.pool import WorkerPool
from engines.sql.process import WorkerProcess
from engines.sql.protocol import Closed, Frame
from engines.sql.query_request import LookedUp, QueryRequest
from engines.sql.query_result import QueryResult
from engines.sql.refusals import refusal, too_much_memory, unknown
from engines.sql.shown_sources import Resolving, ShownSources
from engines.sql.source import LakeTable, TableSource
from engines.sql.tables import SYSTEM, dataset_name, sql_name
from engines.sql.touched import Touched, touched
from engines.sql.version_pair import Pair
from specs.errors import LakehouseError
from state.errors import ObjectCorrupt, ObjectMissing

MOST_KEYS = 20_000_000
MOST_KEY_BYTES = 512 * MIB
MERGE_SECONDS = 3600.0
MOST_CHANGES = 4
"""Times that a query runs before it gives up on policies that change with each."""
PATIENCE = 10.0
"""Seconds for which a query waits for a damaged table to be mended."""
ASK_AGAIN = "It is made again where its source is there: ask again in a moment, or see `lakectl status`."


Mend: TypeAlias = Callable[[ObjectMissing | ObjectCorrupt], Awaitable[None]]
"""Has whatever the object belongs to looked at, which makes it again or goes on without it; returns when that was done."""

_T = TypeVar("_T")


class Tables(Resolving, Protocol):
    """What names stand for. Blocking."""

    def pair(self, name: TableName, former: int, later: int) -> Pair | None:
        """Two versions of a Dataset, to be compared; None if there is no such table. Raises LakehouseError."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What workers are asked. frame: how it is put to each. at: with what the reader is kept to. looked_up: hears of the tables."""

    frame: Frame
    limits: Limits
    reader: Reader
    at: At
    looked_up: LookedUp


class QueryService:
    """Used on one event loop."""

    def __init__(
        self,
        tables: Tables,
        pool: WorkerPool,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        untrusted: Limits | None = None,
        mend: Mend | None = None,
        hot: HotCache | None = None,
        clock: Callable[[], float] = time.perf_counter,
        current: Callable[[Reader], Reader] = lambda reader: reader,
        hash_key: Callable[[], str] | None = None,
    ) -> None:
        """limits: of every query, which a caller can only narrow; untrusted: the same of readers who are not trusted, those of everybody if
        None. mend: None where nobody can. hot: that of `tables`. clock: seconds.

        current: the reader under the rules that are in force now. hash_key: of masks that hash, in hex; blocking, asked where one does.
        """
        self._tables = tables
        self._pool = pool
        self._limits = limits
        self._untrusted = untrusted or limits
        self._mend = mend
        self._clock = clock
        self._hot = hot
        self._current = current
        forms = None if hot is None else ShownForms(hot)
        self._shown = ShownSources(tables, forms, hash_key)
        self._merges = Merges(partial(self._conversation, replace(limits, seconds=MERGE_SECONDS)), hot, forms)

    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        """The result of one read-only statement.

        Raises QueryInvalid, QueryForbidden, QueryTimeout, QueryTooLarge, QueryMemory, QueryCancelled, TableUnknown, VersionUnknown,
        WorkerCrashed, WorkersBusy, and what reading a table's files raises.
        """
        begun, body = self._clock(), encode_parameters(request.params)
        for _ in range(MOST_CHANGES):
            answer, sources = await self._answered(self._question(request, body, reader))
            # what is in force once the answer is there decides about it, and about whether the statement was one
            now = self._current(reader)
            if not await self._decided_otherwise(_touched(answer, sources), reader, now):
                break
            reader = now
        else:
            raise QueryCancelled("Policies change while the query runs.", remedy="Ask again in a moment.")
        if answer.op != "result":
            return await self._refuse(answer, reader)
        tables = [source for source in sources if isinstance(source, LakeTable)]
        self._count(tables)
        versions = {dataset_name(table.name): table.version for table in tables if not table.name.startswith(SYSTEM)}
        header, took = answer.header, self._clock() - begun
        read = await self._read(sources, reader)
        rescues: tuple[str, ...] = ()
        lost: dict[str, int] = {}
        if reader.operator:  # others are told neither of buckets nor of rows that they might not see
            rescues = tuple(sorted({bucket for table in tables for bucket in table.rescues}))
            lost = {dataset_name(table.name): table.lost for table in tables if table.lost}
        return QueryResult(answer.body, header["rows"], header["text"], header["truncated"], versions, took, rescues, read, lost)

    def _question(self, request: QueryRequest, params: bytes, reader: Reader) -> _Question:
        """params: those of the request, encoded. Raises QueryTooLarge, QueryInvalid."""
        limits = self._limits_of(reader).narrowed(rows=request.max_rows)
        self._check_length(request.sql, limits)
        asked = {"op": "query", "sql": request.sql, "limits": asdict(limits), "restricted": not reader.operator}
        return _Question(Frame(asked, params), limits, reader, of_reader(reader.at, request.at), request.looked_up)

    async def _answered(self, question: _Question) -> tuple[Frame, Sequence[TableSource]]:
        """A worker's last word, and what it read."""
        for fresh in (False, True):
            ask = partial(self._ask, question)
            answer, sources, waits_for = await self._whole(partial(ask, fresh=fresh))
            for last in (False, True):  # what is shown of a snapshot is made after the snapshot
                if waits_for:
                    await self._merges.wait(waits_for, question.limits.seconds)
                    # a table that was changed again meanwhile is merged by the query itself, lest it waits for ever
                    answer, sources, waits_for = await ask(merge=True, show=not last)
            if answer.op == "result" or answer.header["problem"] != "storage":
                break
        return answer, sources

    async def _read(self, sources: Sequence[TableSource], reader: Reader) -> tuple[Touched, ...]:
        """What was read, and how much of it was shown."""
        names = [source.name for source in sources]
        if not reader.operator and any(name.startswith(SYSTEM) for name in names):  # which asks the catalog of all there is
            decisions = await asyncio.to_thread(self._shown.decisions, names, reader)
        else:
            decisions = self._shown.decisions(names, reader)
        return tuple([touched(source, decision) for source, decision in zip(sources, decisions, strict=True)])

    async def _decided_otherwise(self, names: Sequence[str], reader: Reader, now: Reader, action: Action = "read") -> bool:
        """Whether the reader sees another part of one of these tables now, or of what is told of them."""
        if now is reader:
            return False
        if (now.operator, now.at) != (reader.operator, reader.at):
            return True
        if any(name.startswith(SYSTEM) for name in names):  # which asks the catalog of all there is
            return await asyncio.to_thread(self._shown.decided_otherwise, names, reader, now, action)
        return self._shown.decided_otherwise(names, reader, now, action)

    async def prepare(self, dataset: str) -> None:
        """What is held of a Dataset is brought up to date, before a query has to wait for it."""
        name = self._tables.named(sql_name(dataset))
        with suppress(LakehouseError):
            source = await asyncio.to_thread(self._tables.resolve, name)
            if source is not None:
                self._merges.start(await asyncio.to_thread(pending, [source], self._hot))

    async def expect(self, tables: Iterable[LakeTable]) -> None:
        """Tables that were made ready are opened by idle workers, before a query has to."""
        for table in tables:
            await self._pool.tell(table.name, {"op": "merge", "source": table.to_dict()})

    def _count(self, tables: Iterable[LakeTable]) -> None:
        if self._hot is not None:
            for table in tables:
                if not table.name.startswith(SYSTEM):
                    self._hot.count(dataset_name(table.name), hit=table.hot is not None)

    async def keys(self, dataset: str, filter_sql: str, reader: Reader = ANONYMOUS, moment: Moment = None) -> pa.Array:
        """The row keys (`engines/row_keys.py`) of a Dataset that satisfy a condition, one boolean SQL expression; a string array.

        Raises FilterInvalid, TableUnknown, VersionUnknown, and the limits' errors as `run` does.
        """
        answer = await self._of_rows(dataset, Frame({"op": "keys", "filter": filter_sql}), reader, moment)
        return decode_keys(answer.body)

    async def facets(
        self,
        dataset: str,
        columns: Sequence[str],
        reach: pa.Array,
        filter_sql: str | None = None,
        reader: Reader = ANONYMOUS,
        moment: Moment = None,
    ) -> Counted:
        """How often each value of these columns comes among the rows of a Dataset that have one of these keys and satisfy a condition.

        Raises SearchInvalid for what is no column, or has several values a row, and as `keys`.
        """
        asked = {"op": "facets", "columns": list(columns), "filter": filter_sql}
        answer = await self._of_rows(dataset, Frame(asked, await asyncio.to_thread(encode_keys, reach)), reader, moment)
        told = answer.header["facets"]
        keys = None if filter_sql is None else decode_keys(answer.body)
        return Counted({column: Facet.from_dict(told[column]) for column in columns}, keys)

    async def _of_rows(self, dataset: str, asked: Frame, reader: Reader, moment: Moment) -> Frame:
        """A worker's result on the rows that satisfy the condition of what is asked. Raises as `facets` does."""
        granted, condition = self._limits_of(reader), asked.header["filter"]
        self._check_filter(condition, granted)
        name, at = self._tables.named(sql_name(dataset)), At(reader.at if moment is None else moment)
        for fresh in (False, True):
            source = await self._whole(partial(asyncio.to_thread, self._shown.resolve, name, reader, at, "search", fresh=fresh))
            if source is None:
                raise await self._unknown(name.name, reader)
            await self._merges.wait(await asyncio.to_thread(pending, [source]), granted.seconds)
            if missing := self._shown.missing([source]):
                await self._merges.wait(missing, granted.seconds)
                source = await asyncio.to_thread(self._shown.found, source)
            async with self._conversation(granted, share_of(reader)) as worker:
                limits = {"rows": MOST_KEYS, "bytes": MOST_KEY_BYTES, "told": granted.bytes}
                more = {"source": source.to_dict(), "limits": limits, "restricted": not reader.operator}
                answer = await worker.ask({**asked.header, **more}, asked.body)
                worker.finish()
            if await self._decided_otherwise([name.name], reader, now := self._current(reader), "search"):
                return await self._of_rows(dataset, asked, now, moment)
            if answer.op == "result":
                if answer.header["truncated"]:
                    raise QueryTooLarge(f"More than {answer.header['rows']} rows pass the filter.", remedy="Make it narrower.")
                return answer
            if answer.header["problem"] != "storage":
                break
        if answer.header["problem"] == "facet":
            raise SearchInvalid(answer.header["message"], remedy=answer.header["remedy"])
        if answer.header["problem"] in ("invalid", "unknown-table", "forbidden"):
            message = answer.header["message"]
            unreadable = answer.header["problem"] == "unknown-table"
            raise FilterInvalid("A filter may not read tables." if unreadable else message, remedy=answer.header["remedy"])
        return await self._refuse(answer, reader)

    async def changed(self, dataset: str, former: int, later: int, columns: Sequence[str], reader: Reader = ANONYMOUS) -> pa.Table:
        """Of two versions of a Dataset: `key` of each row that differs in these columns, and whether it is `there` in the later one.

        Raises TableUnknown, VersionUnknown, and the limits' errors as `run` does.
        """
        name = self._tables.named(sql_name(dataset))
        pair = None
        if admitted(reader, name):
            pair = await self._whole(partial(asyncio.to_thread, self._tables.pair, name, former, later))
        if pair is None:
            raise await self._unknown(name.name, reader)
        async with self._conversation(self._limits_of(reader), share_of(reader)) as worker:
            limits = {"rows": MOST_KEYS, "bytes": MOST_KEY_BYTES}
            answer = await worker.ask({"op": "changed", "pair": pair.to_dict(), "columns": list(columns), "limits": limits})
            worker.finish()
        if answer.op != "result":
            return await self._refuse(answer, reader)
        if answer.header["truncated"]:
            raise QueryTooLarge(f"More than {answer.header['rows']} rows differ between the versions.", remedy="Ask for a nearer version.")
        return pa.ipc.open_stream(answer.body).read_all()

    async def _whole(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """What is read. Where an object is missing or damaged, its table is mended first, or goes on without it."""
        mended: set[str] = set()
        while True:
            try:
                return await read()
            except (ObjectMissing, ObjectCorrupt) as error:
                if self._mend is None:
                    raise
                if error.key in mended:
                    error.remedy = ASK_AGAIN
                    raise
                mended.add(error.key)
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE):
                        await self._mend(error)

    @asynccontextmanager
    async def _conversation(self, limits: Limits, share: str | None = None) -> AsyncIterator[WorkerProcess]:
        """A worker under watch. Whoever leaves without `finish` has it killed."""
        async with self._pool.worker(limits.waiting, share) as worker:
            worker.begin(limits.memory)
            try:
                async with asyncio.timeout(limits.seconds):
                    yield worker
            except TimeoutError as error:
                remedy = "Ask for less, or for a longer time if the server allows it."
                raise QueryTimeout(f"The query took more than {limits.seconds:g} seconds and was stopped.", remedy=remedy) from error
            except Closed as error:
                if worker.ended == "memory":
                    raise too_much_memory(limits.memory) from error
                cause = await self._pool.dig(worker)
                message = f"The process that ran the query died of it ({cause})."
                raise WorkerCrashed(message, remedy="Write the query in another way: very long expressions are a known cause.") from error

    async def _ask(
        self, question: _Question, *, fresh: bool = False, merge: bool = False, show: bool = True
    ) -> tuple[Frame, Sequence[TableSource], Sequence[Pending]]:
        """A worker's answer, what it read, and what has to be made first: then there is no answer. merge: the worker merges tables by
        itself; show: whether what is shown of a snapshot is made first."""
        async with self._conversation(question.limits, share_of(question.reader)) as worker:
            answer = await worker.ask(*question.frame)
            sources: list[TableSource] = []
            if answer.op == "names":
                question.looked_up(answer.header["names"])
                sources = await self._sources(answer.header["names"], question, worker, fresh=fresh)
                held = all(isinstance(source, LakeTable) and source.hot is not None for source in sources)
                waits_for = [] if merge or held else await asyncio.to_thread(pending, sources, self._hot)
                waits_for = [*waits_for, *(self._shown.missing(sources) if show else ())]
                if waits_for:
                    worker.drop()
                    return answer, sources, waits_for
                answer = await worker.ask({"op": "sources", "sources": [source.to_dict() for source in sources]})
            worker.finish()
        return answer, sources, ()

    async def _sources(self, names: Sequence[str], question: _Question, worker: WorkerProcess, *, fresh: bool) -> list[TableSource]:
        if not names and not question.at.named:
            return []
        try:
            return await asyncio.to_thread(self._resolve_all, names, question.reader, question.at, fresh=fresh)
        except LakehouseError:
            worker.drop()
            raise

    def _resolve_all(self, names: Sequence[str], reader: Reader, at: At, *, fresh: bool) -> list[TableSource]:
        if idle := sorted(at.named - {dataset_name(name) for name in names}):
            said = "at" if idle[0] in at.tables else "schema"
            raise QueryInvalid(f"`{said}` names `{idle[0]}`, which the statement does not read.", remedy="Name tables of the statement.")
        found = (self._shown.resolve(self._tables.named(name), reader, at, fresh=fresh) for name in names)
        return [source for source in found if source is not None]

    def _limits_of(self, reader: Reader) -> Limits:
        return self._limits if reader.trusted else self._untrusted

    def _check_filter(self, condition: str | None, limits: Limits) -> None:
        self._check_length(condition or "", limits)
        if names := sorted(placeholders(condition or "")):
            raise FilterInvalid(
                f"A filter has no parameters; this one names ${names[0]}.", remedy="Write the value itself, a text in quotes."
            )

    def _check_length(self, sql: str, limits: Limits) -> None:
        if len(sql) > limits.text:
            message = f"The statement has {len(sql)} characters; {limits.text} are allowed."
            raise QueryTooLarge(message, remedy="Pass long lists as parameters: `= ANY($names)`.")

    async def _refuse(self, answer: Frame, reader: Reader) -> NoReturn:
        if answer.header["problem"] == "unknown-table":
            raise await self._unknown(answer.header["message"], reader)
        raise refusal(answer.header, self._limits_of(reader).memory)

    async def _unknown(self, name: str, reader: Reader) -> TableUnknown:
        return await asyncio.to_thread(lambda: unknown(name, self._tables.names(), reader))


def _touched(answer: Frame, sources: Sequence[TableSource]) -> list[str]:
    """Names of the tables that an answer is about."""
    names = [source.name for source in sources]
    if answer.op != "result" and answer.header["problem"] == "unknown-table":
        names.append(answer.header["message"])
    return names
