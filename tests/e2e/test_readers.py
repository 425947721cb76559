"""Tokens, profiles and quotas on a real daemon, and `lakectl` beside it: as the operator, as a profile, and without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness_daemon import Answer, Daemon, Daemons, Repository, lakectl, wait_for
from harness_secrets import write_private, write_secrets
from harness_shop import BUCKET

ADA, OPS = "ada-0123456789abcdef", "ops-0123456789abcdef"
TOKENS = f'[tokens.ada]\nvalue = "{ADA}"\nprofile = "recruiting"\n[tokens.ops]\nvalue = "{OPS}"\nrole = "operator"\n'
DATASET = """apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: {name}}}
spec: {{source: {{files: data/{name}/*.csv}}, primaryKey: [id]}}
"""
PROFILE = """apiVersion: lakehouse/v1
kind: Profile
metadata: {name: recruiting}
spec: {datasets: [people], role: recruiter, quota: {queriesPerMinute: 3}}
"""
PEOPLE, SALARIES = "SELECT count(*) AS n FROM people", "SELECT count(*) AS n FROM salaries"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    made = Repository(tmp_path / "repository")
    for name in ("people", "salaries"):
        made.write(f"data/{name}/a.csv", "id,city\n1,Chicago\n2,Boston\n")
        made.write(f"specs/{name}.yaml", DATASET.format(name=name))
    made.commit(bucket=BUCKET, recruiting=PROFILE)
    return made


def ask(daemon: Daemon, sql: str, **headers: str) -> Answer:
    return daemon.request("POST", "/query", {"sql": sql}, **headers)


def settled(daemon: Daemon) -> None:
    for name in ("people", "salaries"):
        daemon.wait_status(f"Dataset/{name}", "Succeeded")


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def test_readers_by_header_where_no_token_is_asked_for(repository: Repository, daemons: Daemons) -> None:
    daemon = daemons.start(repository)
    settled(daemon)
    assert "asks for no token: whoever reaches it is its operator" in daemon.said
    recruiting = {"X_Lakehouse_Profile": "recruiting"}
    assert [ask(daemon, sql).status for sql in (PEOPLE, SALARIES)] == [200, 200]
    assert ask(daemon, PEOPLE, **recruiting).document["rows"] == [{"n": 2}]
    for sql in (SALARIES, "SELECT * FROM nothing"):
        answer = ask(daemon, sql, **recruiting)
        assert (answer.status, answer.problem) == (404, "table-unknown")
        assert "salaries" not in json.dumps(answer.document).replace(SALARIES, "").replace("`salaries`", "")
    answer = ask(daemon, PEOPLE, **recruiting)
    assert (answer.status, answer.problem, answer.headers["Retry-After"].isdigit()) == (429, "quota-exceeded", True)
    assert ask(daemon, PEOPLE).status == 200
    refused = "SELECT outcome AS o FROM system.audit WHERE profile = 'recruiting' AND reason = 'quota-exceeded'"
    wait_for(lambda: daemon.query(refused) == [{"o": "refused"}], "the refusal is in the audit")
    assert daemon.stop() == 0
    again = daemons.start(repository)
    settled(again)
    assert ask(again, PEOPLE, **recruiting).status == 429
    assert again.stop() == 0


def test_tokens(repository: Repository, daemons: Daemons, tmp_path: Path) -> None:
    repository.commit(recruiting=PROFILE.replace("queriesPerMinute: 3", "queriesPerMinute: 100"))
    daemon = daemons.start(repository)
    settled(daemon)
    write_secrets(TOKENS)
    assert ask(daemon, PEOPLE).status == 401
    assert ask(daemon, PEOPLE, **bearer(ADA)).document["rows"] == [{"n": 2}]
    assert ask(daemon, SALARIES, **bearer(ADA)).status == 404
    assert ask(daemon, SALARIES, **bearer(OPS)).status == 200
    assert ask(daemon, SALARIES, **bearer(OPS), X_Lakehouse_Profile="recruiting").status == 404

    # lakectl finds the operator's token beside this repository's daemon, and looks as a profile by it
    assert lakectl(repository, "query", SALARIES)[1]["rows"] == [{"n": 2}]
    assert lakectl(repository, "--as", "recruiting", "query", PEOPLE)[1]["rows"] == [{"n": 2}]
    held = write_private(tmp_path / "token", ADA + "\n")
    assert lakectl(repository, "--url", daemon.url, "--token-file", str(held), "query", PEOPLE)[1]["rows"] == [{"n": 2}]

    write_secrets(TOKENS.replace(ADA, "next-0123456789abcdef"))
    assert ask(daemon, PEOPLE, **bearer(ADA)).status == 401
    write_secrets(TOKENS + "[tokens.weak]\nvalue = 'weak'\nrole = 'r'\n")
    assert ask(daemon, PEOPLE, **bearer(OPS)).status == 503
    write_secrets(TOKENS)
    assert ask(daemon, PEOPLE, **bearer(OPS)).status == 200
    assert daemon.stop() == 0

    said = daemon.said
    assert "TokensRefused" in said
    assert "`tokens.weak` is weak" in said
    kept = [path.read_bytes() for folder in (repository.lake, repository.cache) for path in folder.rglob("*") if path.is_file()]
    for value in (ADA, OPS, "next-0123456789abcdef"):
        assert value not in said
        assert not any(value.encode() in content for content in kept)
