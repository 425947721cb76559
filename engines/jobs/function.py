"""A job's function, found by name and called. The one place that turns whatever it raises into a value.

Used by the worker process and, for small jobs, by the calling thread, so that both behave the same: arguments and result have been
through JSON either way. Next: `job.py` for what a function must look like.
"""

from __future__ import annotations

import importlib
import json

from engines.errors import JobFailed
from engines.jobs.failure import Failure
from engines.jobs.job import Done, Progress
from state.errors import NO_SPACE, DiskFull
from state.failures import Failures, noted_by


def call(function: str, arguments: str, progress: Progress, failures: Failures) -> Done | Failure:
    """Runs `module:function` with arguments given as JSON text. failures: notes those of its buckets. Never raises an Exception."""
    try:
        module, _, name = function.partition(":")
        found = vars(importlib.import_module(module)).get(name)
        if not callable(found):
            return Failure.of(JobFailed(f"There is no function {function}."))
        with noted_by(failures):
            result = found(json.loads(arguments), progress)
        return Done(json.loads(json.dumps(result, allow_nan=False)))
    except OSError as error:
        # where a job spills: what it stores in buckets is told by their stores
        full = error.errno in NO_SPACE
        return Failure.of(DiskFull("", str(error.filename or "the job's scratch files")) if full else error)
    except Exception as error:  # noqa: BLE001  (a job's boundary: the caller decides what a failure means)
        return Failure.of(error)
