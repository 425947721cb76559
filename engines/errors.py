"""What can go wrong in engines. One tree, so that a caller chooses how much it wants to know:

    EngineError
    ├── FileError                a source file, with its path
    │   ├── FileRefused          its content does not fit: path, line, reason (until the file or the spec changes)
    │   ├── FileUnreadable       the operating system would not give it (retry)
    │   └── FileChanged          it changed while it was read (retry)
    ├── SourceError              a source that is no file
    │   ├── SourceRefused        what is asked of it cannot be, or what it gives does not fit (until spec or source change)
    │   └── SourceUnavailable    it cannot be reached, or broke off (retry)
    ├── QueryError
    │   ├── QueryInvalid         does not parse, plan or type
    │   ├── QueryForbidden       asks for more than reading
    │   ├── QueryTimeout         ran, or planned, for too long
    │   ├── QueryTooLarge        its text or its result is over the limit
    │   ├── QueryMemory          wanted more memory than a worker has
    │   └── QueryCancelled       the client left, or the daemon stops
    ├── WorkerError
    │   ├── WorkerCrashed        the process that ran the query died of it
    │   └── WorkersBusy          no worker became free in time (retry)
    ├── ReaderRefused            who asks may not ask so
    │   ├── TokenRefused         no token, or none that is known
    │   ├── ProfileUnknown       a profile that is none
    │   ├── ReadersClosed        it cannot be told who asks: nobody may (retry)
    │   └── QuotaExceeded        it asked for as much as it may (retry later)
    ├── TableUnknown
    ├── IndexUnknown
    ├── PolicyUnknown
    ├── IndexNotServing          known, but nothing answers for it yet
    ├── SearchInvalid            a request that contradicts itself or the index
    │   ├── ModelMismatch        vectors of another model or dimension
    │   └── FilterInvalid        a filter that is no condition over the dataset's columns
    ├── ModelUnavailable         an embedder or LLM that cannot be opened or reached
    │   ├── ServerRefused        a model server that may not be asked, or is of a version that cannot be (until settings or server change)
    │   ├── ServerAbsent         nobody answers there (retry)
    │   ├── ServerSlow           it did not answer in time, or has too many requests (retry)
    │   ├── ModelMissing         it does not have this model (until somebody pulls it)
    │   ├── ModelMemory          it has no memory for this model
    │   ├── ModelAnswerInvalid   what it answered is of no use
    │   └── ModelWaits           another model has the memory (retry)
    ├── BuildFailed              an index build or corpus that cannot be made from its inputs
    │   └── CorpusUnsound        a corpus holds vectors of no use (until it is embedded anew)
    ├── AuditUnavailable         a read that would leave no trace is not answered (retry)
    ├── EngineUnsupported        a format, type or engine that is not built (yet)
    └── JobError
        ├── JobFailed            a job's function raised; carries the original's type and text
        ├── JobCrashed           a job's process died without an answer (retry)
        └── JobCancelled

Errors of libraries are translated where the library is called, `raise … from` the original. `slug` is stable: it names the problem type
towards clients. `remedy` is the sentence that says what to do next. Every error here survives pickling.
Next: `specs/errors.py` for the root, `engines/files/` for who raises the first group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from specs.errors import LakehouseError
from specs.suggestions import or_meant


class EngineError(LakehouseError):
    """Something that an engine could not do."""

    slug = "engine-error"

    def __reduce__(self) -> tuple[Callable[..., EngineError], tuple[type[EngineError], str, dict[str, Any]]]:
        """Rebuilt from message and attributes, since a subclass's arguments need not be those of Exception."""
        return _rebuild, (type(self), str(self), dict(self.__dict__))


def _rebuild(kind: type[EngineError], message: str, attributes: dict[str, Any]) -> EngineError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(attributes)
    return error


