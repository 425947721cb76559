"""Tables that change and remember: rows changed by hand and by files, the journal of it, former versions; offline as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness_daemon import Daemons, Repository, lakectl, wait_for
from harness_facts import missing, unreferred
from harness_shop import BUCKET

from state.timestamps import from_iso

CANDIDATES = """apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: candidates}
spec:
  source: {files: data/candidates/*.csv}
  primaryKey: [candidate_id]
  write: upsert
  compaction: {maxDeltas: 4}
"""
HEADER = "candidate_id,name,phone,zip\n"


def journal(ask: Any, entity: str) -> list[tuple[Any, ...]]:
    fields = ("field", "old", "new", "op", "actor", "source", "reason", "version")
    rows = ask(
        f"SELECT {', '.join(fields)} FROM system.journal WHERE dataset = 'candidates' AND entity = '{entity}' ORDER BY version, field"
    )
    return [tuple(row[field] for field in fields) for row in rows]


def test_one_candidate_changes_the_phone_number(tmp_path: Path, daemons: Daemons) -> None:
    repository = Repository(tmp_path / "repository")
    repository.write("data/candidates/a.csv", HEADER + "CAND-001,Ann,555-0100,02134\nCAND-002,Bob,555-0200,60601\n")
    repository.commit("candidates", bucket=BUCKET, candidates=CANDIDATES)
    daemon = daemons.start(repository)
    daemon.wait_settled()
    code, told = lakectl(repository, "row", "set", "candidates", "CAND-001", "phone=555-0199", "--reason", "called back")
    assert (code, told["message"]) == (0, "row CAND-001: phone 555-0100 → 555-0199, version 2")
    assert daemon.value("SELECT phone FROM candidates WHERE candidate_id = 'CAND-001'") == "555-0199"
    (change,) = journal(daemon.query, "CAND-001")
    assert change[:4] == ("phone", "555-0100", "555-0199", "update")
    assert change[5:] == (f"request {told['request']}", "called back", 2)
    answer = daemon.request("POST", "/query", {"sql": "SELECT phone FROM candidates ORDER BY 1", "at": {"candidates": 1}}).document
    assert (answer["rows"][0]["phone"], answer["versions"]) == ("555-0100", {"candidates": 1})
    times = {row["version"]: row["at"] for row in daemon.query("SELECT version, at FROM system.versions WHERE dataset = 'candidates'")}
    before = from_iso(times[1]).isoformat()
    assert lakectl(repository, "query", "SELECT max(phone) AS p FROM candidates", "--at", before)[1]["rows"] == [{"p": "555-0200"}]

    repository.write("data/candidates/b.csv", HEADER + "CAND-001,Ann,555-0199,02139\n")
    wait_for(lambda: daemon.value("SELECT zip FROM candidates WHERE candidate_id = 'CAND-001'") == "02139", "a file changes it further")
    assert journal(daemon.query, "CAND-001")[1][:6] == ("zip", "02134", "02139", "update", "daemon", "data/candidates/b.csv")
    assert lakectl(repository, "row", "delete", "candidates", "CAND-002", "--reason", "asked to be forgotten")[0] == 0
    assert daemon.value("SELECT count(*) FROM candidates") == 1
    assert lakectl(repository, "row", "set", "candidates", "CAND-001", "name=Anna", "--reason", "married")[0] == 0
    wait_for(lambda: daemon.value("SELECT count(*) FROM system.files WHERE dataset = 'candidates'") == 1, "the changes are folded")
    daemon.wait_settled()
    latest = max(row["version"] for row in daemon.query("SELECT version FROM system.versions WHERE dataset = 'candidates'"))
    assert daemon.query("SELECT * FROM candidates") == [{"candidate_id": "CAND-001", "name": "Anna", "phone": "555-0199", "zip": "02139"}]
    assert len(journal(daemon.query, "CAND-002")) == 4
    assert daemon.stop() == 0

    def offline(sql: str) -> Any:
        return lakectl(repository, "query", sql)[1]["rows"]

    assert [row[:3] for row in journal(offline, "CAND-001")] == [
        ("phone", "555-0100", "555-0199"),
        ("zip", "02134", "02139"),
        ("name", "Ann", "Anna"),
    ]
    assert offline("SELECT count(*) AS n FROM system.versions WHERE dataset = 'candidates'") == [{"n": latest}]
    code, stored = lakectl(repository, "row", "set", "candidates", "CAND-001", "phone=", "--reason", "wrong number")
    assert (code, stored["outcome"]) == (0, "queued")
    assert lakectl(repository, "apply")[0] == 0
    assert offline("SELECT phone FROM candidates") == [{"phone": None}]
    assert (missing(repository.lake), unreferred(repository.lake)) == ([], [])
    code, document = lakectl(repository, "fsck", "--deep")
    assert (code, document["findings"]) == (0, [])
