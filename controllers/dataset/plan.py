"""What a Dataset needs next; pure. The table of the design, "what a file means", is `follow` below.

A file is its path bound to a content digest. Rows of a content stay while any path is bound to it; so a rename moves the
binding and a copy adds nothing. A path that is gone keeps its binding (marked absent) and its rows, except under
`replace`, where the table is exactly what matches now.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from controllers.dataset import origins
from controllers.dataset.compacting import Compact, compact
from controllers.dataset.evolving import Evolve, Unfit, evolution
from controllers.dataset.files import Listing, SourceFile
from controllers.dataset.freshness import Freshness, aged
from controllers.dataset.origins import Input
from controllers.dataset.pages import pages_without_text, told
from controllers.dataset.refresh import ALWAYS, Slot
from controllers.dataset.standing import SOUND, Standing
from controllers.outcome import Failed, Outcome, Ready, Stalled, Waiting
from controllers.step import Work
from engines.files.formats import work_of
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec, reading
from specs.model import given_fields
from specs.resource import Resource
from state import reasons
from state.catalog.records import COMPACTION, DataFile, Ledger, Refusal, Schema, Table, is_content
from state.mirrors import Copy


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a Dataset sees it.

    Args:
        standing: how the table's data files stand.
        bucket_declared: whether a spec declares the bucket, so that it will be attached soon.
        expired: whether versions or a journal are kept that `keep` gives up.
        compaction: why pending changes are to be folded into the base now, if they are.
        fresh: how old the data is, where `freshness` asks.
        former: the table that `renamedFrom` names, if it exists; `former_wanted` tells whether a spec still asks for it.
        slot: when the source is due. inputs: what a query reads; `blocked` says why it cannot yet.
        against: digest of what the contract refers to in other datasets; `unjudged` says why new rows cannot be judged by them.
    """

    table: Table | None
    listing: Listing
    bucket_attached: bool
    standing: Standing = SOUND
    former: Table | None = None
    former_wanted: bool = False
    bucket_declared: bool = False
    expired: bool = False
    compaction: str | None = None
    slot: Slot = ALWAYS
    inputs: tuple[Input, ...] = ()
    blocked: Outcome | None = None
    against: str = ""
    unjudged: Outcome | None = None
    fresh: Freshness | None = None

    @property
    def damaged(self) -> frozenset[str]:
        """Keys of data files that are missing, or not what they should be."""
        return self.standing.damaged


@dataclass(frozen=True, slots=True)
class Fetch:
    """Copies damaged files back from the rescue bucket."""

    why: str
    copies: tuple[Copy, ...]

    @property
    def work(self) -> Work:
        """Bytes to copy."""
        return Work("mirror", sum(copy.size for copy in self.copies))

    def summary(self) -> str:
        """See `Step`."""
        return f"fetch {_names([copy.key for copy in self.copies])} from the rescue bucket"


@dataclass(frozen=True, slots=True)
class Correct:
    """Replaces what the catalog says of files by what is so; `schema` is the current one from then on, if that was wrong."""

    why: str
    files: tuple[DataFile, ...]
    schema: Schema | None = None
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"correct the entries of {_names([file.key for file in self.files])}"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Ends versions, and files of the journal, that `keep` asks for no longer, or whose objects nobody has (`gone`, with the ledgers among
    them). What only they had becomes garbage."""

    why: str = "`keep` has ended"
    gone: frozenset[str] = frozenset()
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "do without what is lost of the past" if self.gone else "give up old versions or journal"


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
        repair: content digests whose data files are damaged and are written again, or whose rows are judged again.
        dismiss: paths whose refusal says nothing any more, since they are gone.
        reset: the table is made anew by another transformation; nothing of it is kept.
        slot: the instant of the schedule that it honours, "" for none.
        inputs: what a query reads. adds: no rows leave with a path's former content.
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
    slot: str = ""
    inputs: tuple[Input, ...] = ()
    adds: bool = False

    @property
    def work(self) -> Work | None:
        """Bytes to read, of a format that takes longer so many more."""
        return Work("ingest", sum(work_of(file.path, file.size) for file in self.ingest)) if self.ingest else None

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
        return ", ".join(parts) or ("note that nothing changed" if self.slot else "commit the table")


DatasetStep = TakeUp | Fetch | Correct | Evolve | Follow | GiveUp | Compact
"""What a Dataset's plan is made of."""


