"""Migrations of the spec through the reconciler: former files are read under the present schema, and nothing is read again."""

from __future__ import annotations

from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask, ended

from controllers.dataset.rebuilding import Part, changes, rebuild
from engines.errors import QueryInvalid
from engines.files.footers import read_footer
from engines.reading import TableName
from engines.sql.session import Session
from engines.sql.tables import CatalogTables, sql_name
from engines.sql.views import make_view
from state import reasons
from state.catalog.entry import TableCommit
from state.catalog.fold import fold

KEYED = ", primaryKey: [id], write: upsert"


def rows(bench: Bench, sql: str, moment: Any = None, name: str = "people", schema: int | None = None) -> list[dict[str, Any]]:
    tables = CatalogTables(bench.catalog, bench.state.objects, None, bench.folder / "views")  # type: ignore[arg-type]
    source = tables.resolve(TableName(sql_name(name)), moment, schema=schema)
    assert source is not None
    with Session().frame(sql, {}, [source]) as frame:
        return frame.to_arrow_table().to_pylist()


def migrate(bench: Bench, migrations: str, more: str = "") -> Any:
    bench.commit(BUCKET, dataset("people", f"{more}, migrations: [{migrations}]"))
    return bench.settle()["Dataset/people"]


def begin(bench: Bench, *files: str, more: str = "") -> None:
    for number, text in enumerate(files, 1):
        bench.write(f"data/people/{number}.csv", text)
        bench.commit(BUCKET, dataset("people", more))
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED


def test_a_rename_reads_former_files_under_the_new_name_and_reads_no_source_again(bench: Bench) -> None:
    begin(bench, "id,first_name\n1,Ada\n2,Grace\n")
    (bench.folder / "data/people/1.csv").unlink()
    status = migrate(bench, "{from: 1, rename: {first_name: full_name}}")
    assert status.reason == reasons.SUCCEEDED
    table = bench.catalog.table("people")
    assert table is not None
    assert (table.version, [file.schema_id for file in table.files], table.schema.id) == (2, [1], 2)
    assert rows(bench, "SELECT id, full_name FROM people WHERE full_name >= 'B'") == [{"id": 2, "full_name": "Grace"}]
    assert rows(bench, "SELECT * FROM people ORDER BY id LIMIT 1", 1) == [{"id": 1, "first_name": "Ada"}]
    bench.write("data/people/2.csv", "id,full_name\n3,Joan\n")
    bench.settle()
    assert rows(bench, "SELECT * FROM people ORDER BY id")[1:] == [{"id": 2, "full_name": "Grace"}, {"id": 3, "full_name": "Joan"}]
    assert bench.events(reasons.SCHEMA_CHANGED)[0]["message"] == "schema 2: rename first_name to full_name"


def test_every_operation_under_appends_and_by_row_identity(bench: Bench) -> None:
    begin(bench, "id,name,street,town,age,junk\n1,Ada King Byron,Main,Ulm,36,x\n2,Plato,,Athens,,y\n", more="")
    said = (
        "{from: 1, rename: {id: person}, cast: {age: 'decimal(5,1)'}, split: {name: {into: [first, rest]}}, "
        "concat: {address: {columns: [street, town], separator: ', '}}, expression: {initial: 'substr(name, 1, 1)'}, drop: [junk]}"
    )
    assert migrate(bench, said).reason == reasons.SUCCEEDED
    found = rows(bench, "SELECT person, first, rest, address, age::varchar AS age, initial FROM people ORDER BY person")
    assert found == [
        {"person": 1, "first": "Ada", "rest": "King Byron", "address": "Main, Ulm", "age": "36.0", "initial": "A"},
        {"person": 2, "first": "Plato", "rest": None, "address": "Athens", "age": None, "initial": "P"},
    ]
    table = bench.catalog.table("people")
    assert table is not None
    kept = {column.name: column.id for column in table.columns if column.id <= 6}
    assert kept == {"person": 1, "age": 5}
    assert table.next_column_id == 11
    tables = CatalogTables(bench.catalog, bench.state.objects, None, bench.folder / "views")  # type: ignore[arg-type]
    source = tables.resolve(TableName("people"))
    assert source is not None
    with Session().identities(source, "first = 'Plato'", ()) as frame:
        assert frame.to_pydict()["_row"] == [1]


