"""Every verb ends as one row and one event under the request's id: done, refused or failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset, index

from controllers.dataset import files
from controllers.dataset.edits import Edits
from specs.resource import Key
from state import failpoints, reasons
from state.catalog.log import WriterId
from state.errors import FailpointError, LeaseLost
from state.requests import Request
from state.streams.ids import Ulids
from state.timestamps import iso

X = Key("Dataset", "x")


def ask(bench: Bench, verb: str, object_: str = "Dataset/x", **facts: Any) -> str:
    bench.clock.advance(1)
    made = Request(Ulids(bench.clock)(), verb, object_, "ada@home", "because", **facts)
    bench.requests.submit(made)
    return made.id


def ended(bench: Bench, request: str) -> dict[str, Any]:
    """The row; checks that there is one event beside it, and that the request is gone."""
    (row,) = bench.streams.read("requests", where={"request": request})
    (event,) = bench.streams.read("events", where={"request": request})
    reason = {"done": reasons.REQUEST_DONE, "refused": reasons.REQUEST_REFUSED, "failed": reasons.REQUEST_FAILED}[row["outcome"]]
    assert (event["reason"], event["object"], event["actor"]) == (reason, row["object"], row["actor"])
    assert event["type"] == ("Normal" if row["outcome"] == "done" else "Warning")
    assert row["message"] in event["message"]
    assert request not in {pending.id for pending in bench.requests.pending()}
    return row


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "text\nhello\n")
    bench.commit(BUCKET, dataset("x"))
    bench.settle()
    return bench


class TestReconcile:
    def test_one(self, lake: Bench) -> None:
        request = ask(lake, "reconcile")
        assert lake.operator.answer() == (X,)
        row = ended(lake, request)
        assert (row["outcome"], row["verb"], row["reason"], row["revision"]) == ("done", "reconcile", "because", lake.world.revision)

    def test_all(self, lake: Bench) -> None:
        request = ask(lake, "reconcile", "")
        assert set(lake.operator.answer()) == {X, Key("Bucket", "primary")}
        assert ended(lake, request)["outcome"] == "done"

    def test_oldest_first(self, lake: Bench) -> None:
        ids = [ask(lake, "reconcile") for _ in range(3)]
        lake.operator.answer()
        assert [row["request"] for row in lake.streams.read("requests")] == ids

    def test_nothing_waits(self, lake: Bench) -> None:
        assert lake.operator.answer() == ()


class TestSuspend:
    def reason(self, lake: Bench) -> str:
        return lake.settle()["Dataset/x"].reason

    def test_until_resumed(self, lake: Bench) -> None:
        request = ask(lake, "suspend")
        assert lake.operator.answer() == (X,)
        assert ended(lake, request)["message"] == "it is left alone until it is resumed"
        status = lake.settle()["Dataset/x"]
        assert (status.reason, status.ready, status.message) == (reasons.SUSPENDED, "False", "suspended by ada@home: because")
        lake.write("data/x/b.csv", "text\nmore\n")
        lake.settle()
        assert lake.catalog.table("x").rows == 1  # type: ignore[union-attr]
        lake.open()
        lake.follower.advance()
        assert self.reason(lake) == reasons.SUSPENDED
        request = ask(lake, "resume")
        assert lake.operator.answer() == (X,)
        assert ended(lake, request)["outcome"] == "done"
        assert self.reason(lake) == reasons.SUCCEEDED
        assert lake.catalog.table("x").rows == 2  # type: ignore[union-attr]

    @pytest.mark.parametrize("how", ["for", "until"])
    def test_until_a_time(self, lake: Bench, how: str) -> None:
        until = iso(lake.clock.now.replace(hour=23))
        ask(lake, "suspend", payload={"until": until} if how == "until" else {"for": "2h"})
        lake.operator.answer()
        status = lake.settle()["Dataset/x"]
        assert status.reason == reasons.SUSPENDED
        assert status.message.startswith("suspended by ada@home until 2026-01-02T")
        assert [(c.type, c.status) for c in status.conditions] == [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")]
        lake.clock.advance(24 * 3600)
        assert self.reason(lake) == reasons.SUCCEEDED
        request = ask(lake, "resume")
        lake.operator.answer()
        assert ended(lake, request)["message"].startswith("it is not suspended; that ended at 2026-01-02T")

    @pytest.mark.parametrize("payload", [{"until": "tomorrow"}, {"until": 5}, {"for": "soon"}, {"for": 5}, {"until": []}])
    def test_until_nonsense(self, lake: Bench, payload: dict[str, Any]) -> None:
        request = ask(lake, "suspend", payload=payload)
        assert lake.operator.answer() == ()
        assert ended(lake, request)["outcome"] == "refused"
        assert self.reason(lake) == reasons.SUCCEEDED

    def test_resuming_what_is_not_suspended_says_so_and_is_no_harm(self, lake: Bench) -> None:
        seq = lake.catalog.seq
        request = ask(lake, "resume")
        assert lake.operator.answer() == ()
        row = ended(lake, request)
        assert (row["outcome"], row["message"]) == ("done", "it is not suspended")
        assert lake.catalog.seq == seq


class TestCompact:
    def test_segments_are_folded(self, lake: Bench) -> None:
        for number in range(3):
            lake.streams.append("errors", {"bucket": str(number)})
            lake.streams.flush()
        request = ask(lake, "compact", "", payload={"streams": ["errors"]})
        lake.operator.answer()
        assert ended(lake, request)["message"] == "3 objects became 1"
        assert [row["bucket"] for row in lake.streams.read("errors")] == ["0", "1", "2"]

    @pytest.mark.parametrize("payload", [{}, {"streams": "errors"}, {"streams": ["nonsense"]}, {"streams": [5]}])
    def test_nonsense_is_refused(self, lake: Bench, payload: dict[str, Any]) -> None:
        request = ask(lake, "compact", "", payload=payload)
        lake.operator.answer()
        assert ended(lake, request)["outcome"] == "refused"


def test_resync_reads_contents_again(lake: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    original = files.sha256_file

    def noted(path: str) -> str:
        hashed.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(files, "sha256_file", noted)
    monkeypatch.setattr(files, "_TICK_NS", -(10**12))  # the file has rested long enough to be remembered
    lake.reconciler.visit(X)
    hashed.clear()
    lake.reconciler.visit(X)
    assert hashed == []
    request = ask(lake, "resync")
    assert lake.operator.answer() == (X,)
    assert ended(lake, request)["outcome"] == "done"
    lake.reconciler.visit(X)
    assert hashed == ["a.csv"]


class TestApprove:
    @pytest.fixture
    def held(self, lake: Bench) -> Bench:
        lake.commit(BUCKET, *(dataset(f"d{n}") for n in range(5)))
        lake.settle()
        lake.commit(BUCKET)
        return lake

    def test_goes_on_where_it_was_cut_off(self, held: Bench) -> None:
        """What is gone already changes neither what was approved nor the answer."""
        plan = held.follower.prune()
        request = ask(held, "approve", "", payload={"plan": plan.id})
        failpoints.arm({"follow.after-prune": "error@3"})
        held.operator.answer()
        held.open()
        failpoints.disarm()
        held.follower.advance()
        assert not held.follower.prune().held
        assert all(status.reason != reasons.PRUNE_HELD for status in held.by_object().values())
        again = ask(held, "approve", "", payload={"plan": plan.id})
        held.operator.answer()
        assert ended(held, again)["message"] == "what it named was let go before"
        assert ended(held, request)["outcome"] in ("done", "failed")

    def test_is_of_one_removal(self, held: Bench) -> None:
        """What comes back and goes again is asked about again, though the plan is the same."""
        names = [index(f"i{n}", "x") for n in range(3)]
        held.commit(BUCKET, dataset("x"), *names)
        for _ in range(2):
            held.commit(BUCKET, dataset("x"))
            plan = held.follower.prune()
            assert set(plan.held) >= {"Index/i0", "Index/i1", "Index/i2"}
            ask(held, "approve", "", payload={"plan": plan.id})
            held.operator.answer()
            assert not held.follower.prune().held
            held.commit(BUCKET, dataset("x"), *names)

    def test_lets_the_plan_go(self, held: Bench) -> None:
        plan = held.follower.prune()
        assert plan.held
        request = ask(held, "approve", "", payload={"plan": plan.id})
        held.operator.answer()
        assert ended(held, request)["message"] == f"{len(plan.held)} objects were let go"
        assert [name for name in held.catalog.objects("Dataset") if name.startswith("Dataset/d")] == []
        assert held.follower.prune().held == {}
        record = held.catalog.get(f"Prune/{plan.id}")
        assert record is not None
        assert record.approvals[plan.id].by == "ada@home"

    def test_is_refused_when_the_plan_is_another(self, held: Bench) -> None:
        former = held.follower.prune().id
        held.commit(BUCKET, dataset("new"))
        now = held.follower.prune().id
        request = ask(held, "approve", "", payload={"plan": former})
        held.operator.answer()
        row = ended(held, request)
        assert row["outcome"] == "refused"
        assert f"what is held now has the plan {now}" in row["message"]
        assert held.follower.prune().held

    def test_is_refused_when_nothing_is_held(self, lake: Bench) -> None:
        request = ask(lake, "approve", "", payload={"plan": "abc"})
        lake.operator.answer()
        assert ended(lake, request)["message"] == "plan abc is not what would be done any more: nothing is held now. Nothing is left to do."


class TestRefusals:
    @pytest.mark.parametrize("verb", ["reconcile", "suspend", "resume", "resync"])
    def test_of_what_nobody_declares(self, lake: Bench, verb: str) -> None:
        request = ask(lake, verb, "Dataset/nobody")
        assert lake.operator.answer() == ()
        assert ended(lake, request)["message"] == "Dataset/nobody is not declared by any spec. `lakectl status` lists what is."

    def test_of_what_is_nearly_declared(self, lake: Bench) -> None:
        request = ask(lake, "resume", f"{X}z")
        lake.operator.answer()
        assert ended(lake, request)["message"].startswith(f"{X}z is not declared by any spec; did you mean `{X.name}`?")

    @pytest.mark.parametrize("verb", ["reconcile", "suspend", "resume", "resync"])
    def test_of_a_stale_decision(self, lake: Bench, verb: str) -> None:
        decided_on = lake.world.objects[X].digest
        lake.commit(BUCKET, dataset("x", ", owner: me"))
        request = ask(lake, verb, digest=decided_on)
        assert lake.operator.answer() == ()
        assert ended(lake, request)["message"] == "Dataset/x has changed since this was decided. Look at it and ask again."
        request = ask(lake, verb, digest=lake.world.objects[X].digest)
        lake.operator.answer()
        assert ended(lake, request)["outcome"] == "done"

    @pytest.mark.parametrize("verb", ["reconcile", "resync"])
    def test_of_work_on_what_is_suspended(self, lake: Bench, verb: str) -> None:
        ask(lake, "suspend", payload={"for": "1h"})
        lake.operator.answer()
        request = ask(lake, verb)
        assert lake.operator.answer() == ()
        row = ended(lake, request)
        assert row["outcome"] == "refused"
        assert row["message"].startswith("Dataset/x is suspended by ")
        assert row["message"].endswith("`lakectl resume Dataset/x`, then ask again.")
        lake.clock.advance(3601)
        request = ask(lake, verb)
        assert lake.operator.answer() == (X,)
        assert ended(lake, request)["outcome"] == "done"


class TestDamage:
    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"format": 9}', b'{"format": 1, "id": "other", "verb": "gc"}'])
    def test_ends_as_an_event_and_is_removed(self, lake: Bench, body: bytes) -> None:
        lake.store.put("requests/01ARZ3NDEKTSV4RRFFQ69G5FAV.json", body)
        good = ask(lake, "reconcile")
        assert lake.operator.answer() == (X,)
        row = ended(lake, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        assert row["outcome"] == "failed"
        assert row["message"]
        assert ended(lake, good)["outcome"] == "done"
        assert lake.requests.damaged() == ()
        lake.operator.answer()
        assert len(list(lake.streams.read("requests"))) == 2

    @pytest.mark.parametrize("fact", [b'"reason": "caf\\udce9"', b'"payload": ' + b"[" * 50_000, b'"payload": {"rows": 1e999}'])
    def test_of_what_no_row_could_hold(self, lake: Bench, fact: bytes) -> None:
        id_ = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        rest = f'"format": 1, "id": "{id_}", "verb": "suspend", "object": "Dataset/x", "actor": "ada", "reason": "",'.encode()
        lake.store.put(f"requests/{id_}.json", b"{" + rest + fact + b"}")
        good = ask(lake, "reconcile")
        assert lake.operator.answer() == (X,)
        assert ended(lake, id_)["outcome"] == "failed"
        assert ended(lake, good)["outcome"] == "done"

    def test_of_an_id_beyond_the_calendar(self, lake: Bench) -> None:
        lake.requests.submit(Request("7" + "Z" * 25, "reconcile", "Dataset/x", "ada", "because"))
        assert lake.operator.answer() == (X,)
        assert ended(lake, "7" + "Z" * 25)["outcome"] == "done"

    @pytest.mark.parametrize("name", ["x y", "deep/er", "é"])
    def test_of_the_strangest_name(self, lake: Bench, name: str) -> None:
        lake.store.put(f"requests/{name}.json", b"?")
        lake.operator.answer()
        assert ended(lake, name)["outcome"] == "failed"
        assert list(lake.store.list("requests/")) == []

    def test_other_files_are_left_alone(self, lake: Bench) -> None:
        lake.store.put("requests/README.txt", b"?")
        lake.operator.answer()
        assert list(lake.streams.read("requests")) == []
        assert [info.key for info in lake.store.list("requests/")] == ["requests/README.txt"]


class TestSurprises:
    @pytest.mark.parametrize(
        "surprise",
        [AssertionError(), KeyError("pid"), ValueError("a row's value"), PermissionError(13, "Permission denied", "lake")],
        ids=lambda value: type(value).__name__,
    )
    def test_end_their_request_and_nothing_else(
        self, lake: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, surprise: Exception
    ) -> None:
        """By type alone: what a library says may hold a row's value."""

        def fails(*_: object) -> str:
            raise surprise

        monkeypatch.setattr(Edits, "carry_out", fails)
        bad, good = ask(lake, "row-set", payload={"key": "1", "set": {"text": "x"}}), ask(lake, "reconcile")
        assert lake.operator.answer() == (X,)
        row = ended(lake, bad)
        assert (row["outcome"], row["message"]) == (
            "failed",
            f"it failed unexpectedly ({type(surprise).__name__}); the log has the traceback",
        )
        assert ended(lake, good)["outcome"] == "done"
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[1] is surprise
        assert lake.operator.answer() == ()


