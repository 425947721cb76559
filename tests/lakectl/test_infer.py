"""`lakectl infer`: what it prints is a spec that parses and that reads the files as it said."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from specs.parse import parse_file

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

EUROPEAN = """\
id;plz;when;paid;due;note
1;01234;31.12.2023;1.234,56;01/02/2024;Größe
2;10115;01.02.2024;0,5;03/04/2024;x
"""


@pytest.fixture
def data(in_folder: Path) -> Path:
    (in_folder / "specs").mkdir()
    (in_folder / "data").mkdir()
    return in_folder / "data"


def spec_of(said: Said) -> Any:
    """The spec, once it is known to parse."""
    assert said.code == 0, said.err
    parsed = parse_file("specs/a.yaml", said.out.encode())
    assert not parsed.errors, parsed.errors
    return yaml.safe_load(said.out)["spec"]


def test_what_is_printed(data: Path, lakectl: Lakectl, golden: Any) -> None:
    (data / "payments.csv").write_bytes(EUROPEAN.encode("cp1252"))
    said = lakectl("infer", "data/payments.csv")
    golden.check("infer.yaml", said.out)
    assert spec_of(said)["columns"]["when"] == {"type": "date", "format": "DMY"}


def test_as_a_document(data: Path, lakectl: Lakectl) -> None:
    (data / "a.csv").write_text("id,name\n1,x\n")
    found = lakectl("infer", "data/a.csv", "--name", "People", "-o", "json").document
    assert found["spec"]["metadata"] == {"name": "people"}
    assert found["spec"]["spec"] == {
        "bucket": "primary",
        "source": {"files": "data/a.csv"},
        "write": "append",
        "columns": {"id": {"type": "int64"}, "name": {"type": "string"}},
    }
    assert found["reasons"]["name"] == "text"
    assert found["notes"] == []


def test_files_of_one_folder_are_a_glob_and_are_judged_together(data: Path, lakectl: Lakectl) -> None:
    for name, value in (("a", "1"), ("b", "x")):
        (data / f"{name}.csv").write_text(f"id,value\n1,{value}\n")
    (data / "c.json").write_text('{"id": 2, "more": {"deep": [1.5]}}')
    two = spec_of(lakectl("infer", "data/a.csv", "data/b.csv"))
    assert two == {"bucket": "primary", "source": {"files": "data/*.csv"}, "write": "append", "columns": {"id": "int64", "value": "string"}}
    three = spec_of(lakectl("infer", "data/a.csv", "data/b.csv", "data/c.json"))
    assert three["source"]["files"] == ["data/a.csv", "data/b.csv", "data/c.json"]
    assert three["columns"] == {"id": "int64", "value": "string", "more.deep": "list<float64>"}


def test_words_for_null_are_said(data: Path, lakectl: Lakectl) -> None:
    (data / "a.csv").write_text("id,due,name\n1,31.12.2024,N/A\n-,n/a,Ann\n")
    said = lakectl("infer", "data/a.csv")
    due = {"type": "date", "format": "DMY", "nulls": ["n/a"]}
    assert spec_of(said)["columns"] == {"id": {"type": "int64", "nulls": ["-"]}, "due": due, "name": "string"}
    assert "without a leading zero; `-` is read as null" in said.out


def test_documents_have_the_columns_that_they_have(data: Path, lakectl: Lakectl) -> None:
    (data / "a.md").write_text("# A\n")
    said = lakectl("infer", "data/a.md")
    assert spec_of(said) == {"bucket": "primary", "source": {"files": "data/a.md"}, "write": "replace"}
    assert "#   title: string" in said.out


@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.tsv", "a\tb\n1\t2\n", {"files": "data/a.tsv"}),
        ("a.csv", "a\tb\n1\t2\n", {"files": "data/a.csv", "delimiter": "\t"}),
        ("a.csv", "1,x\n2,y\n3,z\n", {"files": "data/a.csv", "header": False}),
        ("a.csv", "a,b\né,1\n".encode("utf-16"), {"files": "data/a.csv", "encoding": "utf-16"}),
    ],
)
def test_how_files_are_read_is_said_where_it_is_not_the_usual_way(
    data: Path, lakectl: Lakectl, name: str, content: str | bytes, source: dict[str, Any]
) -> None:
    (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert spec_of(lakectl("infer", f"data/{name}"))["source"] == source


def test_names_of_strangers_stay_names(data: Path, lakectl: Lakectl) -> None:
    (data / "2024 (1).csv").write_text('id,"a: b # c","on"\n1,2,"x\n# y"\n')
    said = lakectl("infer", "data/2024 (1).csv")
    assert spec_of(said)["columns"] == {"id": "int64", "a: b # c": "int64", "on": "string"}
    assert yaml.safe_load(said.out)["metadata"] == {"name": "2024-1"}


def test_what_cannot_be_inferred(data: Path, lakectl: Lakectl) -> None:
    (data / "a.docx").write_bytes(b"x")
    said = lakectl("infer", "data/a.docx")
    assert (said.code, "has no format that is read" in said.err) == (2, True)
    (data / "a.csv").write_text("<html>")
    said = lakectl("infer", "data/a.csv")
    assert (said.code, "data/a.csv:1: is an HTML page, not csv" in said.err.replace("\n       ", " ")) == (2, True)
    assert lakectl("infer", "data/nowhere.csv").code == 2


def test_a_quoted_pattern_means_its_files(data: Path, lakectl: Lakectl) -> None:
    for name in "ab":
        (data / f"{name}.csv").write_text("id,word\n1,x\n")
    assert lakectl("infer", "data/*.csv").out == lakectl("infer", "data/a.csv", "data/b.csv").out
    said = lakectl("infer", "data/*.ndjson")
    assert (said.code, "error: lakectl infer: no file matches data/*.ndjson." in said.err) == (2, True)
    (data / "*.csv").write_text("id,word\n1,x\n")
    said = lakectl("infer", "data/*.csv")
    assert "no dataset can be named after `*`, which has no letter or digit" in said.err.replace("\n       ", " ")


def test_a_file_elsewhere_is_to_be_copied(data: Path, lakectl: Lakectl, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("elsewhere") / "a.csv.gz"
    place.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    said = lakectl("infer", str(place))
    assert said.code == 0
    assert "# The file is not below the folder that paths count from: copy it there, and say where." in said.out