def test_migrations_follow_each_other_and_columns_that_were_added_in_between_are_null_before(bench: Bench) -> None:
    begin(bench, "id,a\n1,x\n")
    first, second = "{from: 1, rename: {a: b}}", "{from: 3, rename: {b: c}, drop: [extra]}"
    migrate(bench, first)
    bench.write("data/people/2.csv", "id,b,extra,more\n2,y,1,m\n")
    bench.settle()
    assert migrate(bench, f"{first}, {second}").reason == reasons.SUCCEEDED
    assert rows(bench, "SELECT * FROM people ORDER BY id") == [{"id": 1, "c": "x", "more": None}, {"id": 2, "c": "y", "more": "m"}]
    assert rows(bench, "SELECT * FROM people ORDER BY id", 3) == [
        {"id": 1, "b": "x", "extra": None, "more": None}, {"id": 2, "b": "y", "extra": 1, "more": "m"},
    ]  # fmt: skip


class TestUpserts:
    def test_former_base_and_deltas_merge_with_present_ones_and_fold_into_the_present_schema(self, bench: Bench) -> None:
        begin(bench, "id,first_name,age\n1,Ada,36\n2,Grace,85\n3,Emmy,53\n", "id,first_name,age\n2,Grace H,86\n4,Joan,90\n", more=KEYED)
        said = "{from: 1, rename: {id: person, first_name: full_name}, cast: {age: string}}"
        renamed = ", primaryKey: [person], write: upsert"
        assert migrate(bench, said, renamed).reason == reasons.SUCCEEDED
        table = bench.catalog.table("people")
        assert table is not None
        assert table.primary_key == ("person",)
        assert {file.schema_id for file in table.files} == {1}
        bench.write("data/people/3.csv", "person,full_name,age\n1,Ada K,37\n4,Joan C,91\n")
        bench.settle()
        expected = [(1, "Ada K", "37"), (2, "Grace H", "86"), (3, "Emmy", "53"), (4, "Joan C", "91")]
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == expected
        changed = [row for row in journal(bench) if row["version"] == 4]
        assert [(row["entity"], row["field"], row["old"], row["new"]) for row in changed] == [
            ("1", "full_name", "Ada", "Ada K"), ("1", "age", "36", "37"), ("4", "full_name", "Joan", "Joan C"), ("4", "age", "90", "91"),
        ]  # fmt: skip
        bench.commit(BUCKET, dataset("people", f"{renamed}, migrations: [{said}], compaction: {{maxDeltas: 1}}"))
        bench.settle()
        folded = bench.catalog.table("people")
        assert folded is not None
        assert {(file.role, file.schema_id) for file in folded.files} == {("base", 2)}
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == expected

    def test_a_row_of_a_former_file_can_be_set_by_hand_and_the_edit_survives_folding(self, bench: Bench) -> None:
        begin(bench, "id,first_name,age\n1,Ada,36\n2,Grace,85\n", more=KEYED)
        edit(bench, "1", first_name="Ada K")
        said = "{from: 1, rename: {id: person, first_name: full_name}, expression: {age: 'age * 12'}}"
        renamed = ", primaryKey: [person], write: upsert"
        assert migrate(bench, said, renamed).reason == reasons.SUCCEEDED
        edit(bench, "2", full_name="Grace H")
        expected = [(1, "Ada K", 432), (2, "Grace H", 1020)]
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == expected
        bench.commit(BUCKET, dataset("people", f"{renamed}, migrations: [{said}], compaction: {{maxDeltas: 1}}"))
        bench.settle()
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == expected
        table = bench.catalog.table("people")
        assert table is not None
        assert [(ledger.kind, ledger.rows) for ledger in table.ledgers if ledger.kind == "edit"] == [("edit", 2)]