class FileError(EngineError):
    """A source file and why it was not taken. path is how the operator calls it, relative to the data root."""

    slug = "file-error"

    def __init__(self, path: str, reason: str, *, remedy: str | None = None) -> None:
        """path: as the operator calls it; reason: without the path, which the message puts before it."""
        super().__init__(f"{path}: {reason}", remedy=remedy)
        self.path = path
        self.reason = reason

    def explain(self) -> str:
        """As sentences: a reason has no full stop of its own, since most are told alone."""
        return f"{str(self).rstrip('.')}. {self.remedy}" if self.remedy else str(self)


class FileRefused(FileError):
    """The file's content does not fit; refused as a whole, until file or spec changes.

    line: of the physical file, from 1, line breaks inside quotes counted; None where no line is to blame.
    """

    slug = "file-refused"

    def __init__(self, path: str, line: int | None, reason: str, *, remedy: str | None = None) -> None:
        """path: as the operator calls it; line: of the physical file, from 1, or None; reason: without path and line."""
        EngineError.__init__(self, f"{path}: {reason}" if line is None else f"{path}:{line}: {reason}", remedy=remedy)
        self.path = path
        self.line = line
        self.reason = reason


class FileUnreadable(FileError):
    """The file cannot be opened or read just now: gone, no permission, an I/O error. Worth a retry."""

    slug = "file-unreadable"


class FileChanged(FileError):
    """The file changed while it was read, so that what was read is nobody's content. Worth a retry."""

    slug = "file-changed"


class SourceError(EngineError):
    """A database or query that gave no rows."""

    slug = "source-error"


class SourceRefused(SourceError):
    """What is asked of the source cannot be answered, or its rows do not fit the table; so until the spec or the source changes."""

    slug = "source-refused"


class SourceUnavailable(SourceError):
    """The source cannot be reached, does not let us in, or broke off in the middle. Worth a retry. place: without credentials."""

    slug = "source-unavailable"

    def __init__(self, place: str, reason: str, *, remedy: str | None = None) -> None:
        """reason: without the place, which the message puts before it."""
        super().__init__(f"{place}: {reason}", remedy=remedy)
        self.place = place
        self.reason = reason


class QueryError(EngineError):
    """A query that gave no answer."""

    slug = "query-error"


class QueryInvalid(QueryError):
    """The SQL does not parse, names what does not exist, or does not type."""

    slug = "query-invalid"


class QueryForbidden(QueryError):
    """The SQL is understood and asks for more than reading."""

    slug = "query-forbidden"


class QueryTimeout(QueryError):
    """The query planned or ran for longer than allowed; its worker was ended."""

    slug = "query-timeout"


class QueryTooLarge(QueryError):
    """The query's text, or its result in rows or bytes, is over the limit."""

    slug = "query-too-large"


class QueryMemory(QueryError):
    """The query wanted more memory than a worker may have."""

    slug = "query-memory"


class QueryCancelled(QueryError):
    """Nobody waits for the answer any more."""

    slug = "query-cancelled"


class WorkerError(EngineError):
    """A query worker, rather than the query, is the matter."""

    slug = "worker-error"


class WorkerCrashed(WorkerError):
    """The process that ran the query died."""

    slug = "worker-crashed"


class WorkersBusy(WorkerError):
    """No worker became free in time. Worth a retry."""

    slug = "workers-busy"


class ReaderRefused(EngineError):
    """Who asks may not ask in this way."""

    slug = "reader-refused"


