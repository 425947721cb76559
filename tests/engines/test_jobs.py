"""The executor: every job once, in order, beside its caller; results outlive a process, crashes and cancellations are told apart."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from engines.errors import FileRefused, JobCancelled, JobCrashed, JobFailed
from engines.jobs import process
from engines.jobs.executor import Executor, JobLimits
from engines.jobs.job import Done, Ended, Failed, Job, JobState, Queued, Running
from engines.jobs.worker import RESULT_WRITTEN
from state.errors import DiskFull, ObjectCorrupt
from state.failpoints import declared
from state.failures import Failures
from state.places import BucketConfig, Service
from state.processes import started

ROOT = Path(__file__).parents[2]
LARGE = 10**9


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


class Bench:
    """An executor, and the objects whose jobs have ended."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        self.finished: Queue[Ended] = Queue()
        self.directory = directory
        self.executor = Executor(directory, JobLimits(**{"workers": 2, "idle_seconds": 60.0, **limits}), self.finished.put)

    def finish(self, job: Job, *, retry: bool = False) -> JobState:
        """The state of the job once it has ended."""
        state = self.executor.ensure(job, retry=retry)
        while isinstance(state, Queued | Running):
            assert self.finished.get(timeout=30)
            state = self.executor.ensure(job)
        return state

    def pid(self, job: Job) -> int:
        """Of the process that runs it, once it does."""
        log = Path(job.arguments["log"])
        poll(lambda: log.exists() and log.read_text().endswith("\n"))
        return int(log.read_text().split()[-1])


