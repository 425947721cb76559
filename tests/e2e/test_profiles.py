"""Two profiles on one daemon, over HTTP: the one finds candidates, for the other there is no staffing, and it finds the documentation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness_daemon import ROOT, Answer, Daemon, Daemons, Repository, lakectl, wait_for

from state.tokens import PROFILE_HEADER

RECRUITER, ASSISTANT = "staffing-recruiter", "docs-assistant"
OWN = f"resumes@{RECRUITER}"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The example, as its README has it."""
    shutil.copytree(ROOT / "examples" / "two-readers", tmp_path / "repository")
    made = Repository(tmp_path / "repository")
    made.commit("two readers")
    return made


@pytest.fixture
def daemon(repository: Repository, daemons: Daemons) -> Daemon:
    found = daemons.start(repository)
    found.wait_settled()
    return found


def ask(daemon: Daemon, profile: str, path: str, body: Any) -> Answer:
    return daemon.request("POST", path, body, **{PROFILE_HEADER: profile})


def search(daemon: Daemon, profile: str, index: str, text: str, **more: Any) -> Answer:
    return ask(daemon, profile, "/search", {"index": index, "text": text, "k": 3} | more)


def query(daemon: Daemon, profile: str, sql: str) -> Answer:
    return ask(daemon, profile, "/query", {"sql": sql})


def test_each_finds_its_own_world_and_no_trace_of_the_other(daemon: Daemon) -> None:
    found = search(daemon, RECRUITER, "resumes", "java developer").document
    assert (found["index"], found["generation"], found["hits"][0]["key"]) == ("resumes", OWN, '["CAND-001"]')
    assert query(daemon, RECRUITER, "SELECT count(*) AS n FROM candidates").document["rows"] == [{"n": 6}]
    docs = search(daemon, ASSISTANT, "docs", "I need a new computer").document
    assert (docs["hits"][0]["key"], docs["index"]) == ('["A-2"]', "docs")
    assert query(daemon, ASSISTANT, "SELECT count(*) AS n FROM articles").document["rows"] == [{"n": 5}]
    for name in ("resumes", OWN, "resumes@docs-assistant"):
        assert_same(search(daemon, ASSISTANT, name, "java"), search(daemon, ASSISTANT, "nonesuch", "java"), name, "nonesuch")
    for name in ("candidates", '"candidates"', "lake.candidates", "system.audit"):
        hidden = query(daemon, ASSISTANT, f"SELECT * FROM {name}")
        assert hidden.status == 404, hidden
    assert_same(
        query(daemon, ASSISTANT, "SELECT * FROM candidates"),
        query(daemon, ASSISTANT, "SELECT * FROM nonesuches"),
        "candidates",
        "nonesuches",
    )
    assert search(daemon, RECRUITER, "docs", "a").status == query(daemon, RECRUITER, "SELECT 1 FROM articles").status == 404
    asked = ("SELECT 1 FROM candidate", "SELECT 1 FROM x", "SHOW TABLES", "SELECT * FROM system.datasets")
    said = json.dumps([query(daemon, ASSISTANT, sql).document for sql in asked])
    assert "candidates" not in said
    assert search(daemon, "nobody", "docs", "a").status == 404
    assert search(daemon, RECRUITER, "resumes", "java", model="minilm").problem == "model-mismatch"
    assert ask(daemon, RECRUITER, "/search?model=builtin", {"index": "resumes", "text": "java"}).document["model"] == "builtin"


def assert_same(hidden: Answer, unknown: Answer, name: str, other: str) -> None:
    """But for the name that was asked for, and which request it was."""
    parts = [{key: value for key, value in answer.document.items() if key != "instance"} for answer in (hidden, unknown)]
    assert json.dumps(parts[0]).replace(name, "X") == json.dumps(parts[1]).replace(other, "X")
    assert hidden.status == unknown.status == 404


def test_what_it_binds_is_told_and_warm_and_goes_with_the_spec(repository: Repository, daemon: Daemon) -> None:
    row = daemon.wait_status(f"Profile/{RECRUITER}", "Succeeded", ready="True")
    assert row["message"] == "binds 1 table (candidates) and 1 index (resumes), builds of its own for resumes; warm"
    held = daemon.query("SELECT dataset FROM system.hot_cache") if daemon.ask("SELECT 1 FROM system.hot_cache").status == 200 else None
    assert held in (None, [{"dataset": "candidates"}])
    code, document = lakectl(repository, "get", f"Profile/{RECRUITER}")
    assert (code, document["detail"]["answers"]) == (0, {"resumes": OWN})
    code, trials = lakectl(repository, "trials", "resumes", "--profile", RECRUITER)
    assert (code, trials["trials"]) == (0, [])
    assert OWN in {row["name"] for row in lakectl(repository, "get", "indexes")[1]["objects"]}

    text = repository.path.joinpath("specs/readers.yaml").read_text()
    recruiter, assistant = text.split("---\n")
    repository.commit(
        "at rest", readers=recruiter.replace("active: true", "active: false").replace("  engine: {flat: {}}\n", "") + "---\n" + assistant
    )
    wait_for(lambda: daemon.status(f"Profile/{RECRUITER}").get("message") == "binds 1 table (candidates) and 1 index (resumes)", "shared")
    wait_for(lambda: f"Index/{OWN}" not in daemon.status(), "its own builds are gone")
    assert search(daemon, RECRUITER, "resumes", "java developer").document["generation"] is None
    assert not list(repository.lake.glob("indexes/resumes@*/**/*.*"))

    repository.commit("no recruiter", readers=assistant)
    wait_for(lambda: f"Profile/{RECRUITER}" not in daemon.status(), "the profile is gone")
    assert search(daemon, RECRUITER, "resumes", "java").status == 404
    assert daemon.stop() == 0, daemon.said


def test_yesterdays_knowledge_is_a_field(repository: Repository, daemon: Daemon) -> None:
    article = {"id": "A-6", "title": "Park a bicycle", "text": "Bicycles are parked in the yard, behind the gate."}
    repository.write("data/articles/more.ndjson", json.dumps(article) + "\n")
    wait_for(lambda: daemon.value("SELECT count(*) FROM articles") == 6, "the article is read")
    wait_for(lambda: search(daemon, ASSISTANT, "docs", "bicycle").document["hits"][0]["key"] == '["A-6"]', "the article is found")
    daemon.wait_settled()
    jobs = daemon.value("SELECT count(*) FROM system.jobs")
    text = repository.path.joinpath("specs/readers.yaml").read_text()
    for at, rows in (("1", 5), ("latest", 6)):
        repository.commit(at, readers=text.replace("  role: assistant\n", f"  role: assistant\n  at: {at}\n"))
        wait_for(lambda at=at: daemon.status(f"Profile/{ASSISTANT}").get("appliedRevision") == repository.head, at)
        assert query(daemon, ASSISTANT, "SELECT count(*) AS n FROM articles").document["rows"] == [{"n": rows}]
        keys = [hit["key"] for hit in search(daemon, ASSISTANT, "docs", "bicycle", k=6).document["hits"]]
        assert (len(keys), '["A-6"]' in keys) == (rows, rows == 6)
    assert daemon.value("SELECT count(*) FROM system.jobs") == jobs
