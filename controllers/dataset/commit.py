"""Turns what reading the files gave into one catalog entry; pure. What `plan.Follow` promised is settled here.

A refused file changes nothing but the list of refusals: the rows of its path's former content stay. If a table is made
anew and a path or content that it holds now is refused, the table stays as it is.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from controllers.dataset.files import SourceFile
from controllers.dataset.origins import recorded
from controllers.dataset.plan import edits_of
from controllers.dataset.steps import Correct, Follow, GiveUp
from specs.kinds.dataset import DatasetSpec
from state.catalog.data_files import DataFile, Role
from state.catalog.entry import TableCommit
from state.catalog.schemas import Schema
from state.catalog.tables import Binding, Origin, Refusal, Table

_LAST = sys.maxsize
"""Comes after every place."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that was read: what it became, in parts."""

    file: SourceFile
    parts: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The endings of `Follow.ingest`, in its order, the schema of the accepted files (None where none was read), and what is known of a
    source that is no file. keeps: its quarantine stays as it is."""

    accepted: tuple[Accepted, ...] = ()
    refused: tuple[Refusal, ...] = ()
    schema: Schema | None = None
    origin: Origin | None = None
    keeps: bool = False


def commit(name: str, spec: DatasetSpec, table: Table | None, step: Follow, outcomes: Outcomes) -> TableCommit:
    """The entry that makes the table follow its files. `name` is the object's; `table` as it is now, None where there is none."""
    accepted, refused, schema = outcomes.accepted, outcomes.refused, outcomes.schema
    if step.reset and table is not None and refused and (not accepted or _holds_any(table, refused)):
        return refusals(name, spec, table, step, refused)
    rejected = frozenset(refusal.digest for refusal in refused)
    former = () if step.reset or table is None else table.files
    bindings = {} if step.reset or table is None else dict(table.bindings)
    binds = _bindings(step, bindings, accepted, rejected)
    # what a refused file was to be read again for stays as it is, its binding included
    unbind = tuple(path for path in step.unbind if bindings[path].digest not in rejected)
    after = {**{path: b for path, b in bindings.items() if path not in unbind}, **{b.path: b for b in binds}}
    rewritten = ({file.digest for file in step.renew} | step.repair) - rejected
    remove = _removed(spec, table, step, after, rewritten)
    add = _added(spec, table, step, accepted, [file for file in former if file.source in rewritten])
    return TableCommit(
        object=name,
        transformation=step.transformation,
        bucket=spec.bucket,
        primary_key=tuple(spec.primary_key),
        write=spec.write,
        schema=schema if schema is not None and (table is None or schema != table.schema) else None,
        add=add,
        remove=remove,
        bind=tuple(binds),
        unbind=tuple(path for path in table.bindings if path not in after) if table is not None and step.reset else unbind,
        refuse=tuple(refused),
        accept=tuple(_accepted(table, step, accepted)),
        fold={} if step.reset and table is not None and table.folded else None,
        origin=recorded(None if step.reset or table is None else table.origin, outcomes.origin if accepted else None, step.slot),
        drop=_set_aside_before(table, step, outcomes),
    )


def amendment(name: str, table: Table, step: Correct | GiveUp) -> TableCommit:
    """The entry that replaces the others of a correction's files, under the same keys; or that changes nothing of the present version."""
    files = step.files if isinstance(step, Correct) else ()
    gone = step.gone if isinstance(step, GiveUp) else frozenset()
    last = max((former.version for former in table.former if any(file.key in gone for file in former.removed)), default=0)
    return TableCommit(
        object=name,
        transformation=table.transformation,
        bucket=table.bucket,
        primary_key=table.primary_key,
        write=table.write,
        schema=step.schema if isinstance(step, Correct) else None,
        add=files,
        remove=tuple(file.key for file in files),
        drop=tuple(ledger.ref.key for ledger in table.ledgers if ledger.ref.key in gone),
        forget=last + 1 if last else 0,
    )


def leaving(table: Table, change: TableCommit) -> Mapping[str, int]:
    """Rows of the contents that the change removes and brings no more, by the path that they were last read at."""
    stay = {file.source for file in change.add}
    paths = {binding.digest: binding.path for binding in table.bindings.values()}
    found: dict[str, int] = {}
    for file in table.files:
        if file.key in change.remove and file.source not in stay:
            path = paths.get(file.source, file.source)
            found[path] = found.get(path, 0) + file.rows
    return found


def _set_aside_before(table: Table | None, step: Follow, outcomes: Outcomes) -> tuple[str, ...]:
    """Where reads add up, the quarantine of one is all there is: former ones go with it, unless it left them as they are."""
    if table is None or not step.adds or not (step.reset or (outcomes.accepted and not outcomes.keeps)):
        return ()
    return tuple(ledger.ref.key for ledger in table.ledgers if ledger.kind == "quarantine")


def refusals(name: str, spec: DatasetSpec, table: Table | None, step: Follow, refused: Sequence[Refusal]) -> TableCommit:
    """The entry that only says what was refused."""
    return TableCommit(
        object=name,
        transformation=step.transformation if table is None else table.transformation,
        bucket=spec.bucket if table is None else table.bucket,
        primary_key=tuple(spec.primary_key) if table is None else table.primary_key,
        write=spec.write if table is None else table.write,
        refuse=tuple(refused),
        origin=recorded(table.origin if table is not None else None, None, step.slot),
    )


