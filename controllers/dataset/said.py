"""What a file of an upserted table said before, as far as that is known still: of a changed one, only rows that say something else are
applied (`docs/adr/0019-a-changed-file-applies-what-it-says-anew.md`).

A content that was compared has a ledger of kind `said`, and may have few of its rows in the table; one without is there whole, in its own
files, or in those of versions that are kept, once it was folded into others. Where neither can be read, the new content is applied whole,
which `overtaking.py` tells. Next: `engines/files/said.py`, which compares.
"""

from dataclasses import dataclass

from controllers.dataset.files import SourceFile
from controllers.dataset.plan import compared
from controllers.dataset.steps import Follow
from controllers.dataset.table_files import TableFiles
from engines.files.said import Said
from engines.sql.readings import PartFile
from specs.kinds.dataset import DatasetSpec
from state.catalog.data_files import DataFile
from state.catalog.tables import Ledger, Table
from state.errors import ObjectCorrupt, ObjectMissing


@dataclass(frozen=True, slots=True)
class FormerContents:
    """Blocking."""

    files: TableFiles

    def said(self, spec: DatasetSpec, table: Table | None, step: Follow, file: SourceFile) -> Said | None:
        """What to compare a file with; None for one that is not to be compared: it is new, or was not before."""
        if table is None or step.reset or spec.write != "upsert" or file.edit is not None:
            return None
        before, known = table.binding(file.path), compared(table)
        if file.digest in step.repair:
            return self._again(table, known[file.digest]) if file.digest in known else None
        if before is None or before.digest == file.digest:
            return None
        returns = any(one.source == file.digest for one in table.files)
        if returns or any(one.digest == file.digest for one in step.renew):  # what it replaces, or several paths said, is not one content
            return Said(table.schema)
        if before.digest in known:
            return Said(table.schema, ledger=self._ledger(known[before.digest]))
        return Said(table.schema, parts=self.files.parts(table, _files(table, before.digest)))

    def _again(self, table: Table, ledger: Ledger) -> Said:
        """Of a content that is read once more: what it has in the table stays, and rows that it did not have come."""
        own = self.files.parts(table, [file for file in table.files if file.source == ledger.source])
        return Said(table.schema, self._ledger(ledger) if own else None, own=own)

    def _ledger(self, ledger: Ledger) -> PartFile | None:
        try:
            return self.files.part(ledger.ref)
        except (ObjectMissing, ObjectCorrupt):
            return None


def _files(table: Table, content: str) -> list[DataFile]:
    """Of a content that was not compared: in the table, or in a version that is kept."""
    own = [file for file in table.files if file.source == content]
    if own or content not in table.folded:
        return own
    return list({file.key: file for former in table.former for file in former.removed if file.source == content}.values())
