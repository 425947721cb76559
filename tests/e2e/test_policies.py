"""Policies on a real daemon while it works and dies: what is answered is answered under those that are in force then."""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from harness_daemon import BUCKET, Answer, Daemon, Daemons, Gone, Repository, wait_for

PEOPLE = """apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: data/people/*.csv}, primaryKey: [id], write: upsert}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: desk}
spec: {datasets: [people], role: clerk}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: window}
spec: {datasets: [people], role: clerk}
"""
POLICY = """apiVersion: lakehouse/v1
kind: Policy
metadata: {name: access}
spec: {dataset: people, rows: [{roles: [clerk], where: "status <> 'secret'"}]}
"""
TIGHTER = POLICY.replace("status <> 'secret'", "status = 'open'")
COUNT = "SELECT status, count(*) AS n FROM people GROUP BY status ORDER BY status"
SLOW = """SELECT status, count(*) AS n, max(s) AS s FROM people, (SELECT sum(sqrt(value)) AS s FROM generate_series(1, 250000000))
GROUP BY status"""
"""Some seconds of work beside the table."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.write("data/people/a.csv", "id,status\n" + "".join(f"{n},{('open', 'resting', 'secret')[n % 3]}\n" for n in range(120)))
    made.commit(bucket=BUCKET, people=PEOPLE, policy=POLICY)
    return made


def ask(daemon: Daemon, sql: str = COUNT, profile: str = "desk") -> Answer:
    return daemon.request("POST", "/query", {"sql": sql}, X_Lakehouse_Profile=profile)


def shown(answer: Answer) -> dict[str, int]:
    assert answer.status == 200, answer
    return {row["status"]: row["n"] for row in answer.document["rows"]}


def seconds(daemon: Daemon) -> float:
    """CPU of its workers."""
    return sum(child.cpu_times().user for child in daemon.children())


def ready(daemon: Daemon) -> Daemon:
    daemon.wait_status("Dataset/people", "Succeeded")
    daemon.wait_status("Policy/access", "Succeeded")
    return daemon


def test_a_policy_that_is_tightened_while_a_query_runs_and_where_a_copy_is_held(repository: Repository, daemons: Daemons) -> None:
    daemon = ready(daemons.start(repository))
    looser = {"open": 40, "resting": 40}
    wait_for(lambda: shown(ask(daemon)) == looser and [*repository.cache.rglob("shown/*/rows.json")], "what is shown is held as a copy")
    answers: list[Answer] = []
    slow = threading.Thread(target=lambda: answers.append(ask(daemon, SLOW)))
    begun = seconds(daemon)
    slow.start()
    wait_for(lambda: seconds(daemon) > begun + 0.3, "the query runs")
    repository.commit(policy=TIGHTER)
    daemon.poke()
    # by another profile: one alone does not get every worker
    wait_for(lambda: shown(ask(daemon, profile="window")) == {"open": 40}, "the tighter policy is in force")
    assert slow.is_alive(), "the query was over before the policy changed"
    slow.join()
    assert shown(answers[0]) == {"open": 40}


def test_a_commit_is_in_force_for_the_next_query(repository: Repository, daemons: Daemons) -> None:
    daemon = ready(daemons.start(repository))
    for number in range(6):
        policy = (TIGHTER, POLICY)[number % 2]
        repository.commit(policy=policy)
        expected = {"open": 40} if policy is TIGHTER else {"open": 40, "resting": 40}
        assert shown(ask(daemon)) == expected, number


CHANGES = {"tightened": ("policy", TIGHTER), "removed": ("policy", ""), "another": ("other", TIGHTER.replace("access", "more"))}
DEATHS = (
    "loop.before-observe",
    *(pytest.param(name, marks=pytest.mark.soak) for name in ("follow.before-inventory", "loop.after-status", "catalog.after-put")),
)
MOST = 25
"""Queries of a daemon that does not come by its end."""


@pytest.mark.parametrize("failpoint", DEATHS)
@pytest.mark.parametrize("change", CHANGES)
def test_killed_while_policies_change(repository: Repository, daemons: Daemons, change: str, failpoint: str) -> None:
    """Whatever is answered before, between and after, no row is shown that the former policy hid."""
    assert ready(daemons.start(repository)).stop() == 0
    name, text = CHANGES[change]
    if text:
        repository.commit(**{name: text})
    else:
        (repository.path / "specs" / f"{name}.yaml").unlink()
        repository.commit()
    dying = daemons.begin(repository, f"{failpoint}=kill@1")
    with suppress(Gone, OSError, http.client.HTTPException):
        dying.up()
        for _ in range(MOST):
            statuses_without_secrets(dying)
    dying.kill()
    again = daemons.start(repository)
    wait_for(lambda: statuses_without_secrets(again) in ({200}, {403}), "it answers")


def statuses_without_secrets(daemon: Daemon) -> set[int]:
    """How some queries ended, each of which was told of nothing that the policy hid."""
    answers = [ask(daemon, sql) for sql in (COUNT, "SELECT * FROM people", "SELECT rows FROM system.datasets WHERE dataset = 'people'")]
    for answer in answers[:2]:
        assert "secret" not in str(answer.document), answer
    assert "120" not in str(answers[2].document), answers[2]
    return {answer.status for answer in answers[:2]}
