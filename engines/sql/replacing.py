"""The rows that left a keyed table beside those that came in their place: what the journal of a replacement is made of. Blocking.

Both are laid down sorted by key and joined a range of keys at a time, so that memory is the same for any number of rows, and rows that are
as they were never leave the query engine. A key that several rows share does not say which of them became which: of those, the ones that
differ are given to be counted. Next: `spool.py`, which joins; `engines/files/journalling.py`, which tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datafusion import SessionContext

from engines.files.journal import EXISTED, OLD
from engines.row_keys import DELETED_COLUMN
from engines.sql.changes import chunks
from engines.sql.merge import check_files, open_table
from engines.sql.readings import PartFile, quote
from engines.sql.source import LakeTable
from engines.sql.spool import Range, any_of, batches, ranges, register_sorted, spooling_context

_CONTENT, _CAME, _LEFT = "__content", "__came", "__left"


@dataclass(frozen=True, slots=True)
class RowsOf:
    """A content with the files of its rows. name: as the journal calls it."""

    name: str
    parts: tuple[PartFile, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Pairs as `journal.change_rows` takes them. name: of the content that brought the rows, or took them along."""

    name: str
    pairs: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows that cannot be told apart by the key. op: load or unload."""

    op: str
    name: str
    rows: int


@dataclass(slots=True)
class Replacement:
    """The comparison of one table's rows.

    Args:
        key: the primary key. known: the columns (name, our type) that the readings of what left give; columns: those of now, in order.
        scratch: an empty folder. unread: places, among what left, of the contents that could not be read, once `compared` has begun.
    """

    key: Sequence[str]
    known: Sequence[tuple[str, str]]
    columns: Sequence[tuple[str, pa.DataType]]
    scratch: Path
    unread: list[int] = field(default_factory=list)

    def compared(self, left: Sequence[RowsOf], came: Sequence[RowsOf], stay: LakeTable | None) -> Iterator[Told | Counted]:
        """What became of each row that is not as it was, in ascending ranges of keys. stay: the rows of the table that neither left nor
        came; None for none. Raises FileNotFoundError where one of their files is gone, DataFusion's errors."""
        context = spooling_context(self.scratch)
        bounds = [*self._left(context, left), *self._lay(context, "later", came)]
        if stay is not None and bounds:
            self._stay(context, stay)
        for part in ranges(bounds) if bounds else ():
            shared = self._shared(context, part, stays=stay is not None)
            for batch in batches(context, self._pairs(part, shared=shared), part.parameters):
                yield from _by_content(batch, left, came)
            if shared:
                for batch in batches(context, self._counts(part), part.parameters):
                    yield from _counted(batch, left, came)
                context.deregister_table("shared")

    def _left(self, context: SessionContext, contents: Sequence[RowsOf]) -> list[pa.Scalar]:
        while True:
            try:
                return self._lay(context, "former", contents)
            except _Unreadable as unreadable:
                self.unread.append(unreadable.place)

    def _lay(self, context: SessionContext, name: str, contents: Sequence[RowsOf]) -> list[pa.Scalar]:
        schema = pa.schema([*self.columns, (_CONTENT, pa.int32())])
        return register_sorted(context, name, self._rows(contents, former=name == "former"), schema, self.key, self.scratch)

    def _rows(self, contents: Sequence[RowsOf], *, former: bool) -> Iterator[pa.RecordBatch]:
        """With the places of their contents."""
        for place, content in enumerate(contents):
            if former and place in self.unread:
                continue
            try:
                for rows in chunks(content.parts, self.known, pa.schema(self.columns)):
                    yield from rows.append_column(_CONTENT, pa.repeat(pa.scalar(place, pa.int32()), len(rows))).to_batches()
            except (pa.ArrowException, OSError) as error:
                if not former:
                    raise
                raise _Unreadable(place) from error

    def _stay(self, context: SessionContext, table: LakeTable) -> None:
        """`stay`: the keys within the range of those that left or came."""
        check_files(table)
        context.register_table("whole", open_table(table, context))
        first = quote(self.key[0])
        both = f"SELECT {first} FROM former UNION ALL SELECT {first} FROM later"
        (low,), (high,) = context.sql(f"SELECT min({first}) AS low, max({first}) AS high FROM ({both})").to_arrow_table().columns
        within = {"low": low, "high": high}
        schema = pa.schema([one for one in self.columns if one[0] in self.key])
        found = batches(context, f"SELECT {self._keys()} FROM whole WHERE {first} >= $low AND {first} <= $high", within)
        rows = (batch.select(schema.names).cast(schema) for batch in found)
        register_sorted(context, "stay", rows, schema, self.key, self.scratch)
        context.deregister_table("whole")

    def _shared(self, context: SessionContext, part: Range, *, stays: bool) -> bool:
        """Makes the keys that several rows have, if there are any, the table `shared`."""
        keys, where = self._keys(), part.holds(self.key[0])
        several = [f"SELECT {keys} FROM {side} WHERE {where} GROUP BY {keys} HAVING count(*) > 1" for side in ("former", "later")]
        if stays:
            both = " UNION ".join(f"SELECT {keys} FROM {side} WHERE {where}" for side in ("former", "later"))
            several.append(f"SELECT {keys} FROM stay WHERE {where} INTERSECT ({both})")
        found = list(batches(context, " UNION ".join(f"({sql})" for sql in several), part.parameters))
        if any(batch.num_rows for batch in found):
            context.register_record_batches("shared", [found])
            return True
        return False

    def _pairs(self, part: Range, *, shared: bool) -> str:
        """Rows that differ, by key; without the keys that are shared."""
        names, key = [name for name, _ in self.columns], self.key
        sides = [self._side(side, part, "ANTI" if shared else None) for side in ("later", "former")]
        on = " AND ".join(f"n.{quote(name)} = f.{quote(name)}" for name in key)
        chosen = [f"coalesce(n.{quote(name)}, f.{quote(name)}) AS {quote(name)}" if name in key else f"n.{quote(name)}" for name in names]
        chosen += [f"f.{quote(name)} AS {quote(OLD + name)}" for name in names]
        chosen += [f"f.{_CONTENT} IS NOT NULL AS {EXISTED}", f"n.{_CONTENT} IS NULL AS {DELETED_COLUMN}"]
        chosen += [f"n.{_CONTENT} AS {_CAME}", f"f.{_CONTENT} AS {_LEFT}"]
        differs = [f"(n.{quote(name)} IS DISTINCT FROM f.{quote(name)})" for name in names if name not in key]
        where = any_of([f"n.{_CONTENT} IS NULL", f"f.{_CONTENT} IS NULL", *differs])
        return f"SELECT {', '.join(chosen)} FROM {sides[0]} n FULL JOIN {sides[1]} f ON {on} WHERE {where}"

    def _counts(self, part: Range) -> str:
        """Of the keys that are shared: how many more rows of the same values there are than before, or fewer, with their contents."""
        columns = ", ".join(quote(name) for name, _ in self.columns)
        none = "CAST(NULL AS INT)"
        later = f"SELECT {columns}, {_CONTENT} AS {_CAME}, {none} AS {_LEFT} FROM {self._side('later', part, 'SEMI')}"
        former = f"SELECT {columns}, {none} AS {_CAME}, {_CONTENT} AS {_LEFT} FROM {self._side('former', part, 'SEMI')}"
        more = f"count({_CAME}) - count({_LEFT})"
        both = f"({later} UNION ALL {former}) GROUP BY {columns}"
        return f"SELECT max({_CAME}) AS came, max({_LEFT}) AS gone, {more} AS more FROM {both} HAVING {more} <> 0"

    def _side(self, name: str, part: Range, join: str | None) -> str:
        rows = f"SELECT * FROM {name} WHERE {part.holds(self.key[0])}"
        on = " AND ".join(f"t.{quote(one)} = s.{quote(one)}" for one in self.key)
        return f"({rows})" if join is None else f"(SELECT t.* FROM ({rows}) t LEFT {join} JOIN shared s ON {on})"

    def _keys(self) -> str:
        return ", ".join(map(quote, self.key))


class _Unreadable(Exception):
    """place: of the content among its side's."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def _by_content(batch: pa.RecordBatch, left: Sequence[RowsOf], came: Sequence[RowsOf]) -> Iterator[Told]:
    pairs = batch.drop_columns([_CAME, _LEFT])
    for column, contents, rows in ((_CAME, came, pc.true_unless_null(batch.column(_CAME))), (_LEFT, left, pairs.column(DELETED_COLUMN))):
        places = batch.column(column).filter(rows)
        for place in sorted(pc.unique(places).to_pylist()):
            yield Told(contents[place].name, pairs.filter(rows).filter(pc.equal(places, place)))


def _counted(batch: pa.RecordBatch, left: Sequence[RowsOf], came: Sequence[RowsOf]) -> Iterator[Counted]:
    for one in batch.to_pylist():
        rows = one["more"]
        yield Counted("load", came[one["came"]].name, rows) if rows > 0 else Counted("unload", left[one["gone"]].name, -rows)
