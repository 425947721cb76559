"""A plan, its run, and nothing left: over a real repository, with the driver's event loop watched for blocking calls."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_loop import watched_loop
from measured_lake import eval_set, rows
from small_lake import BUCKET, Repository, dataset, documents, generation, index
from ulid import ULID

from reconciler.checking import check_offline
from reconciler.foreground import Convergence, Progress, apply_here
from reconciler.place import Place, locate
from reconciler.plan import Plan
from reconciler.planning import make_plan
from reconciler.settings import load_settings
from state import failpoints, reasons
from state.errors import LeaseHeld
from state.local_store import LocalStore
from state.requests import Request, RequestQueue

SETTINGS = load_settings(b"maxPrune: 1\nmodels: {ollama: {url: 'http://127.0.0.1:1'}}", {})


class Lake:
    """A repository with specs and data, applied in the foreground as `lakectl apply` does."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder)
        self.told: list[Progress] = []

    @property
    def place(self) -> Place:
        return locate(self.repository.folder)

    def commit(self, *specs: str) -> str:
        """These documents as the one spec file; nothing is held back from pruning."""
        return self.repository.commit({"specs/all.yaml": documents(*specs), "lakehouse.yaml": "maxPrune: 1\n"})

    def apply(self, seconds: float = 60, told: Callable[[Progress], None] | None = None) -> Convergence:
        place = self.place

        async def scenario() -> Convergence:
            with watched_loop("reconciler", "controllers", "engines", "state"):
                return await apply_here(place, SETTINGS, seconds=seconds, told=told or self.told.append)

        return asyncio.run(scenario())

    def plan(self) -> Plan:
        return make_plan(self.place, SETTINGS)

    def steps(self) -> dict[str, list[str]]:
        return {planned.object: [step.summary for step in planned.steps] for planned in self.plan().objects if planned.steps}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    yield Lake(tmp_path)
    failpoints.disarm()


CSV = "id,text\n1,a red chair\n2,a blue table\n"
WHOLE = (
    BUCKET,
    dataset("items", ", primaryKey: [id], write: upsert"),
    index("titles", "items"),
    generation("g1", "titles"),
    generation("g2", "titles", "hnsw: {m: 8}"),
)


def states(ended: Convergence) -> dict[str, str]:
    return {status.object: status.reason for status in ended.objects}


class TestAPlanAfterItsOwnApplication:
    CHANGES: tuple[Callable[[Lake], Any], ...] = (
        lambda lake: lake.repository.write("data/items/2.csv", "id,text\n2,a green lamp\n3,a bed\n"),
        lambda lake: lake.repository.write("data/items/1.csv", "id,text\n1,a broken chair\n"),
        lambda lake: (lake.repository.folder / "data/items/1.csv").rename(lake.repository.folder / "data/items/9.csv"),
        lambda lake: (lake.repository.folder / "data/items/9.csv").unlink(),
        lambda lake: lake.commit(*WHOLE[:2], index("titles", "items", more=", chunk: {tokens: 16, overlap: 4}"), WHOLE[3]),
        lambda lake: lake.commit(*WHOLE[:2], index("titles", "items", more=", serve: {generation: g2}"), *WHOLE[3:]),
        lambda lake: lake.commit(*WHOLE[:2], index("titles", "items")),
        lambda lake: lake.commit(BUCKET, dataset("goods", ", renamedFrom: items, primaryKey: [id], write: upsert", "data/items/*.csv")),
        lambda lake: lake.commit(BUCKET),
        lambda lake: lake.commit(BUCKET.replace("primary", "spare"), BUCKET),
        lambda lake: lake.commit(BUCKET),
    )

    def test_is_empty(self, lake: Lake) -> None:
        """One history of changes; after each the plan says what is done, and then nothing."""
        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(*WHOLE)
        for number, change in enumerate([lambda lake: None, *self.CHANGES]):
            change(lake)
            assert lake.plan().changes
            ended = lake.apply()
            assert ended.converged, (number, ended.problems)
            again = lake.plan()
            assert not again.changes, (number, again)
            assert {planned.state for planned in again.objects} <= {"ready"}


def test_a_search_is_no_matter_of_an_apply(lake: Lake) -> None:
    """All else is ready; nothing is begun whose time would run out before a daemon comes."""
    lake.repository.write("data/items/1.csv", rows(300))
    budget = "apiVersion: lakehouse/v1\nkind: TrialBudget\nmetadata: {name: t}\nspec: {index: titles, evalSet: e}\n"
    lake.commit(*WHOLE, eval_set("e", of="titles"), budget)
    ended = lake.apply()
    assert ended.converged, ended.problems
    (status,) = ended.searching
    assert (status.object, status.reason) == ("TrialBudget/t", reasons.TUNING)
    assert "lakectl daemon" in status.message
    assert lake.plan().changes, "a daemon would begin"


