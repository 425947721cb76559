"""The life of a policy on a running daemon: it comes, is tightened and goes, and what it closed stays closed over a restart."""

from __future__ import annotations

from typing import Any

import pytest
from harness_daemon import BUCKET, Daemon, Daemons, Repository, lakectl, wait_for

from state import reasons

SPECS = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: "data/people/*.csv"}, primaryKey: id}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: ids}
spec: {source: {sql: "SELECT id FROM people"}}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: desk}
spec: {datasets: [people, ids], role: clerk}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: guide}
spec: {datasets: [manuals], role: clerk}
"""
POLICY = """\
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: access}
spec:
  dataset: people
  rows: [{roles: clerk, where: "city = 'Bern'"}]
  columns: [{sensitivity: pii, mask: redact}]
  tests: [{role: clerk, sql: "SELECT id, mail FROM people", rows: [[1, "[redacted]"]]}]
"""
SQL = "SELECT id, mail FROM people ORDER BY id"


@pytest.fixture
def repository(tmp_path: Any) -> Repository:
    repository = Repository(tmp_path / "here")
    repository.write("data/people/a.csv", "id,city,mail\n1,Bern,ann@example.org\n2,Basel,bob@example.org\n3,Bern,cid@example.org\n")
    repository.commit(bucket=BUCKET, specs=SPECS)
    return repository


def asked(daemon: Daemon, sql: str, profile: str = "desk") -> tuple[int, Any]:
    answer = daemon.request("POST", "/query", {"sql": sql}, X_Lakehouse_Profile=profile)
    return answer.status, answer.document["rows" if answer.status == 200 else "detail"]


def test_what_a_policy_closed_stays_closed(repository: Repository, daemons: Daemons) -> None:
    daemon = daemons.start(repository)
    daemon.wait_status("Dataset/ids", reasons.SUCCEEDED)
    assert [row["id"] for row in asked(daemon, SQL)[1]] == [1, 2, 3]
    repository.commit(bucket=BUCKET, specs=SPECS, policy=POLICY)
    daemon.wait_status("Policy/access", reasons.SUCCEEDED)
    assert asked(daemon, SQL) == (200, [{"id": 1, "mail": "[redacted]"}, {"id": 3, "mail": "[redacted]"}])
    assert asked(daemon, "SELECT * FROM ids")[0] == 403, "what is made of it"
    assert asked(daemon, SQL, "guide")[0] == 404
    assert lakectl(repository, "policy", "test")[0] == 1, "a case that says too little fails"
    repository.commit(bucket=BUCKET, specs=SPECS, policy=POLICY.replace("'Bern'", "'Bern' AND id < 2"))
    wait_for(lambda: asked(daemon, SQL) == (200, [{"id": 1, "mail": "[redacted]"}]), "the stricter policy")
    assert lakectl(repository, "policy", "test")[0] == 0
    repository.git("rm", "-q", "specs/policy.yaml")
    repository.commit()
    wait_for(lambda: asked(daemon, SQL)[0] == 403, "the dataset without its policy")
    daemon.stop()
    again = daemons.start(repository)
    wait_for(lambda: asked(again, SQL)[0] == 403, "after a restart")
    assert len(again.query(SQL)) == 3, "the operator reads all"
    repository.commit(bucket=BUCKET, specs=SPECS.replace("primaryKey: id", "primaryKey: id, policy: none"))
    wait_for(lambda: len(asked(again, SQL)[1]) == 3, "the dataset that says none")
