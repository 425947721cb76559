"""Two lakes that differ in what policies hide give every answer alike: searches, system tables, descriptions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index

from api.dataset_documents import document
from api.search import SearchBody, answered
from api.search import document as search_document
from engines.at import at_from
from engines.errors import EngineUnsupported, LakehouseError, QueryForbidden, SearchInvalid, TableUnknown
from engines.ranking import Ranking
from engines.reading import Binding, Reader
from engines.search_answer import SearchRequest
from engines.sql.export import export
from engines.sql.query_request import QueryRequest
from reconciler.lakectl.tables_here import TablesHere
from reconciler.reading import Readers, reading
from reconciler.settings import Settings

KEYED = ", primaryKey: [id], write: upsert"
POLICY = """\
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: p}
spec:
  dataset: x
  rows: [{roles: [clerk], where: "status = 'open'"}, {roles: [chief], where: "true"}]
  columns: [{columns: phone, roles: [clerk], mask: lastFour}]
---
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: q}
spec:
  dataset: y
  columns: [{columns: phone, roles: [clerk, stranger], mask: redact}, {columns: note, roles: [typist], mask: 'null'}]
"""
MADE_OF = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: z}
spec: {source: {sql: "SELECT id, status, phone, upper(note) AS note FROM x WHERE id < 100"}, primaryKey: [id]}
---
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: r}
spec: {dataset: z, rows: [{roles: [clerk], where: "status = 'open'"}], columns: [{columns: phone, roles: [clerk], mask: lastFour}]}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: w}
spec: {source: {sql: "SELECT status, count(*) AS n FROM z GROUP BY status"}}
"""
"""Of x, with a policy of its own; and of that, with none, which is closed."""

SPECS = (
    BUCKET,
    dataset("x", KEYED),
    dataset("y", KEYED),
    index("i", "x", "note", ", lexical: true"),
    index("j", "y", "note"),
    generation("g", "i"),
    POLICY,
    MADE_OF,
)
SEEN = [(n, "open", f"0700{n:04}", f"java developer in city {n % 5}") for n in range(0, 40, 2)]
HIDDEN = (
    [(n, "closed", f"0711{n:04}", f"secret java developer {n}") for n in range(1, 30, 2)],
    [(n, "closed", f"0722{n:04}", f"bread and cake {n % 3}") for n in range(1, 12, 2)],
)
LATER = (
    "id,status,phone,note\n4,open,07000004,nurse in city 4\n6,closed,07000006,java developer in city 6\n3,open,07110003,secret no more\n"
    "101,closed,1,java developer in city 0\n",
    "id,status,phone,note\n4,open,07000004,nurse in city 4\n6,closed,07000006,cook\n3,open,07110003,secret no more\n",
)


def rows(hidden: Sequence[tuple[int, str, str, str]]) -> str:
    return "id,status,phone,note\n" + "".join(f"{','.join(map(str, row))}\n" for row in sorted([*SEEN, *hidden]))


def masked(lake: int) -> str:
    return "id,phone,note\n" + "".join(f"{n},{lake}-{n * (lake + 7)},java developer in city {n % 5}\n" for n in range(20))


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Bench]]:
    made = []
    for at, hidden in enumerate(HIDDEN):
        bench = Bench(tmp_path_factory.mktemp(f"lake{at}"))
        made.append(bench)
        bench.write("data/x/a.csv", rows(hidden))
        bench.write("data/y/a.csv", masked(at))
        bench.commit(*SPECS)
        bench.settle()
        bench.write("data/x/b.csv", LATER[at])
        bench.commit(*SPECS)
        bench.settle()
    yield made
    for bench in made:
        bench.close()


def reader(
    lake: Bench, role: str = "clerk", datasets: Sequence[str] = ("x", "y", "z", "w"), indexes: Sequence[str] = ("i", "j"), **more: Any
) -> Reader:
    binding = Binding(frozenset(datasets), frozenset(indexes))
    return Reader(profile="desk", role=role, binding=binding, rules=lake.kinds.policy.book.now(), **more)