def test_it_ends_after_what_was_asked_is_answered(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the bucket takes to say what was asked, and though all is ready meanwhile."""
    lake.repository.write("data/items/1.csv", CSV)
    lake.commit(*WHOLE[:2])
    assert lake.apply().converged
    store = LocalStore(lake.repository.folder / "lake", "primary")
    RequestQueue(store).submit(Request(str(ULID()), "suspend", "Dataset/items", "ada", "it is repaired"))
    listed, all_ready = LocalStore.list, threading.Event()

    def slowly(self: LocalStore, prefix: str = "", *more: Any) -> Any:
        assert prefix != "requests/" or all_ready.wait(60)
        return listed(self, prefix, *more)

    def told(progress: Progress) -> None:
        if progress.done == progress.total > 0:
            all_ready.set()

    monkeypatch.setattr(LocalStore, "list", slowly)
    ended = lake.apply(told=told)
    assert [(status.object, status.reason) for status in ended.problems] == [("Dataset/items", reasons.SUSPENDED)]


class TestThePlanIsTheRun:
    def test_the_same_steps(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the loop acts on first is, step by step, what was planned."""
        from reconciler.loop import Reconciler

        lake.repository.write("data/items/1.csv", CSV)
        lake.repository.write("data/other/1.csv", "a\n1\n")
        for specs in (WHOLE, (*WHOLE, dataset("other")), WHOLE[:3]):
            lake.commit(*specs)
            planned = {one.object: [(step.summary, step.why) for step in one.steps] for one in lake.plan().objects if one.steps}
            taken: dict[str, list[tuple[str, str]]] = {}
            original = Reconciler._act

            def noted(self: Any, controller: Any, desired: Any, steps: Any, taken: Any = taken, original: Any = original) -> Any:
                taken.setdefault(str(desired.key), [(step.summary(), step.why) for step in steps])
                return original(self, controller, desired, steps)

            with monkeypatch.context() as patch:
                patch.setattr(Reconciler, "_act", noted)
                assert lake.apply().converged
            assert {name: taken[name] for name in planned} == planned

    def test_without_a_state_nothing_is_written(self, lake: Lake) -> None:
        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(*WHOLE)
        assert lake.steps()["Dataset/items"] == ["ingest data/items/1.csv"]
        assert not (lake.repository.folder / "lake").exists()

    def test_what_is_held_or_faulty_has_no_steps(self, lake: Lake) -> None:
        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(BUCKET, dataset("items"), dataset("items"), dataset("broken").replace("source", "sauce"))
        planned = {one.object: one for one in lake.plan().objects}
        assert (planned["Dataset/broken"].state, planned["Dataset/broken"].reason) == ("stalled", reasons.INVALID_SPEC)
        assert planned["Dataset/items"].steps
        assert len(lake.plan().errors) == 3

    def test_offline(self, lake: Lake) -> None:
        lake.commit(BUCKET, index("titles", "items"), dataset("x").replace("source", "sauce"))
        plan = check_offline(lake.place)
        assert plan.warnings == ("specs/all.yaml:6: Index/titles refers to Dataset/items, which no spec declares",)
        assert plan.errors
        assert plan.objects == ()

    def test_a_rescue_that_rescues_nothing_is_an_error_with_and_without_a_state(self, lake: Lake) -> None:
        lake.commit(BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: b, mirror: true}"), BUCKET.replace("primary", "b"))
        told = "Bucket/primary: Bucket/b cannot rescue it, since both are local folder lake: give it a place of its own"
        assert check_offline(lake.place).errors == lake.plan().errors == (f"specs/all.yaml:1: {told}",)

    def test_as_a_document(self, lake: Lake, golden: Any) -> None:
        """Golden: what `lakectl plan -o json` prints of a lake where much is to be done."""
        import json

        lake.repository.write("data/items/1.csv", CSV)
        lake.repository.write("data/old/1.csv", "a\n1\n")
        lake.commit(*WHOLE[:2], dataset("old"), index("titles", "items"), dataset("gone", ", deletion: delete", "data/old/*.csv"))
        assert lake.apply().converged
        lake.repository.write("data/items/2.csv", CSV.replace("chair", "sofa"))
        lake.commit(
            BUCKET.replace("}}", "}, prefix: elsewhere}"), *WHOLE[1:], dataset("old", ", bucket: missing"), dataset("empty"),
            dataset("x").replace("source", "sauce"),
        )  # fmt: skip
        document = json.dumps(lake.plan().to_document(), indent=2, ensure_ascii=False)
        document = re.sub(r'"seconds": [0-9.e-]+', '"seconds": "as long as before"', document)
        document = re.sub(r"\b[0-9a-f]{40}\b", "<revision>", document)
        golden.check("plan.json", re.sub(r"\([0-9a-f]{8}\)", "(<build>)", document))


class TestForeground:
    def test_converges(self, lake: Lake) -> None:
        lake.repository.write("data/items/1.csv", CSV)
        revision = lake.commit(*WHOLE)
        ended = lake.apply()
        assert ended.converged
        assert (ended.revision, ended.problems) == (revision, ())
        assert states(ended) == dict.fromkeys(
            ("Bucket/primary", "Dataset/items", "Index/titles", "IndexGeneration/g1", "IndexGeneration/g2"), reasons.SUCCEEDED
        )
        assert {status.applied_revision for status in ended.objects} == {revision}
        assert lake.told[-1].done == lake.told[-1].total == 5

    def test_of_nothing_but_a_bucket(self, lake: Lake) -> None:
        lake.commit(BUCKET)
        assert lake.apply().converged

    @pytest.mark.parametrize(
        ("spec", "name", "reason"),
        [
            (dataset("items", ", bucket: missing"), "Dataset/items", reasons.REFERENCE_MISSING),
            (index("titles", "nothing"), "Index/titles", reasons.REFERENCE_MISSING),
            (generation("g1", "nothing"), "IndexGeneration/g1", reasons.REFERENCE_MISSING),
            (index("titles", "fine", more=", embed: {model: {ollama: nomic}}"), "Index/titles", reasons.MODEL_UNAVAILABLE),
            (dataset("items").replace("source", "sauce"), "Dataset/items", reasons.INVALID_SPEC),
            (dataset("nothing"), "Dataset/nothing", reasons.SOURCE_EMPTY),
        ],
    )
    def test_ends_at_once_when_nobody_will_go_on(self, lake: Lake, spec: str, name: str, reason: str) -> None:
        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(BUCKET, dataset("fine", glob="data/items/*.csv"), spec)
        ended = lake.apply()
        assert not ended.converged
        assert [(status.object, status.reason) for status in ended.problems] == [(name, reason)]
        assert states(ended)["Dataset/fine"] == reasons.SUCCEEDED
        assert ended.seconds < 20

    def test_a_failure_is_retried(self, lake: Lake) -> None:
        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(BUCKET, dataset("items"))
        failpoints.arm({"dataset.before-commit": "error"})
        ended = lake.apply()
        assert ended.converged, ended.problems

    def test_what_fails_again_and_again_ends_it(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        from controllers.dataset.controller import DatasetController
        from state.errors import BucketUnavailable

        tries = []

        def fail(self: object, resource: object) -> None:
            tries.append(1)
            raise BucketUnavailable("primary", "head", "it is away")

        monkeypatch.setattr(DatasetController, "observe", fail)
        monkeypatch.setattr("reconciler.backoff.BackoffPolicy.__init__.__defaults__", (0.01, 0.02, 0.5))
        lake.commit(BUCKET, dataset("items"))
        ended = lake.apply()
        assert [(status.object, status.reason) for status in ended.problems] == [("Dataset/items", reasons.BUCKET_UNAVAILABLE)]
        assert len(tries) >= 3

    def test_what_is_suspended_is_not_waited_for(self, lake: Lake) -> None:
        from reconciler.opening import Housekeeping, open_state
        from state.catalog.entry import Suspended

        lake.repository.write("data/items/1.csv", CSV)
        lake.commit(BUCKET, dataset("items"))
        assert lake.apply().converged
        state = open_state(lake.place, SETTINGS, address="")
        change = Suspended("Dataset/items", "ada", "repairs", "2999-01-01T00:00:00.000Z")
        state.catalog.commit((change,), actor="ada", reason="repairs")
        Housekeeping(state).close()
        ended = lake.apply()
        assert [(status.object, status.reason) for status in ended.problems] == [("Dataset/items", reasons.SUSPENDED)]
        assert ended.seconds < 20
        assert lake.plan().objects[1].reason == reasons.SUSPENDED

    def test_beside_another_writer_is_refused(self, lake: Lake) -> None:
        from reconciler.opening import Housekeeping, open_state

        lake.commit(BUCKET)
        state = open_state(lake.place, SETTINGS, address="http://127.0.0.1:1")
        try:
            with pytest.raises(LeaseHeld, match=r"127\.0\.0\.1:1"):
                lake.apply()
        finally:
            Housekeeping(state).close()

    def test_an_index_of_a_column_that_is_none_is_an_error_before_it_is_committed(self, lake: Lake) -> None:
        lake.commit(BUCKET, dataset("items"))
        lake.repository.write("data/items/1.csv", CSV)
        assert lake.apply().converged
        lake.commit(BUCKET, dataset("items"), index("titles", "items", "nots"))
        (error,) = lake.plan().errors
        assert error.startswith("specs/all.yaml:")
        assert error.endswith("Index/titles: text column `nots` of Dataset/items does not exist; it has id, text")

    def test_time_that_is_up(self, lake: Lake) -> None:
        lake.commit(BUCKET, *(dataset(f"d{n}", glob="data/items/*.csv") for n in range(5)))
        lake.repository.write("data/items/1.csv", CSV)
        ended = lake.apply(seconds=0)
        assert not ended.converged
        assert {status.reason for status in ended.problems} <= {reasons.NOT_OBSERVED}

    def test_a_directory_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "specs").mkdir()
        (tmp_path / "specs/all.yaml").write_text(documents(BUCKET, dataset("items")))
        (tmp_path / "data/items").mkdir(parents=True)
        (tmp_path / "data/items/1.csv").write_text(CSV)

        place = locate(tmp_path)

        async def scenario() -> Convergence:
            return await apply_here(place, SETTINGS, seconds=60, told=lambda progress: None)

        assert asyncio.run(scenario()).converged
        assert not make_plan(locate(tmp_path), SETTINGS).changes