class TokenRefused(ReaderRefused):
    """A request without a token where one is needed, or with one that stands for nobody. It is not said which.

    profile_unknown: whether only the profile of a token that is known is none, which may have come just now; clients are not told.
    """

    slug = "token-refused"

    def __init__(self, message: str, *, profile_unknown: bool = False, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.profile_unknown = profile_unknown


class ProfileUnknown(ReaderRefused):
    """No profile has this name."""

    slug = "profile-unknown"


class ReadersClosed(ReaderRefused):
    """Who asks cannot be told from others just now, so that nobody is let in. Worth a retry."""

    slug = "readers-closed"


class QuotaExceeded(ReaderRefused):
    """The reader has had what its quota gives. retry_after: whole seconds until it may ask again, from 1 on."""

    slug = "quota-exceeded"

    def __init__(self, message: str, *, retry_after: int, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class TableUnknown(EngineError):
    """No table has this name, or none that this reader may know of."""

    slug = "table-unknown"


class EditRefused(EngineError):
    """A row cannot be set or deleted as asked."""

    slug = "edit-refused"


class VersionUnknown(EngineError):
    """A version of a table that is not kept, or never was."""

    slug = "unknown-version"


class IndexUnknown(EngineError):
    """No index has this name, or none that this reader may know of."""

    slug = "index-unknown"

    @classmethod
    def among(cls, name: str, known: Iterable[str]) -> Self:
        """With the nearest of those that whoever asks may know of."""
        return cls(or_meant(f"There is no index {name!r}", name, known), remedy="`lakectl get indexes` lists them.")


class PolicyUnknown(EngineError):
    """No policy has this name."""

    slug = "policy-unknown"


class IndexNotServing(EngineError):
    """The index is declared and nothing answers for it yet; the message says what it waits for."""

    slug = "index-not-serving"


class SearchInvalid(EngineError):
    """A search request that contradicts itself or the index."""

    slug = "search-invalid"


class ModelMismatch(SearchInvalid):
    """The vectors are of another model, or another dimension, than the index's."""

    slug = "model-mismatch"


class FilterInvalid(SearchInvalid):
    """The filter is no condition over the columns of the index's dataset."""

    slug = "filter-invalid"


class AuditUnavailable(EngineError):
    """A read whose row in the audit cannot be made durable: it is not answered."""

    slug = "audit-unavailable"


class ModelUnavailable(EngineError):
    """An embedder or language model that cannot be opened or reached."""

    slug = "model-unavailable"


class ServerRefused(ModelUnavailable):
    """A model server that the settings do not let us ask, or whose version is too old."""

    slug = "model-server-refused"


class ServerAbsent(ModelUnavailable):
    """Nobody answers at the model server's address, or the connection broke. Worth a retry."""

    slug = "model-server-absent"


class ServerSlow(ModelUnavailable):
    """The model server did not answer in time, or has more requests waiting than it takes. Worth a retry."""

    slug = "model-server-slow"


class ModelMissing(ModelUnavailable):
    """The model server does not have this model."""

    slug = "model-missing"


class ModelMemory(ModelUnavailable):
    """The model server has no memory left for this model."""

    slug = "model-memory"


class ModelAnswerInvalid(ModelUnavailable):
    """The model, or its server, answered what is of no use: no JSON, other fields, another number of vectors, not as the schema has it."""

    slug = "model-answer-invalid"


class ModelWaits(ModelUnavailable):
    """The model is there and not loaded, since another one has the memory. Worth a retry."""

    slug = "model-waits"


class BuildFailed(EngineError):
    """A corpus or an index build that cannot be made from these inputs."""

    slug = "build-failed"


class CorpusUnsound(BuildFailed):
    """A corpus that was written before vectors were checked, and holds some that nothing can be built over."""

    slug = "corpus-unsound"


class EngineUnsupported(EngineError):
    """A format, a type or an engine that is not built."""

    slug = "not-supported"


class JobError(EngineError):
    """A job that did not end with a result."""

    slug = "job-error"


class JobFailed(JobError):
    """The job's function raised. kind is the original's class name, detail its JSON-able attributes (path, line, …)."""

    slug = "job-failed"

    def __init__(self, message: str, *, kind: str = "", detail: dict[str, Any] | None = None, remedy: str | None = None) -> None:
        """message: the original's text; kind: its class name; detail: its JSON-able attributes."""
        super().__init__(message, remedy=remedy)
        self.kind = kind
        self.detail = detail or {}


class JobCrashed(JobError):
    """The job's process died without an answer. Worth a retry. `memory`: since it held more than it may, or than there was."""

    slug = "job-crashed"
    memory = False


class JobCancelled(JobError):
    """Nobody wants the result any more."""

    slug = "job-cancelled"
