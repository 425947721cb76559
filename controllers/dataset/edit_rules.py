"""What edits by hand have to do with contracts: that of their own dataset, and those that refer to it.

A row that is set is judged before it is written. One that goes is never held up by rows that refer to it (a row that was taken stays, as
when a file goes): it may have to go, for whoever asks for its erasure; but the answer says how many refer to it, and from where. Next:
`engines/files/row_judging.py`, `edits.py`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import pyarrow as pa

from controllers.dataset.contracts import Contracts, referring
from controllers.dataset.together import Member
from engines.errors import EditRefused
from engines.files.edit import Edited, Judging
from engines.files.row_judging import judge_row, occurrences
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec
from state.catalog.tables import Table
from state.objects import ObjectStore


class EditRules:
    """Blocking. members: every Dataset that is wanted."""

    def __init__(self, contracts: Contracts, members: Callable[[], Iterable[Member]]) -> None:
        self._contracts, self._members = contracts, members

    def judging(self, spec: DatasetSpec, table: Table, key: str, store: ObjectStore) -> Judging:
        """What judges the row of this key, as it was asked for. Raises also what reading an object raises."""

        def judge(row: pa.RecordBatch, changed: Collection[str]) -> str | None:
            blocked = self._contracts.problem(spec, changed)
            if blocked is not None:
                raise EditRefused(f"Row {key} cannot be judged: {blocked.message}.", remedy="Ask again when it is there.")
            terms = self._contracts.of_edit(spec, table, changed)
            return None if terms is None else judge_row(f"Row {key}", terms, table.columns, row, store)

        return judge

    def left_behind(self, table: Table, edited: Edited) -> str:
        """In words, which rows of other datasets refer to the one that was deleted; "" for none.

        It is deleted by then: a dataset that cannot be read is told of, and is no failure.
        """
        found = list(self._left_behind(table, edited))
        return f"; still referred to by {' and '.join(found)}" if found else ""

    def _left_behind(self, table: Table, edited: Edited) -> Iterator[str]:
        for member in self._members():
            spec = member.resource.spec_as(DatasetSpec) if member.resource is not None else None
            for column, target in referring(spec, table.name) if spec is not None else ():
                if edited.former is None or table.primary_key != (target,):
                    continue
                name = member.resource.key.name if member.resource is not None else ""
                try:
                    source = self._contracts.rows_of(name, column)
                    count = occurrences(source, column, edited.former[target].combine_chunks()) if source is not None else 0
                except LakehouseError as error:
                    yield f"maybe rows of Dataset/{name} (`{column}`), which cannot be read: {str(error).rstrip('.')}"
                    continue
                if count:
                    yield f"{count:,} {'row' if count == 1 else 'rows'} of Dataset/{name} (`{column}`)"
