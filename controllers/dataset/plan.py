"""What a Dataset needs next; pure. The table of the design, "what a file means", is `follow` below.

A file is its path bound to a content digest. Rows of a content stay while any path is bound to it; so a rename moves the
binding and a copy adds nothing. A path that is gone keeps its binding (marked absent) and its rows, except under
`replace`, where the table is exactly what matches now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from controllers.dataset.files import Listing, SourceFile
from controllers.outcome import Outcome, Ready, Stalled, Waiting
from controllers.step import Work
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec, reading
from specs.model import given_fields
from specs.resource import Resource
from state import reasons
from state.catalog.records import Refusal, Table


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a Dataset sees it.

    Args:
        damaged: keys of data files that are missing or have another size than recorded.
        bucket_declared: whether a spec declares the bucket, so that it will be attached soon.
        former: the table that `renamedFrom` names, if it exists; `former_wanted` tells whether a spec still asks for it.
    """

    table: Table | None
    listing: Listing
    bucket_attached: bool
    damaged: frozenset[str] = frozenset()
    former: Table | None = None
    former_wanted: bool = False
    bucket_declared: bool = False


@dataclass(frozen=True, slots=True)
class TakeUp:
    """A retained table is managed again, or moves here from its former name (`source`)."""

    why: str
    source: str | None = None
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"take over the table of {self.source}" if self.source else "take up the retained table"


@dataclass(frozen=True, slots=True)
class Follow:
    """Makes the table follow its files, in one catalog entry.

    Args:
        transformation: digest of all that decides what a file becomes.
        ingest: files to read, in lexical order of their paths.
        bind: files whose content the table holds already.
        gone: paths that vanished and keep their rows; `unbind`: paths whose binding ends.
        renew: files whose content the table holds and whose rows become the newest again (upsert).
        repair: content digests whose data files are damaged and are written again.
        dismiss: paths whose refusal says nothing any more, since they are gone.
        reset: the table is made anew by another transformation; nothing of it is kept.
    """

    why: str
    transformation: str
    ingest: tuple[SourceFile, ...] = ()
    bind: tuple[SourceFile, ...] = ()
    gone: tuple[str, ...] = ()
    unbind: tuple[str, ...] = ()
    renew: tuple[SourceFile, ...] = ()
    repair: frozenset[str] = field(default_factory=frozenset)
    dismiss: tuple[str, ...] = ()
    reset: bool = False

    @property
    def work(self) -> Work | None:
        """Bytes to read."""
        return Work("ingest", sum(file.size for file in self.ingest)) if self.ingest else None

    def summary(self) -> str:
        """See `Step`."""
        parts = []
        if self.ingest:
            parts.append(f"ingest {_names([file.path for file in self.ingest])}")
        if self.bind or self.unbind or self.renew:
            paths = dict.fromkeys([*(file.path for file in (*self.bind, *self.renew)), *self.unbind])
            parts.append(f"rebind {_names(list(paths))}")
        if self.gone:
            parts.append(f"note that {_names(self.gone)} is gone")
        if self.dismiss:
            parts.append(f"forget that {_names(self.dismiss)} was refused")
        return ", ".join(parts) or "commit the table"


DatasetStep = TakeUp | Follow
"""What a Dataset's plan is made of."""


def transformation(spec: DatasetSpec) -> str:
    """Digest of all that decides what a file's rows become; globs, bucket, owners and descriptions do not."""
    return digest(reading(spec))


