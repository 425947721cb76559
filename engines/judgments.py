"""What somebody judged relevant for a query: from the answers that the eval sets of an index are measured by (`trials/truth_file.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from engines.errors import BuildFailed
from engines.trials.truth_file import REMEDY
from state.catalog.indexes import EvalTruth, IndexRecord
from state.objects import Found, ObjectRef

Query = tuple[str, str | None]
"""A text, and the filter that goes with it."""
MOST_HELD = 8
"""Eval sets whose judgments are held."""


class Files(Protocol):
    """The one reader of objects."""

    def find(self, ref: ObjectRef) -> Found:
        """A verified local file. Blocking."""


class Judgments:
    """Blocking. Thread-safe: what two threads read at once, both keep."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._held: dict[str, Mapping[Query, frozenset[str]]] = {}

    def of(self, record: IndexRecord, query: Query) -> dict[str, frozenset[str]]:
        """Keys of the relevant rows, by the EvalSet that has this very query. Raises BuildFailed, and what reading an object raises."""
        found = {truth.eval_set: self.queries(truth).get(query) for truth in record.truths.values() if truth.judged}
        return {name: keys for name, keys in found.items() if keys}

    def queries(self, truth: EvalTruth) -> Mapping[Query, frozenset[str]]:
        """All queries of an EvalSet, with the keys of the rows that are relevant for each. Raises as `of`."""
        held = self._held.get(truth.digest)
        if held is None:
            path = self._files.find(truth.ref).path
            try:
                table = pq.read_table(path, columns=["text", "filter", "relevant"])
            except (pa.ArrowException, OSError) as error:
                raise BuildFailed(f"{path.name} cannot be read as the answers of an eval set: {error}.", remedy=REMEDY) from error
            held = {(row["text"], row["filter"]): frozenset(row["relevant"]) for row in table.to_pylist()}
            self._held = dict([*self._held.items(), (truth.digest, held)][-MOST_HELD:])
        return held
