"""Tables from footers: which parts count, in which order, and which do not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from controllers.dataset.rebuilding import Part, Rebuilt, changes, rebuild
from engines.files.footers import Footer, Written
from state.catalog.entry import Retained
from state.catalog.fold import fold
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table
from state.objects import ObjectRef


def part(path: str, source: str, sequence: int, first: int = 0, *, schema: int = 1, last: bool = True, write: str = "append") -> Part:
    """One of two rows, made of one column more a schema. The transformation is called after the schema's tens, and ids begin there."""
    columns = tuple(Column(schema // 10 * 100 + number + 1, f"c{number}", "int64") for number in range(schema % 10))
    key = ("c0",) if write == "upsert" else ()
    role = "delta" if key else "base"
    written = Written("x", path, source, 9, f"t{schema // 10}", write, key, role, sequence, first, None, None, 0, last)
    no_stats: Any = SimpleNamespace(num_row_groups=0, num_columns=0, schema=None)
    ref = ObjectRef("b", f"datasets/x/{source}{sequence}{schema}-{first:04d}.parquet", 5, "")
    return Part(ref, Footer(2, Schema(schema, columns), written, no_stats))


def table(rebuilt: Rebuilt, *, declared: bool = True) -> Table:
    refs = {part.ref.key: ObjectRef("b", part.ref.key, 5, "sha") for part in rebuilt.parts}
    made = changes(rebuilt, refs, (), declared=declared, at="2026-01-31T09:00:00.000Z")
    assert any(isinstance(change, Retained) for change in made) is not declared
    found = fold(lambda name: None, made)["Dataset/x"].table
    assert found is not None
    return found


def files(found: Table) -> list[tuple[str, str, int]]:
    return [(file.source, file.role, file.first_row) for file in found.data_files]


def test_appended_contents_with_the_newest_of_each_path() -> None:
    found = rebuild("x", "b", [part("p", "new", 3), part("q", "other", 2), part("p", "old", 1)])
    assert files(table(found)) == [("other", "base", 0), ("new", "base", 0)]
    assert {path: binding.digest for path, binding in table(found).bindings.items()} == {"p": "new", "q": "other"}
    assert [part.written.source for part in found.superseded] == ["old"]


def test_an_upsert_keeps_every_content_in_order() -> None:
    found = rebuild(
        "x", "b", [part("p", "new", 3, write="upsert"), part("p", "old", 1, write="upsert"), part("q", "mid", 2, write="upsert")]
    )
    assert files(table(found)) == [("old", "base", 0), ("mid", "delta", 0), ("new", "delta", 0)]
    assert {path: binding.digest for path, binding in table(found).bindings.items()} == {"p": "new", "q": "mid"}


def test_every_extract_of_an_incremental_read_counts() -> None:
    found = table(rebuild("x", "b", [part("postgres:log#t1", "t1", 1), part("postgres:log#t2", "t2", 2)]))
    assert files(found) == [("t1", "base", 0), ("t2", "base", 0)]
    assert {path: binding.digest for path, binding in found.bindings.items()} == {"postgres:log": "t2"}


def test_columns_that_came_later_and_a_table_that_nobody_asks_for() -> None:
    found = table(rebuild("x", "b", [part("p", "a", 1, schema=1), part("q", "b", 2, schema=2)]), declared=False)
    assert found.versions == ((2, "2026-01-31T09:00:00.000Z"),)
    assert ([schema.id for schema in found.schemas], [file.schema_id for file in found.files], found.retained) == ([1, 2], [1, 2], True)


def test_what_another_transformation_wrote_before_is_of_a_former_life() -> None:
    found = rebuild("x", "b", [part("p", "a", 5, schema=11), part("p", "a", 1, schema=21), part("q", "c", 9, schema=12)])
    assert [(p.written.source, p.footer.schema.id) for p in found.parts] == [("a", 21)]
    assert len(found.superseded) == 2


def test_a_content_that_lacks_a_part_was_never_committed() -> None:
    whole = [part("p", "a", 1, 0, last=False), part("p", "a", 1, 2)]
    begun, middle = part("q", "b", 2, 0, last=False), part("r", "c", 3, 2)
    found = rebuild("x", "b", [*whole, begun, middle])
    assert files(table(found)) == [("a", "base", 0), ("a", "base", 2)]
    assert {part.written.source for part in found.torn} == {"b", "c"}


def test_a_content_that_was_read_twice_counts_once() -> None:
    found = rebuild("x", "b", [part("p", "a", 1), part("p", "a", 4), part("p", "b", 2)])
    assert [(p.written.source, p.written.sequence) for p in found.parts] == [("a", 4)]


def test_a_content_that_was_judged_twice_is_there_once() -> None:
    """By a contract that refers to another dataset: the later look left less out."""
    few = [replace(part("p", "a", 1), ref=ObjectRef("b", "datasets/x/f00-0000.parquet", 5, ""))]
    more = [
        replace(part("p", "a", 1, 0, last=False), ref=ObjectRef("b", "datasets/x/c00-0000.parquet", 5, "")),
        replace(part("p", "a", 1, 2), ref=ObjectRef("b", "datasets/x/c00-0001.parquet", 5, "")),
    ]
    found = rebuild("x", "b", [*few, *more])
    assert list(found.parts) == more
    assert (list(found.superseded), found.torn) == (few, ())
