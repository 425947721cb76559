"""Jobs on behalf of objects: how heavy one is, and how it stands."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controllers.step import Started
from engines.jobs.executor import Executor
from engines.jobs.job import Done, Failed, Job
from state.places import BucketConfig


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a job's process may take: bytes of memory, and processors. None: whatever there is."""

    memory: int | None = None
    cores: float | None = None

    def around(self, job: Job) -> Job:
        """The job within these, in a process of its own; one that has to run right here (weight 0) stays as it is."""
        return job if not job.weight else replace(job, apart=True, memory=self.memory, cores=self.cores)


def job_weight(input_bytes: int, *places: BucketConfig) -> int:
    """What the executor judges by. 0, so that it runs right here, where one of the places is a memory that no other process sees."""
    return 0 if any(place.backend == "memory" for place in places) else input_bytes


def run_job(
    executor: Executor, job: Job, reason: str, doing: str, beside: Collection[str] = (), unit: str | None = None
) -> Started | Mapping[str, Any]:
    """Its result, which the caller forgets once it is recorded; or that it runs on. Ends other jobs for the object, but for these kinds.

    unit: of its progress, where people are to know its rate. Raises what the job raised: then it is forgotten, and the next visit begins it
    anew.
    """
    executor.keep_only(job.object, {job.id}, beside)
    match executor.ensure(job):
        case Done(result=result):
            return dict(result)
        case Failed() as failed:
            executor.forget(job.id)
            raise failed.error
        case running:
            return Started(reason, f"{doing}: {running.describe(unit)}", running.share)
