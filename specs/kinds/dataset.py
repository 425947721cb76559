"""Dataset: a table and where its rows come from.

Read next: `specs.kinds.dataset_source` (the four sources), `specs.kinds.dataset_rules` (contract, migrations, keeping).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from specs.kinds.dataset_rules import Cache, Column, Compaction, Contract, Freshness, Keep, Migration, Refresh, unfollowed_keys
from specs.kinds.dataset_source import Source
from specs.model import Fault, Spec, dump
from specs.resource import Key
from specs.scalars import Name, OneOrMany, Opt, Sensitivity, Sequence, Text
from specs.sql_names import normalised, tables_of


class DatasetSpec(Spec):
    """A table: its source, how new rows meet old ones, and what is known and demanded of its columns."""

    source: Source = Field(description="Where the rows come from: exactly one of files, bucket, postgres, sql.")
    bucket: Name = Field(default="primary", description="The Bucket that keeps the table's files.")
    primary_key: OneOrMany[Text] = Field(
        default=(), description="The columns that identify a row; `write: upsert` needs them.", examples=[["candidate_id"]]
    )
    write: Literal["append", "upsert", "replace"] = Field(
        default="append",
        description="How new rows meet old ones: append adds them, upsert replaces rows of equal primary key, "
        "replace makes the table exactly the rows of its source.",
    )
    columns: Mapping[Text, Column] = Field(
        default={}, description="What is known of single columns; the others are inferred. A plain type may stand for the object."
    )
    contract: Opt[Contract] = Field(default=None, description="What every row must satisfy.")
    owner: Opt[Text] = Field(default=None, description="The person or team that answers for the data.")
    description: Opt[Text] = Field(default=None, description="What the table holds, for people and models.")
    tags: OneOrMany[Text] = Field(default=(), description="Words to find the dataset by.")
    sensitivity: OneOrMany[Sensitivity] = Field(default=(), description="What the whole table is to be treated as; columns may say more.")
    freshness: Opt[Freshness] = Field(default=None, description="How old the data may become.")
    refresh: Refresh = Field(default=Refresh(), description="When the source is read again.")
    cache: Opt[Cache] = Field(default=None, description="Whether the table is held ready in memory-mapped files.")
    compaction: Compaction = Field(default=Compaction(), description="When pending changes are folded into the base files.")
    keep: Keep = Field(default=Keep(), description="Which former versions stay readable.")
    migrations: Sequence[Migration] = Field(default=(), description="How rows of former schemas are read under the present one.")
    tombstone: Opt[Text] = Field(
        default=None, description="A boolean column of the source: a row where it is true deletes the row of its key."
    )
    publish: Literal["separately", "together"] = Field(
        default="separately", description="Whether the dataset becomes visible together with the others that one commit changed."
    )
    renamed_from: Opt[Name] = Field(default=None, description="The dataset's former name: its data is taken over instead of read again.")
    deletion: Literal["retain", "delete"] = Field(default="retain", description="What becomes of the data when this spec is removed.")
    policy: Opt[Literal["none"]] = Field(
        default=None, description="`none` opens a dataset that a Policy once governed; else it stays closed."
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Upserts and tombstones need a key; a replaced or derived table has no use for a tombstone."""
        keyed = bool(given.get("primaryKey"))
        if given.get("write") == "upsert" and not keyed:
            yield Fault("`write: upsert` needs `primaryKey`", ("write",), "name the columns that identify a row, as in primaryKey: [id]")
        if "tombstone" in given and given.get("write") != "upsert":
            yield Fault("`tombstone` needs `write: upsert`", ("tombstone",))
        if isinstance(source := given.get("source"), dict):
            yield from _of_source(source, given.get("write"))

    def faults_of(self, name: str) -> Iterator[Fault]:
        """The primary key follows the migrations."""
        yield from unfollowed_keys(self.primary_key, self.migrations)


def _of_source(source: Mapping[str, Any], write: object) -> Iterator[Fault]:
    if "sql" in source and write == "upsert":
        yield Fault(
            "`write: upsert` has no meaning for `source: {sql: …}`", ("write",), "a derived table is what its query gives: remove it"
        )
    postgres = source.get("postgres")
    if isinstance(postgres, dict) and "cursor" in postgres and write == "replace":
        hint = "remove `cursor`, or let new rows be added by `append` or `upsert`"
        yield Fault("`cursor` reads newer rows only, and `write: replace` would drop the others", ("write",), hint)


def references(spec: DatasetSpec) -> Iterator[Key]:
    """The bucket, what the source reads, and the datasets that the contract looks into."""
    yield Key("Bucket", spec.bucket)
    if spec.source.bucket is not None:
        yield Key("Bucket", spec.source.bucket)
    if spec.source.sql is not None:
        yield from (Key("Dataset", name) for name in tables_of(spec.source.sql))
    if spec.contract is not None:
        yield from (Key("Dataset", target.partition(".")[0].replace("_", "-")) for target in spec.contract.references.values())


def transformation(spec: DatasetSpec) -> Mapping[str, object]:
    """What the stored rows depend on: source, key, write mode, bucket, types and the contract."""
    return {**dump(spec, "source", "bucket", "contract", "tombstone"), **reading(spec)}


def reading(spec: DatasetSpec) -> Mapping[str, object]:
    """What the rows of one file depend on: all of `transformation` but which files there are, and where the table is kept.

    Of a source that is no file: what is read there, but for who may.
    """
    typed = {name: dump(column, "type", "nullable", "format", "nulls") for name, column in spec.columns.items()}
    return {
        **dump(spec, "primary_key", "write", "contract", "tombstone"),
        "columns": {name: column for name, column in typed.items() if column},
        "read": dump(spec.source, "format", "encoding", "delimiter", "header", "nulls", "sheet", "ocr"),
        **({} if spec.source.in_files else {"from": _read_from(spec.source)}),
    }


def _read_from(source: Source) -> Mapping[str, object]:
    if source.postgres is not None:
        return dump(source.postgres, "table", "query", "cursor")
    return {"sql": normalised(source.sql or "")}


def about(spec: DatasetSpec) -> Mapping[str, object]:
    """What the spec says about the data for people and lineage; nothing that is needed to open its source."""
    said = {name: dump(column, "description", "sensitivity") for name, column in spec.columns.items()}
    parts = {
        **dump(spec, "owner", "description", "tags", "sensitivity"),
        "columns": {name: column for name, column in said.items() if column},
        "source": _described(spec.source),
    }
    return {name: part for name, part in parts.items() if part}


def _described(source: Source) -> Mapping[str, object]:
    if source.sql is not None:
        return {"sql": source.sql, "reads": list(tables_of(source.sql))}
    if source.postgres is not None:
        return {"postgres": source.postgres.table or source.postgres.query}
    return dump(source, "files", "bucket", "prefix")
