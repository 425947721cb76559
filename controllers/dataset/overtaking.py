"""What a changed file of an upserted table takes over again; pure.

Rows that it says anew, or all of them where nobody knows what it said before (`said.py`), are the newest of their keys, also where those
keys were changed by hand, or came with a later file, after the file's former content. That is the rule, and easily not what was meant: so
it is told. Counted by what may be concerned, since rows are not read for it; but edits that were folded into others, whose keys are not
known here, only where all rows were applied.
"""

from collections.abc import Iterator, Sequence

from state.catalog.data_files import DataFile, is_content
from state.catalog.entry import TableCommit
from state.catalog.tables import Table

_NAMED = 3


def overtaken(before: Table | None, change: TableCommit) -> Iterator[str]:
    """A sentence for each path whose content is another one since, where something came between. before: the table as it was."""
    if before is None or before.write != "upsert" or change.write != "upsert" or len(change.remove) == len(before.files):
        return
    for binding in change.bind:
        former = before.binding(binding.path)
        if former is None or former.digest == binding.digest:
            continue
        place, new = _place(before, former.digest), [file for file in change.add if file.source == binding.digest]
        if place is None or not new:
            continue
        said = sum(one.rows for one in change.note if one.kind == "said" and one.source == binding.digest)
        whole = said in (0, sum(file.rows for file in new))
        edits = sum(_edited(before, one.source, place, new, unsure=whole) for one in before.ledgers if one.kind == "edit")
        later = {f.source for f in before.files if f.sequence > place and is_content(f.source) and any(_overlap(f, one) for one in new)}
        paths = sorted(b.path for b in before.bindings.values() if b.digest in later - {former.digest, binding.digest})
        parts = [f"{edits} row{'s' if edits > 1 else ''} set or deleted by hand"] if edits else []
        parts += (
            [f"rows of {', '.join(paths[:_NAMED])}{f' and {len(paths) - _NAMED} more' if len(paths) > _NAMED else ''}"] if paths else []
        )
        if parts:
            yield f"{binding.path} was changed, and its rows are the newest: of the same keys they go before {' and '.join(parts)}"


def _edited(table: Table, edit: str, place: int, new: Sequence[DataFile], *, unsure: bool) -> bool:
    """Whether an edit came later, of a row that may be among the new ones. unsure: the answer for one whose key is not known any more."""
    if _places(table).get(edit, 0) <= place:
        return False
    own = next((file for file in table.files if file.source == edit), None)
    return unsure if own is None else any(_overlap(own, one) for one in new)


def _place(table: Table, content: str) -> int | None:
    return _places(table).get(content)


def _places(table: Table) -> dict[str, int]:
    """The last place among the others that each content and each edit has, or had."""
    return {**table.folded, **{file.source: file.sequence for file in sorted(table.files, key=lambda file: file.sequence)}}


def _overlap(one: DataFile, other: DataFile) -> bool:
    """Whether rows of the same key may be in both, by the first column of the key."""
    lows, highs = (one.key_min, other.key_min), (one.key_max, other.key_max)
    if any(bound is None or bound[0] is None for bound in (*lows, *highs)):
        return True
    (low, low_), (high, high_) = ([bound[0] for bound in bounds if bound is not None] for bounds in (lows, highs))
    try:
        return bool(low <= high_ and low_ <= high)  # type: ignore[operator]
    except TypeError:
        return True
