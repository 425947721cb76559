"""Words for null: where they are read as null, what the spec says of them, and that texts keep them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from made_files import workbook

from engines.files.inference import Evidence, decide
from engines.files.ingest import infer
from engines.files.source import SourceFile


def evidence(*values: str, **given: Any) -> Evidence:
    found = Evidence(**given)
    found.add_texts(values)
    return found


@pytest.mark.parametrize(
    ("values", "kind", "nulls"),
    [
        (["1", "N/A", "2"], "int64", ("N/A",)),
        (["1.5", "-", "n/a"], "float64", ("-", "n/a")),
        (["true", "None"], "bool", ("None",)),
        (["2024-01-31", "NULL", "\\N"], "date", ("NULL", "\\N")),
        (["31.12.2024", "--"], "date", ("--",)),
        (["N/A", "null"], "string", ()),
        (["Ann", "N/A"], "string", ()),
        (["007", "N/A"], "string", ()),
        (["1", "unknown"], "string", ()),
        (["1", "n/a."], "string", ()),
    ],
)
def test_words_give_way_to_a_narrower_type_and_to_no_other(values: list[str], kind: str, nulls: tuple[str, ...]) -> None:
    guess = decide("x", evidence(*values))
    assert (guess.type, guess.nulls) == (kind, nulls)


def test_the_reason_names_them() -> None:
    assert decide("x", evidence("1", "2", "N/A")).reason == (
        "2 sampled values: whole numbers of at most 18 digits without a leading zero; `N/A` is read as null"
    )
    assert decide("x", evidence("a", "N/A")).reason == "text"
    assert decide("x", evidence("1", "a", "N/A")).reason == (
        "text, since the values are mixed: 2 string of the form `a`, 1 int64 of the form `9`"
    )


def test_what_the_spec_says_is_all_there_is() -> None:
    assert decide("x", evidence("1", "?", void=frozenset({"?"}))).type == "int64"
    assert decide("x", evidence("1", "N/A", void=frozenset({"?"}))).type == "string"
    assert decide("x", evidence("1", "N/A", void=frozenset())).type == "string"


def columns(lake: Any, name: str, content: str | bytes, **given: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = lake.table(lake.ingest(name, content, **given)).to_pydict()
    return found


def test_values_of_a_csv(lake: Any) -> None:
    found = columns(lake, "a.csv", 'id,pay,due,name\n1,N/A,2024-01-31,N/A\n2,1.5,null,"-"\n3,"-",,None\n')
    assert found["pay"] == [None, 1.5, None]
    assert found["due"] == [date(2024, 1, 31), None, None]
    assert found["name"] == ["N/A", "-", "None"]


def test_a_word_beyond_the_sample_is_null_as_well(lake: Any) -> None:
    lines = [f"{number},{number * 2}" for number in range(400_000)]
    lines[300_001] = "300001,n/a"
    table = lake.table(lake.ingest("a.csv", "id,v\n" + "\n".join(lines) + "\n"))
    assert table.schema.field("v").type == pa.int64()
    assert table["v"].null_count == 1


@pytest.mark.parametrize(
    ("said", "pay", "name"),
    [
        ({"nulls": ("?", "N/A")}, [1, None, None], [None, "x", "-"]),
        ({"column_nulls": {"pay": ("?", "N/A")}}, [1, None, None], ["?", "x", "-"]),
        ({"nulls": ("?",), "column_nulls": {"pay": ("N/A", "?"), "name": ()}}, [1, None, None], ["?", "x", "-"]),
        ({"nulls": ()}, ["1", "?", "N/A"], ["?", "x", "-"]),
    ],
    ids=["source", "column", "column before source", "none"],
)
@pytest.mark.parametrize("name_", ["a.csv", "a.json", "a.xlsx"])
def test_the_spec_says_what_is_null(lake: Any, name_: str, said: dict[str, Any], pay: list[Any], name: list[Any]) -> None:
    rows = [["pay", "name"], [1, "?"], ["?", "x"], ["N/A", "-"]]
    contents: dict[str, str | bytes] = {
        "a.csv": "".join(f"{one},{other}\n" for one, other in rows),
        "a.json": '{"pay": 1, "name": "?"}\n{"pay": "?", "name": "x"}\n{"pay": "N/A", "name": "-"}\n',
        "a.xlsx": workbook({"a": rows}),
    }
    assert columns(lake, name_, contents[name_], **said) == {"pay": pay, "name": name}


def test_cells_of_a_workbook_and_texts_of_json(lake: Any) -> None:
    assert columns(lake, "a.xlsx", workbook({"a": [["id", "pay"], [1, "N/A"], [2, 7]]}))["pay"] == [None, 7]
    # who can write null and writes a text means one
    assert columns(lake, "a.json", '{"pay": 7}\n{"pay": "N/A"}\n') == {"pay": ["7", "N/A"]}


def test_a_type_that_the_spec_says_takes_no_word_unasked(lake: Any, refused: Any) -> None:
    said: dict[str, Any] = {"overrides": {"pay": "float64"}}
    found = refused("a.csv", "id,pay\n1,N/A\n", **said)
    assert found.remedy == "Say `columns: {pay: {type: float64, nulls: ['N/A']}}` in the spec if that is no value."
    assert columns(lake, "a.csv", "id,pay\n1,N/A\n", column_nulls={"pay": ("N/A",)}, **said)["pay"] == [None]


def test_files_decide_together(lake: Any) -> None:
    files = [SourceFile(lake.write(name, text), name, "csv") for name, text in (("a.csv", "id,v\n1,5\n"), ("b.csv", "id,v\n2,N/A\n"))]
    _, column = infer(files).columns
    assert (column.type, column.nulls) == ("int64", ("N/A",))
