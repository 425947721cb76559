"""How a Dataset ends when nothing is left to do, and in which words; pure. Next: `plan.py`, which says what is left."""

from collections.abc import Sequence
from dataclasses import replace

from controllers.dataset import origins
from controllers.dataset.evolving import KEY, Unfit, evolution
from controllers.dataset.files import Listing
from controllers.dataset.freshness import aged
from controllers.dataset.pages import pages_without_text, told
from controllers.dataset.plan import edits_of, missing_sources, quarantine, reads, refused_now, transformation, wanted
from controllers.dataset.steps import Observed, names
from controllers.outcome import Failed, Outcome, Ready, Stalled, Waiting
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.tables import Refusal, Table


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    outcome = _conclude(resource, observed)
    if isinstance(outcome, Failed) or observed.slot.seconds is None:
        return outcome
    return replace(outcome, seconds=min(observed.slot.seconds, outcome.seconds or observed.slot.seconds))


def _conclude(resource: Resource, observed: Observed) -> Outcome:
    spec = resource.spec_as(DatasetSpec)
    if not observed.bucket_attached:
        name = f"Bucket/{spec.bucket}"
        if observed.bucket_declared:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{name} is not open", blocked_by=name)
        return Waiting(reasons.REFERENCE_MISSING, f"{name} is not there; declare it, or name another bucket", blocked_by=name)
    if observed.unjudged is not None and reads(wanted(resource, observed)):
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
    if spec.source.bucket is not None:
        where = f"Bucket/{spec.source.bucket}" + (f" whose key begins with `{spec.source.prefix}`" if spec.source.prefix else "")
        return Waiting(reasons.SOURCE_EMPTY, f"there is no object in {where}; the first one is followed")
    return Waiting(reasons.SOURCE_EMPTY, f"no file matches {names(spec.source.files)} below the data root; the first one is followed")


def _with_table(spec: DatasetSpec, observed: Observed, table: Table) -> Outcome:
    wanted = transformation(spec)
    files = sum(1 for binding in table.bindings.values() if binding.present)
    aside = sum(ledger.rows for ledger in quarantine(table))
    detail: dict[str, object] = {"rows": table.rows, "version": table.version, "files": files, **({"quarantine": aside} if aside else {})}
    if not table.merged:
        detail["merged"] = False
    if table.bucket != spec.bucket:
        return Stalled(
            reasons.STATE_IMMUTABLE,
            f"the table is kept in Bucket/{table.bucket} and cannot move to Bucket/{spec.bucket}: declare a dataset of another name there",
            detail=detail,
        )
    served = f"version {table.version} with {_count(table.rows, 'row')} stays served" if table.columns else "there is nothing to serve yet"
    change = evolution(spec, table, wanted)
    if isinstance(change, Unfit):
        how = "" if change.path == KEY else f", as `lakectl migrate preview {table.name}` shows"
        message = f"{change.path} ({change.said}) does not fit: {change.reason}; correct it{how}"
        return Stalled(reasons.SCHEMA_CONFLICT, f"{message}; {served}", detail=detail)
    missing = missing_sources(spec, table, observed.listing)
    if table.transformation != wanted and missing:
        return Stalled(
            reasons.SOURCE_GONE,
            f"{_what_changed(spec, table)} changed, which reads every file again, but {names(missing)} is gone; "
            f"put it back or undo the change; {served}",
            detail=detail,
        )
    refused = refused_now(table, (*observed.listing.files, *edits_of(table)), wanted)
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
            f"{names(sorted(file.key for file in lost))} is missing or damaged, no rescue bucket has it, and its source file is gone: "
        )
        rows = sum(file.rows for file in lost)
        message += f"{_count(rows, 'row')} {'is' if rows == 1 else 'are'} lost; put either back; {served}"
        return Stalled(reasons.OBJECT_MISSING, message, detail=detail)
    held = f", {aside:,} in quarantine" if aside else ""
    scanned = pages_without_text(spec, table)
    if scanned:
        detail["pagesWithoutText"] = dict(scanned)
    whence = _sources(spec, table, files) if spec.source.in_files else origins.words(spec)
    served = f"{_count(table.rows, 'row')} from {whence}{held}{_unmerged(table)}, version {table.version}"
    return Ready(served + told(scanned), {**detail, **origins.detail(table)})


def _sources(spec: DatasetSpec, table: Table, present: int) -> str:
    gone = len(table.bindings) - present
    return _count(present, "file" if spec.source.bucket is None else "object") + (
        f" and {gone:,} that {'is' if gone == 1 else 'are'} gone" if gone else ""
    )


def _unmerged(table: Table) -> str:
    """Rows are counted by file: a key that several files hold counts in each until they are merged on reading."""
    return "" if table.merged else ", before merging by key"


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
