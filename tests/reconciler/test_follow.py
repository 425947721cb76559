"""From a revision to the inventory, to what is removed, retained or held, and to keys in order."""

from __future__ import annotations

import threading

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index

from reconciler.errors import RevisionUnknown, SourceUnavailable
from specs.resource import Key, Resource
from state import failpoints, reasons
from state.catalog.entry import Dropped, Managed
from state.errors import FailpointError

X, INDEX, G = Key("Dataset", "x"), Key("Index", "i"), Key("IndexGeneration", "g")
PRIMARY = Key("Bucket", "primary")
POLICY = """\
apiVersion: lakehouse/v1
kind: Policy
metadata: {name: p}
spec: {dataset: x, rows: [{roles: [admin], where: "true"}]}
"""
TOOL = """\
apiVersion: lakehouse/v1
kind: Tool
metadata: {name: find}
spec: {description: d, parameters: {type: object, properties: {}}, mode: read, query: "SELECT 1", roles: [a]}
"""
ALL = (BUCKET, dataset("x"), index("i", "x"), generation("g", "i"))


def filled(bench: Bench) -> None:
    bench.write("data/x/a.csv", "text\nhello\nworld\n")
    bench.commit(*ALL)
    statuses = bench.settle()
    assert {status.ready for status in statuses.values()} == {"True"}, statuses


class TestOrder:
    def test_dependencies_first(self, bench: Bench) -> None:
        pending = bench.commit(*reversed(ALL))
        assert pending.changed == (PRIMARY, X, INDEX, G)

    def test_only_what_changed_and_who_refers_to_it(self, bench: Bench) -> None:
        filled(bench)
        pending = bench.commit(BUCKET, dataset("x"), index("i", "x", more=", keep: 2"), generation("g", "i"))
        assert (pending.changed, pending.quiet) == ((INDEX, G), (X,))
        assert bench.follower.advance().changed == ()

    def test_an_unrelated_commit_concerns_nobody_and_writes_nothing(self, bench: Bench) -> None:
        filled(bench)
        seq, version = bench.catalog.seq, bench.book.version
        pending = bench.commit(*ALL, README="new")
        assert (pending.changed, pending.quiet) == ((), ())
        assert (bench.catalog.seq, bench.book.version) == (seq, version)

    def test_after_a_restart_what_is_settled_is_quiet(self, bench: Bench) -> None:
        filled(bench)
        bench.commit(*ALL, dataset("y"))
        bench.open()
        pending = bench.follower.advance()
        assert pending.changed == (Key("Dataset", "y"),)
        assert set(pending.quiet) == {PRIMARY, X, INDEX, G}

    def test_relist_finds_what_nobody_looked_at(self, bench: Bench) -> None:
        filled(bench)
        assert bench.follower.relist() == ()
        bench.commit(*ALL, dataset("y"))
        assert bench.follower.relist() == (Key("Dataset", "y"),)

    @pytest.mark.parametrize("restarted", [True, False])
    def test_what_the_catalog_lost_is_taken_up_again_though_its_status_says_all_is_well(self, bench: Bench, restarted: bool) -> None:
        filled(bench)
        bench.catalog.commit([Dropped(str(X))], actor="a writer that died before it removed the status", reason="no spec asks for it")
        if restarted:
            bench.open()
            bench.follower.advance()
        else:
            assert bench.follower.relist() == (X,)
        assert bench.follower.relist() == ()
        assert {status.ready for status in bench.settle().values()} == {"True"}
        record = bench.catalog.get(str(X))
        assert record is not None
        assert record.table is not None
        assert record.table.rows == 2
        assert record.managed is not None, "so that it can be removed again"


