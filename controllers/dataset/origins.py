"""Sources that are no files, as listings: one path each, whose content is known by a token instead of a digest; pure.

A token names what a read is of: for `sql` the query and the snapshots of the tables that it reads, for `postgres` what is read and the slot
that is due. A new token is a new content of the path, and `plan.follow` does what it does of a file that changed: read it, and let its rows
take the place of the former ones in one entry. An incremental read brings rows in addition: see `adds`.
docs/adr/0009 says why. Next: `refresh.py` for slots.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from controllers.dataset.files import Listing, SourceFile
from controllers.dataset.refresh import Slot
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.sql_names import normalised
from state.catalog.tables import Origin, Table

EXTRACT = "#"
"""Between path and token, as footers name one read of several that add up: each is a content that a rebuilt catalog keeps."""


@dataclass(frozen=True, slots=True)
class Input:
    """A dataset that a query reads, as it is now."""

    dataset: str
    version: int
    snapshot: str


def adds(spec: DatasetSpec) -> bool:
    """Whether a read brings rows in addition to the former ones, and takes none away."""
    return spec.source.postgres is not None and spec.source.postgres.cursor is not None


def path(spec: DatasetSpec) -> str:
    """The one path of the listing, which no file can have: globs do not match a colon's left side alone."""
    postgres = spec.source.postgres
    return "sql:query" if postgres is None else f"postgres:{postgres.table or 'query'}"


def bound_path(written: str) -> str:
    """The path of a binding, for one that a footer has."""
    return written.partition(EXTRACT)[0] if written.startswith("postgres:") else written


def words(spec: DatasetSpec) -> str:
    """What is read, in a message."""
    postgres = spec.source.postgres
    if postgres is None:
        return "its query"
    return f"table {postgres.table}" if postgres.table is not None else "its query in PostgreSQL"


def statement(spec: DatasetSpec) -> str:
    """What PostgreSQL is asked."""
    postgres = spec.source.postgres
    assert postgres is not None
    return f"SELECT * FROM {postgres.table}" if postgres.table is not None else str(postgres.query).strip().rstrip(";")


def reads(spec: DatasetSpec) -> str:
    """The table or query, for the catalog."""
    return spec.source.sql or (spec.source.postgres.table if spec.source.postgres else None) or statement(spec)


def token(spec: DatasetSpec, slot: str, inputs: Collection[Input], damaged: Collection[str], step: int = 0) -> str:
    """The identity of what would be read now. damaged: data files that are to be made again, by reading all of it. step: see `Origin`."""
    what = normalised(spec.source.sql) if spec.source.sql is not None else statement(spec)
    parts = ["read", what, slot, sorted([one.dataset, one.snapshot] for one in inputs), sorted(damaged)]
    return digest([*parts, step] if step else parts)


def listing(spec: DatasetSpec, table: Table | None, due: Slot, inputs: Collection[Input], damaged: Collection[str], wanted: str) -> Listing:
    """What is there to read. With `watch: false` it stays as it was tried last, until it is due.

    wanted: the transformation that the spec asks for.
    """
    at = path(spec)
    found = token(spec, due.at, inputs, damaged, _steps(table.origin if table is not None else None, due.at))
    pinned = spec.source.sql is not None and not spec.refresh.watch and not due.due and not damaged
    if pinned and table is not None:
        refused, bound = table.refusals.get(at), table.binding(at)
        if refused is not None and refused.transformation == wanted:
            found = refused.digest
        elif bound is not None and table.transformation == wanted:
            found = bound.digest
    bound = table.binding(at) if table is not None else None
    if bound is not None and table is not None and table.origin is not None and table.origin.same == found:
        found = bound.digest
    return Listing((SourceFile(at, found, 0, 0),))


def as_bound(table: Table) -> Listing:
    """The files as the table followed them last, whatever they are now: of `watch: false`, while nothing is due."""
    refused = {refusal.path: refusal.digest for refusal in table.refusals.values()}
    bound = [b for b in table.bindings.values() if b.present]
    present = [SourceFile(b.path, refused.pop(b.path, b.digest), b.size, b.mtime_ns, object=b.object) for b in bound]
    others = [SourceFile(path, digest_, 0, 0) for path, digest_ in refused.items() if table.binding(path) is None]
    return Listing(tuple(sorted((*present, *others), key=lambda file: file.path)))


def recorded(former: Origin | None, made: Origin | None, slot: str) -> Origin | None:
    """What the catalog is to know: of the read that was made, or else of the former one, with the slot that is honoured."""
    base = made or former
    if base is None:
        return Origin(slot=slot) if slot else None
    return replace(base, slot=slot, step=_steps(former, slot) + (made.step if made is not None else 0))


def _steps(origin: Origin | None, slot: str) -> int:
    """Of the slot so far."""
    return origin.step if origin is not None and origin.slot == slot else 0


def detail(table: Table) -> Mapping[str, object]:
    """For the status."""
    told = {} if table.origin is None else table.origin.to_dict()
    return {name: value for name, value in told.items() if name not in ("slot", "cursor", "read", "step", "same")}