class TestCrashes:
    @pytest.mark.parametrize("point", ["operator.before-answer", "operator.after-answer"])
    def test_a_request_is_answered_once(self, lake: Bench, point: str) -> None:
        request = ask(lake, "suspend")
        failpoints.arm({point: "error"})
        with pytest.raises(FailpointError):
            lake.operator.answer()
        lake.open()
        lake.follower.advance()
        lake.operator.answer()
        assert ended(lake, request)["outcome"] == "done"

    def test_a_failure_is_told(self, lake: Bench) -> None:
        lake.commit(BUCKET, *(dataset(f"d{n}") for n in range(5)))
        lake.commit(BUCKET)
        plan = lake.follower.prune()
        request = ask(lake, "approve", "", payload={"plan": plan.id})
        failpoints.arm({"follow.before-prune": "error"})
        lake.operator.answer()
        assert ended(lake, request)["outcome"] == "failed"
        lake.follower.prune()
        assert lake.follower.prune().held == {}

    def test_a_lost_lease_ends_nothing(self, lake: Bench) -> None:
        """Another writer took over: the request is its to answer."""
        from state.catalog.catalog import Catalog

        request = ask(lake, "suspend")
        Catalog.open(lake.store, writer=WriterId("other", 99))
        with pytest.raises(LeaseLost):
            lake.operator.answer()
        assert [pending.id for pending in lake.requests.pending()] == [request]
        assert list(lake.streams.read("requests")) == []

    def test_nothing_is_answered_before_it_is_known_what_is_wanted(self, lake: Bench) -> None:
        request = ask(lake, "reconcile")
        lake.open()
        assert lake.operator.answer() == ()
        assert [pending.id for pending in lake.requests.pending()] == [request]
        lake.follower.advance()
        assert lake.operator.answer() == (X,)
