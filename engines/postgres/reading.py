"""The rows of a query as a `Reading`, so that they take the way that files take: keys, contract, parts, catalog.

One pass is one transaction of its own: what columns there are, the bounds of a cursor, the rows, and the server's count of them, which
must be the number that arrived. A value that its column's type cannot hold makes the column text, or refuses the read where the table or
the spec says the type; where a contract sets rows aside, it is one of these, and the next pass takes such columns as text to find them all.
Nothing is ever held but a few blocks. Rows cross in binary where each column is known there and is to be of its own type, else as text.
Next: `connection.py`, `binary.py`, `columns.py`, `window.py`.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyarrow as pa
import pyarrow.csv as pacsv

from engines.errors import SourceRefused, SourceUnavailable
from engines.files.kept_rows import Rows
from engines.files.source import ColumnPlan, Contradicted, Misfit, Reopen
from engines.files.types import can_widen
from engines.postgres.binary import Decoder, decoded, decoders
from engines.postgres.columns import Unfit, Wire, our_type, settle, unescaped, wire
from engines.postgres.connection import NULL, Block, CopyStream, Described, Server, Snapshot, literal, quoted
from engines.postgres.salvaging import salvaged
from engines.postgres.window import Window

_PLACE = re.compile(r"CSV column #(\d+):[^']*'(.*)'", re.DOTALL)
_ENDLESS = ("infinity", "-infinity", "nan")
_TIMES = ("date", "timestamp")
_PARSED_AHEAD = 2

STEP_ROWS = 5_000_000
"""Rows that an incremental read takes at once, but for those that share the last one's cursor value: what has been read of a large table
is kept whatever ends the read, and the next goes on from there."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which rows an incremental read asks for: those whose `column` is at least `last` (as the server wrote it, None at first) less
    `overlap` seconds. ordered: by it, so that of several rows of a key the newest comes last."""

    column: str
    last: str | None = None
    overlap: float = 0.0
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Both closed, as the server writes them; lower None: from the beginning; upper None: there are no rows. cut: there are more beyond."""

    type: str
    lower: str | None
    upper: str | None
    cut: bool = False


