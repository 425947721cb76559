"""A dataset's files and versions as `lakectl` reads them by itself: export, files, diff, replay."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness_daemon import BUCKET, Repository

from reconciler.lakectl.environment import Environment
from reconciler.lakectl.main import run
from reconciler.lakectl.terminal import Terminal, text_width

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

DATASETS = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {bucket: primary, source: {files: "data/people/*.csv"}, primaryKey: [id], write: upsert}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: log}
spec: {bucket: primary, source: {files: "data/log/*.csv"}}
"""
READS = "SELECT action, tables, versions, rows, outcome FROM system.audit WHERE action <> 'query' AND outcome <> 'begun' ORDER BY at"


@pytest.fixture
def lake(in_folder: Path, lakectl: Lakectl) -> Repository:
    """Two versions of people, the second with a changed, a new and a deleted row; one of log."""
    repository = Repository(in_folder)
    repository.commit(bucket=BUCKET, datasets=DATASETS)
    repository.write("data/people/a.csv", "id,name,zip\n1,Ann,02134\n2,=Bob,\n3,Cid,60601\n")
    repository.write("data/log/a.csv", "at,what\n2024-01-01,x\n")
    assert lakectl("apply").code == 0
    repository.write("data/people/b.csv", "id,name,zip\n1,Anne,02134\n4,Dan,\n")
    assert lakectl("row", "delete", "people", "3", "--reason", "twice").code == 0
    assert lakectl("apply").code == 0
    return repository


def test_a_table_is_exported_as_it_is_and_as_it_was(lake: Repository, lakectl: Lakectl) -> None:
    said = lakectl("export", "people")
    assert said.out.startswith("3 rows of people version 3 are in people.parquet (")
    names = pq.read_table(lake.path / "people.parquet").sort_by("id")["name"].to_pylist()
    assert names == ["Anne", "=Bob", "Dan"]
    assert lakectl("export", "Dataset/people", "--at", "1", "--format", "csv-safe", "-o", "was.csv").code == 0
    assert (lake.path / "was.csv").read_text() == '"id","name","zip"\n1,"Ann","02134"\n2,"\'=Bob",\n3,"Cid","60601"\n'
    assert lakectl("export", "people", "--at", "9").err.startswith("error: `people` has no version 9; versions 1 of ")
    assert lakectl("export", "poeple").err == "error: There is no dataset `poeple`.\n       Did you mean people?\n"
    assert lakectl("export", "people", "-o", "no/x.csv").code == 2
    assert "reads the buckets itself" in lakectl("export", "people", "--url", "http://127.0.0.1:1").err
    audit = lakectl("query", READS, "-o", "json").document["rows"]
    assert [(row["action"], row["versions"], row["rows"], row["outcome"]) for row in audit] == [
        ("export", '{"people":3}', 3, "done"),
        ("export", '{"people":1}', 3, "done"),
        ("export", None, None, "refused"),
        ("export", None, None, "refused"),
    ]


@pytest.mark.usefixtures("lake")
def test_an_export_to_standard_output_is_nothing_but_the_rows() -> None:
    def exported(*words: str, interactive: bool = False) -> tuple[int, bytes, str]:
        out, err = io.BytesIO(), io.StringIO()
        terminal = Terminal(io.TextIOWrapper(out), err, interactive=interactive)
        return run(["export", "people", "-o", "-", *words], terminal, Environment()), out.getvalue(), err.getvalue()

    code, written, said = exported("--format", "csv", interactive=True)
    assert (code, sorted(written.splitlines()), said) == (0, [b'"id","name","zip"', b'1,"Anne","02134"', b'2,"=Bob",', b'4,"Dan",'], "")
    assert pq.read_table(pa.BufferReader(exported()[1])).num_rows == 3
    code, written, said = exported(interactive=True)
    assert (code, written, "parquet is nothing to be read on a terminal" in said) == (2, b"", True)
    assert not Path("-").exists()


def test_what_is_declared_and_holds_nothing_is_told_as_that(lake: Repository, lakectl: Lakectl) -> None:
    lake.commit(later=DATASETS.partition("---")[0].replace("people", "later"))
    assert lakectl("apply").code == 1
    for words in (["export", "later"], ["query", "SELECT * FROM later"]):
        said = lakectl(*words)
        assert (said.code, "`lakectl why Dataset/later` tells what it waits for." in said.err) == (2, True), said.err


def test_the_files_of_a_version(lake: Repository, lakectl: Lakectl) -> None:
    document = lakectl("files", "people", "-o", "json").document
    files = [(file["role"], file["rows"], file["deletes"]) for file in document["files"]]
    assert (files[0], sorted(files[1:])) == (("base", 3, 0), [("delta", 1, 1), ("delta", 2, 0)])
    assert all(Path(file["place"]).stat().st_size == file["bytes"] for file in document["files"])
    assert (document["whole"], "2 deltas are pending, 3 rows, 1 row of them only to delete" in document["notes"][0]) == (False, True)
    said = lakectl("files", "people", "--at", "1")
    assert (said.out.splitlines()[0], said.err) == ("base        1  3 rows", "")
    assert lakectl("files", "log", "-o", "json").document["whole"]


def test_rows_that_differ(lake: Repository, lakectl: Lakectl) -> None:
    said = lakectl("diff", "people", "1")
    assert (said.code, said.err) == (1, "")
    assert said.out == (
        "~  1\n     name: Ann → Anne\n-  3\n     id: 3\n     name: Cid\n     zip: 60601\n+  4\n     id: 4\n     name: Dan\n"
        "people from version 1 to 3: 1 added, 1 removed, 1 changed\n"
    )
    document = lakectl("diff", "people", "1", "3", "-n", "1", "-o", "json").document
    assert (document["counts"], document["truncated"]) == ({"added": 1, "removed": 1, "changed": 1}, True)
    assert document["rows"] == [{"op": "changed", "key": "1", "fields": {"name": {"old": "Ann", "new": "Anne"}}}]
    assert lakectl("diff", "people", "3", "1", "-o", "csv").out.splitlines()[:3] == [
        "op,key,field,old,new",
        "changed,1,name,Anne,Ann",
        "added,3,id,,3",
    ]
    assert lakectl("diff", "people", "2", "2").code == 0
    narrow = lakectl("diff", "people", "1", width=40).out
    assert all(text_width(line) <= 60 for line in narrow.splitlines())


def test_the_journal_proves_a_version(lake: Repository, lakectl: Lakectl) -> None:
    said = lakectl("replay", "people")
    assert (said.code, said.out.splitlines()[-1]) == (0, "✔  people version 3 is version 1 and what the journal says since.")
    document = lakectl("replay", "people", "--to", "2", "-o", "json").document
    assert (document["proven"], document["rebuilt"] == document["snapshot"], document["versions"]) == (True, True, [2])
    assert document["counted"] == [{"version": 1, "source": "data/people/a.csv", "rows": 3}]
    assert lakectl("replay", "people", "--to", "1").code == 2
    assert "has no primary key" in lakectl("replay", "log").err
