"""How an error crosses from a worker process to its caller: as data, and back as an exception of its own class.

`FileRefused` must arrive with path, line and reason, since its caller acts on them. So the class travels by name, and the instance as
its message and its JSON-able attributes, without a call of its constructor. Only classes of ours are looked up; everything
else becomes JobFailed, with the original's name. The worker's traceback comes along as a note.
Refuses to unpickle anything. Next: `engines/errors.py` for the tree.
"""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engines.errors import JobCrashed, JobFailed
from specs.errors import LakehouseError

ROOMS = frozenset({"specs", "state", "engines", "controllers"})
_TRACE_LINES = 40


@dataclass(frozen=True, slots=True)
class Failure:
    """`type` is "module:Class" of what was raised; `details` its attributes; `trace` the end of its traceback."""

    type: str
    slug: str
    message: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    trace: str = ""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Attributes that JSON cannot hold are left out."""
        trace = "".join(traceback.format_exception(error)).splitlines()[-_TRACE_LINES:]
        ours = isinstance(error, LakehouseError)
        return cls(
            type=f"{type(error).__module__}:{type(error).__qualname__}",
            slug=error.slug if isinstance(error, LakehouseError) else JobFailed.slug,
            message=str(error) if ours else f"{type(error).__name__}: {error}",
            remedy=error.remedy if isinstance(error, LakehouseError) else None,
            details={name: value for name, value in vars(error).items() if name != "remedy" and name[0] != "_" and _is_json(value)},
            trace="\n".join(trace),
        )

    @classmethod
    def crashed(cls, message: str, *, memory: bool = False) -> Failure:
        """For a process that died without a word. memory: for want of it."""
        return cls(f"{JobCrashed.__module__}:{JobCrashed.__qualname__}", JobCrashed.slug, message, details={"memory": memory})

    def error(self) -> LakehouseError:
        """A new exception; to be raised by whoever asked for the job."""
        known = _class(self.type)
        error: LakehouseError
        if known is None:
            error = JobFailed(self.message, kind=self.type.rpartition(":")[2], detail=dict(self.details), remedy=self.remedy)
        else:
            error = known.__new__(known, self.message)
            error.args = (self.message,)
            error.__dict__.update(self.details)
            if self.remedy is not None:
                error.remedy = self.remedy
        if self.trace:
            error.add_note(f"In the job:\n{self.trace}")
        return error

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Failure:
        """Raises TypeError for other fields than its own."""
        return cls(**document)


def _class(name: str) -> type[LakehouseError] | None:
    """The class of this name, if it is a module-level one of ours."""
    module, _, qualname = name.partition(":")
    if module.partition(".")[0] not in ROOMS:
        return None
    try:
        found = vars(importlib.import_module(module)).get(qualname)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, LakehouseError) else None


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
