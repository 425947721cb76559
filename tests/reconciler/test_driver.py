"""The driver on its event loop: what is announced is looked at, nothing that happens meanwhile is lost, and it ends in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from harness_loop import watched_loop
from small_lake import BUCKET, Repository, dataset, documents, generation, index

from controllers.outcome import Failed, Outcome, Ready, Waiting
from reconciler import driver as driving
from reconciler.assembly import Assembly, assemble
from reconciler.driver import Driver
from reconciler.folder_events import FolderEvents
from reconciler.loop import Visit
from reconciler.opening import Housekeeping, open_state
from reconciler.place import locate
from reconciler.queue import WorkQueue
from reconciler.settings import Settings
from reconciler.sources.source import Watched
from specs.resource import Key
from state import failpoints, reasons
from state.catalog.catalog import Catalog
from state.catalog.log import WriterId
from state.errors import BucketUnavailable, DiskFull, LeaseLost
from state.requests import Request
from state.status import Status
from state.streams.ids import Ulids

PATIENCE = 30.0
CSV = "id,text\n1,a red chair\n2,a blue table\n"
X = Key("Dataset", "x")


@dataclass
class Running:
    """A writer at work on a repository."""

    repository: Repository
    assembly: Assembly
    driving: asyncio.Task[None]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for a condition; ends with the driver if that fails."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                if self.driving.done():
                    self.driving.result()
                    raise AssertionError("the driver ended")
                await asyncio.wait((self.driving,), timeout=0.01)

    def status(self, name: str) -> Status:
        return self.assembly.state.statuses.get(name)

    async def until_ready(self, name: str, message: str = "") -> None:
        await self.until(lambda: self.status(name).ready == "True" and message in self.status(name).message)

    async def write(self, path: str, text: str) -> None:
        await asyncio.to_thread(self.repository.write, path, text)

    async def commit(self, *specs: str) -> None:
        await asyncio.to_thread(self.repository.commit, {"specs/all.yaml": documents(*specs)})


@asynccontextmanager
async def running(repository: Repository) -> AsyncIterator[Running]:
    place = await asyncio.to_thread(locate, repository.folder)
    state = await asyncio.to_thread(open_state, place, Settings(), address="")
    housekeeping = Housekeeping(state)
    try:
        assembly = await assemble(state, Settings())
        driving = asyncio.create_task(assembly.driver.run())
        try:
            yield Running(repository, assembly, driving)
        finally:
            assembly.driver.stop()
            try:
                async with asyncio.timeout(PATIENCE):
                    await driving
            finally:
                await asyncio.to_thread(assembly.executor.shutdown)
    finally:
        await asyncio.to_thread(housekeeping.close)


def live(folder: Path, scenario: Callable[[Running], Awaitable[None]], *specs: str) -> None:
    """Runs a scenario beside the driver, with blockbuster listening to the loop."""
    repository = Repository(folder)
    repository.commit({"specs/all.yaml": documents(BUCKET, *specs)})

    async def whole() -> None:
        with watched_loop("reconciler", "controllers", "engines", "state"):
            async with running(repository) as at_work:
                await scenario(at_work)

    try:
        asyncio.run(whole())
    finally:
        failpoints.disarm()


class TestFollowing:
    def test_commits_and_data_files(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            await at_work.until(lambda: at_work.status("Dataset/x").reason == reasons.SOURCE_EMPTY)
            # neither data/ nor data/x/ was there when the watch began
            await at_work.write("data/x/1.csv", CSV)
            await at_work.until_ready("Dataset/x", "2 rows from 1 file")
            await at_work.write("data/x/2.csv", "id,text\n3,a lamp\n")
            await at_work.until_ready("Dataset/x", "3 rows from 2 files")
            await at_work.commit(BUCKET, dataset("x"), index("i", "x"), generation("g", "i"))
            await at_work.until_ready("Index/i", "g serves 3 chunks")
            await at_work.commit(BUCKET, dataset("x"))
            await at_work.until(lambda: "Index/i" not in at_work.assembly.state.statuses)
            assert not at_work.assembly.driver.unvisited

        live(tmp_path, scenario, dataset("x"))

    def test_a_deleted_branch_and_its_return(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            await at_work.until_ready("Bucket/primary")
            ref = at_work.repository.git.references["refs/heads/main"].target
            await asyncio.to_thread(at_work.repository.git.references.delete, "refs/heads/main")
            await at_work.until(lambda: at_work.status("Source/git").reason == reasons.REVISION_UNREADABLE)
            assert X in at_work.assembly.world.objects
            await asyncio.to_thread(at_work.repository.git.references.create, "refs/heads/main", ref)
            await at_work.until(lambda: "Source/git" not in at_work.assembly.state.statuses)

        live(tmp_path, scenario, dataset("x"))


class TestFirstPass:
    def test_begins_when_it_is_known_what_to_visit_and_folders_are_watched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The inventory's entry wakes what it names, and workers are fast: whoever was visited by then would not be counted, or twice."""
        add, done = FolderEvents.add, WorkQueue.done
        visited: list[Key] = []
        before: list[tuple[Key, ...]] = []

        def note_done(self: WorkQueue, key: Key) -> None:
            done(self, key)
            visited.append(key)

        def note_before(events: FolderEvents, folders: Iterable[Watched]) -> None:
            before.append(tuple(visited))
            add(events, folders)

        monkeypatch.setattr(WorkQueue, "done", note_done)
        monkeypatch.setattr(FolderEvents, "add", note_before)
        monkeypatch.setattr(driving, "_WATCHED_WITHIN", PATIENCE)
        (tmp_path / "data/x").mkdir(parents=True)

        async def scenario(at_work: Running) -> None:
            driver = at_work.assembly.driver
            await asyncio.wait_for(driver.looked.wait(), PATIENCE)
            assert driver.first_pass.is_set()
            assert not driver.unvisited
            assert before[:2] == [(), ()]  # of the specs, and of the data
            assert {X, Key("Bucket", "primary")} <= set(visited)

        live(tmp_path, scenario, dataset("x"))

    def test_visits_once_what_is_as_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driving, "_WATCHED_WITHIN", PATIENCE)

        async def made(at_work: Running) -> None:
            await at_work.write("data/x/1.csv", CSV)
            await at_work.until_ready("Dataset/x", "2 rows")

        async def seen_again(at_work: Running) -> None:
            await asyncio.wait_for(at_work.assembly.driver.first_pass.wait(), PATIENCE)
            await at_work.until(lambda: at_work.assembly.queue.idle)
            assert at_work.assembly.driver.tally.visits == {("Bucket", "ready"): 1, ("Dataset", "ready"): 1}
            await at_work.write("data/x/2.csv", "id,text\n3,a lamp\n")
            await at_work.until_ready("Dataset/x", "3 rows from 2 files")

        live(tmp_path, made, dataset("x"))
        live(tmp_path, seen_again, dataset("x"))

    def test_waits_for_no_folder_that_hangs_and_looks_again_when_it_answers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        add, answers = FolderEvents.add, threading.Event()
        hanging = tmp_path / "data/x"

        def slow(events: FolderEvents, folders: Iterable[Watched]) -> None:
            folders = tuple(folders)
            assert all(folder.path != hanging for folder in folders) or answers.wait(PATIENCE)
            add(events, folders)

        monkeypatch.setattr(FolderEvents, "add", slow)
        monkeypatch.setattr(driving, "_WATCHED_WITHIN", 0.05)
        hanging.mkdir(parents=True)
        (hanging / "1.csv").write_text(CSV)

        async def scenario(at_work: Running) -> None:
            await at_work.until_ready("Dataset/x", "2 rows from 1 file")
            await at_work.write("data/x/2.csv", "id,text\n3,a lamp\n")
            answers.set()
            await at_work.until_ready("Dataset/x", "3 rows from 2 files")

        live(tmp_path, scenario, dataset("x"))


