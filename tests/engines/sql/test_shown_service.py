"""What the query service shows a reader who sees a part of a table: through workers, from the hot cache, at former versions, by filters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.at import At
from engines.errors import FilterInvalid, QueryForbidden, QueryInvalid, SearchInvalid, VersionUnknown
from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.reading import Decision, Reader, Rules, TableName, decide
from engines.sql import shown_sources
from engines.sql.facets import Facet
from engines.sql.hot import build
from engines.sql.hot_cache import HotCache
from engines.sql.pool import WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.session import Session
from engines.sql.shown import ShownAs, shown_as
from engines.sql.tables import CatalogTables
from state.catalog.schemas import Column, Schema
from tests.engines.sql.conftest import Lake

pytestmark = pytest.mark.anyio

ROLE = frozenset({"recruiter"})
FILTER = "status <> 'do_not_call' AND region = $region"
POLICY = PolicyRules("access", (RowRule(ROLE, FILTER),), (MaskRule(frozenset({"phone"}), Mask("lastFour"), ROLE),))
COLUMNS = {"id": "string", "phone": "string", "status": "string", "region": "string"}


class Book:
    """Policies that a test changes."""

    def __init__(self, *policies: PolicyRules, closed: str | None = None) -> None:
        self.now: Governed | None = Governed(policies, closed)

    def governed(self, dataset: str) -> Governed | None:
        return self.now


class Frozen:
    """The policies at an instant, as a Reader carries them."""

    def __init__(self, governed: Governed | None) -> None:
        self._governed = governed

    def governed(self, dataset: str) -> Governed | None:
        return self._governed


def reader(rules: Rules, **attributes: str) -> Reader:
    return Reader(profile="p", role="recruiter", attributes=attributes or {"region": "north"}, rules=rules)


def fill(lake: Lake, key: Sequence[str] = ("id",)) -> None:
    lake.create("people", COLUMNS, key)
    regions, statuses = ("north", "south"), ("active", "do_not_call", "new")
    rows = [{"id": f"P{n:03d}", "phone": f"555-{n:04d}", "status": statuses[n % 3], "region": regions[n % 2]} for n in range(120)]
    lake.add("people", rows)


@pytest.fixture
def cache(tmp_path: Path) -> HotCache:
    return HotCache(tmp_path / "hot", 1 << 30, lambda dataset: True)


def service(lake: Lake, pool: WorkerPool, hot: HotCache | None = None, **more: Any) -> QueryService:
    tables = CatalogTables(lake, lake.reader, lake, lake.views, hot=hot)
    return QueryService(tables, pool, hot=hot, hash_key=lambda: "ab" * 32, **more)


def hold(lake: Lake, hot: HotCache) -> None:
    """What a daemon does beside."""
    lake.resolver = CatalogTables(lake, lake.reader, lake, lake.views, hot=hot)
    lake.source("people")
    chosen = hot.build()
    assert chosen is not None
    build(chosen[0])
    hot.done(chosen[0])


async def test_rows_and_values_of_a_policy(lake: Lake, pool: WorkerPool) -> None:
    fill(lake)
    queries = service(lake, pool)
    result = await queries.run(QueryRequest("SELECT * FROM people ORDER BY id LIMIT 2"), reader(Book(POLICY)))
    assert result.rows() == [
        {"id": "P000", "phone": "0000", "status": "active", "region": "north"},
        {"id": "P002", "phone": "0002", "status": "new", "region": "north"},
    ]
    counted = "SELECT count(*) AS n FROM people"
    assert (await queries.run(QueryRequest(counted))).rows() == [{"n": 120}]
    assert (await queries.run(QueryRequest(counted), reader(Book(POLICY)))).rows() == [{"n": 40}]
    lacking = reader(Book(POLICY), other="x")  # a value that is missing is null
    assert (await queries.run(QueryRequest(counted), lacking)).rows() == [{"n": 0}]
    injected = reader(Book(POLICY), region="x' OR 'a' = 'a")
    assert (await queries.run(QueryRequest(counted), injected)).rows() == [{"n": 0}]
    assert (await queries.run(QueryRequest(counted), replace(reader(Book(POLICY)), role="temp"))).rows() == [{"n": 0}]


async def test_what_is_closed_is_said_to_be_so(lake: Lake, pool: WorkerPool) -> None:
    fill(lake)
    queries = service(lake, pool)
    shut = reader(Book(closed="`people` had a policy and has none now."))
    with pytest.raises(QueryForbidden, match="had a policy"):
        await queries.run(QueryRequest("SELECT 1 FROM people"), shut)
    with pytest.raises(QueryForbidden, match="had a policy"):
        await queries.keys("people", "true", shut)
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"))).rows() == [{"n": 120}]


@pytest.mark.parametrize("where", ["nothing = 1", "id", "true; SELECT 1", "id IN (SELECT id FROM people)", "cast('x' AS int) = 1", ""])
async def test_a_policy_that_cannot_be_shows_nothing_and_tells_nothing(lake: Lake, pool: WorkerPool, where: str) -> None:
    fill(lake)
    policy = PolicyRules("broken", (RowRule(ROLE, where),))
    with pytest.raises(QueryForbidden) as refused:
        await service(lake, pool).run(QueryRequest("SELECT count(*) FROM people"), reader(Book(policy)))
    assert str(refused.value) == "The policy `broken` cannot be evaluated, so nothing is shown."


async def test_a_policy_that_is_tightened_while_a_query_runs(lake: Lake, pool: WorkerPool) -> None:
    fill(lake)
    book = Book()
    before = reader(Frozen(None))
    queries = service(lake, pool, current=lambda one: replace(one, rules=Frozen(book.now)))
    book.now = Governed((POLICY,))  # since the request came
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"), before)).rows() == [{"n": 40}]
    assert len(await queries.keys("people", "true", before)) == 40
    book.now = Governed(closed="Nothing of it.")
    with pytest.raises(QueryForbidden, match="Nothing of it"):
        await queries.run(QueryRequest("SELECT count(*) AS n FROM people"), before)


async def test_what_is_shown_of_a_hot_table_is_made_once(lake: Lake, pool: WorkerPool, cache: HotCache, tmp_path: Path) -> None:
    fill(lake)
    hold(lake, cache)
    queries, one = service(lake, pool, cache), reader(Book(POLICY))
    sql = "SELECT count(*) AS n, max(length(phone)) AS p FROM people"
    both = await asyncio.gather(queries.run(QueryRequest(sql), one), queries.run(QueryRequest(sql), one))
    assert [result.rows() for result in both] == [[{"n": 40, "p": 4}]] * 2
    (made,) = (tmp_path / "hot" / "shown").iterdir()
    held = pa.concat_tables(pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in made.glob("*.arrow"))
    assert held.num_rows == 40
    assert "do_not_call" not in held["status"].to_pylist()
    assert not [phone for phone in held["phone"].to_pylist() if len(phone) > 4]
    other = replace(one, attributes={"region": "south", "shoe": "44"})
    assert (await queries.run(QueryRequest(sql), other)).rows() == [{"n": 40, "p": 4}]
    assert (await queries.run(QueryRequest(sql), replace(other, attributes={"region": "south"}))).rows() == [{"n": 40, "p": 4}]
    assert len(list((tmp_path / "hot" / "shown").iterdir())) == 2  # of the attributes, only what the filter uses tells them apart
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"))).rows() == [{"n": 120}]


async def test_what_is_shown_goes_with_its_snapshot(lake: Lake, pool: WorkerPool, cache: HotCache, tmp_path: Path) -> None:
    fill(lake)
    hold(lake, cache)
    queries, one = service(lake, pool, cache), reader(Book(POLICY))
    counted = "SELECT count(*) AS n FROM people"
    await queries.run(QueryRequest(counted), one)
    (first,) = (tmp_path / "hot" / "shown").iterdir()
    for number in range(3):
        lake.add("people", [{"id": f"N{number}", "phone": "1", "status": "new", "region": "north"}], "delta")
        assert (await queries.run(QueryRequest(counted), one)).rows() == [{"n": 41 + number}]
    left = {path.name.partition("-")[0] for path in (tmp_path / "hot" / "shown").iterdir()}
    assert first.name.partition("-")[0] not in left
    assert left <= {path.stem for path in (tmp_path / "hot").glob("*.json")}


async def test_without_room_the_barrier_serves(lake: Lake, pool: WorkerPool, tmp_path: Path) -> None:
    fill(lake)
    small = HotCache(tmp_path / "hot", 1 << 30, lambda dataset: True)
    hold(lake, small)
    tight = HotCache(tmp_path / "hot", small.bytes + 10, lambda dataset: True)
    queries = service(lake, pool, tight)
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"), reader(Book(POLICY)))).rows() == [{"n": 40}]
    assert not [path for path in (tmp_path / "hot" / "shown").glob("*") if not path.name.startswith(".")]


async def test_a_copy_that_is_lost_is_never_replaced_by_the_whole_table(lake: Lake, pool: WorkerPool, cache: HotCache) -> None:
    fill(lake)
    hold(lake, cache)
    queries, one = service(lake, pool, cache), reader(Book(POLICY))
    counted = "SELECT count(*) AS n FROM people"
    await queries.run(QueryRequest(counted), one)
    tables = shown_sources.ShownSources(CatalogTables(lake, lake.reader, lake, lake.views, hot=cache), None, None)
    assert tables.resolve(lake.resolver.named("people"), one, At(), fresh=False).shown is not None  # type: ignore[union-attr]
    for path in (cache._folder / "shown").rglob("*"):
        if path.is_file():
            path.unlink()
    assert (await queries.run(QueryRequest(counted), one)).rows() == [{"n": 40}]


async def test_an_operator_who_is_none_any_more_when_the_answer_is_there(lake: Lake, pool: WorkerPool) -> None:
    """Though no policy hides anything of the table from them."""
    fill(lake)
    queries = service(lake, pool, current=lambda one: replace(one, operator=False))
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"))).rows() == [{"n": 120}]
    with pytest.raises(QueryForbidden, match="Plans are for operators"):
        await queries.run(QueryRequest("EXPLAIN SELECT id FROM people WHERE status = 'new'"))
    with pytest.raises(QueryInvalid, match="The statement fails on a row"):
        await queries.run(QueryRequest("SELECT cast(status AS int) FROM people"))
    version = lake.tables["people"].version
    pinned = service(lake, pool, current=lambda one: replace(one, at=version + 7))
    with pytest.raises(VersionUnknown):
        await pinned.run(QueryRequest("SELECT id FROM people"), reader(Book()))


@pytest.mark.parametrize("key", [("id",), ()])
async def test_keys_of_rows_that_are_shown(lake: Lake, pool: WorkerPool, key: Sequence[str]) -> None:
    fill(lake, key)
    queries, one = service(lake, pool), reader(Book(POLICY))
    assert len(await queries.keys("people", "true", one)) == 40
    assert len(await queries.keys("people", "phone = '0002'", one)) == 1  # filters see what is shown
    assert len(await queries.keys("people", "phone = '555-0002'", one)) == 0
    assert len(await queries.keys("people", "status = 'do_not_call'", one)) == 0
    for condition in ("__permitted", "__carried_id = 'x'", '"__carried__file" IS NULL', "id IN (SELECT id FROM people)"):
        with pytest.raises(FilterInvalid):
            await queries.keys("people", condition, one)
    hidden = PolicyRules("keys", (), (MaskRule(frozenset({"id"}), Mask("null"), ROLE),))
    found = await queries.keys("people", "id IS NULL", reader(Book(hidden)))
    assert len(found) == len(await queries.keys("people", "true"))


@pytest.mark.parametrize("key", [("id",), ()])
async def test_facets_of_what_is_shown(lake: Lake, pool: WorkerPool, key: Sequence[str]) -> None:
    fill(lake, key)
    queries, one = service(lake, pool), reader(Book(POLICY))
    every = await queries.keys("people", "true")
    facets = (await queries.facets("people", ["status", "phone", "region"], every, None, one)).facets
    assert facets["status"] == Facet((("active", 20), ("new", 20)), 40, 2)
    assert facets["region"] == Facet((("north", 40),), 40, 1)
    assert facets["phone"].values[:2] == (("0000", 1), ("0002", 1))
    one_row = await queries.facets("people", ["phone"], every, "phone = '0002'", one)
    assert (one_row.facets["phone"].values, len(one_row.keys or ())) == ((("0002", 1),), 1)
    redacted = reader(Book(PolicyRules("keys", (), (MaskRule(frozenset({"id", "phone"}), Mask("redact"), ROLE),))))
    for column in ("id", "phone"):
        counted = (await queries.facets("people", [column], every, None, redacted)).facets[column]
        assert (counted.rows, counted.distinct) == (120, 1), "as it is shown, though keys are made of it"
    for name in ("__permitted", "__carried_id", "__carried__file", "_file", "__facet_0", "nope"):
        with pytest.raises(SearchInvalid, match=f"There is no column `{name}`"):
            await queries.facets("people", [name], every, None, one)


@pytest.mark.parametrize("key", [("id",), ()])
@pytest.mark.parametrize("hidden", [0, 1, 120])
async def test_filters_under_a_policy_that_fails_on_rows(lake: Lake, pool: WorkerPool, key: Sequence[str], hidden: int) -> None:
    """On none, on one or on many that are hidden: keys, numbers of rows and errors are the same."""
    fill(lake, key)
    secret = [{"id": f"H{n:03d}", "phone": f"x{n:04d}", "status": "do_not_call", "region": "north"} for n in range(hidden)]
    if secret:
        lake.add("people", secret)
    where = "cast(replace(phone, '-', '') AS int) > 0 AND status <> 'do_not_call'"
    policy = PolicyRules("failing", (RowRule(ROLE, where),), (MaskRule(frozenset({"phone"}), Mask("lastFour"), ROLE),))
    queries, one = service(lake, pool), reader(Book(policy))
    for condition, count in (("true", 80), ("phone = '0004'", 0), ("phone LIKE '%0005'", 1), ("id LIKE 'H%'", 0), ("id < 'P003'", 2)):
        assert len(await queries.keys("people", condition, one)) == count, condition
    counted = await queries.facets("people", ["status"], await queries.keys("people", "true"), None, one)
    assert counted.facets["status"] == Facet((("active", 40), ("new", 40)), 80, 2)
    assert (await queries.run(QueryRequest("SELECT count(*) AS n FROM people"), one)).rows() == [{"n": 80}]
    with pytest.raises(FilterInvalid, match="The statement fails on a row that it reads"):
        await queries.keys("people", "1 / (length(phone) - 4) > 0", one)
    with pytest.raises(FilterInvalid, match="There is no column `_file`"):
        await queries.keys("people", "_file = 'x'", one)


async def test_errors_tell_no_value(lake: Lake, pool: WorkerPool) -> None:
    fill(lake)
    queries, one = service(lake, pool), reader(Book(POLICY))
    for sql in ("SELECT cast(status AS int) FROM people", "SELECT 1 / (length(id) - 4) FROM people"):
        with pytest.raises(QueryInvalid, match=r"^The statement fails on a row that it reads: [\w ,]+\.$"):
            await queries.run(QueryRequest(sql), one)
    with pytest.raises(QueryInvalid, match="There is no column `phon`"):
        await queries.run(QueryRequest("SELECT phon FROM people"), one)
    with pytest.raises(QueryInvalid, match="Cannot cast string 'active'"):
        await queries.run(QueryRequest("SELECT cast(status AS int) FROM people"))


async def test_a_system_table_is_shown_in_part(lake: Lake, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake)
    lake.system["events"] = pa.table({"object": ["Dataset/people", "Dataset/other"], "message": ["a", "b"]})

    def decided(one: Reader, name: TableName, listing: Any) -> Decision:
        return Decision(True, "object = 'Dataset/people'", {"message": Mask("redact")}, policies=("system",))

    monkeypatch.setattr(shown_sources, "decision_of", decided)
    result = await service(lake, pool).run(QueryRequest("SELECT * FROM system.events"), reader(Book()))
    assert result.rows() == [{"object": "Dataset/people", "message": "[redacted]"}]
    (events,) = result.touched
    assert (events.decision.row_filter, events.decision.policies) == ("object = 'Dataset/people'", ("system",)), "as it was shown"


async def test_a_former_version_keeps_its_masks_under_its_names(lake: Lake, pool: WorkerPool) -> None:
    """phone was called tel, and another column was called phone; ssn is gone; status came later."""
    lake.create("people", {"id": "string", "phone": "string", "tel": "string", "ssn": "string"}, ["id"])
    lake.add("people", [{"id": "P1", "phone": "desk 5", "tel": "555-1234", "ssn": "078-05-1120"}])
    table = lake.tables["people"]
    columns = (Column(1, "id", "string"), Column(3, "phone", "string"), Column(2, "desk", "string"), Column(5, "status", "string"))
    now = replace(table, version=table.version + 1, schemas=(*table.schemas, Schema(2, columns)))
    mask = PolicyRules("masks", (), (MaskRule(frozenset({"phone"}), Mask("lastFour"), ROLE),))
    then = shown_as(_decision(mask), (now, table))
    shown = _rows(lake, then)
    assert shown == [{"id": "P1", "phone": "desk 5", "tel": "1234", "ssn": None}]
    rows = PolicyRules("rows", (RowRule(ROLE, "status = 'active'"),))
    gone = shown_as(_decision(rows), (now, table))
    assert _rows(lake, gone) == []
    called = PolicyRules("rows", (RowRule(ROLE, "phone LIKE '555%' AND people.desk = 'desk 5'"),))
    kept = shown_as(_decision(called), (now, table))
    assert len(_rows(lake, kept)) == 1


def _decision(policy: PolicyRules) -> Decision:
    return decide(reader(Book(policy)), TableName("people"), "read")


def _rows(lake: Lake, shown: ShownAs | None) -> list[Mapping[str, Any]]:
    source = replace(lake.source("people"), shown=shown)
    return list(Session().run("SELECT * FROM people", {}, [source], lambda frame: frame.to_arrow_table().to_pylist()))