class TestInventory:
    def test_is_written_before_anything_is_done(self, bench: Bench) -> None:
        failpoints.arm({"follow.before-inventory": "error"})
        with pytest.raises(FailpointError):
            bench.commit(*ALL)
        assert not bench.catalog.objects()
        pending = bench.follower.advance()
        assert pending.changed == (PRIMARY, X, INDEX, G), "what is owed is not lost"
        (entry,) = [entry for entry in bench.catalog.entries() if entry.changes]
        assert {change.object for change in entry.changes if isinstance(change, Managed)} == {
            "Bucket/primary",
            "Dataset/x",
            "Index/i",
            "IndexGeneration/g",
        }

    def test_follows_what_is_to_become_of_the_data(self, bench: Bench) -> None:
        filled(bench)
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        record = bench.catalog.get("Dataset/x")
        assert record is not None
        assert record.managed is not None
        assert record.managed.deletion == "delete"

    def test_remembers_that_a_policy_named_a_dataset_until_its_spec_takes_that_back(self, bench: Bench) -> None:
        def is_governed() -> bool:
            record = bench.catalog.get("Dataset/x")
            assert record is not None
            return record.governed

        filled(bench)
        assert not is_governed()
        bench.commit(*ALL, POLICY)
        bench.settle()
        assert is_governed()
        bench.commit(*ALL)
        assert is_governed()
        bench.commit(BUCKET, dataset("x", ", policy: none"))
        assert not is_governed()

    def test_what_never_parsed_is_not_in_it_and_leaves_nothing(self, bench: Bench) -> None:
        bench.commit(BUCKET, dataset("x").replace("source", "sauce"))
        bench.settle()
        assert bench.catalog.get("Dataset/x") is None
        assert bench.by_object()["Dataset/x"].reason == reasons.INVALID_SPEC
        bench.commit(BUCKET)
        assert "Dataset/x" not in bench.by_object()

    def test_a_kind_that_is_not_acted_on_leaves_nothing_behind(self, bench: Bench) -> None:
        bench.commit(BUCKET, TOOL)
        assert bench.settle()["Tool/find"].reason == reasons.NO_CONTROLLER
        bench.commit(BUCKET)
        assert bench.catalog.get("Tool/find") is None
        assert "Tool/find" not in bench.by_object()


