"""`lakectl can-i`, `explain access` and `policy test`, without a daemon and by one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness_daemon import BUCKET, Daemons, Repository, wait_for

from reconciler.lakectl.access_page import page
from reconciler.lakectl.terminal import Terminal

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

SPECS = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: "data/people/*.csv"}, primaryKey: id}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: clerks}
spec: {source: {sql: "SELECT id FROM people"}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: notes}
spec: {dataset: people, text: [note]}
---
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: access}
spec:
  dataset: people
  rows: [{roles: [clerk], where: "city = $city"}, {roles: [admin], where: "true"}]
  columns: [{columns: [phone], except: [admin], mask: lastFour}, {columns: [note], roles: [temp], mask: "null"}]
  tests:
    - {role: clerk, attributes: {city: Bern}, sql: "SELECT id, phone FROM people", rows: [[1, "0001"]]}
    - {role: admin, sql: "SELECT count(*) FROM people", rows: [[7]]}
---
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: stricter}
spec: {dataset: people, columns: [{columns: [phone], roles: [clerk], mask: redact}]}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: desk}
spec: {datasets: [people], indexes: [notes], role: clerk}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: guide}
spec: {indexes: [manuals]}
"""


@pytest.fixture
def lake(in_folder: Path, lakectl: Lakectl) -> Repository:
    repository = Repository(in_folder)
    repository.commit(bucket=BUCKET, specs=SPECS)
    repository.write("data/people/a.csv", "id,city,phone,note\n1,Bern,555-0001,x\n2,Basel,555-0002,y\n")
    lakectl("apply")
    return repository


CALLS = {
    "can-i-part": ("can-i", "query", "people", "--as", "desk"),
    "can-i-all": ("can-i", "query", "people", "--as", "admin"),
    "can-i-no-row": ("can-i", "query", "people", "--as", "temp"),
    "can-i-describe": ("can-i", "describe", "people", "--as", "temp"),
    "can-i-unbound": ("can-i", "query", "people", "--as", "guide"),
    "can-i-derived": ("can-i", "query", "clerks", "--as", "clerk"),
    "can-i-search": ("can-i", "search", "notes", "--as", "desk"),
    "can-i-search-masked": ("can-i", "search", "Index/notes", "--as", "temp"),
    "can-i-system": ("can-i", "query", "system.audit", "--as", "clerk"),
    "can-i-nowhere": ("can-i", "query", "peple", "--as", "clerk"),
    "can-i-no-index": ("can-i", "search", "note", "--as", "clerk"),
    "access": ("explain", "access", "people", "--as", "desk"),
    "access-nobody": ("explain", "access", "people", "--as", "nobody"),
    "access-free": ("explain", "access", "people"),
    "test-unknown": ("policy", "test", "acess"),
}


def test_what_is_answered(lake: Repository, lakectl: Lakectl, golden: Any) -> None:
    for name, words in CALLS.items():
        golden.check(f"policies-{name}.txt", lakectl(*words).all)
    found = lakectl("explain", "access", "people", "--as", "desk", "-o", "json").document
    assert found["columns"] == [{"column": "phone", "mask": "redact", "policies": {"access": "lastFour", "stricter": "redact"}}]
    assert (found["rows"], found["rowPolicies"], found["values"]) == (
        "(city = $city)",
        {"access": "(city = $city)"},
        {"profile": "desk", "role": "clerk"},
    )


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_page_of_access_is_no_wider_than_the_terminal(width: int) -> None:
    column = {"column": "salary", "mask": "expression", "value": "round(salary / 10000) * 10000", "policies": {"candidates-access": "year"}}
    found = {
        "name": "candidates", "profile": "staffing-recruiter", "role": "recruiter", "answer": "yes, in part: 1 column masked",
        "whole": False, "rows": "((status <> 'do_not_call' and state = $region)) AND ((name like 'A%'))", "columns": [column], "why": [],
        "rowPolicies": {"candidates-access": "", "second": ""}, "policies": ["candidates-access", "second"], "values": {},
    }  # fmt: skip
    lines = list(page(found, Terminal(io.StringIO(), io.StringIO(), width=width)))
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()).count("candidates-access, second") == 1
    assert "year" in " ".join(lines)


def test_a_faulty_policy_closes_and_says_why(lake: Repository, lakectl: Lakectl, golden: Any) -> None:
    lake.commit(bucket=BUCKET, specs=SPECS.replace("columns: [phone], except", "columns: [fone], except"))
    golden.check("policies-closed.txt", lakectl("explain", "access", "people", "--as", "desk").all)
    assert lakectl("can-i", "query", "people", "--as", "admin").code == 1


def test_a_mask_that_shows_nothing_is_warned_of(lake: Repository, lakectl: Lakectl, golden: Any) -> None:
    lake.commit(bucket=BUCKET, specs=SPECS.replace("columns: [phone], roles: [clerk], mask: redact", "columns: [city], mask: year"))
    planned, tested = lakectl("plan"), lakectl("policy", "test", "stricter")
    assert "mask year shows nothing of `city`, which is string" in " ".join(planned.all.split())
    golden.check("policies-mask-unfit.txt", tested.all)
    assert "mask year shows nothing" in " ".join(lakectl("explain", "access", "people", "--as", "desk").all.split())


def test_a_daemon_answers_the_same(lake: Repository, lakectl: Lakectl, tmp_path: Path) -> None:
    here = {name: lakectl(*CALLS[name]) for name in ("can-i-part", "can-i-no-row", "access", "test-unknown")}
    daemons = Daemons(tmp_path)
    try:
        daemon = daemons.start(lake)
        wait_for(lambda: daemon.request("GET", "/readyz").status == 200, "ready")  # until it has read the specs, it knows no readers
        for name, said in here.items():
            assert lakectl(*CALLS[name]) == said
        tested = lakectl("policy", "test", "-o", "json").document
    finally:
        daemons.end()
    assert [(each["policy"], len(each["cases"])) for each in tested["policies"]] == [("access", 2), ("stricter", 0)]