def asked(lake: Bench, ask: Callable[[Readers], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with reading(lake.state, Settings()) as readers:
            return await ask(readers)

    return asyncio.run(run())


def alike(lakes: Sequence[Bench], ask: Callable[[Bench, Readers], Awaitable[Any]]) -> Any:
    """The answer that both lakes give, errors included."""

    async def told(lake: Bench, readers: Readers) -> Any:
        try:
            return await ask(lake, readers)
        except (QueryForbidden, SearchInvalid, TableUnknown) as error:
            return type(error).__name__, error.explain()

    one, other = [asked(lake, lambda readers, lake=lake: told(lake, readers)) for lake in lakes]
    assert one == other
    return one


WAYS: Sequence[Mapping[str, Any]] = (
    {}, {"mode": "vector"}, {"explain": True}, {"beats": 0.5, "explain": True}, {"threshold": 0.2, "explain": True},
    {"by_row": True, "explain": True}, {"diversity": 0.4, "explain": True}, {"mode": "hybrid", "explain": True},
    {"mode": "lexical", "explain": True},
)  # fmt: skip
FILTERS = (
    None,
    "status = 'open'",
    "status = 'closed'",
    "phone LIKE '%0004'",
    "phone LIKE '0711%'",
    "id > 3",
    "note LIKE '%secret%'",
    "1 / (id - 5) > 0",
)


def test_searches(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        found = []
        for at in (None, at_from(1)):
            for way in WAYS:
                for condition in FILTERS if not way else FILTERS[:2]:
                    request = SearchRequest("i", "java developer in city 0", k=60, filter=condition, at=at, ranking=Ranking(**way))
                    try:
                        answer = search_document(await readers.searches.search(request, reader(lake)))
                    except SearchInvalid as error:
                        answer = {"error": error.explain()}
                    found.append((condition, dict(way), answer))
        return found

    answers = alike(lakes, ask)
    present = answers[0][2]["hits"]
    assert {hit["key"] for hit in present} == {f"[{row[0]}]" for row in SEEN if row[0] != 6} | {"[3]"}
    assert {hit["text"] for hit in present if hit["key"] in ("[3]", "[4]")} == {"secret no more", "nurse in city 4"}
    assert all(answer["hits"] for condition, way, answer in answers if way and condition is None)
    modes = {way.get("mode"): answer["mode"] for _, way, answer in answers if "mode" in answer}
    assert modes == {None: "hybrid", "vector": "vector", "hybrid": "hybrid", "lexical": "lexical"}


def test_facets_count_what_is_seen(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        found = []
        for name, at in (("i", None), ("i", at_from(1)), ("j", None)):
            request = SearchRequest(name, "java developer", k=1, at=at, facets=("status", "phone") if name == "i" else ("phone", "note"))
            found.append(search_document(await readers.searches.search(request, reader(lake)))["facets"])
        return found

    present, former, masked = alike(lakes, ask)
    assert present["status"] == {"values": [{"value": "open", "count": 20}], "rows": 20, "distinct": 1}
    assert {one["value"] for one in present["phone"]["values"]} < {f"{row[0]:04}" for row in SEEN} | {"0003"}
    assert "0006" not in str(present["phone"])
    assert (present["phone"]["rows"], present["phone"]["distinct"]) == (20, 20) == (former["phone"]["rows"], former["phone"]["distinct"])
    assert (masked["phone"]["rows"], masked["phone"]["distinct"], masked["note"]["distinct"]) == (20, 1, 5)


WORDS = ("java", "developer", "city", "secret", "no more", "nurse", "bread", "cake", "closed", "4", "qqq")
MODELS = ("builtin", "g", "no-such")
FACETS = (["status"], ["phone", "status"], ["note", "id"], ["phone"], ["id"], ["status", "_file"])
CONDITIONS = (
    *FILTERS[1:],
    *(
        "note IS NULL",
        "status <> phone",
        "cast(note AS int) = 1",
        "phone > 'x'",
        "id IN (1, 2, 4)",
        "length(note) > 24 OR status = 'closed'",
    ),
    *("nobody = 1", "id IN (SELECT id FROM x)", "true", "100 / (id - 3) > 0 AND status = 'open'", "phone = '0711'", "id % 4 = 2"),
)


def bodies(seed: int, count: int) -> Iterator[SearchBody]:
    """What may be sent to /search; what no answer has, at times."""
    rng = random.Random(seed)

    def maybe(share: float, value: Any) -> Any:
        return value if rng.random() < share else None

    for _ in range(count):
        found: dict[str, Any] = {"index": rng.choice(("i", "i", "i", "j")), "k": rng.choice((1, 2, 5, 60, 20_000))}
        if rng.random() < 0.15:
            found["vector"] = [rng.gauss(0, 1) for _ in range(rng.choice((256, 256, 8)))]
        else:
            found["text"] = " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))
        one, other = rng.sample(MODELS, 2)
        kind = rng.random()
        more = {"ab": [one, other]} if kind < 0.2 else {"model": one} if kind < 0.4 else {}
        if kind > 0.95:
            found, more = {"index": "i", "k": 5, "evalSet": "no-such"}, {"ab": [one, other]}
        else:
            found["filter"] = maybe(0.5, rng.choice(CONDITIONS))
        threshold = rng.choice((0.0, 0.3, 0.8, {"beats": 0.5}, {"beats": 0.95}))
        ways = {
            "mode": maybe(0.6, rng.choice(("vector", "lexical", "hybrid"))),
            "weights": maybe(0.2, {"vector": rng.random(), "lexical": rng.choice((0, 1, 2))}), "threshold": maybe(0.3, threshold),
            "groupBy": maybe(0.2, "row"), "diversity": rng.choice((0, 0, 0.3, 1)), "rerank": maybe(0.2, "builtin"),
            "explain": rng.random() < 0.5, "at": maybe(0.2, rng.choice((1, 2, 9))),
            "facets": None if "ab" in more else maybe(0.4, rng.choice(FACETS)),
        }  # fmt: skip
        yield SearchBody.model_validate({name: value for name, value in {**found, **more, **ways}.items() if value is not None})


async def compared(lake: Bench, readers: Readers, seed: int, count: int) -> list[Any]:
    found: list[Any] = []
    for body in bodies(seed, count):
        for who in (reader(lake), reader(lake, datasets=(), at=1)):
            try:
                answer: Any = await answered(readers.searches, body, who)
                for stage in answer.get("stages", ()):
                    stage.pop("seconds", None)
            except LakehouseError as error:
                answer = type(error).__name__, error.explain()
            found.append((body.model_dump(exclude_defaults=True), who.role, answer))
    return found


def test_requests_made_up_at_random(lakes: list[Bench]) -> None:
    found = alike(lakes, lambda lake, readers: compared(lake, readers, 11, 24))
    hits = [answer for _, _, answer in found if isinstance(answer, dict) and answer.get("hits")]
    assert len(hits) > len(found) // 8, "most requests find nothing, which probes little"
    assert not any("secret java" in str(answer) or "bread and cake" in str(answer) for _, _, answer in found)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20, 28))
def test_many_more_of_them(lakes: list[Bench], seed: int) -> None:
    alike(lakes, lambda lake, readers: compared(lake, readers, seed, 300))


DERIVED = (
    *("SELECT * FROM z", "DESCRIBE z", "SELECT count(*) AS n, min(note) AS a, max(phone) AS b FROM z", "SELECT 1 / (id - 3) AS n FROM z"),
    *(
        "SELECT id FROM z WHERE phone LIKE '0711%' OR note LIKE '%SECRET%'",
        "SELECT z.id FROM z JOIN x ON x.id = z.id WHERE x.status <> 'a'",
    ),
    *("SELECT id, lag(cast(right(note, 1) AS int)) OVER (ORDER BY id) AS n FROM z", "SELECT id FROM z ORDER BY phone, id OFFSET 12"),
    *("SELECT id FROM x EXCEPT SELECT id FROM z", "SELECT * FROM w", "DESCRIBE w", "SELECT n FROM w JOIN z ON z.status = w.status"),
    *("SELECT * FROM qqq", "SELECT name, rows, snapshot FROM system.datasets WHERE name IN ('w', 'z')"),
)


def test_datasets_that_are_made_of_governed_ones(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        found: dict[Any, Any] = {}
        for sql in DERIVED:
            for role, at in (("clerk", None), ("clerk", 1), ("stranger", None)):
                try:
                    result = await readers.queries.run(QueryRequest(sql), reader(lake, role, at=at))
                    found[sql, role, at] = result.columns(), sorted(map(str, result.rows()))
                except LakehouseError as error:
                    found[sql, role, at] = type(error).__name__, error.explain()
        return found

    found = alike(lakes, ask)
    assert len(found["SELECT * FROM z", "clerk", None][1]) == len(SEEN)
    assert found["SELECT * FROM z", "stranger", None][1] == []
    assert {found["SELECT * FROM w", role, None][0] for role in ("clerk", "stranger")} == {"QueryForbidden"}


def test_an_index_of_a_dataset_that_is_not_bound(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        who = reader(lake, datasets=())
        request = SearchRequest("i", "java developer in city 0", k=60, filter="phone LIKE '%0008'")
        found = search_document(await readers.searches.search(request, who))
        with pytest.raises(TableUnknown):
            await readers.queries.run(QueryRequest("SELECT * FROM x"), who)
        return found

    assert [hit["key"] for hit in alike(lakes, ask)["hits"]] == ["[8]"]


def test_masks_of_what_an_index_is_made_of(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        assert search_document(await readers.searches.search(SearchRequest("j", "java"), reader(lake)))["hits"]
        return await readers.searches.search(SearchRequest("j", "java"), reader(lake, "typist"))

    assert alike(lakes, ask)[0] == "QueryForbidden"


TABLES = ("datasets", "columns", "versions", "journal", "quarantine", "indexes", "index_models")


@pytest.mark.parametrize("table", TABLES)
def test_system_tables(lakes: list[Bench], table: str) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        found = {}
        for role in ("clerk", "stranger"):
            for sql in (f"SELECT * FROM system.{table}", f"DESCRIBE system.{table}", f"SELECT count(*) AS n FROM system.{table}"):
                result = await readers.queries.run(QueryRequest(sql), reader(lake, role))
                found[role, sql] = result.columns(), sorted(map(_comparable, result.rows()), key=str)
        return found

    assert alike(lakes, ask)


APART = frozenset({"build", "previous_build", "at", "revision", "version", "table_version"})


def _comparable(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what tells lakes apart by place alone: names of builds, which are digests of contents, and instants."""
    return {name: value for name, value in row.items() if name not in APART}


@pytest.mark.parametrize("table", ["audit", "catalog", "events", "files", "lineage", "status", "trials", "eval_sets", "builds", "objects"])
def test_other_system_tables_are_not_there(lakes: list[Bench], table: str) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        with pytest.raises(TableUnknown) as nothing:
            await readers.queries.run(QueryRequest("SELECT * FROM system.qqqqqqqq"), reader(lake))
        with pytest.raises(TableUnknown) as found:
            await readers.queries.run(QueryRequest(f"SELECT * FROM system.{table}"), reader(lake))
        assert found.value.explain().partition("`.")[0] == nothing.value.explain().partition("`.")[0].replace("qqqqqqqq", table)
        return found.value.explain()

    assert f"There is no table `system.{table}`" in alike(lakes, ask)


def test_the_journal_keeps_masked_values(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        found = await readers.queries.run(QueryRequest("SELECT dataset, field, old, new FROM system.journal"), reader(lake))
        return sorted({row["dataset"] for row in found.rows()})

    assert alike(lakes, ask) == ["y"]


def test_descriptions(lakes: list[Bench]) -> None:
    one, other = [
        document(state, lake.state.describe(state), reader(lake))
        for lake in lakes
        for state in [lake.catalog.get("Dataset/x")]
        if state is not None
    ]
    assert one == other
    assert one["rows"] is None


@pytest.mark.parametrize("moment", [None, 1])
@pytest.mark.parametrize("kept", [False, True])
def test_exports(lakes: list[Bench], tmp_path: Path, moment: int | None, kept: bool) -> None:
    files = []
    for number, lake in enumerate(lakes):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        here = TablesHere(lake.state, scratch, reader(lake, at=moment if kept else None))
        table = here.table("x", None if kept else moment, part=True)
        export(here.shown(table), "csv", scratch / "x.csv", scratch)
        files.append((scratch / "x.csv").read_text().splitlines())
        for action in ("read", "describe"):
            with pytest.raises(EngineUnsupported, match="Policies hide some of `x` from you"):
                here.table("x", None if kept else moment, action)  # as files, diff and replay ask
        with pytest.raises(TableUnknown):
            TablesHere(lake.state, scratch, reader(lake, datasets=("y",))).table("x", part=True)
    assert sorted(files[0]) == sorted(files[1])
    ids = {row[0] for row in SEEN} if moment == 1 else {row[0] for row in SEEN if row[0] != 6} | {3}
    assert {int(line.partition(",")[0]) for line in files[0][1:]} == ids
    assert not any("0700" in line for line in files[0])


def test_a_profile_that_is_kept_to_a_moment(lakes: list[Bench]) -> None:
    async def ask(lake: Bench, readers: Readers) -> Any:
        who = reader(lake, at=1)
        rows = (await readers.queries.run(QueryRequest("SELECT id, status FROM x ORDER BY id"), who)).rows()
        hits = search_document(await readers.searches.search(SearchRequest("i", "java", k=60), who))
        return rows, sorted(hit["key"] for hit in hits["hits"]), hits["versions"]

    rows, keys, versions = alike(lakes, ask)
    assert [row["id"] for row in rows] == [row[0] for row in SEEN]
    assert versions == {"x": 1}
    assert set(keys) <= {f"[{row[0]}]" for row in SEEN}
