"""Titles above the header of a CSV or a sheet: which are passed over, which file keeps its first row, and what a spec says."""

from __future__ import annotations

from typing import Any

import pytest
from made_files import Cell, workbook

from engines.files.header import titles

TABLE = [["id", "name", "pay"], ["1", "Ann", "2.5"], ["2", "Bob", "3"]]


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (TABLE, 0),
        ([["Report"], *TABLE], 1),
        ([["Report", "", ""], ["", "", ""], *TABLE], 2),
        ([["Report"], ["Created", "2024-01-31"], *TABLE], 0),  # two of three cells may be a header with an unnamed column
        ([["Report"], ["by", "Ann"], ["id", "name", "pay", "from"], ["1", "Ann", "2.5", "x"]], 2),
        ([["Report"], ["name", "age"], ["Ann", "3"]], 1),
        ([["Report"], ["name", "city"], ["Ann", "Rome"]], 0),
        ([["Report"], ["name", "city", "street"], ["Ann", "Rome", "Via"]], 1),
        ([["Report"], ["name", "2023", "2024"], ["Ann", "1", "2"]], 1),
        ([["Report"], ["Ann", "1", "2"], ["Bob", "3", "4"]], 0),
        ([["", "a", "b"], ["0", "1", "2"], ["1", "3", "4"]], 0),
        ([["first", "", "last"], ["Ann", "x", "Lee"], ["Bob", "y", "Ray"]], 0),
        ([["first", "", "age"], ["Ann", "x", "unknown"], ["Bob", "y", "3"]], 0),
        ([["name", "age"], ["1", "Ann", "3"], ["2", "Bob", "4"]], 0),
        ([["Report"], ["a", "a", "b"], ["1", "2", "3"]], 0),
        ([["a", "a", "b"], ["Ann", "Bob", "x"], ["1", "2", "3"]], 0),
        ([["x"], ["y"], ["z"]], 0),
        ([["Report"]] * 21 + TABLE, 0),
        ([], 0),
    ],
)
def test_how_many_rows_are_titles(rows: list[list[str]], count: int) -> None:
    assert titles(rows) == count


def test_a_csv_with_titles(lake: Any) -> None:
    result = lake.ingest("a.csv", "Quarterly report, 2024\n\n;;\nid;name;pay\n1;Ann;2.5\n2;Bob;3\n")
    assert lake.rows(result) == [{"id": 1, "name": "Ann", "pay": 2.5}, {"id": 2, "name": "Bob", "pay": 3.0}]
    note = "a.csv: line 4 names the columns, and what stands above it is passed over: `source.header` decides otherwise"
    assert result.warnings == (note,)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_are_those_of_the_file(lake: Any, refused: Any, encoding: str) -> None:
    text = 'A "title" of\nour own\n\nid,name\n1,Ann\n2,"Bo\nb"\nx,Cy\n'
    found = refused("a.csv", text.encode(encoding), header=True, skip=2, overrides={"id": "int64"})
    assert (found.line, "column `id`" in found.reason) == (8, True)
    ragged = refused("a.csv", (text + "4,Di,e\n").encode(encoding), header=True, skip=2)
    assert (ragged.line, ragged.reason) == (9, "the row has 3 cells, the header 2")


@pytest.mark.parametrize(("skip", "names"), [(0, ["Report", "column_2"]), (1, ["name", "city"]), (2, ["Ann", "Rome"])])
@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_the_spec_says_which_row_it_is(lake: Any, name: str, skip: int, names: list[str]) -> None:
    rows: list[list[Cell]] = [["Report", ""], ["name", "city"], ["Ann", "Rome"], ["Bob", "Paris"]]
    content = workbook({"a": rows}) if name == "a.xlsx" else "".join(f"{one},{other}\n" for one, other in rows)
    result = lake.ingest(name, content, header=True, skip=skip)
    assert (list(lake.types(result)), result.rows) == (names, 3 - skip)


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_row_that_is_not_there_is_refused(lake: Any, refused: Any, name: str) -> None:
    content = workbook({"a": [["id"], [1]]}) if name == "a.xlsx" else "id\n1\n"
    found = refused(name, content, header=True, skip=8)
    assert found.reason in ("no header: the file ends before line 9", "row 9 of the sheet has no cell that could name a column")


def test_a_sheet_with_titles(lake: Any) -> None:
    rows: list[list[Cell]] = [["Report", None, None], [None], ["id", "name", "from"], [1, "Ann", None], [2, None, "x"]]
    result = lake.ingest("a.xlsx", workbook({"a": rows}, first=2))
    assert lake.rows(result) == [{"id": 1, "name": "Ann", "from": None}, {"id": 2, "name": None, "from": "x"}]
    assert "row 4 of the sheet names the columns, and what stands above it is passed over" in result.warnings[0]


def test_rows_of_no_table_are_told_how_to_say_it(lake: Any, refused: Any) -> None:
    found = refused("a.csv", "Report\nname,city\nAnn,Rome\n")
    assert (found.line, found.reason) == (2, "the row has 2 cells, the header 1")
    assert found.remedy.endswith("If lines stand above the header, say which one it is: `source: {header: 3}`.")
