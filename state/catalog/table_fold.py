"""What a table is after a commit of it; pure. See `fold.py`."""

from __future__ import annotations

from dataclasses import replace

from state.catalog.data_files import DataFile
from state.catalog.entry import TableCommit
from state.catalog.schemas import Schema
from state.catalog.tables import Former, Ledger, Table
from state.errors import ChangeRefused


def committed(table: Table, change: TableCommit) -> Table:
    if change.version is not None and change.version != table.version + 1:
        raise ChangeRefused(f"{change.object} is at version {table.version}, so version {change.version} comes too late.")
    schemas = _schemas(table, change.schema)
    files = _files(table, change, frozenset(schema.id for schema in schemas))
    unbound, accepted = frozenset(change.unbind), frozenset(change.accept)
    bindings = {path: binding for path, binding in table.bindings.items() if path not in unbound}
    bindings |= {binding.path: binding for binding in change.bind}
    refusals = {path: refusal for path, refusal in table.refusals.items() if path not in accepted}
    refusals |= {refusal.path: refusal for refusal in change.refuse}
    altered = files is not table.files or schemas is not table.schemas
    former = (*table.former, _former(table, files)) if altered and table.version else table.former
    after = replace(
        table,
        version=table.version + altered,
        at=change.at if altered else table.at,
        former=tuple(step for step in former if step.version >= change.forget),
        ledgers=_ledgers(table, change),
        folded=table.folded if change.fold is None else change.fold,
        bucket=change.bucket,
        primary_key=change.primary_key,
        write=change.write,
        transformation=change.transformation,
        schemas=schemas,
        files=files,
        bindings=bindings,
        refusals=refusals,
        origin=change.origin or (table.origin if change.transformation == table.transformation else None),
    )
    return table if after == table else after


def _former(table: Table, files: tuple[DataFile, ...]) -> Former:
    """What these files lack to be the table's again. One that was written again under its own key, or whose entry was corrected, is the
    same file; one that took another place among the others is not."""
    before = {(file.ref.key, file.role, file.sequence): file for file in table.files}
    after = {(file.ref.key, file.role, file.sequence): file for file in files}
    return Former(
        table.version, table.at, table.schema.id, table.primary_key,
        added=tuple(file.ref.key for place, file in after.items() if place not in before),
        removed=tuple(replace(file, columns={}) for place, file in before.items() if place not in after),
    )  # fmt: skip


def _ledgers(table: Table, change: TableCommit) -> tuple[Ledger, ...]:
    """The ledgers after the change; one that is written again takes its own place."""
    if not change.note and not change.drop:
        return table.ledgers
    ledgers = {ledger.ref.key: ledger for ledger in table.ledgers if ledger.ref.key not in change.drop}
    ledgers |= {ledger.ref.key: ledger for ledger in change.note}
    return tuple(ledgers.values())


def _files(table: Table, change: TableCommit, schema_ids: frozenset[int]) -> tuple[DataFile, ...]:
    """The files after the change. One that is replaced under its own key keeps its place, so that the snapshot stays the same."""
    if not change.add and not change.remove:
        return table.files
    files: dict[str, DataFile | None] = {file.ref.key: file for file in table.files}
    for key in change.remove:
        if files.get(key) is None:
            raise ChangeRefused(f"{change.object} has no file {key} to remove.")
        files[key] = None
    for file in change.add:
        known = files.get(file.ref.key)
        if known is not None and known != file:
            raise ChangeRefused(f"{change.object} has the file {file.ref.key} already, with other content.")
        if file.schema_id not in schema_ids:
            raise ChangeRefused(f"{change.object} has no schema {file.schema_id}, which file {file.ref.key} was written by.")
        files[file.ref.key] = file
    after = tuple([file for file in files.values() if file is not None])
    return table.files if after == table.files else after


def _schemas(table: Table, schema: Schema | None) -> tuple[Schema, ...]:
    """The schemas after `schema` became current. A former one may come back as it was (a rollback), under its own id."""
    if schema is None or schema == table.schema:
        return table.schemas
    if schema in table.schemas:
        return (*(known for known in table.schemas if known != schema), schema)
    where = f"schema {schema.id} of {table.name}"
    if schema.id < table.next_schema_id:
        raise ChangeRefused(f"Id {schema.id} was given to another schema of {table.name}; the next is {table.next_schema_id}.")
    ids = [column.id for column in schema.columns]
    if len(set(ids)) < len(ids) or len({column.name for column in schema.columns}) < len(ids):
        raise ChangeRefused(f"Two columns share a name or an id in {where}.")
    reused = set(range(1, table.next_column_id)) & set(ids) - {column.id for column in table.columns}
    if reused or min(ids, default=1) < 1:
        raise ChangeRefused(f"Column ids {sorted(reused) or ids} in {where} were used before; the next is {table.next_column_id}.")
    return (*table.schemas, schema)
