"""Delimited text, read by pyarrow as columns of text and converted by us (`conversion.py` says why).

The first row names the columns, unless it plainly is data (`header.py`): then they are column_1, …; an unnamed column gets its number. An
empty unquoted cell is null, `""` is an empty text. Blank lines are skipped, but in a file of one column they are rows. Quoted cells may
hold line breaks. A row with too few or too many cells, a byte that does not decode, a NUL, a quote that is never closed, a row beyond
MAX_ROW_BYTES: each refuses the file, with its line; but what is plainly in another encoding is read in that (`encodings.py`). Lines are
looked up only then, by `physical_lines.py`. Types are guessed over the head, over rows spread through the first block, and over windows
through the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pacsv

from engines.errors import FileRefused
from engines.files import csv_sample, encodings, header, inference, notations, null_words, physical_lines, row_places
from engines.files.behind import Behind
from engines.files.conversion import Unfit, convert, has_nul, salvage
from engines.files.inference import Evidence
from engines.files.notations import Notation
from engines.files.shapes import form
from engines.files.source import MAX_ROW_BYTES, ColumnPlan, Contradicted, Misfit, PassedOver, ReadOptions, Reopen, SourceFile
from engines.files.types import arrow_type

BLOCK_BYTES = 2 << 20
"""Of the file, read and parsed at once; a row may not be longer, or the block grows once to MAX_ROW_BYTES."""
_BLANKS = " \t\r\n\v\f\ufeff"
"""Around a column's name; a byte order mark is one, where the encoding names its byte order."""
_TEXTS = pacsv.ConvertOptions(
    default_column_type=pa.string(), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False, check_utf8=True
)