class TestRequests:
    def test_are_answered_when_poked(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            await at_work.until(lambda: at_work.assembly.driver.first_pass.is_set())
            state = at_work.assembly.state
            request = Request(Ulids(state.clock)(), "suspend", "Dataset/x", "ada", "repairs")
            await asyncio.to_thread(state.requests.submit, request)
            at_work.assembly.driver.poke()
            await at_work.until(lambda: at_work.status("Dataset/x").reason == reasons.SUSPENDED)

        live(tmp_path, scenario, dataset("x"))


class TestTrouble:
    def test_failures_are_retried_and_forgotten(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            failpoints.arm({"dataset.before-commit": "error"})
            await at_work.write("data/x/1.csv", CSV)
            await at_work.until_ready("Dataset/x", "2 rows")
            await at_work.until(lambda: at_work.assembly.driver.failures(X) == 0)
            kinds = at_work.assembly.driver.tally.visits
            assert kinds["Dataset", "failed"] >= 1
            assert kinds["Dataset", "ready"] >= 1

        live(tmp_path, scenario, dataset("x"))

    def test_storage_that_refuses_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        original = Catalog.commit
        refused: list[int] = []

        def full(self: Catalog, changes: Any, **facts: Any) -> int:
            if facts["reason"] == "inventory" and len(refused) < 2:
                refused.append(1)
                raise DiskFull("primary", "/lake")
            return original(self, changes, **facts)

        monkeypatch.setattr(Catalog, "commit", full)

        async def scenario(at_work: Running) -> None:
            while len(refused) < 2:
                at_work.assembly.driver.poke()
                await at_work.until(lambda: True)
                await asyncio.wait((at_work.driving,), timeout=0.01)
            at_work.assembly.driver.poke()
            await at_work.until_ready("Bucket/primary")

        live(tmp_path, scenario)

    def test_a_lost_lease_ends_it(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            await at_work.until_ready("Bucket/primary")
            epoch = at_work.assembly.state.lease.epoch  # type: ignore[union-attr]
            await asyncio.to_thread(Catalog.open, at_work.assembly.state.store, writer=WriterId("other", epoch + 1))
            await at_work.commit(BUCKET, dataset("x"))
            await asyncio.wait((at_work.driving,), timeout=PATIENCE)

        with pytest.raises(LeaseLost):
            live(tmp_path, scenario)


@dataclass
class Held:
    """Stands for the reconciler: visits last until they are released."""

    entered: dict[Key, int] = field(default_factory=dict)
    release: threading.Event = field(default_factory=threading.Event)
    during: Callable[[Key], None] = lambda key: None
    outcome: Outcome = field(default_factory=lambda: Ready("done"))

    def visit(self, key: Key) -> Visit | None:
        self.during(key)
        self.entered[key] = self.entered.get(key, 0) + 1
        assert self.release.wait(PATIENCE)
        return Visit(self.outcome, 0)


class TestWaking:
    """What happens to an object while it is visited is looked at once more, unless the visit did it itself."""

    @asynccontextmanager
    async def driver(self, folder: Path, held: Held) -> AsyncIterator[tuple[Driver, Running]]:
        repository = Repository(folder)
        repository.commit({"specs/all.yaml": documents(BUCKET, dataset("x"), index("i", "x"))})
        async with running(repository) as at_work:
            await at_work.until(lambda: at_work.assembly.driver.first_pass.is_set() and at_work.assembly.queue.idle)
            parts = at_work.assembly.driver._parts
            queue = WorkQueue(asyncio.get_running_loop().time)
            made = Driver(replace(parts, reconciler=held, queue=queue), asyncio.get_running_loop(), reconcilers=2)  # type: ignore[arg-type]
            made.first_pass.set()  # that of the other driver is over
            workers = [asyncio.create_task(made._work()) for _ in range(2)]
            try:
                yield made, at_work
            finally:
                held.release.set()
                queue.close()
                await asyncio.gather(*workers, return_exceptions=True)

    def test_by_others(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held()
            async with self.driver(tmp_path, held) as (driver, at_work):
                driver.enqueue([X])
                await at_work.until(lambda: held.entered.get(X) == 1)
                await asyncio.to_thread(driver.wake, ["Dataset/x"])
                held.release.set()
                await at_work.until(lambda: held.entered.get(X) == 2)
                await at_work.until(lambda: held.entered.get(Key("Index", "i"), 0) >= 1)

        asyncio.run(scenario())

    def test_by_itself(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held()
            held.release.set()
            async with self.driver(tmp_path, held) as (driver, at_work):
                held.during = lambda key: driver.wake([str(key)])
                driver.enqueue([X])
                dependent = Key("Index", "i")
                await at_work.until(lambda: held.entered.get(dependent, 0) >= 1 and driver._parts.queue.idle)
                assert held.entered == {X: 1, dependent: 1}

        asyncio.run(scenario())

    def test_by_an_answer_its_dependents_at_once_and_itself_later(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def scenario() -> None:
            held, dependent = Held(), Key("Index", "i")
            held.release.set()
            async with self.driver(tmp_path, held) as (driver, at_work):
                monkeypatch.setattr(driver._parts.operator, "answer", lambda: driver.wake(["Dataset/x"]) or ())
                monkeypatch.setattr(driving, "_AFTER_ANSWER", 3600)
                await driver._answer()
                await at_work.until(lambda: held.entered.get(dependent, 0) >= 1 and driver._parts.queue.idle)
                assert held.entered == {dependent: 1}
                monkeypatch.setattr(driving, "_AFTER_ANSWER", 0.01)
                await driver._answer()
                await at_work.until(lambda: held.entered.get(X) == 1)

        asyncio.run(scenario())

    def test_requests_that_could_not_be_looked_at_are_not_obeyed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def away() -> tuple[Key, ...]:
            raise BucketUnavailable("primary", "list", "the network is gone")

        async def scenario() -> None:
            async with self.driver(tmp_path, Held()) as (driver, _):
                with monkeypatch.context() as patched:
                    patched.setattr(driver._parts.operator, "answer", away)
                    await driver._despite_storage(driver._answer)
                assert not driver.obeyed
                await driver._despite_storage(driver._answer)
                assert driver.obeyed

        asyncio.run(scenario())

    def test_of_what_nobody_wants(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held()
            held.release.set()
            async with self.driver(tmp_path, held) as (driver, at_work):
                driver.wake(["Dataset/nobody", "Prune/abc", "Bucket/primary"])
                await at_work.until(lambda: Key("Bucket", "primary") in held.entered and driver._parts.queue.idle)
                assert Key("Dataset", "nobody") not in held.entered

        asyncio.run(scenario())

    def test_who_waits_for_a_visit_waits_for_the_job_that_it_left(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held(outcome=Waiting(reasons.INGESTING, "at work"))
            held.release.set()
            async with self.driver(tmp_path, held) as (driver, at_work):
                waiting = asyncio.create_task(driver.visited("Dataset/x"))
                await at_work.until(lambda: held.entered.get(X) == 1 and driver._parts.queue.idle)
                assert not waiting.done()
                held.outcome = Ready("done")
                driver.wake(["Dataset/x"])
                await waiting
                assert held.entered[X] == 2

        asyncio.run(scenario())

    def test_who_waits_for_a_visit_waits_for_one_that_begins_afterwards(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held()
            async with self.driver(tmp_path, held) as (driver, at_work):
                driver.enqueue([X])
                await at_work.until(lambda: held.entered.get(X) == 1)
                given_up, waiting = (asyncio.create_task(driver.visited("Dataset/x")) for _ in range(2))
                await driver.visited("Dataset/nobody")
                assert not waiting.done()
                given_up.cancel()
                held.release.set()
                await waiting
                assert held.entered[X] == 2

        asyncio.run(scenario())

    def test_a_failed_visit_is_delayed_by_the_backoff(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            held = Held(outcome=Failed(reasons.FAILED, "no"))
            held.release.set()
            async with self.driver(tmp_path, held) as (driver, at_work):
                driver.enqueue([X])
                await at_work.until(lambda: driver.failures(X) >= 2)
                held.outcome = Ready("done")
                await at_work.until(lambda: driver.failures(X) == 0)
                assert driver._parts.queue.delayed == frozenset()
                assert driver.ready == {X}

        asyncio.run(scenario())


class TestEnding:
    def test_news_of_the_same_moment_keeps_nothing_running(self, tmp_path: Path) -> None:
        async def scenario(at_work: Running) -> None:
            driver = at_work.assembly.driver
            await at_work.until(lambda: driver.first_pass.is_set() and at_work.assembly.queue.idle)
            driver.poke()
            driver.stop()
            await asyncio.wait_for(at_work.driving, PATIENCE)

        live(tmp_path, scenario, dataset("x"))

    def test_visits_under_way_are_finished_first(self, tmp_path: Path) -> None:
        """What a visit still writes would else come after the streams are closed and the lease is given back."""

        async def scenario() -> None:
            repository = Repository(tmp_path)
            repository.commit({"specs/all.yaml": documents(BUCKET)})
            state = await asyncio.to_thread(open_state, await asyncio.to_thread(locate, tmp_path), Settings(), address="")
            housekeeping, held = Housekeeping(state), Held()
            try:
                parts = (await assemble(state, Settings())).driver._parts
                driver = Driver(replace(parts, reconciler=held), asyncio.get_running_loop(), reconcilers=2)  # type: ignore[arg-type]
                driving = asyncio.create_task(driver.run())
                at_work = Key("Bucket", "primary")
                while at_work not in held.entered:
                    await asyncio.wait((driving,), timeout=0.01)
                driver.stop()
                await asyncio.wait((driving,), timeout=0.2)
                assert not driving.done()
                held.release.set()
                await asyncio.wait_for(driving, PATIENCE)
            finally:
                held.release.set()
                await asyncio.to_thread(housekeeping.close)

        asyncio.run(scenario())
