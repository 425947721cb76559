"""Two profiles of one lake, over HTTP: each finds what it binds, less what policies hide, and nothing of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness_daemon import BUCKET, Answer, Daemon, Daemons, Repository, wait_for

CANDIDATES = """apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: candidates}
spec: {source: {files: data/candidates/*.csv}, primaryKey: [id], write: upsert}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: resumes}
spec: {dataset: candidates, text: [resume]}
"""
PAGES = CANDIDATES.replace("candidates", "doc-pages").replace("resumes", "pages").replace("resume", "text")
POLICY = """apiVersion: lakehouse/v1
kind: Policy
metadata: {name: candidates-access}
spec:
  dataset: candidates
  rows: [{roles: [recruiter], where: "status <> 'do_not_call'"}]
  columns: [{columns: phone, except: [admin], mask: lastFour}]
"""
PROFILES = """apiVersion: lakehouse/v1
kind: Profile
metadata: {name: recruiting}
spec: {datasets: [candidates], indexes: [resumes], role: recruiter}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: assistant}
spec: {datasets: [doc-pages], indexes: [pages]}
"""
ROWS = """id,status,phone,resume
C-1,active,555-0101,java developer with kafka
C-2,do_not_call,555-0102,java developer who left
C-3,resting,555-0103,java developer on leave
"""
OPERATORS = ("/events", "/metrics", "/storage/buckets", "/storage/bucket-health", "/storage/errors", "/catalog/cache", "/hnsw/cache/stats")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all tests: whoever changes a policy puts it back."""
    folder = tmp_path_factory.mktemp("two-profiles")
    repository = Repository(folder / "repository")
    repository.write("data/candidates/a.csv", ROWS)
    repository.write("data/doc-pages/a.csv", "id,text\nP-1,how to run java on kafka\n")
    repository.commit(bucket=BUCKET, candidates=CANDIDATES, pages=PAGES, policy=POLICY, profiles=PROFILES)
    daemons = Daemons(folder)
    try:
        started = daemons.start(repository)
        for name in ("Index/resumes", "Index/pages", "Policy/candidates-access"):
            wait_for(lambda name=name: started.status(name).get("ready") == "True", f"{name} is ready")
        yield started
        assert started.stop() == 0, started.said
    finally:
        daemons.end()


def ask(daemon: Daemon, profile: str, sql: str, **more: Any) -> Answer:
    return daemon.request("POST", "/query", {"sql": sql, **more}, X_Lakehouse_Profile=profile)


def found(daemon: Daemon, profile: str, index: str) -> list[str]:
    answer = daemon.request("POST", "/search", {"index": index, "text": "java developer", "k": 9}, X_Lakehouse_Profile=profile)
    assert answer.status == 200, answer
    return sorted(hit["key"] for hit in answer.document["hits"])


def same(one: Answer, other: Answer, named: str, instead: str) -> bool:
    """Whether two answers differ in a name alone."""
    return (one.status, str(one.document).replace(named, instead)) == (other.status, str(other.document))


def test_two_profiles(daemon: Daemon) -> None:
    assert ask(daemon, "recruiting", "SELECT id, phone FROM candidates ORDER BY id").document["rows"] == [
        {"id": "C-1", "phone": "0101"},
        {"id": "C-3", "phone": "0103"},
    ]
    assert found(daemon, "recruiting", "resumes") == ['["C-1"]', '["C-3"]']
    assert found(daemon, "assistant", "pages") == ['["P-1"]']
    for profile, dataset, objects in (
        ("recruiting", "candidates", ["Dataset/candidates", "Index/resumes", "Profile/recruiting"]),
        ("assistant", "doc-pages", ["Dataset/doc-pages", "Index/pages", "Profile/assistant"]),
    ):
        listed = daemon.request("GET", "/catalog/datasets", X_Lakehouse_Profile=profile).document["datasets"]
        assert [row["name"] for row in listed] == [dataset]
        assert ask(daemon, profile, "SELECT dataset FROM system.datasets").document["rows"] == [{"dataset": dataset}]
        statuses = daemon.request("GET", "/status", X_Lakehouse_Profile=profile).document["objects"]
        assert [f"{row['kind']}/{row['name']}" for row in statuses] == objects
    assert ask(daemon, "recruiting", "SELECT DISTINCT rows FROM system.datasets").document["rows"] == [{"rows": None}]
    assert ask(daemon, "assistant", "SELECT DISTINCT rows FROM system.datasets").document["rows"] == [{"rows": 1}]


def test_what_is_another_profiles_is_not_there(daemon: Daemon) -> None:
    for name in ("candidates", "doc_pages_", "*", "system.audit", "system.files"):
        nothing, other = ask(daemon, "assistant", 'SELECT * FROM "zzzz"'), ask(daemon, "assistant", f'SELECT * FROM "{name}"')
        assert other.status == nothing.status == 404
        if name == "candidates":
            assert same(nothing, other, "zzzz", name)
    for name in ("resumes", "RESUMES", "*", "%", "../resumes", "resumes@recruiting"):
        bodies = [{"index": index, "text": "java"} for index in ("zzzz", name)]
        nothing, other = [daemon.request("POST", "/search", body, X_Lakehouse_Profile="assistant") for body in bodies]
        assert other.status == 404
        assert same(nothing, other, "zzzz", name)
    paths = ("/catalog/datasets/{}", "/hnsw/trials/{}", "/hnsw/trials/{}/best")
    for path, name in zip(paths, ("candidates", "resumes", "resumes"), strict=True):
        nothing, other = [daemon.request("GET", path.format(each), X_Lakehouse_Profile="assistant") for each in ("zzzz", name)]
        assert other.status == 404
        assert same(nothing, other, "zzzz", name)
    for path in (*OPERATORS, "/storage/buckets/primary/objects/catalog"):
        nothing, other = [daemon.request("GET", each, X_Lakehouse_Profile="recruiting") for each in ("/zzzz", path)]
        assert other.status == 404
        assert same(nothing, other, "/zzzz", path)


def test_a_policy_that_a_commit_changes_is_in_force_for_the_next_search(daemon: Daemon) -> None:
    daemon.repository.commit(policy=POLICY.replace("status <> 'do_not_call'", "status = 'active'"))
    daemon.poke()
    wait_for(lambda: len(ask(daemon, "recruiting", "SELECT id FROM candidates").document["rows"]) == 1, "the policy is in force")
    assert found(daemon, "recruiting", "resumes") == ['["C-1"]']
    daemon.repository.commit(policy=POLICY.replace("columns: phone", "columns: [phone, resume]"))
    daemon.poke()
    wait_for(lambda: len(ask(daemon, "recruiting", "SELECT id FROM candidates").document["rows"]) == 2, "the policy is in force")
    refused = daemon.request("POST", "/search", {"index": "resumes", "text": "java"}, X_Lakehouse_Profile="recruiting")
    assert (refused.status, refused.problem) == (403, "query-forbidden")
    assert "java" not in str(refused.document)
    daemon.repository.commit(policy=POLICY)
    assert found(daemon, "recruiting", "resumes") == ['["C-1"]', '["C-3"]']