def poll(condition: Any) -> None:
    """Waits for a condition outside this process; the test's timeout bounds it."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def alive(pid: int) -> bool:
    return started(pid) is not None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "jobs")
    yield bench
    bench.executor.shutdown()


def job(function: str, number: object = 1, weight: int = LARGE, **arguments: Any) -> Job:
    return Job(f"{function}-{number}", function, f"jobs_under_test:{function}", arguments, weight, f"Dataset/{function}-{number}")


def waiting_job(tmp_path: Path, number: int) -> Job:
    return job("log_and_wait", number, log=str(tmp_path / f"log-{number}"), gate=str(tmp_path / f"gate-{number}"))


def opened(of: Job) -> None:
    Path(of.arguments["gate"]).touch()


def test_a_small_job_runs_at_once_in_the_calling_thread(bench: Bench) -> None:
    state = bench.executor.ensure(job("add", weight=100, numbers=(1, 2)))
    assert isinstance(state, Done)
    assert (state.result["sum"], state.result["pid"]) == (3, os.getpid())
    assert bench.executor.worker_pids() == ()
    assert bench.finished.empty()
    assert not list(bench.directory.glob("*.json"))


def test_a_large_job_runs_in_a_niced_process_of_its_own(bench: Bench) -> None:
    task = job("add", numbers=[1, 2])
    assert isinstance(bench.executor.ensure(task), Queued | Running)
    state = bench.finish(task)
    assert isinstance(state, Done)
    assert state.result == {"sum": 3, "pid": bench.executor.worker_pids()[0], "nice": 10}


def test_a_worker_is_reused(bench: Bench) -> None:
    pids = {bench.finish(job("add", number, numbers=[])).result["pid"] for number in range(5)}  # type: ignore[union-attr]
    assert len(pids) == 1


def test_results_outlive_the_process_until_they_are_forgotten(bench: Bench, tmp_path: Path) -> None:
    task = job("add", numbers=[1])
    first = bench.finish(task)
    later = Bench(bench.directory)
    assert later.executor.ensure(task) == first
    later.executor.forget(task.id)
    assert not (bench.directory / f"result-{task.id}.json").exists()
    assert isinstance(later.executor.ensure(task), Queued | Running)
    later.executor.shutdown()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 99, "result": 1}'])
def test_a_damaged_result_is_made_again(bench: Bench, damage: bytes) -> None:
    task = job("add", numbers=[1])
    bench.directory.mkdir()
    (bench.directory / f"result-{task.id}.json").write_bytes(damage)
    state = bench.finish(task)
    assert isinstance(state, Done)
    assert state.result["sum"] == 1


def test_asking_twice_runs_once(bench: Bench, tmp_path: Path) -> None:
    task = waiting_job(tmp_path, 1)
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(bench.executor.ensure, [task] * 16))
    assert all(isinstance(state, Queued | Running) for state in states)
    bench.pid(task)
    opened(task)
    bench.finish(task)
    assert len(Path(task.arguments["log"]).read_text().splitlines()) == 1
    assert bench.finished.empty()


def test_a_small_job_asked_for_by_two_threads_runs_once_and_both_hear_of_it(bench: Bench, tmp_path: Path) -> None:
    large = waiting_job(tmp_path, 1)
    task = Job(large.id, large.kind, large.function, large.arguments, 1, large.object)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(bench.executor.ensure, task)
        bench.pid(task)
        poll(lambda: bench.executor.jobs()[0].done == 3)
        second = bench.executor.ensure(task)
        assert isinstance(second, Running)
        assert (second.done, second.total, second.share) == (3, 10, 0.3)
        assert not bench.executor.cancel(task.id)
        opened(task)
        assert isinstance(first.result(), Done)
    assert bench.finished.get(timeout=10).job.object == task.object
    assert bench.executor.ensure(task) == first.result()
    bench.executor.forget(task.id)


def test_at_most_so_many_run_and_the_rest_wait_in_order(bench: Bench, tmp_path: Path) -> None:
    tasks = [waiting_job(tmp_path, number) for number in range(4)]
    for task in tasks:
        bench.executor.ensure(task)
    for task in tasks[:2]:
        bench.pid(task)
    poll(lambda: all(info.done == 3 for info in bench.executor.jobs()[:2]))
    infos = bench.executor.jobs()
    assert [(info.id, info.state) for info in infos] == [
        (task.id, state) for task, state in zip(tasks, ["running"] * 2 + ["queued"] * 2, strict=True)
    ]
    assert infos[0].object == "Dataset/log_and_wait-0"
    assert infos[0].started is not None
    assert infos[0].rate is infos[2].started is infos[2].rate is None
    third = bench.executor.ensure(tasks[3])
    assert third == Queued(1)
    assert third.describe() == "queued behind 1 job"
    running = bench.executor.ensure(tasks[0])
    assert isinstance(running, Running)
    assert running.describe() == "30 %"
    opened(tasks[1])
    bench.pid(tasks[2])
    assert not Path(tasks[3].arguments["log"]).exists()
    for task in tasks:
        opened(task)
    assert {bench.finished.get(timeout=30).job.object for _ in tasks} == {task.object for task in tasks}
    assert len(bench.executor.worker_pids()) == 2


def test_an_error_of_ours_arrives_as_itself(bench: Bench) -> None:
    for weight in (1, LARGE):
        state = bench.finish(job("refuse", weight, weight))
        assert isinstance(state, Failed)
        error = state.error
        assert isinstance(error, FileRefused)
        assert (error.path, error.line, error.reason) == ("data/a.csv", 17, "it has 4 cells where the header has 5")
        assert error.explain() == "data/a.csv:17: it has 4 cells where the header has 5. Add the cell."
        assert state.failure.slug == "file-refused"
        assert "in refuse" in error.__notes__[0]
        damaged = bench.finish(job("find_damage", weight, weight))
        assert isinstance(damaged, Failed)
        assert isinstance(damaged.error, ObjectCorrupt)
        assert (damaged.error.bucket, damaged.error.found) == ("lake", "2 bytes")
        with pytest.raises(FileRefused):
            raise state.error


def test_another_error_arrives_as_a_failed_job_with_its_name(bench: Bench) -> None:
    for weight in (1, LARGE):
        state = bench.finish(job("stumble", weight, weight, message="oops"))
        assert isinstance(state, Failed)
        assert isinstance(state.error, JobFailed)
        assert (state.error.kind, str(state.error), state.attempts) == ("ZeroDivisionError", "ZeroDivisionError: oops", 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_under_what_a_job_spills_is_one_of_ours(bench: Bench, number: int) -> None:
    failed = bench.finish(job("fill", number, 0, errno=number))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, DiskFull)
    assert "the job's scratch files" in str(failed.error)


@pytest.mark.parametrize(("function", "message"), [("return_nonsense", "not JSON serializable"), ("nothing_here", "no function")])
def test_a_function_that_is_none_fails(bench: Bench, function: str, message: str) -> None:
    for weight in (1, LARGE):
        state = bench.finish(job(function, weight, weight))
        assert isinstance(state, Failed)
        assert message in str(state.error)


def test_a_failure_stays_until_its_caller_decides(bench: Bench) -> None:
    for weight in (1, LARGE):
        task = job("stumble", weight, weight, message="oops")
        assert [getattr(bench.finish(task, retry=retry), "attempts", 0) for retry in (False, False, True, True)] == [1, 1, 2, 3]
        bench.executor.forget(task.id)
        assert getattr(bench.finish(task), "attempts", 0) == 1


def test_a_process_that_dies_is_a_crash_and_the_next_attempt_may_do_better(bench: Bench, tmp_path: Path) -> None:
    task = job("die", log=str(tmp_path / "log"), deaths=2)
    for attempt in (1, 2):
        state = bench.finish(task, retry=True)
        assert isinstance(state, Failed)
        assert isinstance(state.error, JobCrashed)
        assert str(state.error).endswith("was killed by SIGKILL.")
        assert not state.error.memory, "nobody knows that it was for that"
        assert state.attempts == attempt
    assert bench.finish(task, retry=True) == Done(2)


def test_a_process_that_leaves_is_a_crash(bench: Bench) -> None:
    state = bench.finish(job("leave"))
    assert isinstance(state, Failed)
    assert "ended with exit code 3" in str(state.error)


def test_a_process_that_holds_too_much_is_ended(bench: Bench, tmp_path: Path) -> None:
    hungry = replace(job("hold", bytes=400 << 20, gate=str(tmp_path / "gate")), memory=300 << 20)
    failed = bench.finish(hungry)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, JobCrashed)
    assert failed.error.memory
    assert "held more memory than it may, and was ended" in str(failed.error)
    assert isinstance(bench.finish(replace(job("add", numbers=[1]), memory=300 << 20)), Done)


def test_what_the_kernel_kills_for_want_of_memory_says_so(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's count of such kills, which is one more once the process is dead."""
    log = tmp_path / "log"
    monkeypatch.setattr(process, "oom_kills", lambda: int(log.exists()))
    failed = bench.finish(job("die", log=str(log), deaths=1))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, JobCrashed)
    assert failed.error.memory
    assert "was killed by SIGKILL, since the machine ran out of memory" in str(failed.error)