class TestRemoval:
    def test_of_a_dataset_together_with_its_policy_is_held(self, bench: Bench) -> None:
        filled(bench)
        bench.commit(*ALL, POLICY)
        bench.settle()
        bench.commit(BUCKET)
        status = bench.by_object()["Dataset/x"]
        assert status.reason == reasons.PRUNE_HELD
        assert "a policy governs it" in status.message

    def test_data_are_retained_and_what_is_derived_goes(self, bench: Bench) -> None:
        filled(bench)
        assert list(bench.store.list("indexes/"))
        bench.commit(BUCKET)
        statuses = bench.settle()
        assert statuses["Dataset/x"].reason == reasons.RETAINED
        assert statuses["Dataset/x"].ready == "True"
        assert statuses.keys() == {"Bucket/primary", "Dataset/x"}
        assert list(bench.store.list("indexes/")) == []
        table = bench.catalog.table("x")
        assert table is not None
        assert (table.rows, table.retained) == (2, True)
        assert {event["object"] for event in bench.events(reasons.REMOVED)} == {"Index/i", "IndexGeneration/g"}

    def test_retained_data_are_taken_up_again(self, bench: Bench) -> None:
        filled(bench)
        table = bench.catalog.table("x")
        bench.commit(BUCKET)
        bench.commit(BUCKET, dataset("x"))
        assert bench.settle()["Dataset/x"].reason == reasons.SUCCEEDED
        assert bench.catalog.table("x") == table
        assert [event["object"] for event in bench.events(reasons.ADOPTED)] == ["Dataset/x"]

    def test_deletion_delete_deletes(self, bench: Bench) -> None:
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        bench.settle()
        assert list(bench.store.list("datasets/"))
        bench.commit(BUCKET)
        assert bench.catalog.get("Dataset/x") is None
        assert list(bench.store.list("datasets/")) == []
        assert "Dataset/x" not in bench.by_object()

    def test_what_comes_after_a_deletion_has_other_names(self, bench: Bench) -> None:
        """A deletion whose answer was lost may be carried out late, and by a writer who was replaced."""
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        bench.settle()
        former = [info.key for info in bench.store.list("datasets/")]
        bench.commit(BUCKET)
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        bench.settle()
        for key in former:
            bench.store.delete(key)
        table = bench.catalog.table("x")
        assert table is not None
        assert [bench.store.head(file.key).size for file in table.files] == [file.ref.size for file in table.files]
        bench.commit(BUCKET)
        assert list(bench.store.list("datasets/")) == []

    @pytest.mark.parametrize("deletion", ["", ", deletion: delete"])
    def test_a_renamed_dataset_moves(self, bench: Bench, deletion: str) -> None:
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, dataset("x", deletion))
        bench.settle()
        table = bench.catalog.table("x")
        assert table is not None
        bench.commit(BUCKET, dataset("y", ", renamedFrom: x" + deletion, glob="data/x/*.csv"))
        statuses = bench.settle()
        assert statuses["Dataset/y"].ready == "True"
        assert "Dataset/x" not in statuses
        moved = bench.catalog.table("y")
        assert moved is not None
        assert moved.files == table.files
        assert bench.catalog.get("Dataset/x") is None
        assert list(bench.store.list("datasets/"))
        assert bench.follower.prune().objects == ()

    def test_a_retained_dataset_moves_as_well(self, bench: Bench) -> None:
        filled(bench)
        bench.commit(BUCKET)
        assert bench.by_object()["Dataset/x"].reason == reasons.RETAINED
        bench.commit(BUCKET, dataset("y", ", renamedFrom: x", glob="data/x/*.csv"))
        statuses = bench.settle()
        assert statuses.keys() == {"Bucket/primary", "Dataset/y"}
        assert statuses["Dataset/y"].ready == "True"

    def test_a_bucket_with_data_stays_readable(self, bench: Bench) -> None:
        other = BUCKET.replace("primary", "other").replace("lake}}", "elsewhere}}")
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, other, dataset("x", ", bucket: other"))
        assert bench.settle()["Dataset/x"].ready == "True"
        bench.commit(BUCKET)
        assert bench.follower.prune().objects == ()
        assert "other" in bench.buckets.configs()

    def test_a_failed_removal_is_told_and_tried_again(self, bench: Bench) -> None:
        filled(bench)
        failpoints.arm({"discards.noted": "error"})
        bench.commit(BUCKET, dataset("x"))
        broken = [status for status in bench.by_object().values() if status.reason == reasons.PRUNING]
        assert [status.object for status in broken] == ["Index/i"]
        bench.follower.advance()
        assert bench.by_object().keys() == {"Bucket/primary", "Dataset/x"}
        assert list(bench.store.list("indexes/")) == []


class TestUnreadFiles:
    """A file that cannot be understood may ask for what nobody else asks for."""

    @pytest.mark.parametrize(
        ("path", "text"),
        [("specs/x.yml", dataset("x")), ("specs/x.yaml", "kind: {"), ("specs/x.yaml", dataset("x").replace("kind: Dataset", "kind: Data"))],
        ids=["another suffix", "half written", "an unknown kind"],
    )
    @pytest.mark.parametrize("restarted", [False, True])
    def test_nothing_is_removed_meanwhile(self, bench: Bench, path: str, text: str, restarted: bool) -> None:
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        bench.settle()
        if restarted:
            bench.open()
        bench.source.push({"specs/all.yaml": BUCKET, path: text})
        bench.follower.advance()
        status = bench.by_object()["Dataset/x"]
        assert status.reason == reasons.PRUNE_HELD
        assert f"{path} cannot be read and may ask for it" in status.message
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        assert bench.settle()["Dataset/x"].ready == "True"
        table = bench.catalog.table("x")
        assert table is not None
        assert table.rows == 1


