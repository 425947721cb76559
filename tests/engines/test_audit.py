"""Every read is a row, durable before its answer, however it ends; none is answered without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Event
from typing import Any

import orjson
import pytest

from engines import refusal_floods
from engines.audit import Audit
from engines.audited import AuditedQueries, AuditedSearches, Texts
from engines.errors import AuditUnavailable, QueryTimeout, QuotaExceeded, TableUnknown
from engines.policies.governed import Mask
from engines.reading import ANONYMOUS, Decision, Reader
from engines.search_answer import Hit, SearchRequest, SearchResult
from engines.sql.facets import Facet
from engines.sql.query_request import QueryRequest
from engines.sql.query_result import QueryResult
from engines.sql.touched import Touched
from state.errors import DiskFull
from state.streams.schemas import AUDIT
from state.streams.wal import WalRecord

pytestmark = pytest.mark.anyio

CLERK = Reader(token="t1", profile="desk", role="clerk", bucket="archive")


class Journal:
    """Rows that are on the disk; `gate` holds the disk up."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.syncs = 0
        self.full = False
        self.gate = Event()
        self.gate.set()

    def encode(self, stream: str, event: Mapping[str, Any]) -> WalRecord:
        assert stream == "audit"
        assert event.keys() <= AUDIT.names
        return WalRecord(stream, str(len(self.rows)), orjson.dumps(dict(event)))

    def commit(self, records: Iterable[WalRecord]) -> None:
        self.gate.wait()
        self.syncs += 1
        if self.full:
            raise DiskFull("write-ahead", "/wal")
        self.rows += [orjson.loads(record.json) for record in records]

    def append(self, stream: str, event: Mapping[str, Any]) -> str:
        record = self.encode(stream, event)
        self.commit([record])
        return record.id


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def audit(journal: Journal) -> Audit:
    ticks = iter(range(10_000))
    return Audit(journal, lambda: next(ticks) / 1000)


async def test_what_was_read(audit: Audit, journal: Journal) -> None:
    async with audit.access("object", ANONYMOUS, bucket="lake", key="a/b") as access:
        access.bytes = 7
    expected = {
        "reader": "anonymous",
        "action": "object",
        "bucket": "lake",
        "key": "a/b",
        "bytes": 7,
        "duration_ms": 1.0,
        "outcome": "done",
    }
    assert journal.rows == [expected]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (TableUnknown("There is no table `x`."), "refused", "table-unknown"),
        (QueryTimeout("too long"), "failed", "query-timeout"),
        (ZeroDivisionError(), "failed", "internal-error"),
        (asyncio.CancelledError(), "cancelled", None),
    ],
)
async def test_how_it_ended(audit: Audit, journal: Journal, error: BaseException, outcome: str, reason: str | None) -> None:
    with pytest.raises(type(error)):
        async with audit.access("query", CLERK, statement="SELECT 1"):
            raise error
    await asyncio.to_thread(audit.close)
    (row,) = journal.rows
    assert (row["outcome"], row.get("reason"), row["reader"], row["role"], row["bucket"]) == (outcome, reason, "t1", "clerk", "archive")
    assert row["statement"] == "SELECT 1"


async def test_a_refusal_before_anything_was_looked_at(audit: Audit, journal: Journal) -> None:
    await audit.refused("request", Reader(), TableUnknown("no"), key="/query")
    assert journal.rows == [{"reader": "anonymous", "action": "request", "key": "/query", "outcome": "refused", "reason": "table-unknown"}]