class PostgresReading:
    """See `engines.files.source.Reading`. `cursor`: the greatest value that the last pass took; `cut`: whether there are greater ones.
    `received`: its rows."""

    def __init__(
        self, server: Server, query: str, cursor: Cursor | None = None, known: Callable[[str | None, str], Window] = lambda *_: Window()
    ) -> None:
        """query: one statement. known: of a lower bound and the cursor's type, the rows at and above it that the table has already."""
        self._server, self._query, self._by, self._known = server, query, cursor, known
        self.column = cursor.column if cursor is not None else ""
        self.cursor = cursor.last if cursor is not None else None
        self.received = 0
        self.cut = False
        self._window = Window()
        self._columns: tuple[Described, ...] = ()
        self._wires: Mapping[str, Wire] = {}
        self._as_text = False
        self._bytes = 0

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By what the server declares. Raises SourceRefused, SourceUnavailable."""
        with self._server.snapshot() as snapshot:
            self._columns = self._described(snapshot)
        return {column.name: (our_type(column.type, column.element), f"PostgreSQL says {column.type}") for column in self._columns}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `Reading`. Misfits carry no line. Raises also SourceRefused and SourceUnavailable.

        After the first contradiction what is read is only examined, again for each column: the parser stops at the first value that fails.
        """
        found: dict[str, tuple[str, str]] = {}
        while True:
            tried = {name: replace(plan, type="string") if name in found else plan for name, plan in plans.items()}
            try:
                for batch in self._pass(tried):
                    if not found:
                        yield batch
                break
            except Contradicted as contradicted:
                found.update(contradicted.types)
        if found:
            raise Contradicted(found)

    def _pass(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        with self._server.snapshot() as snapshot:
            if self._described(snapshot) != self._columns:
                raise SourceUnavailable(self._server.place, "the columns changed while it was read")
            wires = self._wires = {column.name: self._wire(column, plans[column.name]) for column in self._columns}
            if self._as_text:
                wires = {name: how if plans[name].aside is None else replace(how, parsed=pa.string()) for name, how in wires.items()}
            bounds = self._bounds(snapshot) if self._by is not None else None
            self._window = Window() if bounds is None else self._known(bounds.lower, our_type(bounds.type))
            self.received = 0
            if bounds is None or bounds.upper is not None:
                decoders = self._decoders(plans)
                with snapshot.copy(self._asked(bounds), binary=decoders is not None) as stream:
                    ahead = _ahead(stream, _parser(wires) if decoders is None else _decoder(decoders))
                    # its thread is waited for here, and not wherever it becomes garbage: perhaps where threads begin and end
                    with closing(ahead) as blocks:
                        yield from self._parsed(stream, blocks, plans, wires)
            self.cursor, self.cut = (bounds.upper, bounds.cut) if bounds is not None else (None, False)

    def known(self, batch: pa.RecordBatch) -> Rows:
        """See `engines.files.kept_rows.Overlap`."""
        return self._window.known(batch)

    def line_of(self, row: int) -> int | None:
        """A table has no lines."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Nothing is found out."""
        return ()

    def progress(self) -> int:
        """Bytes of text received."""
        return self._bytes

    def _described(self, snapshot: Snapshot) -> tuple[Described, ...]:
        columns = snapshot.describe(self._query)
        for name, count in Counter(column.name for column in columns).items():
            if count > 1:
                raise SourceRefused(f"two columns are named `{name}`", remedy="Give one an alias in the query.")
        return columns

    def _wire(self, column: Described, plan: ColumnPlan) -> Wire:
        """Raises SourceRefused where the table's type cannot hold the source's any more."""
        kind = our_type(column.type, column.element)
        if plan.word == "spec" and plan.type != kind and (plan.type == "binary" or plan.type.startswith("list<")):
            raise SourceRefused(f"column `{column.name}` is {column.type}, of which no {plan.type} is made", remedy="Give it another type.")
        if plan.word == "table" and not can_widen(kind, plan.type):
            remedy = f"Cast it back in a `query`, or say `columns: {{{column.name}: string}}` in the Dataset's spec, which reads all anew."
            raise SourceRefused(f"column `{column.name}` is {column.type} now, and {plan.type} is the table's type for it", remedy=remedy)
        return wire(column.type if plan.type == "timestamp" else "", plan.type)

    def _bounds(self, snapshot: Snapshot) -> Bounds:
        """Of what is read in this transaction. Raises SourceRefused for a cursor that cannot be one."""
        by = self._by
        assert by is not None
        found = next((column for column in self._columns if column.name == by.column), None)
        if found is None:
            has = ", ".join(column.name for column in self._columns[:20])
            raise SourceRefused(f"the cursor column `{by.column}` is not there", remedy=f"Name another one in `cursor`; there are {has}.")
        if by.overlap and our_type(found.type) not in _TIMES:
            raise SourceRefused(f"`overlap` is a time, and the cursor `{by.column}` is {found.type}", remedy="Remove `overlap`.")
        column, kind = quoted(by.column), found.type
        last = f"{literal(by.last)}::{kind}" if by.last is not None else f"NULL::{kind}"
        lower = f"({last} - interval '{by.overlap} seconds')::{kind}" if by.overlap else last
        source = f"(\n{self._query}\n) AS source"
        nothing, *_ = snapshot.row(f"SELECT EXISTS (SELECT FROM {source} WHERE {column} IS NULL)")
        if nothing == "t":
            count, *_ = snapshot.row(f"SELECT count(*) FROM {source} WHERE {column} IS NULL")
            remedy = "Fill it, or read by a `query` that gives such rows a value (COALESCE) or leaves them out."
            raise SourceRefused(f"the cursor `{by.column}` is null in {count} rows, which no later read would find", remedy=remedy)
        low, high = snapshot.row(f"SELECT {lower}, GREATEST(max({column}), {last}) FROM {source}")
        if high is not None and high.lower() in _ENDLESS:
            raise SourceRefused(f"the cursor `{by.column}` has the value {high}, after which nothing comes", remedy="Correct these rows.")
        if by.last is not None and high == by.last:  # nothing came: the server need not count it
            return Bounds(kind, low, high)
        beyond = f"FROM {source}" + (f" WHERE {column} > {last}" if by.last is not None else "")
        count, *_ = snapshot.row(f"SELECT count(*) FROM (SELECT {beyond} LIMIT {STEP_ROWS + 1}) AS rows")
        if int(count or 0) <= STEP_ROWS:
            return Bounds(kind, low, high)
        upper, *_ = snapshot.row(f"SELECT {column} {beyond} ORDER BY {column} OFFSET {STEP_ROWS - 1} LIMIT 1")
        return Bounds(kind, low, upper, cut=upper != high)

    def _asked(self, bounds: Bounds | None) -> str:
        if bounds is None:
            return self._query
        assert self._by is not None
        assert bounds.upper is not None
        column = quoted(self._by.column)
        within = [f"{column} <= {literal(bounds.upper)}::{bounds.type}"]
        within += [f"{column} >= {literal(bounds.lower)}::{bounds.type}"] if bounds.lower is not None else []
        order = f" ORDER BY {column}" if self._by.ordered else ""
        return f"SELECT * FROM (\n{self._query}\n) AS source WHERE {' AND '.join(within)}{order}"

    def _decoders(self, plans: Mapping[str, ColumnPlan]) -> Mapping[str, Decoder] | None:
        """None where some column is to be of another type than its own, or is of one that crosses as text."""
        own = not self._as_text and all(plans[column.name].type == our_type(column.type, column.element) for column in self._columns)
        return decoders({column.name: column.type for column in self._columns}) if own else None

    def _parsed(
        self, stream: CopyStream, blocks: Blocks, plans: Mapping[str, ColumnPlan], wires: Mapping[str, Wire]
    ) -> Iterator[pa.RecordBatch]:
        names = list(wires)
        for size, parsed in blocks:
            try:
                batches = parsed.result()
            except pa.ArrowException as error:
                raise self._told(error, plans) from None
            except Unfit as unfit:
                raise self._contradiction(plans[unfit.column], unfit.value, self.received + unfit.index) from None
            self._bytes += size
            for batch in batches:
                columns = [self._settled(column, plans[name], wires[name]) for name, column in zip(names, batch.columns, strict=True)]
                self.received += batch.num_rows
                yield pa.RecordBatch.from_arrays(columns, names=names)
        if stream.rows != self.received:
            raise SourceUnavailable(self._server.place, f"sent {stream.rows} rows, of which {self.received} arrived")

    def _settled(self, column: pa.Array, plan: ColumnPlan, how: Wire) -> pa.Array:
        if self._as_text and plan.aside is not None:
            return salvaged(column, self._wires[plan.name], plan.aside, self.received)
        try:
            return settle(column, how)
        except Unfit as unfit:
            raise self._contradiction(plan, unfit.value, self.received + unfit.index) from None

    def _told(self, error: Exception, plans: Mapping[str, ColumnPlan]) -> Exception:
        """What pyarrow's words mean: a value that is not of its column's type."""
        if match := _PLACE.search(str(error)):
            name = list(plans)[int(match[1])]
            return self._contradiction(plans[name], match[2], None)
        return SourceRefused(f"cannot be read: {str(error).splitlines()[0]}")

    def _contradiction(self, plan: ColumnPlan, value: str, row: int | None) -> Exception:
        if plan.aside is not None:
            self._as_text = True
            return Reopen()
        if plan.word == "guess":
            return Contradicted({plan.name: ("string", f"text, since {value} is no {plan.type}")})
        return Misfit(plan, value, None, row)


Blocks: TypeAlias = Generator[tuple[int, Future[list[pa.RecordBatch]]], None, None]


def _ahead(stream: CopyStream, batches: Callable[[Block], list[pa.RecordBatch]]) -> Blocks:
    """The blocks in order, by their bytes and rows. A thread parses what follows while the caller has to do with what it was given."""
    ahead: deque[tuple[int, Future[list[pa.RecordBatch]]]] = deque()
    with ThreadPoolExecutor(1, "parse") as thread:
        for block in stream:
            ahead.append((len(block.data), thread.submit(batches, block)))
            if len(ahead) > _PARSED_AHEAD:
                yield ahead.popleft()
        yield from ahead


def _parser(wires: Mapping[str, Wire]) -> Callable[[Block], list[pa.RecordBatch]]:
    """Of COPY's text format."""
    names, parsing, converting = list(wires), *_options(wires)

    def parsed(block: Block) -> list[pa.RecordBatch]:
        # a block is whole rows: it is parsed by itself, and no parser looks for their ends
        reading = pacsv.ReadOptions(block_size=len(block.data) + 1, column_names=names, use_threads=False)
        batches = pacsv.read_csv(pa.BufferReader(block.data), reading, parsing, converting).to_batches()
        return [unescaped(batch) for batch in batches] if b"\\" in block.data else batches

    return parsed


def _decoder(decoders: Mapping[str, Decoder]) -> Callable[[Block], list[pa.RecordBatch]]:
    """Of COPY's binary format. To be called with one block after another."""
    first = iter((True,))
    return lambda block: [decoded(block.data, block.sizes, decoders, first=next(first, False))]


def _options(wires: Mapping[str, Wire]) -> tuple[pacsv.ParseOptions, pacsv.ConvertOptions]:
    """COPY's text format is a CSV without quotes, in whose values delimiters and line ends are escaped."""
    parsing = pacsv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=len(wires) > 1)
    converting = pacsv.ConvertOptions(
        column_types={name: how.parsed for name, how in wires.items()}, null_values=[NULL], strings_can_be_null=True,
        true_values=["t"], false_values=["f"],
    )  # fmt: skip
    return parsing, converting