class TestHolding:
    def names(self, count: int) -> list[str]:
        return [dataset(f"d{n}") for n in range(count)]

    def held(self, bench: Bench) -> dict[str, str]:
        return {name: status.message for name, status in bench.by_object().items() if status.reason == reasons.PRUNE_HELD}

    def test_too_much_is_held_and_named(self, bench: Bench) -> None:
        bench.commit(BUCKET, *self.names(5))
        bench.settle()
        bench.commit(BUCKET, *self.names(2))
        plan = bench.follower.prune()
        assert self.held(bench).keys() == {"Dataset/d2", "Dataset/d3", "Dataset/d4"}
        assert all(f"`lakectl approve {plan.id}`" in message for message in self.held(bench).values())
        assert "3 of 5 Dataset objects would go, more than maxPrune 30%" in self.held(bench)["Dataset/d2"]

    def test_the_id_that_is_shown_is_the_one_to_approve(self, bench: Bench) -> None:
        bench.commit(BUCKET, *self.names(5))
        bench.commit(BUCKET, *self.names(2))
        former = bench.follower.prune().id
        bench.commit(BUCKET, *self.names(2), dataset("more"))
        assert all(former not in message for message in self.held(bench).values())
        plan = bench.follower.prune()
        assert all(plan.id in message for message in self.held(bench).values())

    def test_what_comes_back_is_not_held(self, bench: Bench) -> None:
        bench.commit(BUCKET, *self.names(5))
        bench.commit(BUCKET, *self.names(2))
        bench.commit(BUCKET, *self.names(5))
        bench.settle()
        assert self.held(bench) == {}

    def test_maxprune_of_the_commit_counts(self, bench: Bench) -> None:
        bench.commit(BUCKET, *self.names(5))
        bench.commit(BUCKET, *self.names(2))
        assert self.held(bench)
        bench.commit(BUCKET, *self.names(2), lakehouse__yaml="maxPrune: 1.0\n")
        assert self.held(bench) == {}
        assert bench.catalog.get("Dataset/d2") is None

    def test_it_is_still_held_after_a_restart(self, bench: Bench) -> None:
        bench.commit(BUCKET, *self.names(5))
        bench.commit(BUCKET, *self.names(2))
        bench.open()
        bench.follower.advance()
        assert len(self.held(bench)) == 3


class TestTurns:
    """Removals and visits of one object: whoever comes second sees what the first one did."""

    def test_an_object_that_is_removed_while_it_is_visited_stays_removed(self, bench: Bench) -> None:
        bench.write("data/x/a.csv", "text\nhello\n")
        bench.commit(BUCKET, dataset("x", ", deletion: delete"))
        visiting, going_on = threading.Event(), threading.Event()
        controller = bench.kinds.controllers["Dataset"]
        observe = controller.observe

        def slowly(resource: Resource) -> object:
            observed = observe(resource)
            visiting.set()
            assert going_on.wait(30)
            return observed

        bench.reconciler.visit(PRIMARY)
        controller.observe = slowly  # type: ignore[method-assign]
        visit = threading.Thread(target=bench.reconciler.visit, args=(X,))
        visit.start()
        assert visiting.wait(30)
        removal = threading.Thread(target=bench.commit, args=(BUCKET,))
        removal.start()
        while X in bench.world.objects:
            assert not removal.join(0.01)
        going_on.set()
        visit.join(30)
        removal.join(30)
        assert bench.catalog.get("Dataset/x") is None or bench.catalog.get("Dataset/x").gone  # type: ignore[union-attr]
        assert list(bench.store.list("datasets/")) == []
        assert "Dataset/x" not in bench.by_object()