class TestCoexistence:
    def test_rows_of_all_files_are_read_under_a_former_schema_by_the_ids_of_columns(self, bench: Bench) -> None:
        begin(bench, "id,first_name,age\n1,Ada,36\n", more=KEYED)
        migrate(
            bench, "{from: 1, rename: {id: person, first_name: full_name}, cast: {age: string}}", ", primaryKey: [person], write: upsert"
        )
        bench.write("data/people/2.csv", "person,full_name,age\n2,Grace,85\n3,Emmy,unknown\n")
        bench.settle()
        under_1 = rows(bench, "SELECT * FROM people ORDER BY id", schema=1)
        assert [tuple(row.values()) for row in under_1] == [(1, "Ada", 36), (2, "Grace", 85), (3, "Emmy", None)]
        assert list(under_1[0]) == ["id", "first_name", "age"]

    def test_a_schema_that_the_rows_cannot_be_read_under_is_refused_with_those_they_can(self, bench: Bench) -> None:
        begin(bench, "id,a\n1,x\n")
        migrate(bench, "{from: 1, rename: {a: b}}")
        with pytest.raises(QueryInvalid, match="cannot be read under schema 7") as raised:
            rows(bench, "SELECT * FROM people", schema=7)
        assert "It can under 1, 2" in str(raised.value.remedy)


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(
        ("migration", "said"),
        [
            ("{from: 1, rename: {nmae: b}}", "`rename` names `nmae`, which schema 1 has not; did you mean `name`?"),
            ("{from: 2, rename: {name: b}}", "there is no schema 2; rows are of schema 1 now: write `from: 1`"),
            ("{from: 1, rename: {name: age}}", "two columns would be named `age`"),
            ("{from: 1, rename: {name: b}, drop: [name]}", "`name` is named by `rename` and by `drop`; say one of them"),
            (
                "{from: 1, expression: {id: 'id + 1'}}",
                "`expression` names `id`, which is in the primary key: that can be renamed, and no more",
            ),
            ("{from: 1, cast: {zip: int64}}", "row 2 of data/people/1.csv: `zip` is `02134`, which is no int64 without loss"),
            ("{from: 1, cast: {age: bool}}", "row 1 of data/people/1.csv: `age` is `36`, which is no bool without loss"),
            (
                "{from: 1, expression: {x: '10 / (age - 85)'}}",
                "row 2 of data/people/1.csv: the expression of `x` fails: Divide by zero error",
            ),
            (
                "{from: 1, expression: {x: 'nope + 1'}}",
                "the expression of `x`: There is no column `nope`. Did you mean `name`? Columns: id, name",
            ),
            (
                "{from: 1, expression: {x: 'repeat(name, age * 1000)'}}",
                "the expression of `x` may make more than 1,000 times its row of it",
            ),
            ("{from: 1, expression: {x: 'sum(age)'}}", "the expression of `x` looks beyond its row: it aggregates"),
            ("{from: 1, expression: {x: 'row_number() over ()'}}", "the expression of `x` looks beyond its row"),
            ("{from: 1, expression: {x: '(SELECT max(object) FROM system.status)'}}", "the expression of `x`: it may not read tables"),
            ("{from: 1, expression: {x: 'random()'}}", "the expression of `x` calls random(), which gives something else each time"),
            ("{from: 1, expression: {x: 'age) FROM people --'}}", "the expression of `x`: "),
        ],
    )
    def test_it_waits_with_words_and_the_former_schema_is_served(self, bench: Bench, migration: str, said: str) -> None:
        begin(bench, "id,name,age,zip\n1,Ada,36,94016\n2,Grace,85,02134\n", more=KEYED)
        status = migrate(bench, migration, KEYED)
        assert status.reason == reasons.SCHEMA_CONFLICT
        assert said in status.message
        assert "version 1 with 2 rows stays served" in status.message
        assert rows(bench, "SELECT count(*) AS n FROM people WHERE name = 'Ada'") == [{"n": 1}]

    def test_it_is_tried_once_and_again_when_it_is_corrected(self, bench: Bench) -> None:
        begin(bench, "id,age\n1,36\n2,old\n")
        status = migrate(bench, "{from: 1, cast: {age: int64}}")
        assert status.reason == reasons.SCHEMA_CONFLICT
        seq = bench.catalog.seq
        bench.settle()
        assert bench.catalog.seq == seq
        status = migrate(bench, "{from: 1, expression: {age: 'TRY_CAST(age AS BIGINT)'}}")
        assert status.reason == reasons.SUCCEEDED
        assert rows(bench, "SELECT age FROM people ORDER BY id") == [{"age": 36}, {"age": None}]