def transformation(spec: DatasetSpec) -> str:
    """Digest of all that decides what a file's rows become; globs, bucket, owners and descriptions do not."""
    return digest(reading(spec))


def plan(resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
    """The next step, if there is one; see the module's docstring. One that reads files waits until their rows can be judged."""
    steps = _wanted(resource, observed)
    return () if observed.unjudged is not None and _reads(steps) else steps


def _reads(steps: Sequence[DatasetStep]) -> bool:
    return any(isinstance(step, Follow) and step.ingest for step in steps)


def _wanted(resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
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
    mended = mend(table, observed.standing) if table is not None else None
    if mended is not None:
        return (mended,)
    if observed.blocked is not None:
        return ()
    return tuple(_scheduled(spec, observed, step) for step in _reading(spec, table, observed, transformation(spec)))


def _reading(spec: DatasetSpec, table: Table | None, observed: Observed, wanted: str) -> tuple[DatasetStep, ...]:
    """What is to be read, or given up."""
    if table is None:
        return _anew(spec, table, observed.listing, wanted)
    change = evolution(spec, table, wanted) if not observed.damaged else None
    if change is not None:
        return (change,) if isinstance(change, Evolve) else ()
    if table.transformation != wanted or _compacted_is_damaged(table, observed.damaged):
        return _anew(spec, table, observed.listing, wanted) or give_up(table, observed.damaged)
    if observed.damaged and not spec.source.in_files:
        # a source that is no file keeps no former content: all of it is read again
        return _anew(spec, table, observed.listing, wanted, "data files are missing or damaged") or give_up(table, observed.damaged)
    step = _followed(spec, table, observed, wanted)
    if step is not None:
        return (step,)
    noted = (Follow("it is due, and nothing changed", wanted),) if observed.slot.due else ()
    return give_up(table, observed.damaged) or noted or _upkeep(spec, table, observed)


def _followed(spec: DatasetSpec, table: Table, observed: Observed, wanted: str) -> Follow | None:
    outdated = _outdated(table, observed)
    if any(file.digest in outdated & table.folded.keys() for file in observed.listing.files):
        # what was folded into others has no place of its own to come back to
        for step in _anew(spec, table, observed.listing, wanted, _OUTDATED):
            return step
    return follow(spec.write, table, observed.listing, wanted, observed.damaged, outdated - table.folded.keys())


def _compacted_is_damaged(table: Table, damaged: frozenset[str]) -> bool:
    """What many contents were folded into is made again by reading them all, or by nothing."""
    return any(file.key in damaged and file.source.startswith(COMPACTION) and not file.lost for file in table.files)


def _upkeep(spec: DatasetSpec, table: Table, observed: Observed) -> tuple[DatasetStep, ...]:
    if observed.compaction is not None and not observed.damaged:
        return (compact(table, observed.compaction, spec.compaction),)
    return (GiveUp(),) if observed.expired else ()


def _scheduled(spec: DatasetSpec, observed: Observed, step: DatasetStep) -> DatasetStep:
    """With what it honours and reads."""
    if not isinstance(step, Follow):
        return step
    if spec.source.in_files:
        return replace(step, slot=observed.slot.at)
    why = step.why if step.reset or not step.ingest else "what it reads changed" if spec.source.sql is not None else "a read is due"
    return replace(step, why=why, slot=observed.slot.at, inputs=observed.inputs, adds=origins.adds(spec))


def mend(table: Table, standing: Standing) -> Fetch | Correct | GiveUp | None:
    """What needs no source: copies of damaged files, and entries that are not what their files say."""
    if standing.rescuable:
        return Fetch("data files are missing or damaged, and the rescue bucket has them", standing.rescuable)
    if standing.corrected:
        back = all(table.file(file.key) == replace(file, lost=True) for file in standing.corrected)
        why = "lost data files are there again" if back else "the catalog said something else than their footers"
        return Correct(why, standing.corrected, standing.schema)
    if standing.forgotten:
        return GiveUp("objects of former versions or of the journal are missing, and no rescue bucket has them", standing.forgotten)
    return None


def give_up(table: Table, damaged: frozenset[str]) -> tuple[Correct, ...]:
    """Damaged files that nothing brings back are lost: the rest of the table is readable without them."""
    lost = tuple(replace(file, lost=True) for file in table.files if file.key in damaged and not file.lost)
    return (Correct("they are missing or damaged, and neither a rescue bucket nor a source has them", lost),) if lost else ()


_OUTDATED = "a dataset changed that rows in quarantine refer to"


def _anew(
    spec: DatasetSpec,
    table: Table | None,
    listing: Listing,
    wanted: str,
    why: str = "primary key, write mode, columns, contract or format changed",
) -> tuple[Follow, ...]:
    """The table from all its files, unless a source is gone or was refused under this very transformation."""
    first = {file.digest: file for file in reversed(listing.files)}
    files = tuple(file for file in listing.files if first[file.digest] is file)
    copies = tuple(file for file in listing.files if first[file.digest] is not file)
    if table is None:
        return (Follow("there is no table yet", wanted, files, copies, reset=True),) if files else ()
    files += edits_of(table)
    if missing_sources(spec, table, listing) or _refused(table, files, wanted) or listing.unusable:
        return ()
    return (Follow(why, wanted, files, copies, reset=True),)


def edits_of(table: Table) -> tuple[SourceFile, ...]:
    """The rows that were set or deleted by hand: sources like any other when the table is made anew."""
    edits = (ledger for ledger in table.ledgers if ledger.kind == "edit")
    return tuple(SourceFile(f"version {edit.version}, by hand", edit.source, edit.ref.size, 0, edit.ref) for edit in edits)


def _outdated(table: Table, observed: Observed) -> frozenset[str]:
    """Contents with rows in quarantine for the sake of a dataset that has changed since: they may fit now."""
    if observed.unjudged is not None:
        return frozenset()
    return frozenset(ledger.source for ledger in quarantine(table) if ledger.against and ledger.against != observed.against)


def quarantine(table: Table) -> tuple[Ledger, ...]:
    """Of rows that the contract set aside, one for each content that has such rows."""
    return tuple(ledger for ledger in table.ledgers if ledger.kind == "quarantine")


def follow(
    write: str, table: Table, listing: Listing, wanted: str, damaged: frozenset[str], outdated: frozenset[str] = frozenset()
) -> Follow | None:
    """What the files that match now mean for the table; None where it matches them already. outdated: contents to be judged again."""
    stored = {file.source for file in table.files}
    held = {binding.digest for binding in table.bindings.values()} | stored
    refused = {(refusal.path, refusal.digest) for refusal in table.refusals.values() if refusal.transformation == wanted}
    broken = {file.source for file in table.files if file.ref.key in damaged} | outdated
    broken |= {ledger.source for ledger in table.ledgers if ledger.ref.key in damaged}
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
        if write == "upsert" and binding is not None and other and file.digest not in stored:
            known = file.digest in coming  # its rows become the newest again, and it has no files of its own that could
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
        _why(ingest, bind, gone, unbind, repair - outdated, repair & outdated), wanted,
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
    file's former content, that content. None of it matters under `replace`, nor where source or table is of no file: a database is asked
    for all of it again, and a query too."""
    if (spec.write == "replace" and table.write == "replace") or not spec.source.in_files or _from_no_file(table):
        return ()
    contents = {file.digest for file in (*listing.files, *edits_of(table))}
    there = {file.path for file in listing.files}
    lost = [b for b in table.bindings.values() if b.path not in there and b.digest not in contents]
    gone, gone_contents = [binding.path for binding in lost], {binding.digest for binding in lost}
    # a path may still be bound to a content that it has no more: what replaced it was refused
    kept = [*(file.source for file in table.files), *table.folded] if table.write == "upsert" else []
    known = contents | gone_contents
    former = dict.fromkeys(source for source in kept if source not in known and is_content(source))
    return (*gone, *(f"the former content {source[:8]}… of a file that changed" for source in former))


def _from_no_file(table: Table) -> bool:
    return table.origin is not None and bool(table.origin.reads)


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    outcome = _conclude(resource, observed)
    if isinstance(outcome, Failed) or observed.slot.seconds is None:
        return outcome
    return replace(outcome, seconds=min(observed.slot.seconds, outcome.seconds or observed.slot.seconds))


def _conclude(resource: Resource, observed: Observed) -> Outcome:
    spec = resource.spec_as(DatasetSpec)
    missing = not_built(spec)
    if missing:
        return Stalled(reasons.NOT_SUPPORTED, f"{missing} is not built in this version; remove it, or wait for the version that has it")
    if not observed.bucket_attached:
        name = f"Bucket/{spec.bucket}"
        if observed.bucket_declared:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{name} is not open", blocked_by=name)
        return Waiting(reasons.REFERENCE_MISSING, f"{name} is not there; declare it, or name another bucket", blocked_by=name)
    if observed.unjudged is not None and _reads(_wanted(resource, observed)):
        return observed.unjudged
    if observed.table is None:
        return _without_table(spec, observed)
    if observed.blocked is not None:
        return observed.blocked
    return aged(_with_table(spec, observed, observed.table), observed.fresh)


def _without_table(spec: DatasetSpec, observed: Observed) -> Outcome:
    if observed.former is not None:
        former = f"Dataset/{observed.former.name}"
        return Stalled(reasons.CONFLICT, f"renamedFrom names {former}, whose spec is still there; remove that spec", blocked_by=former)
    if observed.blocked is not None:
        return observed.blocked
    if observed.listing.unusable:
        return Stalled(reasons.FILE_REFUSED, _unusable(observed.listing))
    return Waiting(reasons.SOURCE_EMPTY, f"no file matches {_names(spec.source.files)} below the data root; the first one is followed")


def _with_table(spec: DatasetSpec, observed: Observed, table: Table) -> Outcome:
    wanted = transformation(spec)
    files = sum(1 for binding in table.bindings.values() if binding.present)
    aside = sum(ledger.rows for ledger in quarantine(table))
    detail: dict[str, object] = {"rows": table.rows, "version": table.version, "files": files, **({"quarantine": aside} if aside else {})}
    if table.bucket != spec.bucket:
        return Stalled(
            reasons.STATE_IMMUTABLE,
            f"the table is kept in Bucket/{table.bucket} and cannot move to Bucket/{spec.bucket}: declare a dataset of another name there",
            detail=detail,
        )
    served = f"version {table.version} with {_count(table.rows, 'row')} stays served" if table.columns else "there is nothing to serve yet"
    change = evolution(spec, table, wanted)
    if isinstance(change, Unfit):
        message = (
            f"{change.path} ({change.said}) does not fit: {change.reason}; correct it, as `lakectl migrate preview {table.name}` shows"
        )
        return Stalled(reasons.SCHEMA_CONFLICT, f"{message}; {served}", detail=detail)
    missing = missing_sources(spec, table, observed.listing)
    if table.transformation != wanted and missing:
        return Stalled(
            reasons.SOURCE_GONE,
            f"{_what_changed(spec, table)} changed, which reads every file again, but {_names(missing)} is gone; "
            f"put it back or undo the change; {served}",
            detail=detail,
        )
    refused = _refused(table, (*observed.listing.files, *edits_of(table)), wanted)
    if refused and not spec.source.in_files:
        return Stalled(reasons.SOURCE_REFUSED, f"{origins.words(spec)}: {refused[0].reason.removesuffix('.')}; {served}", detail=detail)
    if refused:
        detail["refused"] = [refusal_words(item) for item in refused]
        return Stalled(reasons.FILE_REFUSED, f"{_refusals(refused)}; {served}", detail=detail)
    if observed.listing.unusable:
        return Stalled(reasons.FILE_REFUSED, f"{_unusable(observed.listing)}; {served}", detail=detail)
    lost = [file for file in table.files if file.key in observed.damaged]
    if lost:
        detail["lost"] = [{"file": f"{file.ref.bucket}/{file.key}", "rows": file.rows} for file in lost]
        message = (
            f"{_names(sorted(file.key for file in lost))} is missing or damaged, no rescue bucket has it, and its source file is gone: "
        )
        rows = sum(file.rows for file in lost)
        message += f"{_count(rows, 'row')} {'is' if rows == 1 else 'are'} lost; put either back; {served}"
        return Stalled(reasons.OBJECT_MISSING, message, detail=detail)
    held = f", {aside:,} in quarantine" if aside else ""
    scanned = pages_without_text(spec, table)
    if scanned:
        detail["pagesWithoutText"] = dict(scanned)
    whence = _sources(table, files) if spec.source.in_files else origins.words(spec)
    served = f"{_count(table.rows, 'row')} from {whence}{held}{_unmerged(table)}, version {table.version}"
    return Ready(served + told(scanned), {**detail, **origins.detail(table)})


def _sources(table: Table, present: int) -> str:
    gone = len(table.bindings) - present
    return _count(present, "file") + (f" and {gone:,} that {'is' if gone == 1 else 'are'} gone" if gone else "")


def not_built(spec: DatasetSpec) -> str | None:
    """The first thing asked for that this version cannot do, as written in the spec."""
    if spec.source.bucket is not None:
        return "`source: {bucket: …}`"
    return None if spec.source.in_files else _of_files_only(spec)


def _of_files_only(spec: DatasetSpec) -> str | None:
    given = [name for name in given_fields(spec) if name in ("contract", "publish")]
    given += [f"columns: {{{name}: {{nullable: false}}}}" for name, column in spec.columns.items() if not column.nullable]
    return f"`{given[0]}` of a source that is no file" if given else None


def _unmerged(table: Table) -> str:
    """Rows are counted by file: a key that several files hold counts in each until they are merged on reading."""
    return ", before merging by key" if any(file.role == "delta" for file in table.files) else ""


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _what_changed(spec: DatasetSpec, table: Table) -> str:
    """Of what a transformation consists, as far as the table knows what it was made by."""
    found = [
        f"{field} ({_shown(was)} before)"
        for field, was, now in (("primaryKey", table.primary_key, tuple(spec.primary_key)), ("write", table.write, spec.write))
        if was != now
    ]
    return " and ".join(found) or "`columns`, `contract` or how the files are read"


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _refused(table: Table, files: Sequence[SourceFile], wanted: str) -> tuple[Refusal, ...]:
    there = {(file.path, file.digest) for file in files}
    return tuple(r for r in table.refusals.values() if r.transformation == wanted and (r.path, r.digest) in there)


def refusal_words(refusal: Refusal) -> str:
    """`data/a.csv:17: the row has 4 cells`."""
    return f"{refusal.path}:{refusal.line}: {refusal.reason}" if refusal.line else f"{refusal.path}: {refusal.reason}"


def _refusals(refused: Sequence[Refusal]) -> str:
    first = f"{refusal_words(refused[0]).removesuffix('.')} (the whole file is refused)"
    return first if len(refused) == 1 else f"{first}, and {_count(len(refused) - 1, 'more file')}"


def _unusable(listing: Listing) -> str:
    first = listing.unusable[0]
    more = len(listing.unusable) - 1
    return f"{first.path} {first.reason}" + (f" (and {_count(more, 'more path')})" if more else "")


def _why(
    ingest: Sequence[SourceFile],
    bind: Sequence[SourceFile],
    gone: Sequence[str],
    unbind: Sequence[str],
    repair: Set[str],
    outdated: Set[str],
) -> str:
    if repair:
        return "data files are missing or damaged"
    if outdated and len(outdated) == len(ingest):
        return _OUTDATED
    if ingest:
        return f"{len(ingest)} file{'s' if len(ingest) != 1 else ''} new or changed"
    if bind or unbind:
        return "files were renamed, copied or put back"
    return f"{len(gone)} file{'s' if len(gone) != 1 else ''} gone" if gone else "refused files are gone"


def _names(paths: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(paths[:most])
    return shown if len(paths) <= most else f"{shown} and {len(paths) - most} more"
