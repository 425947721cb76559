"""Turns what reading the files gave into one catalog entry; pure. What `plan.Follow` promised is settled here.

A refused file changes nothing but the list of refusals: the rows of its path's former content stay. If a table is made
anew and a file that it holds now is refused, the table stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controllers.dataset.files import SourceFile
from controllers.dataset.plan import Follow
from specs.kinds.dataset import DatasetSpec
from state.catalog.entry import TableCommit
from state.catalog.records import Binding, DataFile, Refusal, Role, Schema, Table


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that was read: what it became, in parts. `DataFile.sequence` is still open."""

    file: SourceFile
    parts: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The endings of `Follow.ingest`, in its order, and the schema of the accepted files (None where none was read)."""

    accepted: tuple[Accepted, ...] = ()
    refused: tuple[Refusal, ...] = ()
    schema: Schema | None = None


def commit(name: str, spec: DatasetSpec, table: Table | None, step: Follow, outcomes: Outcomes) -> TableCommit:
    """The entry that makes the table follow its files. `name` is the object's; `table` as it is now, None where there is none."""
    accepted, refused, schema = outcomes.accepted, outcomes.refused, outcomes.schema
    held = {binding.path for binding in table.bindings.values()} if table is not None else set()
    if step.reset and table is not None and any(refusal.path in held for refusal in refused):
        return _only_refusals(name, table, refused)
    former = () if step.reset or table is None else table.files
    bindings = {} if step.reset or table is None else dict(table.bindings)
    binds = _bindings(step, bindings, accepted, refused)
    after = {**{path: b for path, b in bindings.items() if path not in step.unbind}, **{b.path: b for b in binds}}
    remove = _removed(spec, table, step, after, former)
    add = _added(spec, table, step, accepted, former)
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
        unbind=tuple(_unbound(step, table, after)),
        refuse=tuple(refused),
        accept=tuple(_accepted(table, step, accepted)),
    )


def _only_refusals(name: str, table: Table, refused: Sequence[Refusal]) -> TableCommit:
    return TableCommit(
        object=name,
        transformation=table.transformation,
        bucket=table.bucket,
        primary_key=table.primary_key,
        write=table.write,
        refuse=tuple(refused),
    )


def _bindings(step: Follow, bindings: dict[str, Binding], accepted: Sequence[Accepted], refused: Sequence[Refusal]) -> list[Binding]:
    rejected = {refusal.digest for refusal in refused}
    read = [item.file for item in accepted]
    bound = [Binding(f.path, f.digest, f.size, f.mtime_ns) for f in (*read, *step.bind) if f.digest not in rejected]
    # a copy of a refused file is refused with it, and says so when it is looked at next
    return bound + [replace(bindings[path], present=False) for path in step.gone]


def _removed(
    spec: DatasetSpec, table: Table | None, step: Follow, after: dict[str, Binding], former: Sequence[DataFile]
) -> tuple[str, ...]:
    if table is None:
        return ()
    if step.reset:
        return tuple(file.key for file in table.files)
    kept = {binding.digest for binding in after.values()}
    rewritten = set(step.renew) | set(step.repair)
    upsert = spec.write == "upsert"
    return tuple(file.key for file in former if file.source in rewritten or (not upsert and file.source not in kept))


def _added(
    spec: DatasetSpec, table: Table | None, step: Follow, accepted: Sequence[Accepted], former: Sequence[DataFile]
) -> tuple[DataFile, ...]:
    """New parts get the next sequences, one a source file; a repaired file keeps its place, a renewed one becomes newest."""
    sequence = 1 if table is None or step.reset else table.next_sequence
    places = {file.source: file for file in former}
    merged = spec.write == "upsert"
    has_base = any(file.role == "base" for file in former)
    added: list[DataFile] = []
    renewed = [(source, tuple(file for file in former if file.source == source)) for source in step.renew]
    for source, parts in [*((item.file.digest, item.parts) for item in accepted), *renewed]:
        place = places.get(source) if source in step.repair else None
        if place is not None:
            added += [replace(part, sequence=place.sequence, role=place.role) for part in parts]
            continue
        role: Role = "delta" if merged and has_base else "base"
        added += [replace(part, sequence=sequence, role=role) for part in parts]
        has_base = has_base or bool(parts)
        sequence += 1
    return tuple(added)


def _unbound(step: Follow, table: Table | None, after: dict[str, Binding]) -> list[str]:
    if table is None:
        return []
    if step.reset:
        return [path for path in table.bindings if path not in after]
    return list(step.unbind)


def _accepted(table: Table | None, step: Follow, accepted: Sequence[Accepted]) -> list[str]:
    """Refusals that no longer hold: the path was read, or its table is made anew."""
    if table is None:
        return []
    read = {item.file.path for item in accepted} | {file.path for file in step.bind}
    return [path for path in table.refusals if path in read or step.reset]
