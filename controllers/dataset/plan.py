"""What a Dataset needs next; pure. The table of the design, "what a file means", is `follow` below.

A file is its path bound to a content digest. Rows of a content stay while any path is bound to it; so a rename moves the
binding and a copy adds nothing. A path that is gone keeps its binding (marked absent) and its rows, except under
`replace`, where the table is exactly what matches now.

Next: `steps.py` for what a plan is made of, `endings.py` for what is said when nothing is left.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

from controllers.dataset import origins
from controllers.dataset.compacting import compact
from controllers.dataset.evolving import Evolve, evolution
from controllers.dataset.files import Listing, SourceFile
from controllers.dataset.standing import Standing
from controllers.dataset.steps import Correct, DatasetStep, Fetch, Follow, GiveUp, Identify, Observed, TakeUp
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec, reading
from specs.resource import Resource
from state.catalog.data_files import COMPACTION, is_content
from state.catalog.tables import Ledger, Refusal, Table


def transformation(spec: DatasetSpec) -> str:
    """Digest of all that decides what a file's rows become; globs, bucket, owners and descriptions do not."""
    return digest(reading(spec))


STEP_BYTES = 4 << 30
"""Of objects of a bucket that are read at once: whatever ends a longer read would make it begin anew, and their copies take place."""
_T = TypeVar("_T")


def plan(resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
    """The next step, if there is one; see the module's docstring. One that reads files waits until their rows can be judged."""
    steps = wanted(resource, observed)
    return () if observed.unjudged is not None and reads(steps) else steps


def reads(steps: Sequence[DatasetStep]) -> bool:
    """Whether any of them reads files."""
    return any(isinstance(step, Follow) and step.ingest for step in steps)


def wanted(resource: Resource, observed: Observed) -> tuple[DatasetStep, ...]:
    """The next step, whether or not its rows can be judged."""
    spec = resource.spec_as(DatasetSpec)
    if not observed.bucket_attached:
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
    if observed.listing.unread:
        return (Identify(str(spec.source.bucket), _within(observed.listing.unread, [info.size for info in observed.listing.unread])),)
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
    # a source that is no file is due instead, since a read of it has no second
    outdated = outdated_contents(table, observed.against) if spec.source.in_files and observed.unjudged is None else frozenset()
    if any(file.digest in outdated & table.folded.keys() for file in observed.listing.files):
        # what was folded into others has no place of its own to come back to
        for step in _anew(spec, table, observed.listing, wanted, _OUTDATED):
            return step
    found = follow(spec.write, table, observed.listing, wanted, observed.damaged, outdated - table.folded.keys())
    one = spec.write == "replace" or spec.publish == "together"  # nobody is to see a part of these
    return found if found is None or spec.source.bucket is None or one else in_part(found)


def in_part(step: Follow) -> Follow:
    """The step for the first of its files, as many as are read at once; the next look finds the others. Pure."""
    taken = _within(step.ingest, [file.size for file in step.ingest])
    left = {file.digest for file in step.ingest[len(taken) :]}
    if not left:
        return step
    bind, renew = (tuple(file for file in files if file.digest not in left) for files in (step.bind, step.renew))
    why = f"{len(taken)} of {len(step.ingest)} files new or changed"
    return replace(step, why=why, ingest=taken, bind=bind, renew=renew, repair=step.repair - left)


def _within(files: tuple[_T, ...], sizes: Sequence[int]) -> tuple[_T, ...]:
    """The first of them, of STEP_BYTES together at most, and one at least."""
    places = accumulate(sizes)
    return files[: max(1, sum(end <= STEP_BYTES for end in places))]


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
    due = "what it reads changed" if spec.source.sql is not None else "a read is due"
    if observed.table is not None and outdated_contents(observed.table, observed.against):
        due = _OUTDATED
    why = step.why if step.reset or not step.ingest else due
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


def give_up(table: Table, damaged: frozenset[str]) -> tuple[Correct | GiveUp, ...]:
    """Damaged files that nothing brings back are lost: the rest of the table is readable without them. So are profiles."""
    lost = tuple(replace(file, lost=True) for file in table.files if file.key in damaged and not file.lost)
    if lost:
        return (Correct("they are missing or damaged, and neither a rescue bucket nor a source has them", lost),)
    kinds = ("profile", "said")
    profiles = frozenset(ledger.ref.key for ledger in table.ledgers if ledger.kind in kinds and ledger.ref.key in damaged)
    return (GiveUp("profiles are missing, and neither a rescue bucket nor a source has them", profiles),) if profiles else ()


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
    if missing_sources(spec, table, listing) or refused_now(table, files, wanted) or listing.unusable:
        return ()
    return (Follow(why, wanted, files, copies, reset=True),)


def edits_of(table: Table) -> tuple[SourceFile, ...]:
    """The rows that were set or deleted by hand: sources like any other when the table is made anew."""
    edits = (ledger for ledger in table.ledgers if ledger.kind == "edit")
    return tuple(SourceFile(f"version {edit.version}, by hand", edit.source, edit.ref.size, 0, edit.ref) for edit in edits)


def outdated_contents(table: Table, against: str) -> frozenset[str]:
    """Contents with rows in quarantine for the sake of a dataset that has changed since: they may fit now. against: see `Observed`."""
    return frozenset(ledger.source for ledger in quarantine(table) if ledger.against and ledger.against != against)


def quarantine(table: Table) -> tuple[Ledger, ...]:
    """Of rows that the contract set aside, one for each content that has such rows."""
    return tuple(ledger for ledger in table.ledgers if ledger.kind == "quarantine")


def compared(table: Table) -> dict[str, Ledger]:
    """The contents of which not all rows need be in the table, with what they said."""
    return {ledger.source: ledger for ledger in table.ledgers if ledger.kind == "said"}


def follow(
    write: str, table: Table, listing: Listing, wanted: str, damaged: frozenset[str], outdated: frozenset[str] = frozenset()
) -> Follow | None:
    """What the files that match now mean for the table; None where it matches them already. outdated: contents to be judged again."""
    stored = {file.source for file in table.files}
    held = {binding.digest for binding in table.bindings.values()} | stored
    refused = {(refusal.path, refusal.digest) for refusal in table.refusals.values() if refusal.transformation == wanted}
    whole = stored - compared(table).keys()
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
        if write == "upsert" and binding is not None and other and file.digest not in whole:
            known = file.digest in coming  # its rows become the newest again, and no files of its own have all of them
            if file.digest in stored and not known:
                renew.append(file)
        if file.digest in broken and file.digest not in repair:
            ingest.append(file)
            repair.add(file.digest)
        elif other and not known:
            ingest.append(file)
            coming.add(file.digest)
        elif binding is None or other or not binding.present or binding.object != file.object:
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


def refused_now(table: Table, files: Sequence[SourceFile], wanted: str) -> tuple[Refusal, ...]:
    """Refusals of what is there as it was refused."""
    there = {(file.path, file.digest) for file in files}
    return tuple(r for r in table.refusals.values() if r.transformation == wanted and (r.path, r.digest) in there)


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
