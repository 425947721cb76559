"""Rows set and deleted by hand under contracts: what is refused, what is told, and what other datasets have to do with it."""

from __future__ import annotations

import pytest
from small_lake import BUCKET, Bench, dataset
from test_edits import UPSERT, change, rows, table
from test_operator import ask, ended

from state import reasons

RULES = (
    ", columns: {name: {nullable: false}}, contract: {required: phone, unique: [phone, [id, name]], ranges: {age: {min: 0, max: 120}}, "
    "checks: [\"age < 18 OR team <> 'kids'\"], references: {team: teams.id}%s}"
)
COLUMNS = ["id", "name", "phone", "age", "team"]
ROWS = "id,name,phone,age,team\n1,Ann,0001,30,a\n2,Bob,0002,40,b\n3,Cy,0003,7,kids\n"


def specs(more: str = "") -> tuple[str, ...]:
    return BUCKET, dataset("teams", ", primaryKey: id, write: upsert"), dataset("x", UPSERT + RULES % more)


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/teams/a.csv", "id\na\nb\nkids\n")
    bench.write("data/x/a.csv", ROWS)
    bench.commit(*specs())
    assert bench.settle()["Dataset/x"].ready == "True"
    return bench


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": None}, "`required: name`: `name` is empty"),
        ({"phone": None}, "`required: phone`: `phone` is empty"),
        ({"phone": "0002"}, "`unique: phone`: `phone` is a value of the form `0999`, which the table or an earlier file has already"),
        ({"age": "200"}, "`range: age`: `age` is `200`, above 120"),
        ({"team": "kids"}, "`check: age < 18 OR team <> 'kids'`: `age < 18 OR team <> 'kids'` does not hold"),
        ({"team": "zz"}, "`reference: team`: `team` is `zz`, which teams.id does not have"),
        ({"team": "zz", "age": "-1"}, "`range: age`: `age` is `-1`, below 0; `team` is `zz`, which teams.id does not have"),
    ],
)
def test_what_would_break_the_contract_is_refused(lake: Bench, values: dict[str, str | None], words: str) -> None:
    row = change(lake, "row-set", key="1", set=values)
    assert row["outcome"] == "refused"
    assert row["message"].startswith(f"Row 1 would break the contract, {words}. Give values that fit, or change the contract")
    assert table(lake).version == 1
    assert len(rows(lake, columns=COLUMNS)) == 3


def test_a_value_of_another_type_is_refused(lake: Bench) -> None:
    assert change(lake, "row-set", key="1", set={"age": "old"})["message"].startswith("`age` is int64, and 'old' is none.")


def test_what_fits_is_written(lake: Bench) -> None:
    assert change(lake, "row-set", key="1", set={"phone": "0009", "age": "31", "team": "b"})["outcome"] == "done"
    assert change(lake, "row-set", key="2", set={"phone": "0001"})["outcome"] == "done", "nobody has it any more"
    assert rows(lake, columns=COLUMNS)[:2] == [(1, "Ann", "0009", 31, "b"), (2, "Bob", "0001", 40, "b")]
    assert change(lake, "row-set", key="1", set={"phone": "0001"})["outcome"] == "refused"


def test_a_row_that_comes_into_being_is_judged_as_a_whole(lake: Bench) -> None:
    row = change(lake, "row-set", key="9", set={"name": "Di"}, create=True)
    assert row["message"].startswith("Row 9 would break the contract, `required: phone`: `phone` is empty.")
    assert change(lake, "row-set", key="9", set={"name": "Di", "phone": "0009"}, create=True)["outcome"] == "done"


def test_warn_writes_it_and_tells(lake: Bench) -> None:
    lake.commit(*specs(", onViolation: warn"))
    lake.settle()
    row = change(lake, "row-set", key="1", set={"age": "200"})
    assert row["outcome"] == "done"
    assert row["message"].endswith(". Warning: row 1 breaks the contract, `range: age`: `age` is `200`, above 120")
    assert rows(lake, columns=COLUMNS)[0] == (1, "Ann", "0001", 200, "a")
    (event,) = lake.events(reasons.CONTRACT_BROKEN)
    assert (event["object"], event["type"]) == ("Dataset/x", "Warning")
    assert event["message"] == "Row 1 breaks the contract, `range: age`: `age` is `200`, above 120"


@pytest.mark.parametrize("violation", ["reject", "quarantine"])
def test_whatever_becomes_of_rows_of_files(lake: Bench, violation: str) -> None:
    lake.commit(*specs(f", onViolation: {violation}"))
    lake.settle()
    assert change(lake, "row-set", key="1", set={"age": "200"})["outcome"] == "refused"


def test_a_row_that_others_refer_to_can_go_and_the_answer_says_so(lake: Bench) -> None:
    """What was taken stays, and can be corrected; it cannot come to refer to nothing by another edit."""
    request = ask(lake, "row-delete", "Dataset/teams", payload={"key": "b"})
    lake.operator.answer()
    assert ended(lake, request)["message"] == "row b is deleted, version 2; still referred to by 1 row of Dataset/x (`team`)"
    assert change(lake, "row-set", key="2", set={"phone": "0022"})["outcome"] == "done"
    assert change(lake, "row-set", key="1", set={"team": "b"})["outcome"] == "refused"
    lake.settle()
    assert rows(lake, columns=COLUMNS)[1] == (2, "Bob", "0022", 40, "b")


def test_a_deletion_is_done_though_rows_that_refer_to_it_cannot_be_counted(lake: Bench) -> None:
    for file in table(lake).files:
        place = lake.store.path(file.ref.key)
        assert place is not None
        place.unlink()
    request = ask(lake, "row-delete", "Dataset/teams", payload={"key": "b"})
    lake.operator.answer()
    told = ended(lake, request)
    assert told["outcome"] == "done"
    words = "row b is deleted, version 2; still referred to by maybe rows of Dataset/x (`team`), which cannot be read: "
    assert told["message"].startswith(words)


def test_a_check_that_is_none_for_the_table(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + ', contract: {checks: ["nothing > 1"]}'))
    row = change(lake, "row-set", key="1", set={"age": "3"})
    assert row["outcome"] == "refused"
    assert row["message"].startswith("Row 1 cannot be judged: the check `nothing > 1` is no condition here")


def test_what_it_refers_to_is_not_there(lake: Bench) -> None:
    lake.commit(BUCKET, dataset("x", UPSERT + ", contract: {references: {team: gone.id}}"))
    row = change(lake, "row-set", key="1", set={"team": "b"})
    assert row["message"].startswith("Row 1 cannot be judged: rows are read once Dataset/gone holds any")
    assert change(lake, "row-set", key="1", set={"age": "3"})["outcome"] == "done", "it looks at nothing that changes"


def test_a_suspended_dataset_is_left_alone_by_hands_too(lake: Bench) -> None:
    ask(lake, "suspend", "Dataset/x")
    lake.operator.answer()
    for verb, payload in (("row-set", {"set": {"age": "20"}}), ("row-delete", {})):
        row = change(lake, verb, key="1", **payload)
        assert row["outcome"] == "refused"
        assert row["message"].startswith("Dataset/x is suspended by ada@home: because. Its rows can be changed after `lakectl resume")
    ask(lake, "resume", "Dataset/x")
    lake.operator.answer()
    assert change(lake, "row-set", key="1", set={"age": "20"})["outcome"] == "done"