def plan(resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
    """The next step, if there is one; see the module's docstring."""
    spec = resource.spec_as(DatasetSpec)
    if not observed.bucket_attached or not_built(spec):
        return ()
    table = observed.table
    if table is not None and table.bucket != spec.bucket:
        return ()
    if table is None and observed.former is not None:
        return () if observed.former_wanted else (TakeUp("renamedFrom names it", f"Dataset/{observed.former.name}"),)
    if table is not None and table.retained:
        return (TakeUp("a spec asks for it again"),)
    wanted = transformation(spec)
    if table is None or table.transformation != wanted:
        return _anew(spec, table, observed.listing, wanted)
    step = follow(spec.write, table, observed.listing, wanted, observed.damaged)
    return (step,) if step is not None else ()


def _anew(spec: DatasetSpec, table: Table | None, listing: Listing, wanted: str) -> tuple[DatasetStep, ...]:
    """The table from all its files, unless a source is gone or was refused under this very transformation."""
    first = {file.digest: file for file in reversed(listing.files)}
    files = tuple(file for file in listing.files if first[file.digest] is file)
    copies = tuple(file for file in listing.files if first[file.digest] is not file)
    if table is None:
        return (Follow("there is no table yet", wanted, files, copies, reset=True),) if files else ()
    if missing_sources(spec, table, listing) or _refused(table, listing.files, wanted) or listing.unusable:
        return ()
    return (Follow("primary key, write mode, columns or format changed", wanted, files, copies, reset=True),)


def follow(write: str, table: Table, listing: Listing, wanted: str, damaged: frozenset[str]) -> Follow | None:
    """What the files that match now mean for the table; None where it matches them already."""
    held = {binding.digest for binding in table.bindings.values()} | {file.source for file in table.files}
    refused = {(refusal.path, refusal.digest) for refusal in table.refusals.values() if refusal.transformation == wanted}
    broken = {file.source for file in table.files if file.ref.key in damaged}
    ingest: list[SourceFile] = []
    bind: list[SourceFile] = []
    renew: list[SourceFile] = []
    repair: set[str] = set()
    coming: set[str] = set()
    for file in listing.files:
        if (file.path, file.digest) in refused:
            continue
        binding = table.binding(file.path)
        other = binding is None or binding.digest != file.digest
        known = file.digest in held or file.digest in coming
        if file.digest in broken and file.digest not in repair:
            ingest.append(file)
            repair.add(file.digest)
        elif other and not known:
            ingest.append(file)
            coming.add(file.digest)
        elif binding is None or other or not binding.present:
            bind.append(file)
        if write == "upsert" and binding is not None and other and known:
            renew.append(file)
    gone, unbind, dismiss = _vanished(write, table, listing)
    if not (ingest or bind or gone or unbind or dismiss):
        return None
    return Follow(
        _why(ingest, bind, gone, unbind, repair), wanted,
        tuple(ingest), tuple(bind), gone, unbind, tuple(renew), frozenset(repair), dismiss,
    )  # fmt: skip


def _vanished(write: str, table: Table, listing: Listing) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Paths that are gone and keep their rows, paths whose binding ends (moved, or no longer part of a `replace`), and refused paths
    that are gone.

    What matches but cannot be read now, or lies in a folder that cannot, is not gone: its rows stay until it is readable again.
    """
    there = {file.path for file in listing.files} | {path.path for path in listing.unusable}
    closed = tuple(f"{path.path}/" if path.path != "." else "" for path in listing.unusable)
    contents = {file.digest for file in listing.files}

    def vanished(path: str) -> bool:
        return path not in there and not path.startswith(closed)

    gone, unbind = [], []
    for binding in table.bindings.values():
        if not vanished(binding.path):
            continue
        if write == "replace" or binding.digest in contents:
            unbind.append(binding.path)
        elif binding.present:
            gone.append(binding.path)
    return tuple(gone), tuple(unbind), tuple(path for path in table.refusals if vanished(path))


def missing_sources(spec: DatasetSpec, table: Table, listing: Listing) -> tuple[str, ...]:
    """What has rows in the table and can be read nowhere any more: paths that are gone, and, where upserts kept the rows of a
    file's former content, that content. None of it matters under `replace`."""
    if spec.write == "replace" and table.write == "replace":
        return ()
    contents = {file.digest for file in listing.files}
    there = {file.path for file in listing.files}
    lost = [b for b in table.bindings.values() if b.path not in there and b.digest not in contents]
    gone, gone_contents = [binding.path for binding in lost], {binding.digest for binding in lost}
    # a path may still be bound to a content that it has no more: what replaced it was refused
    kept = table.files if table.write == "upsert" else ()
    former = dict.fromkeys(file.source for file in kept if file.source not in contents | gone_contents)
    return (*gone, *(f"the former content {source[:8]}… of a file that changed" for source in former))


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(DatasetSpec)
    missing = not_built(spec)
    if missing:
        return Stalled(reasons.NOT_SUPPORTED, f"{missing} is not built in this version; remove it, or wait for the version that has it")
    if not observed.bucket_attached:
        name = f"Bucket/{spec.bucket}"
        if observed.bucket_declared:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{name} is not open", blocked_by=name)
        return Waiting(reasons.REFERENCE_MISSING, f"{name} is not there; declare it, or name another bucket", blocked_by=name)
    if observed.table is None:
        return _without_table(spec, observed)
    return _with_table(spec, observed, observed.table)


def _without_table(spec: DatasetSpec, observed: Observed) -> Outcome:
    if observed.former is not None:
        former = f"Dataset/{observed.former.name}"
        return Stalled(reasons.CONFLICT, f"renamedFrom names {former}, whose spec is still there; remove that spec", blocked_by=former)
    if observed.listing.unusable:
        return Stalled(reasons.FILE_REFUSED, _unusable(observed.listing))
    return Waiting(reasons.SOURCE_EMPTY, f"no file matches {_names(spec.source.files)} below the data root; the first one is followed")


def _with_table(spec: DatasetSpec, observed: Observed, table: Table) -> Outcome:
    wanted = transformation(spec)
    files = sum(1 for binding in table.bindings.values() if binding.present)
    detail: dict[str, object] = {"rows": table.rows, "version": table.version, "files": files}
    if table.bucket != spec.bucket:
        return Stalled(
            reasons.STATE_IMMUTABLE,
            f"the table is kept in Bucket/{table.bucket} and cannot move to Bucket/{spec.bucket}: declare a dataset of another name there",
            detail=detail,
        )
    served = f"version {table.version} with {_count(table.rows, 'row')} stays served" if table.columns else "there is nothing to serve yet"
    missing = missing_sources(spec, table, observed.listing)
    if table.transformation != wanted and missing:
        return Stalled(
            reasons.SOURCE_GONE,
            f"primary key, write mode, columns or format changed, which reads every file again, but {_names(missing)} is gone; "
            f"put it back or undo the change; {served}",
            detail=detail,
        )
    refused = _refused(table, observed.listing.files, wanted)
    if refused:
        detail["refused"] = [_place(item) for item in refused]
        return Stalled(reasons.FILE_REFUSED, f"{_refusals(refused)}; {served}", detail=detail)
    if observed.listing.unusable:
        return Stalled(reasons.FILE_REFUSED, f"{_unusable(observed.listing)}; {served}", detail=detail)
    lost = sorted(file.ref.key for file in table.files if file.ref.key in observed.damaged)
    if lost:
        message = f"{_names(lost)} is missing or damaged, and its source file is gone; put either back"
        return Stalled(reasons.OBJECT_MISSING, message, detail=detail)
    return Ready(f"{_count(table.rows, 'row')} from {_sources(table, files)}{_unmerged(table)}, version {table.version}", detail)


def _sources(table: Table, present: int) -> str:
    gone = len(table.bindings) - present
    return _count(present, "file") + (f" and {gone:,} that {'is' if gone == 1 else 'are'} gone" if gone else "")


_NOT_BUILT = ("contract", "refresh", "cache", "compaction", "keep", "migrations", "publish", "freshness", "tombstone", "sensitivity")
_FORMATS = (None, "csv", "tsv", "ndjson", "json", "parquet")


def not_built(spec: DatasetSpec) -> str | None:
    """The first thing asked for that this version cannot do, as written in the spec."""
    if not spec.source.files:
        backend = next(name for name in ("bucket", "postgres", "sql") if getattr(spec.source, name) is not None)
        return f"`source: {{{backend}: …}}`"
    if spec.source.format not in _FORMATS:
        return f"`source: {{format: {spec.source.format}}}`"
    asked = next((name for name in given_fields(spec) if name in _NOT_BUILT), None)
    return f"`{asked}`" if asked is not None else _column_not_built(spec)


def _column_not_built(spec: DatasetSpec) -> str | None:
    for name, column in spec.columns.items():
        if not column.nullable:
            return f"`columns: {{{name}: {{nullable: false}}}}`"
        if column.sensitivity:
            return f"`columns: {{{name}: {{sensitivity: …}}}}`"
    return None


def _unmerged(table: Table) -> str:
    """Rows are counted by file: a key that several files hold counts in each until they are merged on reading."""
    return ", before merging by key" if any(file.role == "delta" for file in table.files) else ""


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _refused(table: Table, files: Sequence[SourceFile], wanted: str) -> tuple[Refusal, ...]:
    there = {(file.path, file.digest) for file in files}
    return tuple(r for r in table.refusals.values() if r.transformation == wanted and (r.path, r.digest) in there)


def _place(refusal: Refusal) -> str:
    return f"{refusal.path}:{refusal.line}: {refusal.reason}" if refusal.line else f"{refusal.path}: {refusal.reason}"


def _refusals(refused: Sequence[Refusal]) -> str:
    first = f"{_place(refused[0]).removesuffix('.')} (the whole file is refused)"
    return first if len(refused) == 1 else f"{first}, and {_count(len(refused) - 1, 'more file')}"


def _unusable(listing: Listing) -> str:
    first = listing.unusable[0]
    more = len(listing.unusable) - 1
    return f"{first.path} {first.reason}" + (f" (and {_count(more, 'more path')})" if more else "")


def _why(ingest: Sequence[SourceFile], bind: Sequence[SourceFile], gone: Sequence[str], unbind: Sequence[str], repair: set[str]) -> str:
    if repair:
        return "data files are missing or damaged"
    if ingest:
        return f"{len(ingest)} file{'s' if len(ingest) != 1 else ''} new or changed"
    if bind or unbind:
        return "files were renamed, copied or put back"
    return f"{len(gone)} file{'s' if len(gone) != 1 else ''} gone" if gone else "refused files are gone"


def _names(paths: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(paths[:most])
    return shown if len(paths) <= most else f"{shown} and {len(paths) - most} more"