class TestTheSource:
    @pytest.mark.parametrize("error", [SourceUnavailable("away"), RevisionUnknown("no such branch")])
    def test_what_cannot_be_read_leaves_the_world_in_force(self, bench: Bench, error: Exception) -> None:
        filled(bench)
        objects = bench.world.objects
        bench.source.unreadable = error
        for _ in range(2):
            assert bench.follower.advance().changed == ()
        assert bench.world.objects is objects
        status = bench.by_object()["Source/git"]
        assert (status.ready, status.reason) == ("False", reasons.REVISION_UNREADABLE)
        assert len(bench.events(reasons.REVISION_UNREADABLE)) == 1
        bench.source.unreadable = None
        bench.follower.advance()
        assert "Source/git" not in bench.by_object()

    def test_never_readable_removes_nothing(self, bench: Bench) -> None:
        filled(bench)
        bench.open()
        bench.source.unreadable = SourceUnavailable("away")
        assert bench.follower.advance().changed == ()
        assert bench.by_object()["Dataset/x"].ready == "True"
        assert bench.operator.answer() == ()

    def test_faulty_settings_leave_the_former_ones_in_force(self, bench: Bench) -> None:
        bench.commit(*ALL, lakehouse__yaml="maxPrune: 0.5\n")
        bench.commit(*ALL, lakehouse__yaml="maxPrune: 50\n")
        assert bench.follower.settings.max_prune == 0.5
        status = bench.by_object()["Settings/lakehouse"]
        assert (status.ready, status.reason) == ("False", reasons.INVALID_SPEC)
        assert status.message.startswith("lakehouse.yaml:1:11: `maxPrune` must be at most 1")
        assert status.message.endswith("The last good settings stay in force.")
        bench.commit(*ALL, lakehouse__yaml="maxPrune: 0.4\n")
        assert bench.follower.settings.max_prune == 0.4
        assert "Settings/lakehouse" not in bench.by_object()

    def test_settings_that_need_a_restart_are_told(self, bench: Bench) -> None:
        limits = "limits: {queryRows: 5}\nlisten: 127.0.0.1:0\n"
        for text in ("maxPrune: 0.5\n", "maxPrune: 0.4\n", limits, limits + "# more\n"):
            bench.commit(*ALL, lakehouse__yaml=text)
        told = [event["message"] for event in bench.events() if event["reason"] == "RestartNeeded"]
        assert told == ["`listen`, `limits.queryRows` changed; a daemon reads that when it starts: restart it"]

    def test_faulty_settings_of_a_former_process_are_forgotten_once_they_are_good(self, bench: Bench) -> None:
        bench.commit(*ALL, lakehouse__yaml="maxPrune: 50\n")
        bench.open()
        assert "Settings/lakehouse" in bench.by_object()
        bench.commit(*ALL, lakehouse__yaml="maxPrune: 0.4\n")
        assert "Settings/lakehouse" not in bench.by_object()

    def test_settings_that_cannot_be_read_now_are_read_later(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(revision: str) -> bytes | None:
            raise SourceUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(bench.source, "settings", away)
            assert bench.commit(*ALL, lakehouse__yaml="maxPrune: 0.4\n").changed == ()
        assert bench.follower.advance().changed == (PRIMARY, X, INDEX, G)
        assert bench.follower.settings.max_prune == 0.4


class TestCircles:
    def derived(self, name: str, of: str) -> str:
        return f'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{sql: "SELECT * FROM {of}"}}}}\n'

    def test_is_told_to_all_that_are_in_it(self, bench: Bench) -> None:
        bench.commit(BUCKET, self.derived("a", "b"), self.derived("b", "c"), self.derived("c", "a"), self.derived("d", "a"))
        statuses = bench.settle()
        assert statuses["Dataset/a"].reason == reasons.DEPENDENCY_CYCLE
        assert "Dataset/a -> Dataset/b -> Dataset/c -> Dataset/a" in statuses["Dataset/a"].message
        assert {name for name, status in statuses.items() if status.reason == reasons.DEPENDENCY_CYCLE} == {
            "Dataset/a", "Dataset/b", "Dataset/c",
        }  # fmt: skip

    def test_of_itself(self, bench: Bench) -> None:
        bench.commit(BUCKET, self.derived("a", "a"))
        assert "Dataset/a -> Dataset/a" in bench.settle()["Dataset/a"].message

    def test_two_buckets_that_rescue_each_other_are_none(self, bench: Bench) -> None:
        other = BUCKET.replace("primary", "other").replace("path: lake}", "path: copy}, rescue: {bucket: primary}")
        bench.commit(BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: other, mirror: true}"), other)
        assert {status.ready for status in bench.settle().values()} == {"True"}

    def test_a_long_chain_is_none(self, bench: Bench) -> None:
        length = 1500
        bench.commit(BUCKET, *(self.derived(f"d{n}", f"d{n + 1}") for n in range(length)))
        assert bench.world.circle(Key("Dataset", "d0")) == ()
        bench.commit(BUCKET, *(self.derived(f"d{n}", f"d{(n + 1) % length}") for n in range(length)))
        assert len(bench.world.circle(Key("Dataset", "d0"))) == length + 1
