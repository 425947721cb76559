"""What a document of a dataset says, and to whom.

Figures come from the catalog's records and from profiles; no data file is opened. They are of all rows, and so are values: a reader from
whom policies hide some is told neither, and where rows come from and lie is told to operators alone. Next: `state/catalog/tables.py`,
`state/descriptions.py`, `sight.py`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field

from api.bodies import Document
from api.sight import dataset_whole
from engines.audit import Facts
from engines.reading import Reader
from engines.sql.tables import sql_name
from state.catalog.fold import ObjectState
from state.catalog.schemas import Schema
from state.catalog.tables import Table
from state.descriptions import SPEC, ColumnDescription, Description
from state.lineage import edges


class DatasetColumn(Document):
    """A column."""

    id: int = Field(description="The Parquet field id; kept by renames, never given again.")
    name: str
    type: str


class DescribedColumn(DatasetColumn):
    """A column, and what is known of its values."""

    description: str | None = Field(description="What the spec says that it holds.")
    sensitivity: list[str] = Field(description="Classes: pii, phi, financial, internal, public; the spec's word, else what was found.")
    evidence: str | None = Field(description="Why it is taken for sensitive; no value is in it.")
    entities: list[str] = Field(description="What was found in its values and name, whatever the spec says.")
    null_share: float | None
    distinct: int | None = Field(description="About how many distinct values; exact below 512.")
    min: Any = Field(description="The least value, of a column that is not sensitive.")
    max: Any
    examples: list[str] = Field(description="Some values, of a column that is not sensitive.")


class DatasetRow(Document):
    """A dataset in short."""

    name: str
    table: str = Field(description="Its name in SQL.")
    version: int = Field(description="Counts the commits that changed its data or schema.")
    snapshot: str | None = Field(
        description="Identifies the content: equal for equal content, whatever the version; null where policies hide some of it."
    )
    bucket: str
    primary_key: list[str]
    write: str
    rows: int | None = Field(
        description="Rows in all files; where they are not merged, a key that occurs in several files counts each time; null where "
        "policies hide some, as are all figures."
    )
    merged: bool = Field(description="Whether `rows` is what a query counts; else it is the most that there can be.")
    bytes: int | None
    file_count: int | None
    columns: list[DatasetColumn]
    retained: bool = Field(description="Whether the spec is gone and the data was kept.")
    owner: str | None
    description: str
    drafted: bool = Field(description="Whether nobody wrote the description, so that it was drafted from what is known.")
    tags: list[str]
    sensitivity: list[str] = Field(description="Classes of the whole dataset and of its columns.")


class DatasetsAnswer(Document):
    """All datasets that hold a table, ordered by name."""

    datasets: list[DatasetRow]


class DatasetFile(Document):
    """A Parquet file of the table, in the order in which later ones win."""

    bucket: str
    key: str
    size: int
    sha256: str
    role: Literal["base", "delta"]
    sequence: int
    rows: int
    source: str = Field(description="The digest of the source file's content.")
    schema_id: int


class DatasetBinding(Document):
    """A source file and the content last seen there."""

    path: str
    digest: str
    size: int
    present: bool = Field(description="False once the path is gone while its rows stay.")


class LineageEdge(Document):
    """One thing is made from another: file, object or query -> content -> job -> dataset."""

    from_kind: str
    from_name: str
    to_kind: str
    to_name: str
    detail: dict[str, Any]
    version: int | None
    at: str | None


class DatasetRefusal(Document):
    """A source file that was refused as a whole."""

    path: str
    line: int | None
    reason: str


class DatasetSchema(Document):
    """The columns of one version of the schema."""

    schema_id: int
    columns: list[DatasetColumn]


class DatasetAnswer(Document):
    """A dataset in full."""

    name: str
    table: str
    version: int
    snapshot: str | None
    bucket: str
    primary_key: list[str]
    write: str
    rows: int | None
    merged: bool
    bytes: int | None
    file_count: int | None
    columns: list[DescribedColumn]
    retained: bool
    owner: str | None
    description: str
    drafted: bool
    tags: list[str]
    sensitivity: list[str]
    files: list[DatasetFile] = Field(description="Empty for readers who are no operators, as are bindings, refusals and lineage.")
    bindings: list[DatasetBinding]
    refusals: list[DatasetRefusal]
    schemas: list[DatasetSchema] = Field(description="The schema's versions, the current one last.")
    lineage: list[LineageEdge]


Sight: TypeAlias = Literal["operator", "whole", "part"]
"""What a reader sees of a dataset that it may know of: all, with where it comes from and lies; all its rows and values; some of them."""


def sight_of(reader: Reader, state: ObjectState) -> Sight:
    """How much the reader sees of a dataset that it may know of."""
    if reader.operator:
        return "operator"
    return "whole" if dataset_whole(reader, state.name, state) else "part"


def in_short(table: Table, told: Description, sight: Sight) -> dict[str, Any]:
    """The row of one dataset in the list of all."""
    whole = sight != "part"
    return {
        "name": table.name,
        "table": sql_name(table.name),
        "version": table.version,
        "snapshot": table.snapshot if whole else None,
        "bucket": table.bucket,
        "primaryKey": list(table.primary_key),
        "write": table.write,
        "rows": table.rows if whole else None,
        "merged": table.merged,
        "bytes": table.size if whole else None,
        "fileCount": len(table.files) if whole else None,
        "columns": _columns(table.schema),
        "retained": table.retained,
        "owner": told.owner,
        "description": told.description if whole or not told.drafted else "",  # a draft counts rows
        "drafted": told.drafted,
        "tags": told.tags,
        "sensitivity": told.sensitivity if whole else [],
    }


def note_values(table: Table, told: Description, sight: Sight, access: Facts) -> None:
    """For the audit: of which columns the document of a dataset gives values."""
    name = sql_name(table.name)
    given = [column.name for column in told.columns if sight != "part" and (column.examples or column.low is not None)]
    access.tables, access.versions = (name,), {table.name: table.version}
    access.columns, access.columns_known = {name: given}, True


def document(state: ObjectState, told: Description, reader: Reader) -> dict[str, Any]:
    """The answer for one dataset, which has a table, as this reader may see it."""
    table, sight = state.table, sight_of(reader, state)
    assert table is not None
    columns = zip(table.columns, told.columns, strict=True)
    return (
        in_short(table, told, sight)
        | {
            "columns": [{"id": column.id} | _described(about, whole=sight != "part") for column, about in columns],
            "schemas": [{"schemaId": schema.id, "columns": _columns(schema)} for schema in table.schemas],
        }
        | (_origin(state, table) if sight == "operator" else {"files": [], "bindings": [], "refusals": [], "lineage": []})
    )


def _origin(state: ObjectState, table: Table) -> dict[str, Any]:
    """Where its rows come from, and lie."""
    return {
        "files": [
            {
                **file.ref.to_dict(),
                "role": file.role,
                "sequence": file.sequence,
                "rows": file.rows,
                "source": file.source,
                "schemaId": file.schema_id,
            }
            for file in table.data_files
        ],
        "bindings": [
            {"path": binding.path, "digest": binding.digest, "size": binding.size, "present": binding.present}
            for binding in table.bindings.values()
        ],
        "refusals": [{"path": refusal.path, "line": refusal.line, "reason": refusal.reason} for refusal in table.refusals.values()],
        "lineage": [
            {
                "fromKind": edge.from_kind,
                "fromName": edge.from_name,
                "toKind": edge.to_kind,
                "toName": edge.to_name,
                "detail": edge.detail,
                "version": edge.version,
                "at": edge.at,
            }
            for edge in edges(state)
        ],
    }


def _described(column: ColumnDescription, *, whole: bool) -> dict[str, Any]:
    """whole: whether the reader sees all rows and values; of a part, what was found in all of them is not told."""
    said = column.evidence == SPEC
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "sensitivity": column.sensitivity if whole or said else [],
        "evidence": column.evidence if whole or said else None,
        "entities": column.entities if whole else [],
        "nullShare": column.null_share if whole else None,
        "distinct": column.distinct if whole else None,
        "min": column.low if whole else None,
        "max": column.high if whole else None,
        "examples": column.examples if whole else [],
    }


def _columns(schema: Schema) -> list[dict[str, Any]]:
    return [{"id": column.id, "name": column.name, "type": column.type} for column in schema.columns]
