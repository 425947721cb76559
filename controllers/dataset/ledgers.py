"""Which profiles and quarantines a commit lets go of; pure. The one place where that is said.

A profile lives as long as its content has rows of its own in the table, or in a former version that is kept, or is bound and was not folded
into others, which have a profile; quarantine as long as its content is bound; what a content said as long as the table has rows of it or is
bound to it. Where a content is read again, which its new profile tells, all are as that reading found them. Where reads of a source add up,
each is a content and only the last is bound: then `commit.py` says which quarantine goes. Next: `state/catalog/tables.py::Ledger`.
"""

from dataclasses import replace

from state.catalog.entry import TableCommit
from state.catalog.tables import Table


def letting_go(change: TableCommit, table: Table | None, *, adds: bool = False) -> TableCommit:
    """The change, which drops what the table knows of contents that it lets go of, or that were read again. adds: whether reads add up."""
    kinds = ("profile",) if adds else ("profile", "quarantine", "said")
    former = [ledger for ledger in table.ledgers if ledger.kind in kinds] if table is not None else []
    if table is None or not former:
        return change
    bindings = {path: b.digest for path, b in table.bindings.items() if path not in change.unbind} | {b.path: b.digest for b in change.bind}
    bound = set(bindings.values())
    then = {file.source for step in table.former if step.version >= change.forget for file in step.removed}
    then |= {file.source for file in table.files if table.version >= change.forget}
    rows = {file.source for file in table.files if file.ref.key not in change.remove} | {file.source for file in change.add}
    folded = table.folded if change.fold is None else change.fold
    alive = {"profile": rows | then | (bound - folded.keys()), "quarantine": bound, "said": rows | bound}
    read, keys = {ledger.source for ledger in change.note if ledger.kind == "profile"}, {ledger.ref.key for ledger in change.note}
    gone = (ledger.ref.key for ledger in former if ledger.source in read or ledger.source not in alive[ledger.kind])
    return replace(change, drop=(*change.drop, *(key for key in gone if key not in keys)))