def journal(bench: Bench) -> list[dict[str, Any]]:
    return rows(bench, "SELECT * FROM system.journal ORDER BY at, entity", name="system.journal")


def edit(bench: Bench, key: str, **values: str) -> None:
    request = ask(bench, "row-set", "Dataset/people", payload={"key": key, "set": values})
    bench.operator.answer()
    assert ended(bench, request)["outcome"] == "done"


def test_a_rename_of_nothing_is_told_on_a_first_load(bench: Bench) -> None:
    bench.write("data/people/1.csv", "id,given\n1,Ada\n")
    bench.commit(BUCKET, dataset("people", ", migrations: [{from: 1, rename: {first_name: name}}, {from: 1, rename: {born: given}}]"))
    assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
    told = [event["message"] for event in bench.events(reasons.INGEST_WARNING)]
    assert told == ["`migrations` renames `first_name` to `name`, and no file has either"]


class TestKeysThatDoNotFollow:
    RENAMED = "{from: 1, rename: {id: person}}"
    FOLLOWED = ", primaryKey: [person], write: upsert"

    @pytest.mark.parametrize(
        ("migrations", "told"),
        [
            (RENAMED, "`primaryKey` names `id`, which `migrations[0]` renames to `person`; write `person` for `id` in it."),
            ("{from: 1, drop: [id]}", "`drop` names `id`, which is in the primary key: that can be renamed, and no more;"),
            ("{from: 1, cast: {id: string}}", "`cast` names `id`, which is in the primary key"),
        ],
        ids=["renamed", "dropped", "cast"],
    )
    def test_are_refused_by_the_spec_and_rows_and_requests_go_on(self, bench: Bench, migrations: str, told: str) -> None:
        begin(bench, "id,name\n1,Ada\n2,Grace\n", more=KEYED)
        edit(bench, "1", name="Ada K")
        status = migrate(bench, migrations, KEYED)
        assert (status.reason, status.ready) == (reasons.INVALID_SPEC, "False")
        assert told in status.message
        bench.write("data/people/2.csv", "id,name\n3,Emmy\n")
        bench.settle()
        edit(bench, "3", name="Emmy N")
        expected = [(1, "Ada K"), (2, "Grace"), (3, "Emmy N")]
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY id")] == expected

    def test_are_not_taken_for_another_column_that_comes_under_their_name(self, bench: Bench) -> None:
        begin(bench, "id,number\n1,10\n2,20\n", more=KEYED)
        said = "{from: 1, rename: {id: former_id, number: id}}"
        status = migrate(bench, said, KEYED)
        assert (status.reason, status.ready) == (reasons.SCHEMA_CONFLICT, "False")
        assert "`primaryKey` would name another column than before; write `primaryKey: [former_id]`" in status.message
        assert migrate(bench, said, ", primaryKey: [former_id], write: upsert").reason == reasons.SUCCEEDED
        assert rows(bench, "SELECT * FROM people ORDER BY id") == [{"former_id": 1, "id": 10}, {"former_id": 2, "id": 20}]

    def leave_behind(self, bench: Bench, transformation: str | None = None) -> None:
        """The table, whose key is `person`, as a former release made it of a spec that said `id`."""
        table = bench.catalog.table("people")
        assert table is not None
        left = TableCommit("Dataset/people", transformation or table.transformation, table.bucket, ("id",), table.write)
        bench.catalog.commit((left,), actor="ada", reason="because")

    def test_are_told_where_a_table_was_left_behind(self, bench: Bench) -> None:
        begin(bench, "id,name\n1,Ada\n", more=KEYED)
        former = bench.catalog.table("people")
        assert former is not None
        migrate(bench, self.RENAMED, self.FOLLOWED)
        bench.commit(BUCKET, dataset("people", KEYED))
        self.leave_behind(bench, former.transformation)
        bench.write("data/people/2.csv", "id,name\n3,Emmy\n")
        bench.follower.advance()
        status = bench.settle()["Dataset/people"]
        assert (status.reason, status.ready) == (reasons.SCHEMA_CONFLICT, "False")
        said = "primaryKey (id) does not fit: schema 2 has no column `id`; it is `person` since; correct it; version 2 with 1 row"
        assert status.message == f"{said} stays served"
        request = ask(bench, "row-set", "Dataset/people", payload={"key": "1", "set": {"name": "x"}})
        bench.operator.answer()
        assert ended(bench, request)["message"].startswith("people has no column `id`, which `primaryKey` names.")

    @pytest.mark.parametrize("further", [True, False], ids=["with another migration", "by itself"])
    @pytest.mark.parametrize("seen", [True, False], ids=["seen by the former release", "not yet seen"])
    def test_recover_with_the_corrected_spec(self, bench: Bench, seen: bool, further: bool) -> None:
        begin(bench, "id,name,junk\n1,Ada,x\n2,Grace,y\n", more=KEYED)
        edit(bench, "1", name="Ada K")
        former = bench.catalog.table("people")
        assert former is not None
        migrate(bench, self.RENAMED, self.FOLLOWED)
        self.leave_behind(bench, None if seen else former.transformation)
        bench.write("data/people/2.csv", "id,name,junk\n3,Emmy,z\n")
        more = ", {from: 2, drop: [junk]}" if further else ""
        assert migrate(bench, f"{self.RENAMED}{more}", self.FOLLOWED).reason == reasons.SUCCEEDED
        edit(bench, "2", name="Grace H")
        found = [tuple(row.values()) for row in rows(bench, "SELECT person, name FROM people ORDER BY person")]
        assert found == [(1, "Ada K"), (2, "Grace H"), (3, "Emmy")]