def test_a_bounded_job_gets_a_process_that_holds_nothing_of_another(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "jobs", workers=1)
    try:
        first, second = bench.finish(job("add", 1, numbers=[1])), bench.finish(job("add", 2, numbers=[1]))
        bounded = bench.finish(replace(job("add", 3, numbers=[1]), memory=300 << 20))
        after = bench.finish(job("add", 4, numbers=[1]))
        pids = [state.result["pid"] for state in (first, second, bounded, after) if isinstance(state, Done)]
        assert len(pids) == 4
        assert pids[0] == pids[1] != pids[2] == pids[3]
        assert len(bench.executor.worker_pids()) == 1
    finally:
        bench.executor.shutdown()


def test_an_idle_worker_that_dies_costs_nothing(bench: Bench) -> None:
    bench.finish(job("add", 1, numbers=[]))
    os.kill(bench.executor.worker_pids()[0], signal.SIGKILL)
    state = bench.finish(job("add", 2, numbers=[2]))
    if isinstance(state, Failed):  # it was handed the job before its death was noticed
        state = bench.finish(job("add", 2, numbers=[2]), retry=True)
    assert isinstance(state, Done)


def test_a_cancelled_job_is_killed_and_can_be_asked_for_again(bench: Bench, tmp_path: Path) -> None:
    task = waiting_job(tmp_path, 1)
    bench.executor.ensure(task)
    first = bench.pid(task)
    assert bench.executor.cancel(task.id)
    assert bench.executor.jobs() == ()
    bench.executor.ensure(task)
    opened(task)
    state = bench.finish(task)
    assert isinstance(state, Done)
    assert state.result != first
    assert not alive(first)
    assert bench.finished.empty()


def test_a_cancelled_job_that_nobody_wants_is_gone(bench: Bench, tmp_path: Path) -> None:
    tasks = [waiting_job(tmp_path, number) for number in range(4)]
    for task in tasks:
        bench.executor.ensure(task)
    pids = [bench.pid(task) for task in tasks[:2]]
    assert bench.executor.cancel(tasks[2].id)
    assert bench.executor.cancel(tasks[0].id)
    assert not bench.executor.cancel("unknown")
    poll(lambda: not alive(pids[0]))
    bench.pid(tasks[3])
    assert [info.id for info in bench.executor.jobs()] == [tasks[1].id, tasks[3].id]
    assert bench.finished.empty()


def test_what_a_newer_digest_made_moot_is_cancelled_by_object(bench: Bench, tmp_path: Path) -> None:
    tasks = [waiting_job(tmp_path, number) for number in range(3)]
    same = [Job(task.id, task.kind, task.function, task.arguments, task.weight, "Index/a") for task in tasks]
    other = waiting_job(tmp_path, 3)
    for task in (*same, other):
        bench.executor.ensure(task)
    assert bench.executor.keep_only("Index/a", {same[1].id}) == 2
    assert {info.id for info in bench.executor.jobs()} == {same[1].id, other.id}


def test_the_result_of_a_moot_job_is_forgotten(bench: Bench) -> None:
    ended = [replace(job("add", number, numbers=[number]), object="Index/a") for number in range(2)]
    assert all(isinstance(bench.finish(task), Done) for task in ended)
    kept = sorted(path.name for path in bench.directory.glob("result-*"))
    assert bench.executor.keep_only("Index/a", {ended[1].id}) == 0
    left = sorted(path.name for path in bench.directory.glob("result-*"))
    assert len(kept) == 2
    assert left == [name for name in kept if ended[1].id in name]


