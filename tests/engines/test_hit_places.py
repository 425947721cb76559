"""Where hits of documents are opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.hit_places import HitPlaces, Place
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Binding, Table

DOCUMENT = {"path": "string", "title": "string", "text": "string"}


def table(columns: dict[str, str], bindings: Iterable[Binding] = (), key: Sequence[str] = ()) -> Table:
    schema = Schema(1, tuple(Column(number, name, kind) for number, (name, kind) in enumerate(columns.items(), 1)))
    return Table("docs", 1, "primary", tuple(key), "append", "t", (schema,), bindings={binding.path: binding for binding in bindings})


def test_by_the_file_whose_content_the_row_is_of() -> None:
    places = HitPlaces(table({**DOCUMENT, "page": "int64"}, [Binding("a.md", "d1", 1, 1), Binding("B.PDF", "d2", 1, 1)]))
    assert places.of("d1:0") == Place("a.md")
    assert places.of("d2:4") == Place("B.PDF", 5)
    assert places.of("gone:0") is None


def test_of_several_with_the_same_content_the_first_that_is_there() -> None:
    bindings = [Binding(path, "d", 1, 1, present) for path, present in (("a", False), ("c", True), ("b", True))]
    assert HitPlaces(table(DOCUMENT, bindings)).of("d:0") == Place("b")
    assert HitPlaces(table(DOCUMENT, bindings[:1])).of("d:0") == Place("a")


def test_by_a_key_that_names_the_path() -> None:
    places = HitPlaces(table({**DOCUMENT, "page": "int64"}, key=["page", "path"]))
    assert places.of('[7,"manuals/b.pdf"]') == Place("manuals/b.pdf", 7)
    assert HitPlaces(table(DOCUMENT, key=["path"])).of('["a.md"]') == Place("a.md")
    assert HitPlaces(table(DOCUMENT, key=["title"])).of('["A"]') is None


def test_other_rows_have_none() -> None:
    rows = table({"text": "string", "path": "string"}, [Binding("a.csv", "d1", 1, 1)])
    assert HitPlaces(rows).of("d1:0") is None