class TestFloods:
    REFUSED = TableUnknown("no")

    async def test_one_row_and_one_that_counts(self, audit: Audit, journal: Journal) -> None:
        for address in ("10.0.0.1", "10.0.0.2"):
            for _ in range(500):
                await audit.refused("request", Reader(), self.REFUSED, detail={"address": address})
        assert [row["detail"] for row in journal.rows] == [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]
        assert journal.syncs == 2
        await asyncio.to_thread(audit.close)
        assert [row["detail"] for row in journal.rows[2:]] == [{"address": f"10.0.0.{n}", "repeated": 499} for n in (1, 2)]
        assert {(row["reader"], row["outcome"], row["reason"]) for row in journal.rows} == {("anonymous", "refused", "table-unknown")}

    async def test_the_second_ends(self, audit: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refusal_floods, "SECONDS", 0)
        await asyncio.gather(*[audit.refused("request", Reader(), self.REFUSED) for _ in range(3)])
        await audit.refused("request", CLERK, self.REFUSED)  # behind the row that counts
        assert [row.get("detail") for row in journal.rows] == [None, {"repeated": 2}, None]

    async def test_very_many_kinds(self, audit: Audit, journal: Journal) -> None:
        for number in range(1_000):
            await audit.refused("request", Reader(), self.REFUSED, detail={"address": str(number)})
        assert len(journal.rows) == refusal_floods.MOST_KINDS + 1
        await asyncio.to_thread(audit.close)
        assert journal.rows[-1]["detail"] == {"repeated": 1_000 - refusal_floods.MOST_KINDS - 1}

    async def test_none_is_told_before_the_first_is_on_the_disk(self, audit: Audit, journal: Journal) -> None:
        journal.gate.clear()
        waiting = [asyncio.create_task(audit.refused("request", Reader(), self.REFUSED)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # is not the only one
        await asyncio.sleep(0)
        assert not waiting[1].done()
        journal.gate.set()
        await asyncio.gather(*waiting[1:])
        assert len(journal.rows) == 1

    async def test_nor_where_it_cannot_be(self, audit: Audit, journal: Journal) -> None:
        journal.full = True
        ended = await asyncio.gather(*[audit.refused("request", Reader(), self.REFUSED) for _ in range(3)], return_exceptions=True)
        assert [type(error) for error in ended] == [AuditUnavailable] * 3
        journal.full = False
        await audit.refused("request", Reader(), self.REFUSED)
        await asyncio.to_thread(audit.close)
        assert [row.get("detail") for row in journal.rows] == [None]

    async def test_a_count_that_cannot_be_written_is_in_the_log(
        self, audit: Audit, journal: Journal, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            await audit.refused("request", Reader(), self.REFUSED)
        journal.full = True
        await asyncio.to_thread(audit.close)
        assert "request by anonymous: what was refused ({'repeated': 2}) is not in the audit" in caplog.text


async def ended(audit: Audit, error: Exception | None = None) -> None:
    """A read that ended so."""
    async with audit.access("query", ANONYMOUS):
        if error is not None:
            raise error


async def test_what_no_text_is(audit: Audit, journal: Journal) -> None:
    async with audit.access("object", ANONYMOUS, key="a\udcff"):
        pass
    assert journal.rows[0]["key"] == "a\\udcff"


class TestWithoutADisk:
    @pytest.mark.parametrize("error", [None, TableUnknown("There is no table `x`."), ZeroDivisionError()])
    async def test_nothing_is_answered(self, audit: Audit, journal: Journal, error: Exception | None) -> None:
        journal.full = True
        with pytest.raises(AuditUnavailable, match="disk-full") as raised:
            await ended(audit, error)
        assert "/wal" not in str(raised.value)

    async def test_not_even_a_refusal(self, audit: Audit, journal: Journal) -> None:
        journal.full = True
        with pytest.raises(AuditUnavailable):
            await audit.refused("request", Reader(), TableUnknown("no"))

    def test_nor_by_a_command(self, audit: Audit, journal: Journal) -> None:
        journal.full = True
        with pytest.raises(AuditUnavailable), audit.access("export", ANONYMOUS) as access:
            access.rows = 1

    async def test_nothing_begins(self, audit: Audit, journal: Journal) -> None:
        journal.full = True
        access = audit.access("object", ANONYMOUS)
        with pytest.raises(AuditUnavailable):
            await access.begin()

    async def test_what_began_ends_as_it_may(self, audit: Audit, journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
        async with audit.access("object", ANONYMOUS) as access:
            await access.begin()
            journal.full = True
        assert [row["outcome"] for row in journal.rows] == ["begun"]
        assert "object by anonymous: how it ended is not in the audit" in caplog.text


async def test_a_call_of_a_model(audit: Audit, journal: Journal) -> None:
    async with audit.access("model", CLERK, model="qwen2.5:7b", detail={"purpose": "chat"}) as access:
        access.tokens_in, access.tokens_out = 12, 34
    (row,) = journal.rows
    assert (row["model"], row["tokens_in"], row["tokens_out"], row["detail"]) == ("qwen2.5:7b", 12, 34, {"purpose": "chat"})


class TestInPieces:
    async def test_a_row_before_the_first_and_one_at_the_end(self, audit: Audit, journal: Journal) -> None:
        async with audit.access("object", ANONYMOUS) as access:
            await access.begin()
            access.bytes = 9
        assert [(row["outcome"], row.get("bytes"), row.get("request")) for row in journal.rows] == [("begun", None, None), ("done", 9, "0")]

    def test_by_a_command(self, audit: Audit, journal: Journal) -> None:
        with audit.access("export", ANONYMOUS) as access:
            access.begin_blocking()
        assert [row["outcome"] for row in journal.rows] == ["begun", "done"]

    async def test_one_piece_is_one_row(self, audit: Audit, journal: Journal) -> None:
        async with audit.access("object", ANONYMOUS) as access:
            access.bytes = 3
            await access.end()
        assert [(row["outcome"], row["bytes"]) for row in journal.rows] == [("done", 3)]


class TestTogether:
    async def test_reads_that_end_together_share_a_sync(self, audit: Audit, journal: Journal) -> None:
        journal.gate.clear()
        reads = [asyncio.create_task(ended(audit)) for _ in range(50)]
        await asyncio.sleep(0)  # the loop goes on while the disk does not
        assert not any(one.done() for one in reads)
        journal.gate.set()
        await asyncio.gather(*reads)
        assert len(journal.rows) == 50
        assert journal.syncs <= 2

    async def test_a_client_that_leaves_while_its_row_is_written_leaves_the_row(self, audit: Audit, journal: Journal) -> None:
        journal.gate.clear()
        left = asyncio.create_task(ended(audit))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        journal.gate.set()
        await asyncio.to_thread(audit.close)
        assert [row["outcome"] for row in journal.rows] == ["done"]

    def test_another_loop_after_the_first(self, audit: Audit, journal: Journal) -> None:
        for _ in range(2):
            asyncio.run(ended(audit))
        assert len(journal.rows) == 2


PEOPLE = Touched("people", ("id", "name", "phone"), Decision(allowed=True))
MASKED = Decision(True, "region = $region", {"phone": Mask("lastFour")}, {"region": "north"}, ("people-access",))


class Queries:
    def __init__(self, *touched: Touched, error: BaseException | None = None, named: Sequence[str] = ()) -> None:
        self.result = QueryResult(b"12345", 3, 10, False, {"people": 4}, 0.1, (), touched)
        self.error = error
        self.named = named

    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        request.looked_up(self.named)
        if self.error is not None:
            raise self.error
        return self.result


class TestQueries:
    async def asked(self, audit: Audit, journal: Journal, queries: Queries, sql: str, reader: Reader = ANONYMOUS) -> dict[str, Any]:
        try:
            await AuditedQueries(queries, audit).run(QueryRequest(sql, {"city": "Chicago"}), reader)  # type: ignore[arg-type]
        except BaseException as error:
            if error is not queries.error:
                raise
        await asyncio.to_thread(audit.close)
        (row,) = journal.rows
        return row

    async def test_what_it_read(self, audit: Audit, journal: Journal) -> None:
        events = Touched("system.events", ("id", "kind"), Decision(allowed=True))
        sql = "SELECT p.name, kind FROM people p JOIN system.events e ON e.id = p.id WHERE phone = '555-1234' AND p.id > 7 -- Bob"
        row = await self.asked(audit, journal, Queries(PEOPLE, events), sql)
        assert row["statement"] == "SELECT p.name, kind FROM people p JOIN system.events e ON e.id = p.id WHERE phone = ? AND p.id > ?"
        assert row["tables"] == ["people", "system.events"]
        assert row["columns"] == {"people": ["id", "name", "phone"], "system.events": ["id", "kind"]}
        assert row["columns_known"] is True
        assert (row["versions"], row["rows"], row["bytes"], row["outcome"]) == ({"people": 4}, 3, 5, "done")

    async def test_a_wide_table_that_is_read_whole(self, audit: Audit, journal: Journal) -> None:
        wide = Touched("wide", tuple(f"c{number}" for number in range(500)), Decision(allowed=True))
        row = await self.asked(audit, journal, Queries(wide), "SELECT * FROM wide")
        assert (row["columns"], row["columns_known"]) == ({"wide": ["*"]}, True)

    async def test_a_table_has_one_name(self, audit: Audit, journal: Journal) -> None:
        orders = ("id", "title")
        touched = (Touched("job-orders", orders, Decision(allowed=True)), Touched("job_orders", orders, Decision(allowed=True)))
        row = await self.asked(audit, journal, Queries(*touched), 'SELECT a.title FROM "job-orders" a JOIN job_orders b ON a.id = b.id')
        assert (row["tables"], row["columns"]) == (["job_orders"], {"job_orders": ["id", "title"]})

    async def test_what_policies_did(self, audit: Audit, journal: Journal) -> None:
        shown = Touched("people", ("id", "name", "phone"), MASKED)
        row = await self.asked(audit, journal, Queries(shown), "SELECT phone FROM people", CLERK)
        assert (row["reader"], row["profile"], row["role"]) == ("t1", "desk", "clerk")
        assert row["filters"] == {"people": "region = $region"}
        assert row["masks"] == {"people": {"phone": "lastFour"}}
        assert row["policies"] == {"people": ["people-access"]}
        assert "north" not in str(row)

    async def test_a_text_that_does_not_tell(self, audit: Audit, journal: Journal) -> None:
        row = await self.asked(audit, journal, Queries(PEOPLE), f"SELECT {'(' * 200}name{')' * 200} FROM people")
        assert (row["columns"], row["columns_known"]) == ({"people": ["*"]}, False)

    async def test_it_names_what_it_asked_for_where_it_was_refused(self, audit: Audit, journal: Journal) -> None:
        queries = Queries(error=TableUnknown("no"), named=["salaries"])
        row = await self.asked(audit, journal, queries, "SELECT \"Bob\", 'x' FROM salaries")
        assert (row["outcome"], row["tables"], row["statement"]) == ("refused", ["salaries"], 'SELECT "?", ? FROM salaries')
        assert (row["columns"], row["columns_known"]) == ({"salaries": ["*"]}, False)

    async def test_what_is_no_sql(self, audit: Audit, journal: Journal) -> None:
        row = await self.asked(audit, journal, Queries(error=QueryTimeout("no")), "Dear Bob, your PIN is 1234 from now on")
        assert row["statement"] == "? ?, … ? is ? from ? on"

    async def test_queries_over_a_quota_are_not_looked_at(self, audit: Audit, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engines.audited.parses", lambda sql: pytest.fail("parsed"))
        queries = Queries(error=QuotaExceeded("no", retry_after=1))
        audited = AuditedQueries(queries, audit)  # type: ignore[arg-type]
        for number in range(100):
            with pytest.raises(QuotaExceeded):
                await audited.run(QueryRequest(f'SELECT {number} FROM "Bob"'), CLERK)
        assert journal.syncs == 1
        await asyncio.to_thread(audit.close)
        first, others = journal.rows
        assert (first["statement"], first["reason"], first["profile"]) == ("SELECT ? FROM ?", "quota-exceeded", "desk")
        assert (others["action"], others["reason"], others["profile"], others["detail"]) == (
            "query", "quota-exceeded", "desk", {"repeated": 99},
        )  # fmt: skip

    async def test_a_client_that_leaves(self, audit: Audit, journal: Journal) -> None:
        row = await self.asked(audit, journal, Queries(error=asyncio.CancelledError(), named=["people"]), "SELECT name FROM people")
        assert (row["outcome"], row["tables"]) == ("cancelled", ["people"])

    async def test_a_huge_statement(self, audit: Audit, journal: Journal) -> None:
        row = await self.asked(audit, journal, Queries(error=QueryTimeout("no")), "SELECT '" + "x" * 5_000_000 + "'")
        assert row["statement"] == "SELECT ? …"


class Searches:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        if self.error is not None:
            raise self.error
        hits = (Hit("1", 0, "a secret text", 0.5),)
        facets = {name: Facet((("a secret", 2), (None, 1)), 3, 2) for name in request.facets}
        found = {"text": ("title", "body"), "decision": MASKED, "facets": facets or None}
        return SearchResult(hits, request.index, "notes-g1", {"my-notes": 3}, model="mini", **found)


class TestSearches:
    async def asked(self, audit: Audit, journal: Journal, searches: Searches, request: SearchRequest, texts: Texts) -> dict[str, Any]:
        with suppress(TableUnknown):
            await AuditedSearches(searches, audit, texts).search(request, CLERK)  # type: ignore[arg-type]
        (row,) = journal.rows
        return row

    async def test_what_was_searched(self, audit: Audit, journal: Journal) -> None:
        request = SearchRequest("notes", "Bob's pension", k=5, filter="city = 'Chicago' AND \"Year\" > 2020")
        row = await self.asked(audit, journal, Searches(), request, Texts(b"k" * 32))
        assert (row["index"], row["model"], row["generation"], row["rows"]) == ("notes", "mini", "notes-g1", 1)
        assert row["statement"] == 'city = ? AND "Year" > ?'
        assert (row["tables"], row["versions"]) == (["my_notes"], {"my-notes": 3})
        assert row["columns"] == {"my_notes": ["Year", "body", "city", "title"]}
        assert row["masks"] == {"my_notes": {"phone": "lastFour"}}
        assert row["detail"]["k"] == 5
        text = row["detail"]["text"]
        assert text.keys() == {"characters", "digest"}
        assert text["characters"] == 13
        assert not {"Bob", "Chicago", "secret"} & set(str(row).replace("'", " ").split())

    @pytest.mark.parametrize("condition", [None, "city = 'Chicago'"])
    async def test_facets_are_columns_that_were_read(self, audit: Audit, journal: Journal, condition: str | None) -> None:
        request = SearchRequest("notes", "a", filter=condition, facets=("title", "year"))
        row = await self.asked(audit, journal, Searches(), request, Texts())
        assert set(row["columns"]["my_notes"]) == {"title", "body", "year"} | ({"city"} if condition else set())
        assert (row["rows"], row["detail"]["facets"]) == (1 + 4, ["title", "year"])

    async def test_facets_of_a_refused_search_may_be_anything(self, audit: Audit, journal: Journal) -> None:
        request = SearchRequest("notes", "a", facets=("Bob",))
        assert "Bob" not in str(await self.asked(audit, journal, Searches(TableUnknown("no")), request, Texts()))

    async def test_equal_texts_have_equal_digests_under_one_key(self) -> None:
        one, other = Texts(b"1" * 32), Texts(b"2" * 32)
        assert one.of("a") == one.of("a")
        assert one.of("a") != one.of("b")
        assert one.of("a") != other.of("a")
        assert Texts().of("abc") == {"characters": 3}

    async def test_texts_are_kept_where_the_settings_say_so(self, audit: Audit, journal: Journal) -> None:
        row = await self.asked(audit, journal, Searches(), SearchRequest("notes", "Bob's pension"), Texts(None, whole=True))
        assert row["detail"]["text"] == {"characters": 13, "text": "Bob's pension"}

    async def test_a_refused_one(self, audit: Audit, journal: Journal) -> None:
        request = SearchRequest("notes", vector=[0.5] * 4, filter="name = 'Bob'")
        row = await self.asked(audit, journal, Searches(TableUnknown("no")), request, Texts())
        assert (row["outcome"], row["index"], row["statement"], row["detail"]["dimension"]) == ("refused", "notes", "? = ?", 4)
