"""Which profiles a commit lets go of; pure. (Quarantine goes where contents are accepted: `commit.py`.)

A profile lives as long as its content is bound or has rows in the table; where one is written again under another transformation or
schema, the new one takes the former one's place. Next: `state/catalog/records.py::Ledger`.
"""

from dataclasses import replace

from state.catalog.entry import TableCommit
from state.catalog.records import Table


def letting_go(change: TableCommit, table: Table | None) -> TableCommit:
    """The change, without the profiles of the table whose content it lets go of, or that it notes anew."""
    former = [ledger for ledger in table.ledgers if ledger.kind == "profile"] if table is not None else []
    if table is None or not former:
        return change
    bindings = {path: b.digest for path, b in table.bindings.items() if path not in change.unbind} | {b.path: b.digest for b in change.bind}
    files = {file.source for file in table.files if file.ref.key not in change.remove} | {file.source for file in change.add}
    kept, keys = files | set(bindings.values()), {ledger.ref.key for ledger in change.note}
    anew = {(ledger.kind, ledger.source) for ledger in change.note}
    gone = (ledger for ledger in former if ledger.source not in kept or (ledger.kind, ledger.source) in anew)
    return replace(change, drop=(*change.drop, *(ledger.ref.key for ledger in gone if ledger.ref.key not in keys)))