def unchanged(name: str, spec: DatasetSpec, table: Table, step: Follow, origin: Origin | None) -> TableCommit:
    """The entry that says of a read that it brought the rows which the table has: it makes no version."""
    said = refusals(name, spec, table, step, ())
    token = next(file.digest for file in step.ingest)
    told = recorded(table.origin, origin, step.slot)
    return replace(
        said, accept=tuple(file.path for file in step.ingest if file.path in table.refusals), origin=told and replace(told, same=token)
    )


def _holds_any(table: Table, refused: Sequence[Refusal]) -> bool:
    contents = {binding.digest for binding in table.bindings.values()} | {edit.digest for edit in edits_of(table)}
    return any(refusal.path in table.bindings or refusal.digest in contents for refusal in refused)


def _bindings(step: Follow, bindings: Mapping[str, Binding], accepted: Sequence[Accepted], rejected: Collection[str]) -> list[Binding]:
    read = [item.file for item in accepted if item.file.edit is None]
    bound = [Binding(f.path, f.digest, f.size, f.mtime_ns, object=f.object) for f in (*read, *step.bind) if f.digest not in rejected]
    # a copy of a refused file is refused with it, and says so when it is looked at next
    return bound + [replace(bindings[path], present=False) for path in step.gone]


def _removed(
    spec: DatasetSpec, table: Table | None, step: Follow, after: Mapping[str, Binding], rewritten: Collection[str]
) -> tuple[str, ...]:
    if table is None:
        return ()
    if step.reset:
        return tuple(file.key for file in table.files)
    kept = {binding.digest for binding in after.values()}
    keeps = spec.write == "upsert" or step.adds
    return tuple(file.key for file in table.files if file.source in rewritten or (not keeps and file.source not in kept))


def sequences(table: Table | None, step: Follow) -> Mapping[str, int]:
    """The place of each content that the step reads or renews, by its digest: known before reading, since the files carry it.

    New ones get the next, in lexical order of the paths that bring them (the last one, if several do); one that is refused leaves a gap.
    A content that is repaired keeps its place, one that is renewed becomes newest. In a table that is made anew, contents keep the order
    that they had.
    """
    first = 1 if table is None or step.reset else table.next_sequence
    brought = {file.digest: file.path for file in step.ingest}
    for file in step.renew:
        brought[file.digest] = max(file.path, brought.get(file.digest, ""))
    moving = {file.digest for file in step.renew}
    kept = {f.source: f.sequence for f in table.files if f.source in step.repair - moving} if table is not None else {}
    former = former_places(table, step)
    new = sorted(brought.keys() - kept.keys(), key=lambda digest: (former.get(digest, _LAST), brought[digest], digest))
    return {**kept, **{digest: first + number for number, digest in enumerate(new)}}


def former_places(table: Table | None, step: Follow) -> Mapping[str, int]:
    """The sequence of each content of a table that is about to be made anew; of others, nothing."""
    return {**table.folded, **{file.source: file.sequence for file in table.files}} if table is not None and step.reset else {}


def _added(
    spec: DatasetSpec, table: Table | None, step: Follow, accepted: Sequence[Accepted], rewritten: Sequence[DataFile]
) -> tuple[DataFile, ...]:
    """The parts of what was read, at their places; see `sequences`."""
    moving = {file.digest for file in step.renew}
    places = {file.source: file for file in rewritten if file.source not in moving}
    leaving = {file.source for file in rewritten} - places.keys()
    stays = table is not None and not step.reset and any(file.source not in leaving for file in table.files)
    # only what nothing precedes, and that deletes nothing, may be a base: readers let every delta win over it
    role: Role = "delta" if spec.write == "upsert" and stays else "base"
    sequence = sequences(table, step)
    added: list[DataFile] = []
    for source, parts in _in_order(step, accepted, rewritten, former_places(table, step)):
        place = places.get(source)
        if place is not None:
            added += [replace(part, sequence=place.sequence, role=place.role) for part in parts]
            continue
        if any(part.deletes for part in parts):
            role = "delta"
        added += [replace(part, sequence=sequence[source], role=role) for part in parts]
        role = "delta" if spec.write == "upsert" and parts else role
    return tuple(added)


def _in_order(
    step: Follow, accepted: Sequence[Accepted], rewritten: Sequence[DataFile], former: Mapping[str, int]
) -> list[tuple[str, tuple[DataFile, ...]]]:
    """Contents with their parts, by their former places, then by the last path that brings them in this step."""
    brought = {item.file.digest: item.file.path for item in accepted}
    parts: dict[str, tuple[DataFile, ...]] = {}
    for file in rewritten:
        parts[file.source] = (*parts.get(file.source, ()), file)
    parts |= {item.file.digest: item.parts for item in accepted}
    for again in step.renew:
        if again.digest in parts:
            brought[again.digest] = max(again.path, brought.get(again.digest, ""))
    ordered = sorted(brought, key=lambda digest: (former.get(digest, _LAST), brought[digest], digest))
    return [(source, parts[source]) for source in ordered]


def _accepted(table: Table | None, step: Follow, accepted: Sequence[Accepted]) -> list[str]:
    """Refusals that no longer hold: the path was read, or is gone, or its table is made anew."""
    if table is None:
        return []
    settled = {item.file.path for item in accepted} | {file.path for file in step.bind} | set(step.dismiss)
    return [path for path in table.refusals if path in settled or step.reset]