class CsvReading:
    """One file; see `source.Reading`. The first block is kept, so that a small file is read once for guessing and converting."""

    def __init__(self, source: SourceFile) -> None:
        """Opens nothing yet. Raises FileRefused for an unknown encoding."""
        self._notes: list[str] = []
        self._encoded = source.options.encoding is not None
        source = encodings.resolved(source)
        self._size = source.fingerprint().size
        delimiter = source.options.delimiter or physical_lines.delimiter_of(source)
        self._source = replace(source, options=replace(source.options, delimiter=delimiter))
        self._block = BLOCK_BYTES
        self.headless: str | None = None
        self._names: tuple[str, ...] = ()
        self._notations: Mapping[str, Notation] = {}
        self._before_header = 0
        self.passed_over = PassedOver()
        self._waiting: Iterator[pa.RecordBatch] | None = None
        self._file: pa.NativeFile | None = None

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By sample; see `inference.py`."""
        return {guess.name: (guess.type, guess.reason) for guess in inference.decide_all(self.evidence().items())}

    def evidence(self) -> Mapping[str, Evidence]:
        """What a sample of the file shows, by column."""
        try:
            texts = self._texts()
            first = next(texts, None)
        except Reopen:
            return self.evidence()
        options = self._source.options
        commas, said = options.delimiter != ",", options.formats
        found = {
            name: Evidence(commas=commas or said.get(name) == "comma", said=said.get(name), void=options.nulls_of(name))
            for name in self._names
        }
        if first is not None:
            for name, column in zip(self._names, csv_sample.spread(first).columns, strict=True):
                found[name].add_texts(column.to_pylist())
            for row in csv_sample.windows(self._source, self._size, first.num_columns, BLOCK_BYTES):
                for evidence, cell in zip(found.values(), row, strict=True):
                    evidence.add_texts((cell,))
            self._waiting = _again(first, texts)
        decided = {name: evidence.notation() for name, evidence in found.items()}
        self._notations = {name: choice.notation for name, choice in decided.items() if choice is not None and choice.notation}
        return found

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.Reading`. After the first contradiction the rest is only examined."""
        texts, self._waiting = self._waiting or self._texts(), None
        found: dict[str, tuple[str, str]] = {}
        row, last = 0, None
        for batch in texts:
            columns = [self._convert(column, plans[name], row, found) for name, column in zip(self._names, batch.columns, strict=True)]
            if not found:
                yield pa.RecordBatch.from_arrays(columns, names=list(self._names))
            row, last = row + batch.num_rows, batch
        if self.passed_over.rows and self.passed_over.rows[-1] == row + len(self.passed_over.rows) - 1:
            if refused := self._unclosed():  # then the last row is the rest of the file
                raise refused
        elif last is not None:
            self._check_closed(last)
        if found:
            raise Contradicted(found)

    def line_of(self, row: int) -> int | None:
        """By reading again."""
        return next((line for line, _ in row_places.originals(self._source, (row,), width=len(self._names))), None)

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """See `source.Reading`."""
        return row_places.originals(self._source, rows, width=len(self._names))

    def progress(self) -> int:
        """How far the block reader is."""
        return self._size if self._file is None or self._file.closed or self._source.compressed else min(self._file.tell(), self._size)

    @property
    def options(self) -> ReadOptions:
        """As they were given, and, after a look at the file, as they were found."""
        return self._source.options

    def notes(self) -> tuple[str, ...]:
        """See `source.Reading`."""
        return tuple(self._notes)

    def _convert(self, column: pa.Array, plan: ColumnPlan, row: int, found: dict[str, tuple[str, str]]) -> pa.Array | None:
        if has_nul(column):
            remedy = "Is the file UTF-16? Then set `source.encoding: utf-16`; else remove the byte."
            raise self._source.refused(physical_lines.nul(self._source), "a NUL byte", remedy=remedy)
        if plan.name in found:
            return None
        try:
            return self._converted(column, plan)
        except Unfit as unfit:
            if plan.aside is not None:
                return self._salvaged(column, plan, plan.aside, row)
            if plan.word != "guess":
                raise Misfit(plan, unfit.value, self.line_of(row + unfit.index), row + unfit.index) from None
            found[plan.name] = ("string", f"text, since row {row + unfit.index + 1} is of the form {form(unfit.value)}")
            return None

    def _converted(self, column: pa.Array, plan: ColumnPlan) -> pa.Array:
        """With null for what stands for it. Raises Unfit."""
        void = self._source.options.nulls_of(plan.name)
        if void is not None:
            return self._plainly(null_words.without(column, void), plan)
        try:
            return self._plainly(column, plan)
        except Unfit as unfit:
            if plan.word == "spec" or not null_words.is_word(unfit.value):  # whoever says a type says what is null, too
                raise
            return self._plainly(null_words.without_words(column), plan)

    def _plainly(self, column: pa.Array, plan: ColumnPlan) -> pa.Array:
        """Raises Unfit."""
        notation = self._source.options.formats.get(plan.name) or self._notations.get(plan.name)
        strict = plan.word != "spec"
        if notation is None or plan.type == "string":
            return convert(column, plan.type, strict=strict)
        try:
            return convert(notations.plain(column, notation), plan.type, strict=strict)
        except Unfit as unfit:
            raise Unfit(unfit.index, column[unfit.index].as_py()) from None

    def _salvaged(self, column: pa.Array, plan: ColumnPlan, aside: Callable[[int, object], None], row: int) -> pa.Array:
        def fitted(first: int, count: int) -> pa.Array:
            return self._converted(column.slice(first, count), plan)

        result, places = salvage(len(column), fitted, arrow_type(plan.type), (Unfit,))
        for place in places:
            aside(row + place, column[place].as_py())
        return result

    def _texts(self) -> Iterator[pa.RecordBatch]:
        """All rows as text; sets the names first, when asked for the first batch. Raises FileRefused, Reopen."""
        width = self._read_header()
        if not width:
            return
        options, path = self._source.options, str(self._source.path)
        self.passed_over = PassedOver(width=width)
        reading = pacsv.ReadOptions(
            block_size=min(self._block, self._size + 1) if self._source.is_utf8 and not self._source.compressed else self._block,
            encoding="utf8" if self._source.is_utf8 else self._source.encoding,
            autogenerate_column_names=options.header is False,
            skip_rows=self._before_header,
            use_threads=False,  # with threads, 32 blocks are read ahead, and it is no faster
        )
        parsing = pacsv.ParseOptions(
            delimiter=options.delimiter, quote_char=options.quote or False, newlines_in_values=bool(options.quote),
            ignore_empty_lines=width > 1, invalid_row_handler=self._pass_over if options.skip_ragged else None,
        )  # fmt: skip
        try:
            with self._source.translated():
                self._file = pa.input_stream(path, compression="gzip") if self._source.compressed else pa.OSFile(path)
            with self._file, pacsv.open_csv(self._file, reading, parsing, _TEXTS) as reader:
                # rows that are passed over are noted as they are met, which must not be ahead of the rows that are given
                yield from reader if options.skip_ragged or self._size < self._block else _ahead(reader)
        except OSError as error:
            with self._source.translated():
                raise (EOFError(error) if self._source.compressed else error) from None
        except (pa.ArrowInvalid, UnicodeError) as error:
            if not self._is_header_only(error):
                raise self._explain(error, width) from error

    def _pass_over(self, row: pacsv.InvalidRow) -> str:
        """pyarrow counts rows from 1, those that it skipped and the header among them."""
        self.passed_over.rows.append(row.number - self._before_header - (2 if self._source.options.header else 1))
        self.passed_over.cells.append(row.actual_columns)
        return "skip"

    def _read_header(self) -> int:
        """Sets the names; returns their number, 0 if there is no row after a header. Raises FileRefused."""
        if not self._names:
            sample = list(islice(physical_lines.rows(self._source, blank_rows=False), header.SAMPLED_ROWS if self._undecided else 1))
            sample = sample[self._decide_header(sample) :]
            named = self._source.options.header
            if not sample:
                if not named:
                    return 0
                remedy = "Write the column names into the first line, or remove the file."
                skip = self._source.options.skip
                what = f"ends before line {skip + 1}" if skip else "is empty"
                raise self._source.refused(None, f"no header: the file {what}", remedy=remedy)
            first = sample[0]
            self._names = self._checked(first) if named else _numbered(len(first.cells))
            # in a file of one column blank lines are rows, but not before the header
            self._before_header = first.line - 1 if self._source.options.skip or (named and len(self._names) == 1) else 0
        return len(self._names)

    @property
    def _undecided(self) -> bool:
        return self._source.options.header is None

    def _decide_header(self, sample: Sequence[physical_lines.Row]) -> int:
        """Whether there is one, and how many rows stand above it, if nobody says so."""
        if not self._undecided:
            return 0
        cells = [row.cells for row in sample]
        if above := header.titles(cells):
            line = sample[above].line
            self._source = replace(self._source, options=replace(self._source.options, header=True, skip=line - 1))
            self._notes.append(f"line {line} names the columns, and what stands above it is passed over: `source.header` decides otherwise")
            return above
        why = header.why_absent(cells) if len({len(row) for row in cells}) == 1 else None
        self._source = replace(self._source, options=replace(self._source.options, header=why is None))
        if why is not None:
            self.headless = f"the first row is read as data, since {why}"
            self._notes.append(f"{self.headless}: say `source.header` to decide otherwise")
        return 0

    def _checked(self, first: physical_lines.Row) -> tuple[str, ...]:
        names = tuple(cell.strip(_BLANKS) or numbered for cell, numbered in zip(first.cells, _numbered(len(first.cells)), strict=True))
        if any("\0" in name or physical_lines.UNDECODED.search(name) for name in names):
            raise self._undecodable("the header is no text")
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            remedy = "Rename one of them, or read the file with `header: false`."
            raise self._source.refused(first.line, f"the header names `{name}` {count} times", remedy=remedy)
        return names

    def _explain(self, error: Exception, width: int) -> Exception:
        """pyarrow's complaint as a refusal with a line, or Reopen where a larger block will do."""
        text = str(error)
        if "straddling" in text:
            if self._block < MAX_ROW_BYTES:
                self._block = MAX_ROW_BYTES
                return Reopen()
            for _ in physical_lines.rows(self._source, blank_rows=False):
                pass  # raises at the long row
        elif "UTF8" in text or isinstance(error, UnicodeError):
            return self._undecodable(text)
        if row := physical_lines.ragged(self._source, width):
            unclosed = self._unclosed()
            if unclosed is not None and unclosed.line == row.line:
                return unclosed
            cells = f"{len(row.cells)} cell" + ("s" if len(row.cells) != 1 else "")
            remedy = f"Quote cells that contain `{self._source.options.delimiter}`, or set `source.delimiter`. A `contract` sets it aside."
            if len(row.cells) > width and self._source.options.header:
                remedy += " If lines stand above the header, say which one it is: `source: {header: 3}`."
            return self._source.refused(row.line, f"the row has {cells}, the header {width}", remedy=remedy)
        return self._unclosed() or self._source.refused(None, text)

    def _undecodable(self, text: str) -> Exception:
        """What follows from bytes that are not in the encoding: another one, where nobody named this, else a refusal."""
        if not self._encoded and self._source.is_utf8 and physical_lines.nul(self._source) is None:
            self._source, note = encodings.in_fallback(self._source)
            self._notes.append(note)
            return Reopen()
        found = physical_lines.undecodable(self._source)
        remedy = physical_lines.encoding_remedy(self._source)
        if found is None:
            line = physical_lines.nul(self._source)
            return self._source.refused(line, "a NUL byte" if line else text, remedy="Is the file UTF-16? Set `source.encoding`.")
        return self._source.refused(found[0], f"{found[1]} is not {self._source.encoding}", remedy=remedy)

    def _is_header_only(self, error: Exception) -> bool:
        """pyarrow refuses a header without a line end, and blank lines alone."""
        return "cannot infer number of columns" in str(error) or "Empty CSV file" in str(error)

    def _check_closed(self, last: pa.RecordBatch) -> None:
        """pyarrow takes a quote that is never closed as closed at the end, and with it the rest of the file as one cell."""
        value = last.column(last.num_columns - 1)[last.num_rows - 1].as_py()
        if value is None or not self._source.options.quote or self._ends_with(value):
            return
        if refused := self._unclosed():
            raise refused

    def _ends_with(self, value: str) -> bool:
        """Whether the file's last bytes are the cell, written the usual way. False says: look closely."""
        quote, codec = self._source.options.quote, self._source.encoding
        if self._source.compressed or "16" in codec or "32" in codec or len(value) > BLOCK_BYTES:
            return False
        bare = value.encode(codec, "replace")
        quoted = (quote + value.replace(quote, quote * 2) + quote).encode(codec, "replace")
        with self._source.open_bytes() as file:
            file.seek(max(0, self._size - len(quoted) - 4096))
            tail = file.read().rstrip(b"\r\n")
        mark, delimiter = quote.encode(), (self._source.options.delimiter or ",").encode(codec)
        if tail.endswith(quoted):
            before = tail[: -len(quoted)]
            return before.endswith((delimiter, b"\n", b"\r"))
        return b"\n" not in bare and mark not in bare and tail.endswith((delimiter + bare, b"\n" + bare, b"\r" + bare))

    def _unclosed(self) -> FileRefused | None:
        line = physical_lines.open_quote(self._source) if self._source.options.quote else None
        if line is None:
            return None
        remedy = "Close it, or double it where it is meant literally."
        return self._source.refused(line, "a quote that is opened in this row is never closed", remedy=remedy)


def _ahead(reader: pacsv.CSVStreamingReader) -> Iterator[pa.RecordBatch]:
    """Its batches, each parsed while the one before is worked on."""
    behind: Behind[pa.RecordBatch | None] = Behind()

    def parse() -> pa.RecordBatch | None:
        return next(reader, None)

    try:
        behind.start(parse)
        while (batch := behind.wait()) is not None:
            behind.start(parse)
            yield batch
    finally:
        behind.close()


def _again(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column_{number}" for number in range(1, width + 1))
