"""What is known of a content's columns, gathered while its rows pass by on their way into a table: the ledger `profile`.

Of each column: rows, nulls, a sketch of its distinct values, some of them as examples, and what sensitive things it holds. No value of a
column that holds any is written. Least and greatest values are the catalog's already. It is written once the last row was seen, beside
the parts, as JSON. Next: `sketch.py`, `engines/sensitivity/finding.py`, `state/profiles.py`, which merges and reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
import pyarrow.types as pat

from engines.files.ledgers import Noted
from engines.files.sketch import Distinct, texts
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import out_of_space
from engines.sensitivity.finding import Sample, find
from specs.digests import digest
from state.catalog.schemas import Schema
from state.objects import ObjectRef
from state.profiles import EXAMPLES, FORMAT, Finding

_EXAMPLE_LENGTH = 40


@dataclass(slots=True)
class _Seen:
    """A column so far."""

    type: str
    distinct: Distinct = field(default_factory=Distinct)
    rows: int = 0
    nulls: int = 0
    nested: bool = False


class Profiler:
    """Takes the rows of one source. Not thread-safe."""

    def __init__(self, dataset: str, schema: Schema) -> None:
        """dataset: its name is a hint at what its columns mean."""
        self._dataset = dataset
        self._columns = {column.name: _Seen(column.type) for column in schema.columns}
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Some rows; columns that the schema does not have are passed over."""
        self._rows += batch.num_rows
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            seen = self._columns.get(name)
            if seen is None or pat.is_null(values.type):
                continue
            seen.rows += len(values)
            seen.nulls += values.null_count
            if pat.is_list(values.type):
                seen.nested, values = True, values.flatten()
                if pat.is_nested(values.type):
                    continue
            seen.distinct.add(values.drop_null() if values.null_count else values)

    def put(self, parts: StagedParts, prefix: str, source: str, transformation: str, schema: Schema) -> Noted:
        """Hands the profile over to the parts that wait. source: the content's digest. Raises DiskFull."""
        document = orjson.dumps({"format": FORMAT, "source": source, **self._document()})
        name = digest([source, transformation, schema.to_dict(), FORMAT])
        key, staged = f"{prefix}/profile/{name}.json", parts.store.stage()
        with out_of_space(parts.store, staged):
            staged.write_bytes(document)
        parts.add({key: staged})
        return Noted("profile", ObjectRef.of(parts.store.name, key, document), len(self._columns), source)

    def _document(self) -> dict[str, object]:
        samples = {name: texts(seen.distinct.sample) for name, seen in self._columns.items()}
        found = find([Sample(name, _inner(seen.type), samples[name]) for name, seen in self._columns.items()], self._dataset)
        columns = [_column(name, seen, samples[name], found.get(name, ())) for name, seen in self._columns.items()]
        return {"rows": self._rows, "columns": columns}


def _column(name: str, seen: _Seen, sample: Sequence[str], findings: tuple[Finding, ...]) -> dict[str, object]:
    return {
        "name": name,
        "rows": seen.rows,
        "nulls": seen.nulls,
        "sketch": None if seen.nested else seen.distinct.encoded(),
        "examples": [] if findings else [_short(text) for text in sample[:EXAMPLES]],
        "findings": [finding.to_dict() for finding in findings],
    }


def _inner(kind: str) -> str:
    """A list is looked at by its elements."""
    return kind.removeprefix("list<").removesuffix(">") if kind.startswith("list<") else kind


def _short(text: str) -> str:
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"