def test_workers_end_when_idle_and_clean_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "jobs", idle_seconds=0.0)
    assert bench.finish(job("stage", root=str(tmp_path / "lake"))) == Done(None)
    poll(lambda: bench.executor.worker_pids() == ())
    assert list((tmp_path / "lake" / ".tmp").iterdir()) == []
    assert isinstance(bench.finish(job("add", numbers=[1])), Done)
    bench.executor.shutdown()


def test_shutdown_ends_everything_and_refuses_more(bench: Bench, tmp_path: Path) -> None:
    tasks = [waiting_job(tmp_path, number) for number in range(3)]
    for task in tasks:
        bench.executor.ensure(task)
    pids = [bench.pid(task) for task in tasks[:2]]
    bench.executor.shutdown()
    assert not any(alive(pid) for pid in pids)
    assert bench.finished.empty()
    with pytest.raises(JobCancelled):
        bench.executor.ensure(tasks[0])
    bench.executor.shutdown()


def test_what_is_no_job_is_refused_to_the_caller(bench: Bench) -> None:
    with pytest.raises(TypeError):
        bench.executor.ensure(job("add", numbers=object()))
    with pytest.raises(ValueError, match="no job id"):
        bench.executor.ensure(Job("../x", "add", "m:f", {}, LARGE, ""))
    assert bench.executor.jobs() == ()


def test_a_callback_that_fails_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: Queue[str] = Queue()

    def stumble(end: Ended) -> None:
        calls.put(end.job.object)
        raise RuntimeError("oops")

    executor = Executor(tmp_path, JobLimits(1), stumble)
    for number in range(3):
        executor.ensure(job("add", number, numbers=[]))
    assert [calls.get(timeout=30) for _ in range(3)] == [f"Dataset/add-{number}" for number in range(3)]
    executor.shutdown()
    assert "Telling Dataset/add-0" in caplog.text


DAEMON = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
from engines.jobs.executor import Executor, JobLimits
from engines.jobs.job import Job
from state import failpoints
failpoints.arm(dict(pair.split("=") for pair in sys.argv[2:]))
executor = Executor(Path(sys.argv[1]) / "jobs", JobLimits(1), lambda name: print("ended", flush=True))
folder = sys.argv[1]
executor.ensure(Job("id", "wait", "jobs_under_test:log_and_wait", {{"log": folder + "/log", "gate": folder + "/gate"}}, 10**9, "Dataset/a"))
sys.stdin.read()
"""


def daemon(folder: Path, *points: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", DAEMON, str(folder), *points], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    with daemon(tmp_path) as parent:
        log = tmp_path / "log"
        poll(lambda: log.exists() and log.read_text().endswith("\n"))
        pid = int(log.read_text())
        parent.kill()
    poll(lambda: not alive(pid))


@pytest.mark.parametrize("point", [RESULT_WRITTEN, "jobs.ended"])
def test_a_result_survives_a_kill_at_each_step_after_it_was_written(tmp_path: Path, point: str) -> None:
    """In the worker a kill takes the parent along, so that a harness sees its daemon die whatever process the step is in."""
    assert point in declared()
    (tmp_path / "gate").touch()
    with daemon(tmp_path, f"{point}=kill") as parent:
        assert parent.wait() == -signal.SIGKILL
    pid = int((tmp_path / "log").read_text())
    poll(lambda: not alive(pid))
    bench = Bench(tmp_path / "jobs")
    arguments = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate")}
    assert bench.executor.ensure(Job("id", "wait", "jobs_under_test:log_and_wait", arguments, LARGE, "Dataset/a")) == Done(pid)
    bench.executor.shutdown()


def test_old_results_are_swept(bench: Bench) -> None:
    task = job("add", numbers=[1])
    bench.finish(task)
    assert bench.executor.sweep(older_than=3600) == 0
    assert bench.executor.sweep(older_than=-3600) == 1
    assert not (bench.directory / f"result-{task.id}.json").exists()


@pytest.mark.parametrize("weight", [0, LARGE], ids=["here", "in a process"])
def test_what_fails_in_a_bucket_is_told_to_whoever_runs_the_job(tmp_path: Path, weight: int) -> None:
    nobody = BucketConfig("lake", "s3", service=Service("lake", "http://127.0.0.1:1"), timeout=0.2)
    failures, finished = Failures(), Queue[Ended]()
    executor = Executor(tmp_path / "jobs", JobLimits(1), finished.put, failures=failures)
    try:
        state = executor.ensure(job("put", weight=weight, bucket=nobody.to_dict()))
        if weight:
            assert finished.get(timeout=30).failure is not None
        else:
            assert isinstance(state, Failed)
    finally:
        executor.shutdown()
    assert [(row.bucket, row.op, row.key, row.kind) for row in failures.newest()] == [("lake", "put", "a/b", "bucket-unavailable")]
