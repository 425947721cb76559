"""Tables as files for other programs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.errors import EngineError
from engines.sql.export import ExportFormat, export
from engines.sql.shown import ShownAs

COLUMNS = {
    "id": "string", "n": "int64", "x": "float64", "ok": "bool", "day": "date", "at": "timestamp", "price": "decimal(10,2)",
    "tags": "list<string>", "raw": "binary",
}  # fmt: skip
AT = datetime.fromisoformat("2024-01-02T03:04:05")
ROWS: list[dict[str, Any]] = [
    {
        "id": "=1+1", "n": -5, "x": 0.1, "ok": True, "day": date(2024, 2, 29), "at": AT,
        "price": Decimal("-1.50"), "tags": ["a", "=b"], "raw": b"\x00",
    },
    {"id": "p", **dict.fromkeys(list(COLUMNS)[1:])},
    {**dict.fromkeys(COLUMNS), "id": "q", "tags": []},
]  # fmt: skip


@pytest.fixture
def things(lake: Any) -> Any:
    lake.create("things", COLUMNS, ["id"])
    lake.add("things", [{**row, "n": 0} for row in ROWS])
    lake.add("things", ROWS, "delta")
    return lake.source("things")


def exported(table: Any, form: ExportFormat, folder: Path) -> Path:
    target = folder / "out"
    done = export(table, form, target, folder / "scratch")
    assert (done.bytes, [path.name for path in folder.glob("*out*")]) == (target.stat().st_size, ["out"])
    return target


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_values_and_types_come_back(things: Any, tmp_path: Path, form: ExportFormat) -> None:
    path = exported(things, form, tmp_path)
    table = pq.read_table(path) if form == "parquet" else pa.ipc.open_file(path).read_all()
    assert sorted(table.to_pylist(), key=lambda row: row["id"]) == ROWS
    assert [str(field.type) for field in table.schema][:2] == ["string", "int64"]


def test_a_row_on_which_a_policy_fails_is_left_out(things: Any, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    table = replace(things, shown=ShownAs("5 / coalesce(n, 0) < 0", policies=("p",)))
    done = export(table, "csv", tmp_path / "out", tmp_path / "scratch")
    assert done.rows == 1
    other = replace(things, shown=ShownAs("cast(id AS bigint) > 0", policies=("p",)))
    assert export(other, "csv", tmp_path / "out", tmp_path / "scratch").rows == 0


def test_a_csv_tells_null_from_an_empty_text(lake: Any, tmp_path: Path) -> None:
    lake.create("notes", {"=a": "string", "n": "int64"})
    lake.add("notes", [{"=a": "", "n": 1}, {"=a": None, "n": None}, {"=a": 'say "x",\ny', "n": 2}])
    assert exported(lake.source("notes"), "csv", tmp_path).read_text() == '"=a","n"\n"",1\n,\n"say ""x"",\ny",2\n'


def test_a_csv_holds_every_type(things: Any, tmp_path: Path) -> None:
    text = exported(things, "csv", tmp_path).read_text().splitlines()
    assert text[1] == '"=1+1",-5,0.1,true,2024-02-29,2024-01-02 03:04:05.000000,-1.50,"[""a"",""=b""]","AA=="'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=1", "\uff1d1", "=", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula_to_a_spreadsheet(lake: Any, tmp_path: Path, text: str) -> None:
    lake.create("notes", {text: "string", "n": "int64"})
    lake.add("notes", [{text: text, "n": -1}, {text: f"a{text}", "n": None}, {text: None, "n": 2}])
    quoted = text.replace('"', '""')
    with exported(lake.source("notes"), "csv-safe", tmp_path).open(newline="") as file:
        assert file.read() == f'"\'{quoted}","n"\n"\'{quoted}",-1\n"a{quoted}",\n,2\n'


def test_a_file_that_cannot_be_read_leaves_the_former_export(lake: Any, tmp_path: Path) -> None:
    lake.create("notes", {"a": "string"})
    lake.add("notes", [{"a": "x"}])
    source = lake.source("notes")
    target = exported(source, "csv", tmp_path)
    next(Path(source.base.path).iterdir()).resolve().write_bytes(b"no Parquet")
    with pytest.raises(EngineError):
        export(source, "csv", target, tmp_path / "scratch")
    assert target.read_text() == '"a"\n"x"\n'
    assert [path.name for path in tmp_path.glob("*out*")] == ["out"]
