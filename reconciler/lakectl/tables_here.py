"""A dataset's table read by `lakectl` itself, in its own process, beside a daemon or without one: readers take no lease.

The way in is that of every read: `engines/sql/admission.py` decides, and each read leaves a row in `system.audit`.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.reading_here import open_here
from reconciler.lakectl.session import Session

if TYPE_CHECKING:
    from engines.at import Moment
    from engines.audit import Access
    from engines.audit import Action as AuditAction
    from engines.reading import Action, Decision, Reader
    from engines.sql.source import LakeTable
    from reconciler.opening import State
    from state.catalog.tables import Table


@dataclass(frozen=True, slots=True)
class TablesHere:
    """scratch: a folder for as long as the command runs, of views and of what does not fit into memory. reader: who reads."""

    state: "State"
    scratch: Path
    reader: "Reader"

    def table(self, dataset: str, moment: "Moment" = None, action: "Action" = "read", *, part: bool = False) -> "Table":
        """See `table_for`. Raises QueryInvalid where the reader is kept to another moment."""
        from engines.at import At, of_reader
        from engines.sql.admission import table_for

        return table_for(self.state.catalog, self.reader, dataset, of_reader(self.reader.at, At(moment)).every, action, part=part)

    def shown(self, table: "Table") -> "LakeTable":
        """The table's files where they can be read, less what policies hide from the reader. Raises what reading an object raises."""
        from engines.at import At
        from engines.policies.hash_key import HashKey
        from engines.sql.shown_sources import ShownSources
        from engines.sql.source import LakeTable
        from engines.sql.tables import CatalogTables, sql_name
        from state.secrets import secrets_here
        from state.streams.tables import SystemTables

        state = self.state
        system = SystemTables(state.streams, state.catalog, state.statuses, state.describe, self.scratch / "system")
        tables = CatalogTables(state.catalog, state.objects, system, self.scratch / "views")
        sources = ShownSources(tables, None, HashKey(state.store, secrets_here()))
        source = sources.resolve(tables.named(sql_name(table.name)), self.reader, At(table.version), fresh=False)
        assert isinstance(source, LakeTable)  # it was there, for this reader, a moment ago
        return source

    def decisions(self, table: "Table") -> "Mapping[str, Decision]":
        """What the reader is shown of it, by its name in SQL."""
        from engines.reading import TableName, decide
        from engines.sql.tables import sql_name

        name = TableName(sql_name(table.name), table.bucket)
        return {name.name: decide(self.reader, name, "read")}

    def view(self, table: "Table") -> "LakeTable":
        """The table's files where they can be read. Raises what reading an object raises."""
        from engines.sql.tables import sql_name
        from engines.sql.views import make_view

        return make_view(table, self.scratch / "views", self.state.objects, sql_name(table.name)).table

    @contextmanager
    def audited(self, action: "AuditAction", **asked: Any) -> "Iterator[Access]":
        """A read that leaves a row in the audit, durable at the end. Raises AuditUnavailable."""
        from engines.audit import Audit

        with Audit(self.state.streams).access(action, self.reader, **asked) as access:
            yield access
        self.state.streams.sync()  # for the head of the chain


@contextmanager
def tables_here(session: Session, command: str) -> Iterator[TablesHere]:
    """Raises UsageInvalid where an address was given, ProfileUnknown, and what opening the state raises."""
    if session.url is not None:
        raise UsageInvalid(
            f"{command} reads the buckets itself, not through --url.", remedy="Leave the address out, on the lake's machine."
        )
    from reconciler.lakectl.readers_here import reader_here

    state, _ = open_here(session.here())
    reader, _ = reader_here(session, state)
    spill = state.place.cache / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spill, prefix="lakectl-") as scratch:
        yield TablesHere(state, Path(scratch), reader)


def whole_table(access: "Access", table: "Table") -> None:
    """Notes that all columns of a table are read."""
    from engines.sql.tables import sql_name

    name = sql_name(table.name)
    access.tables, access.versions = (name,), {table.name: table.version}
    access.columns, access.columns_known = {name: [column.name for column in table.columns]}, True


def moment_of(given: str | None) -> "Moment":
    """Of `--at`. Raises QueryInvalid."""
    from engines.at import at_from

    return at_from(given).every


def dataset_of(word: str) -> str:
    """`NAME` of `NAME` or `Dataset/NAME`."""
    kind, slash, name = word.partition("/")
    if slash and kind.lower() not in ("dataset", "datasets"):
        raise UsageInvalid(f"`{word}` is no dataset.", remedy="Give a dataset's name.")
    return name if slash else word