class TestFilesOfTheFormerShape:
    SAID = (
        "{from: 1, rename: {id: person}, cast: {age: string}, split: {name: {into: [first, last]}}, "
        "expression: {initial: 'substr(name, 1, 1)'}}"
    )
    RENAMED = ", primaryKey: [person], write: upsert"
    ROWS = ((1, "Ada", "Byron", "36", "A"), (2, "Grace", "Hopper", "85", "G"))

    def test_one_that_comes_later_goes_through_the_migration(self, bench: Bench) -> None:
        begin(bench, "id,name,age\n1,Ada Byron,36\n", more=KEYED)
        migrate(bench, self.SAID, self.RENAMED)
        bench.write("data/people/2.csv", "id,name,age\n2,Grace Hopper,85\n")
        bench.settle()
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == list(self.ROWS)

    def test_sources_are_read_again_when_the_table_is_made_anew_or_begins(self, bench: Bench) -> None:
        begin(bench, "id,name,age\n1,Ada Byron,36\n2,Grace Hopper,85\n", more=KEYED)
        migrate(bench, self.SAID, self.RENAMED)
        migrate(bench, self.SAID, ", primaryKey: [person]")
        table = bench.catalog.table("people")
        assert table is not None
        assert (table.write, len(table.schema.migrations), table.schema.derivation) == ("append", 1, None)
        assert [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY person")] == list(self.ROWS)
        bench.write("data/others/1.csv", "person,first,last,age,initial\n2,Grace,Hopper,85,G\n")
        bench.write("data/others/0.csv", "id,name,age\n1,Ada Byron,36\n")
        bench.commit(BUCKET, dataset("others", f"{self.RENAMED}, migrations: [{self.SAID}]"))
        assert bench.settle()["Dataset/others"].reason == reasons.SUCCEEDED
        found = rows(bench, "SELECT person, first, last, age::varchar, initial FROM others ORDER BY person", name="others")
        assert [tuple(row.values()) for row in found] == list(self.ROWS)

    def test_a_lost_file_is_made_again_of_its_source(self, bench: Bench) -> None:
        begin(bench, "id,age\n1,36\n2,85\n", more=KEYED)
        migrate(bench, "{from: 1, expression: {age: 'age * 12'}}", KEYED)
        table = bench.catalog.table("people")
        assert table is not None
        bench.store.delete(table.files[0].key)
        bench.settle()
        assert rows(bench, "SELECT * FROM people ORDER BY id") == [{"id": 1, "age": 432}, {"id": 2, "age": 1020}]

    def test_expressions_are_over_columns_as_they_were_also_where_these_are_cast(self, bench: Bench) -> None:
        """Whether the table's rows or a later file's: `age` is a number in both."""
        begin(bench, "id,age\n1,36\n2,85\n", more=KEYED)
        said = "{from: 1, cast: {age: string}, expression: {decade: 'age / 10 * 10'}}"
        migrate(bench, said, KEYED)
        bench.write("data/people/2.csv", "id,age\n3,53\n")
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        found = [tuple(row.values()) for row in rows(bench, "SELECT * FROM people ORDER BY id")]
        assert found == [(1, "36", 30), (2, "85", 80), (3, "53", 50)]
        bench.commit(BUCKET, dataset("others", f"{KEYED}, migrations: [{said}]"))
        bench.write("data/others/1.csv", "id,age\n1,36\n")
        bench.write("data/others/2.csv", "id,age,decade\n2,x,7\n")
        assert bench.settle()["Dataset/others"].reason == reasons.SUCCEEDED
        found = [tuple(row.values()) for row in rows(bench, "SELECT * FROM others ORDER BY id", name="others")]
        assert found == [(1, "36", 30), (2, "x", 7)]

    def test_one_of_the_former_key_and_new_names_is_told_which_column_to_rename(self, bench: Bench) -> None:
        begin(bench, "id,name\n1,Ada\n", more=KEYED)
        migrate(bench, "{from: 1, rename: {id: person, name: full_name}}", ", primaryKey: [person], write: upsert")
        bench.write("data/people/2.csv", "id,full_name\n2,Grace\n")
        message = bench.settle()["Dataset/people"].message
        assert "the primary key's column `person` is missing. A migration renamed `id` to `person`, and other columns" in message
        assert "rename `id` in the file too" in message

    def test_a_row_that_does_not_fit_refuses_the_file_by_its_line(self, bench: Bench) -> None:
        begin(bench, "id,age\n1,36\n")
        migrate(bench, "{from: 1, rename: {age: years}, expression: {share: '100 / age'}}")
        bench.write("data/people/2.csv", "id,age\n2,85\n3,0\n")
        status = bench.settle()["Dataset/people"]
        assert status.reason == reasons.FILE_REFUSED
        assert "data/people/2.csv:3: the expression of `share` fails: Divide by zero error" in status.message


class TestWidening:
    def test_a_file_widens_a_type_where_every_value_stays_exact(self, bench: Bench) -> None:
        begin(bench, "id,hours,day\n1,7,2024-01-01\n2,8,2024-01-02\n", more=KEYED)
        bench.write("data/people/2.csv", "id,hours,day\n2,8.5,2024-01-02 10:30\n3,1,2024-01-03 00:00\n")
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        found = rows(bench, "SELECT hours, day::varchar AS day FROM people ORDER BY id")
        assert [tuple(row.values()) for row in found] == [
            (7.0, "2024-01-01T00:00:00"), (8.5, "2024-01-02T10:30:00"), (1.0, "2024-01-03T00:00:00"),
        ]  # fmt: skip
        assert ("2", "hours", "8", "8.5") in [(row["entity"], row["field"], row["old"], row["new"]) for row in journal(bench)]
        (event,) = bench.events(reasons.SCHEMA_CHANGED)
        assert (
            event["message"] == "schema 2: hours becomes float64, which keeps every value; day becomes timestamp, which keeps every value"
        )
        assert rows(bench, "SELECT hours FROM people ORDER BY id", 1) == [{"hours": 7}, {"hours": 8}]

    def test_columns_that_come_with_the_wider_type_are_of_the_same_schema(self, bench: Bench) -> None:
        begin(bench, "id,hours\n1,7\n")
        bench.write("data/people/2.csv", "id,hours,more,yet\n2,8.5,x,1\n")
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        table = bench.catalog.table("people")
        assert table is not None
        assert [(schema.id, schema.derivation is not None, len(schema.columns)) for schema in table.schemas] == [
            (1, False, 2),
            (2, True, 4),
        ]
        found = rows(bench, "SELECT * FROM people ORDER BY id")
        assert [tuple(row.values()) for row in found] == [(1, 7.0, None, None), (2, 8.5, "x", 1)]

    @pytest.mark.parametrize(
        ("first", "second"),
        [("9007199254740993", "0.5"), ("7", "many"), ("2024-01-01", "soon")],
        ids=["beyond what float64 keeps", "text", "text beside days"],
    )
    def test_what_would_lose_something_or_become_text_waits(self, bench: Bench, first: str, second: str) -> None:
        begin(bench, f"id,value\n1,{first}\n")
        bench.write("data/people/2.csv", f"id,value\n2,{second}\n")
        status = bench.settle()["Dataset/people"]
        assert status.reason == reasons.FILE_REFUSED
        assert "`lakectl migrate preview`" in status.message
        assert rows(bench, "SELECT count(*) AS n FROM people") == [{"n": 1}]

    def test_a_wider_type_in_the_spec_reads_nothing_again(self, bench: Bench) -> None:
        begin(bench, "id,hours\n1,7\n")
        (bench.folder / "data/people/1.csv").unlink()
        bench.commit(BUCKET, dataset("people", ", columns: {hours: 'decimal(10,2)'}"))
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        assert rows(bench, "SELECT hours::varchar AS hours FROM people") == [{"hours": "7.00"}]

    def test_a_narrower_type_in_the_spec_reads_the_sources_again(self, bench: Bench) -> None:
        begin(bench, "id,zip\n1,94016\n", more=", columns: {zip: string}")
        bench.commit(BUCKET, dataset("people", ", columns: {zip: int64}"))
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        assert rows(bench, "SELECT zip FROM people") == [{"zip": 94016}]
        assert bench.catalog.table("people").schema.derivation is None  # type: ignore[union-attr]


class TestRenamedInAFile:
    FORMER = "id,first_name,city\n1,Ada,Ulm\n2,Grace,Bonn\n3,Emmy,Jena\n4,Joan,Köln\n"
    LATER = "id,full_name,city\n1,Ada,Ulm\n2,Grace,Bonn\n3,Emmy,Jena\n5,Alan,Trier\n"

    def test_it_waits_for_a_migration_that_is_then_followed(self, bench: Bench) -> None:
        begin(bench, self.FORMER, more=KEYED)
        bench.write("data/people/2.csv", self.LATER)
        status = bench.settle()["Dataset/people"]
        assert status.reason == reasons.FILE_REFUSED
        assert "first_name seems to be called full_name now: 3 of 4 sampled values are the same" in status.message
        assert "`lakectl migrate preview people data/people/2.csv` drafts it" in status.message
        assert migrate(bench, "{from: 1, rename: {first_name: full_name}}", KEYED).reason == reasons.SUCCEEDED
        names = [row["full_name"] for row in rows(bench, "SELECT full_name FROM people ORDER BY id")]
        assert names == ["Ada", "Grace", "Emmy", "Joan", "Alan"]

    def test_a_column_that_the_spec_names_is_another_one(self, bench: Bench) -> None:
        begin(bench, self.FORMER, more=KEYED)
        (bench.folder / "data/people/1.csv").unlink()
        bench.write("data/people/2.csv", self.LATER)
        bench.settle()
        bench.commit(BUCKET, dataset("people", f"{KEYED}, columns: {{full_name: string}}"))
        assert bench.settle()["Dataset/people"].reason == reasons.SUCCEEDED
        assert len(rows(bench, "SELECT first_name, full_name FROM people")) == 5


def test_a_catalog_that_is_rebuilt_from_files_reads_former_ones_as_before(bench: Bench) -> None:
    begin(bench, "id,first_name\n1,Ada\n2,Grace\n", more=KEYED)
    first, second = "{from: 1, rename: {id: person, first_name: name}}", "{from: 2, expression: {initial: 'substr(name, 1, 1)'}}"
    renamed = ", primaryKey: [person], write: upsert"
    migrate(bench, first, renamed)
    migrate(bench, f"{first}, {second}", renamed)
    bench.write("data/people/2.csv", "person,name,initial,more\n3,Emmy,E,x\n")
    bench.settle()
    table = bench.catalog.table("people")
    assert table is not None
    refs = {file.key: file.ref for file in table.files}
    parts = [Part(ref, read_footer(bench.state.objects.path(ref))) for ref in refs.values()]
    entry = changes(rebuild("people", "primary", parts), refs, (), declared=True, at="2026-01-31T09:00:00.000Z")
    made = fold(lambda name: None, entry)["Dataset/people"].table
    assert made is not None
    assert (made.primary_key, made.transformation, made.schema.migrations) == (("person",), table.transformation, table.schema.migrations)
    expected = rows(bench, "SELECT * FROM people ORDER BY person")
    source = make_view(made, bench.folder / "again", bench.state.objects, "people").table
    with Session().frame("SELECT * FROM people ORDER BY person", {}, [source]) as frame:
        assert frame.to_arrow_table().to_pylist() == expected
    assert [tuple(row.values()) for row in expected] == [(1, "Ada", "A", None), (2, "Grace", "G", None), (3, "Emmy", "E", "x")]


class TestContracts:
    CONTRACT = ", contract: {{required: [{0}], ranges: {{{1}: {{min: 0}}}}}}"

    def test_a_contract_that_names_columns_by_their_new_names_reads_nothing_again(self, bench: Bench) -> None:
        begin(bench, "id,first_name,age\n1,Ada,36\n", more=KEYED + self.CONTRACT.format("first_name", "age"))
        (bench.folder / "data/people/1.csv").unlink()
        said = "{from: 1, rename: {id: person, first_name: name, age: years}}"
        renamed = ", primaryKey: [person], write: upsert" + self.CONTRACT.format("name", "years")
        assert migrate(bench, said, renamed).reason == reasons.SUCCEEDED
        assert rows(bench, "SELECT * FROM people") == [{"person": 1, "name": "Ada", "years": 36}]
        bench.write("data/people/2.csv", "person,name,years\n2,,1\n3,Joan,-1\n4,Emmy,53\n")
        bench.settle()
        assert [row["person"] for row in rows(bench, "SELECT person FROM people ORDER BY person")] == [1, 4]

    def test_rows_of_a_file_of_the_former_shape_are_judged_by_what_becomes_of_them(self, bench: Bench) -> None:
        contract = self.CONTRACT.format("id", "months")
        said = "{from: 1, rename: {age: years}, expression: {months: 'age * 12 - 12'}}"
        begin(bench, "id,age\n1,36\n", more=KEYED)
        migrate(bench, said, KEYED + contract)
        bench.write("data/people/2.csv", "id,age\n2,0\n3,1\n4,old\n")
        bench.settle()
        assert rows(bench, "SELECT * FROM people ORDER BY id") == [
            {"id": 1, "years": 36, "months": 420},
            {"id": 3, "years": 1, "months": 0},
        ]
        found = rows(bench, "SELECT line, rule, text FROM system.quarantine ORDER BY line", name="system.quarantine")
        assert [(row["line"], row["text"]) for row in found] == [(2, "2,0"), (4, "4,old")]
