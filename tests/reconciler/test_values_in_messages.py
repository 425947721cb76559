"""Events and statuses tell what became of files without a value of a column that is sensitive, by its name, its values or the spec."""

from __future__ import annotations

import pytest
from small_lake import BUCKET, Bench, dataset

from state import reasons

PEOPLE = "Dataset/people"
ROWS = "ssn,email,first_name,code\n123-45-6789,ada@example.com,Ada,K-77\n219-09-9999,bo@example.com,Bo,K-78\n"
VALUES = ("123-45-6789", "ada@", "Ada", "K-77")


def told(bench: Bench) -> str:
    messages = [event["message"] for event in bench.events()]
    return "\n".join([*messages, bench.settle()[PEOPLE].message])


def test_what_was_inferred(bench: Bench) -> None:
    bench.write("data/people/1.csv", ROWS)
    bench.commit(BUCKET, dataset("people"))
    bench.settle()
    (event,) = bench.events(reasons.COLUMNS_INFERRED)
    assert event["message"] == (
        "ssn: string (text, of the form `999-99-9999`); email: string (text); first_name: string (text); "
        "code: string (text, of the form `A-99`)"
    )


@pytest.mark.parametrize(
    ("spec", "row", "secret", "words"),
    [
        (", columns: {ssn: int64}", ROWS, "123-45-6789", "column `ssn`: a value of the form `999-99-9999` is no int64"),
        (", columns: {code: {type: int64, sensitivity: internal}}", ROWS, "K-77", "column `code`: a value of the form `A-99` is no int64"),
        (", sensitivity: pii, columns: {code: int64}", ROWS, "K-77", "column `code`: a value of the form `A-99` is no int64"),
        (", columns: {code: int64}", ROWS, "Ada", "column `code`: `K-77` is no int64"),
    ],
    ids=["by its name", "by the spec's column", "by the spec's dataset", "not at all"],
)
def test_what_was_refused(bench: Bench, spec: str, row: str, secret: str, words: str) -> None:
    bench.write("data/people/1.csv", row)
    bench.commit(BUCKET, dataset("people", spec))
    message = bench.settle()[PEOPLE].message
    assert "data/people/1.csv:2: " in message
    assert words in message
    assert secret not in told(bench)


def test_what_a_contract_sets_aside(bench: Bench) -> None:
    contract = ", contract: {unique: [[email]], references: {first_name: names.id}, ranges: {salary: {max: 10}}}"
    bench.write("data/people/1.csv", "email,first_name,salary\nada@example.com,Zoe,1\nada@example.com,Ada,98765\n")
    bench.write("data/names/1.csv", "id\nZoe\n")
    bench.commit(BUCKET, dataset("names"), dataset("people", contract))
    bench.settle()
    (event,) = bench.events(reasons.ROWS_QUARANTINED)
    assert "`salary` is a value of the form `99999`, above 10" in event["message"]
    assert "`first_name` is a value of the form `Aaa`, which names.id does not have" in event["message"]
    assert not any(value in told(bench) for value in ("98765", "Ada", "ada@"))


def test_a_list_column_that_is_new_beside_one_that_is_gone(bench: Bench) -> None:
    bench.write("data/people/1.ndjson", '{"id": 1, "tags": ["a"]}\n')
    bench.commit(BUCKET, dataset("people").replace(".csv", ".ndjson"))
    bench.settle()
    bench.write("data/people/2.ndjson", '{"id": 2, "labels": ["a"]}\n')
    assert bench.settle()[PEOPLE].reason == reasons.SUCCEEDED
    assert [column.name for column in bench.catalog.table("people").columns] == ["id", "tags", "labels"]
