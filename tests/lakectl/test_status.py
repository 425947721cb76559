"""`lakectl status` and its relatives on real states: what they show, and that a dead daemon never looks healthy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.lakectl.names import PLURALS
from reconciler.lakectl.status_table import table
from reconciler.lakectl.terminal import text_width
from reconciler.lakectl.words import FAILED, HELD, WAITING, age, reason_words, span
from specs.registry import KINDS
from state import reasons
from state.status import Condition

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

ROW = {"kind", "name", "ready", "reason", "message", "revision", "appliedRevision", "observedAt", "digest"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status", ["status"]),
        ("status-kind", ["status", "datasets"]),
        ("status-one", ["status", "dataset/call-log"]),
        ("get-datasets", ["get", "datasets"]),
        ("get-indexes", ["get", "index"]),
        ("describe", ["describe", "Dataset/call-log"]),
        ("why-chain", ["why", "Index/notes"]),
        ("why-held", ["why", "dataset/email-log"]),
        ("why-ready", ["why", "Bucket/primary"]),
        ("events", ["events"]),
        ("events-warnings", ["events", "--type", "Warning", "-o", "wide"]),
    ],
)
def test_what_is_shown_beside_a_daemon(alive: Lakehouse, golden: Any, name: str, words: list[str]) -> None:
    golden.check(f"{name}.txt", alive.call(*words).all)


def test_several_objects_and_kinds(alive: Lakehouse) -> None:
    said = alive.call("status", "Dataset/call-log", "buckets", "-o", "json")
    assert [row["name"] for row in said.document["objects"]] == ["primary", "call-log"]
    said = alive.call("status", "Dataset/call-log", "Dataset/cal")
    assert (said.code, "nothing is known of Dataset/cal" in said.err) == (2, True)


@pytest.mark.parametrize(("name", "words"), [("status", ["status"]), ("get", ["get", "datasets"]), ("why", ["why", "Index/notes"])])
def test_what_is_shown_when_the_daemon_is_dead(dead: Lakehouse, golden: Any, name: str, words: list[str]) -> None:
    golden.check(f"{name}-dead.txt", dead.call(*words).all)


def test_no_line_is_wider_than_the_terminal(alive: Lakehouse, dead: Lakehouse) -> None:
    for house in (alive, dead):
        for words in (
            ["status"],
            ["get", "datasets"],
            ["get", "indexgenerations"],
            ["why", "Index/notes"],
            ["describe", "Dataset/call-log"],
            ["events"],
        ):
            for width in (60, 80, 120):
                lines = house.call(*words, width=width).out.splitlines()
                assert max(map(text_width, lines)) <= width, (words, width)


def test_names_of_budgets_are_whole_beside_long_recipes(alive: Lakehouse) -> None:
    recipe = "hnsw m=16 efConstruction=120 efSearch=64"
    detail = {"trials": 12, "bestRecipe": recipe, "recallLow": 0.9862}
    alive.put("TrialBudget/docs-tuning", reasons.SUCCEEDED, f"{recipe}: recall@10 0.990 (0.986 at least)", detail=detail)
    lines = alive.call("get", "trialbudgets", width=80).out.splitlines()
    assert max(map(text_width, lines)) <= 80
    assert "docs-tuning" in lines[1]
    assert "0.986" in lines[1]
    assert recipe in alive.call("get", "trialbudgets", "-o", "wide", width=80).out


def test_what_is_ready_and_does_not_do_what_is_meant_says_so(alive: Lakehouse) -> None:
    bound = {"tables": 2, "indexes": 1, "own": 0, "at": "latest", "active": True}
    closed = Condition("Readable", "False", reasons.CLOSED_TO_ROLE, "candidates is closed to role recruiter")
    alive.put("Profile/staffing-recruiter", reasons.SUCCEEDED, "binds 2 tables", detail=bound, also=(closed,))
    alive.put("Profile/docs-assistant", reasons.SUCCEEDED, "binds nothing", detail=bound, also=(replace(closed, status="True"),))
    unfit = Condition("MasksUnfit", "True", reasons.MASK_UNFIT, "mask year shows nothing of `city`")
    failing = Condition("TestsFailing", "True", reasons.TESTS_FAILED, "case 1 returns other rows")
    rules = {"dataset": "candidates", "roles": ["admin", "recruiter", "visitor", "auditor"]}
    alive.put("Policy/candidates-access", reasons.SUCCEEDED, "in force", detail=rules, also=(unfit, failing))
    profiles, policies = (alive.call("get", kind, width=80).out.splitlines() for kind in ("profiles", "policies"))
    assert profiles[1].split()[-1] == "Ready"
    assert profiles[2].endswith("  Ready, closed")
    assert policies[1].endswith("  Ready, masks unfit, tests fail")
    assert "candidates-access" in policies[1]
    assert max(map(len, profiles + policies)) <= 80


def test_a_warning_is_told_whole(alive: Lakehouse) -> None:
    message = f"{' '.join(f'word-{number}' for number in range(60))} Remove the table."
    alive.event("Source/daemon", reasons.TOKENS_REFUSED, message, "Warning")
    lines = alive.call("events", width=80).out.splitlines()
    assert message in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80


def test_rows_that_are_counted_before_merging_are_shown_as_the_most_there_can_be(alive: Lakehouse) -> None:
    alive.put("Dataset/placements", reasons.SUCCEEDED, "21 rows", detail={"rows": 21, "version": 4, "files": 3, "merged": False})
    *_, row, note = alive.call("get", "Dataset/placements").out.splitlines()
    assert "placements   ≤21      3        4" in row
    assert note.strip() == "≤: before merging by key: a query may count less"


def test_an_object_that_nobody_knows(alive: Lakehouse) -> None:
    said = alive.call("status", "Dataset/candidate")
    assert (said.code, "did you mean `Dataset/candidates`?" in said.err) == (2, True)
    assert alive.call("status", "profiles").code == 0


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("reason", [reasons.SUCCEEDED, reasons.FILE_REFUSED])
def test_a_message_is_told_whole_at_any_width(alive: Lakehouse, reason: str, width: int) -> None:
    message = " ".join(f"word-{number}" for number in range(120))
    alive.put("Dataset/placements", reason, message)
    assert message in " ".join(alive.call("status", width=width).out.split())


def test_wide_cuts_nothing(alive: Lakehouse) -> None:
    text = alive.call("status", "-o", "wide").out
    assert "a-generation-with-a-name-that-is-far-too-long-for-a-row" in text
    assert "version 2 with 1,204,332 rows stays served" in text


def test_the_document_is_that_of_the_daemon(alive: Lakehouse) -> None:
    document = alive.call("status", "-o", "json").document
    assert document["revision"].startswith("4f1c0de")
    assert document["daemon"] == {"url": "http://127.0.0.1:8484", "pid": 4711, "since": None}
    assert all(set(row) == ROW for row in document["objects"])
    ready = {f"{row['kind']}/{row['name']}": row["ready"] for row in document["objects"]}
    assert ready["Dataset/candidates"] == "True"
    assert ready["Dataset/call-log"] == "False"


def test_nothing_is_ready_when_nobody_looks(dead: Lakehouse) -> None:
    document = dead.call("status", "-o", "json").document
    assert {row["ready"] for row in document["objects"]} == {"Unknown"}
    assert {row["reason"] for row in document["objects"]} == {reasons.DAEMON_GONE}
    assert "20,000 rows from 2 files, version 3" in {row["message"] for row in document["objects"]}
    assert document["daemon"] is None
    assert document["lastDaemon"]["pid"] == 4711
    assert document["lastDaemon"]["stopped"] is False


def test_a_daemon_that_stopped_is_said_to_have_stopped(alive: Lakehouse) -> None:
    assert alive.lease is not None
    alive.lease.release()
    assert "when process 4711 on lakehost stopped" in " ".join(alive.call("status").out.split())


def test_a_daemon_that_says_nothing_is_not_called_healthy(alive: Lakehouse) -> None:
    silent = alive.call("status", clock=lambda: alive.now + timedelta(seconds=16)).out
    assert silent.startswith("Nobody is reconciling since")


def test_yaml_is_the_same_document(alive: Lakehouse) -> None:
    import yaml

    assert yaml.safe_load(alive.call("status", "-o", "yaml").out) == alive.call("status", "-o", "json").document


def test_ascii_and_colours(alive: Lakehouse) -> None:
    plain = alive.call("status", unicode=False).out
    assert plain.isascii()
    coloured = alive.call("status", color=True).out
    assert "\x1b[32m✔" in coloured
    assert "\x1b" not in alive.call("status").out


def test_a_stale_daemon_file_is_ignored(dead: Lakehouse) -> None:
    import os

    left = {"url": "http://127.0.0.1:1", "pid": os.getpid(), "state": dead.id, "since": "2026-03-01T00:00:00Z", "socket": "/nowhere"}
    (dead.root / ".lakehouse/daemon.json").write_text(json.dumps(left))
    assert dead.call("status").out.startswith("Nobody is reconciling")


def test_objects_that_nobody_knows(alive: Lakehouse, golden: Any) -> None:
    said = [
        alive.call("describe", "Dataset/candidate").all,
        alive.call("why", "Index/resume").all,
        alive.call("get", "Dataset/call_log").all,
        alive.call("get", "datasest").all,
        alive.call("describe", "candidates").all,
    ]
    golden.check("unknown-objects.txt", "".join(said))


def test_a_bare_name_is_answered_with_the_objects_that_have_it(alive: Lakehouse) -> None:
    for words in (["describe", "notes"], ["wait", "notes"], ["suspend", "notes", "--reason", "r"], ["reconcile", "notes"]):
        assert alive.call(*words).err == "error: `notes` names no object.\n       Did you mean Dataset/notes or Index/notes?\n", words


def test_why_names_the_blocker_for_programs(alive: Lakehouse) -> None:
    said = alive.call("why", "Index/notes", "-o", "json")
    assert said.code == 1
    assert [link["name"] for link in said.document["chain"]] == ["notes", "notes"]
    assert said.document["blocker"] == "Dataset/notes"
    assert said.document["next"]


def test_a_circle_of_blockers_ends(alive: Lakehouse) -> None:
    alive.put("Dataset/a", reasons.DEPENDENCY_NOT_READY, "Dataset/b is not ready", detail={"blockedBy": "Dataset/b"})
    alive.put("Dataset/b", reasons.DEPENDENCY_NOT_READY, "Dataset/a is not ready", detail={"blockedBy": "Dataset/a"})
    assert alive.call("why", "Dataset/a").out.count("Dataset/") >= 2


def test_a_message_with_wide_characters_keeps_the_columns(alive: Lakehouse) -> None:
    alive.put("Dataset/wide", reasons.SUCCEEDED, "東京の行 " * 20)
    lines = alive.call("status").out.splitlines()
    assert max(map(text_width, lines)) <= 80


def test_data_is_shown_and_never_obeyed(alive: Lakehouse) -> None:
    alive.put("Dataset/evil", reasons.SUCCEEDED, "row \x1b]0;owned\x07 1\nrow 2")
    alive.event("Dataset/evil", reasons.COMMITTED, "\x1b[2J")
    for words in (
        ["status"],
        ["status", "-o", "wide"],
        ["describe", "Dataset/evil"],
        ["why", "Dataset/evil"],
        ["events", "-o", "wide"],
        ["events"],
    ):
        assert "\x1b" not in alive.call(*words).out, words


def test_events_for_programs(alive: Lakehouse) -> None:
    events = alive.call("events", "dataset/candidates", "-o", "json").document["events"]
    assert [event["reason"] for event in events] == [reasons.COMMITTED]
    assert alive.call("events", "--since", "1m").out == ""


def test_the_plurals_are_those_of_the_registry() -> None:
    assert {kind: info.plural for kind, info in KINDS.items()} == PLURALS


def test_every_group_of_reasons_is_made_of_reasons() -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper()}
    assert known >= WAITING | FAILED | HELD
    assert len(WAITING | FAILED | HELD) == len(WAITING) + len(FAILED) + len(HELD)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (86_400, "1d"), (864_000, "10d"), (-5, "0s")],
)
def test_a_span_has_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_reasons_and_ages_in_words(lakehouse: Lakehouse) -> None:
    assert reason_words("FileRefused") == "file refused"
    assert age(lakehouse.now, None) == "-"
    assert age(lakehouse.now, "no time") == "-"


def test_an_empty_state_is_said_to_be_empty(lakehouse: Lakehouse, lakectl: Callable[..., Said]) -> None:
    lakehouse.hold()
    said = lakehouse.call("status", clock=lakehouse.clock)
    assert "Nothing is known of any object." in said.out
    assert lakehouse.call("get", "datasets", clock=lakehouse.clock).out == "There are no datasets.\n"


def test_rows_are_made_of_an_observation_alone() -> None:
    import io
    from datetime import UTC, datetime

    from reconciler.lakectl.observation import Gone, Observation
    from reconciler.lakectl.terminal import Terminal

    lines = list(table(Observation(None, (), gone=Gone(None)), Terminal(io.StringIO(), io.StringIO()), datetime(2026, 3, 1, tzinfo=UTC)))
    assert lines[0] == "Nobody is reconciling: no daemon has run here yet. Start it: `lakectl daemon`."
