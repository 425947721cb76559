"""A source file as an operator gave it: where it is, how to open it, and whether it stayed what it was.

`Misfit` and `Contradicted` are how a reader says that a value is not of its column's type: the first where somebody else decided the
type (the table, the spec), so that the file is refused; the second where this very run guessed it, so that the guess gives way and the
file is read again. Next: `csv.py`, `json_lines.py`, `parquet.py`, the readers; `ingest.py`, which drives them.
"""

from __future__ import annotations

import codecs
import gzip
import stat
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, Self, cast

import pyarrow as pa

from engines.errors import FileRefused, FileUnreadable
from engines.files import notations, null_words
from engines.files.formats import Format
from engines.files.notations import Notation
from engines.sensitivity.shown import shown

if TYPE_CHECKING:
    from engines.files.inference import Evidence

Word = Literal["guess", "table", "spec"]
"""Who decided a column's type: this run, the table's schema, or an override in the spec."""

MAX_ROW_BYTES = 16 << 20
"""A line or row beyond this is refused: it is never data, and it would have to be held in memory."""

UNPACKED_RATIO, UNPACKED_LEAST = 200, 256 << 20
"""A compressed file may unpack to so many times its size, or to so many bytes, whichever is more."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the bytes of a file are to be read.

    encoding: of text, None to find it; delimiter: one character, None to find it in the first line; header: whether the first row names
    the columns, None to find it; skip: lines of a CSV, or rows of a sheet, that are passed over before it; quote: one character, "" for
    none; sheet: of a workbook; ocr: whether pages without text are recognized, None where that is possible; formats: the notation of
    columns, where the spec names it; nulls: texts that the spec calls null, and column_nulls those of single columns; skip_ragged: pass
    over rows with too few or too many cells, see `Reading.passed_over`.
    """

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    skip: int = 0
    quote: str = '"'
    sheet: str | None = None
    ocr: bool | None = None
    formats: Mapping[str, Notation] = field(default_factory=dict)
    nulls: Sequence[str] | None = None
    column_nulls: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skip_ragged: bool = False

    def nulls_of(self, column: str) -> frozenset[str] | None:
        """The texts that are null there by the spec's word; None where it has none: then those of `null_words.py` are, if they can be."""
        said = self.column_nulls.get(column, self.nulls)
        return None if said is None else frozenset(said)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {**{name: getattr(self, name) for name in self.__match_args__}, "formats": dict(self.formats)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Takes what is there; the rest are defaults."""
        return cls(**document)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """What a column of the file becomes, and on whose word.

    aside: told of each value that is none of the type, with its row among those that the reading gives; the value then is null. None: it
    is a Misfit.
    """

    name: str
    type: str
    word: Word
    aside: Callable[[int, object], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read. shown is its path as the operator calls it, which is how errors name it. hidden: columns whose values no message
    shows, see `engines/sensitivity/shown.py`."""

    path: Path
    shown: str
    format: Format
    options: ReadOptions = field(default_factory=ReadOptions)
    hidden: frozenset[str] = frozenset()

    def open_bytes(self) -> IO[bytes]:
        """The content, decompressed if the name ends in .gz. Raises FileRefused, FileUnreadable."""
        with self.translated():
            return cast(IO[bytes], gzip.open(self.path, "rb")) if self.compressed else self.path.open("rb")

    @property
    def compressed(self) -> bool:
        """Whether it is read through gzip."""
        return self.path.suffix == ".gz"

    def fingerprint(self) -> Fingerprint:
        """What stat says, once it is known to be a regular file. Raises FileRefused, FileUnreadable."""
        with self.translated():
            found = self.path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise self.refused(None, "is a directory, not a file", remedy="Let the pattern in `source.files` match files.")
        if not stat.S_ISREG(found.st_mode):
            raise self.refused(None, "is no regular file", remedy="Let the pattern in `source.files` match regular files.")
        return Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)

    def check_encoding(self) -> None:
        """Raises FileRefused if nothing is known that decodes the encoding's name."""
        try:
            known = codecs.lookup(self.encoding)._is_text_encoding
            # some decode whole names only (idna), or nothing at all
            codecs.getincrementaldecoder(self.encoding)("surrogateescape").decode(b"a")
        except (LookupError, UnicodeError):
            known = False
        if not known:
            reason = f"`{self.encoding}` is no encoding that is known here"
            raise self.refused(None, reason, remedy="Set `source.encoding` to utf-8, latin-1, cp1252, utf-16, …")

    @property
    def encoding(self) -> str:
        """What the bytes are taken for."""
        return self.options.encoding or "utf-8"

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are UTF-8 (a byte order mark changes nothing)."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")

    @property
    def noun(self) -> str:
        """What an operator calls it."""
        return "source" if self.format == "rows" else "file"

    def refused(self, line: int | None, reason: str, *, remedy: str | None = None) -> FileRefused:
        """The error that refuses this file; to be raised."""
        return FileRefused(self.shown, line, reason, remedy=remedy)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the operating system on this file as ours."""
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.refused(None, f"is no complete gzip file ({error})", remedy="Write the file again, whole.") from error
        except OSError as error:
            raise FileUnreadable(self.shown, f"cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What stat says about a file's content: size in bytes, modification time in ns, inode."""

    size: int
    mtime_ns: int
    inode: int


class Misfit(Exception):
    """A value that cannot be of its column's type. line: of the file, from 1; row: from 0; either may be unknown."""

    def __init__(self, column: ColumnPlan, value: object, line: int | None, row: int | None = None) -> None:
        super().__init__(column.name)
        self.column = column
        self.value = value
        self.line = line
        self.row = row


class Contradicted(Exception):
    """Guesses that the rest of the file does not bear out: name -> (the type that does, why). Complete for the file."""

    def __init__(self, types: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(f"{len(types)} columns")
        self.types = types


class Reopen(Exception):
    """The reader has adjusted itself (a larger block for a long row) and must start from the beginning."""


@dataclass(slots=True)
class PassedOver:
    """Rows that a reading left out. rows: their places among all rows of the file, from 0, ascending; cells: how many each has; width:
    how many it should have."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    cells: array[int] = field(default_factory=lambda: array("q"))
    width: int = 0

    def why(self, number: int) -> str:
        """What is wrong with one of them."""
        cells = self.cells[number]
        return f"the row has {cells} cell{'s' if cells != 1 else ''}, the header {self.width}"


class RowReading(Protocol):
    """An open source: what its columns seem to be, and its rows as Arrow batches. Blocking; one pass at a time."""

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """Every column of the file in order: name -> (type, why). Raises FileRefused."""

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """The rows in order, columns named and typed by plan, each present one in file order; a later pass starts anew.

        Raises FileRefused, Misfit, Contradicted (at the end), Reopen.
        """

    def line_of(self, row: int) -> int | None:
        """The physical line on which a data row (from 0, those passed over counted) begins, found by reading again; None where lines mean
        nothing."""

    def progress(self) -> int:
        """About how many bytes of the file were read in this pass."""

    def notes(self) -> Sequence[str]:
        """What was decided about the file, so far, that deserves a look; sentences."""


class Reading(RowReading, Protocol):
    """An open source file."""

    passed_over: PassedOver
    """Of the present pass, so far."""

    def evidence(self) -> Mapping[str, Evidence]:
        """What every column of the file shows, in order. Raises FileRefused."""

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """Line and text of these rows, as `line_of` counts them, ascending; found by reading again. A row is its line of a CSV (several,
        where quotes go over line breaks), else a record as JSON."""


def refusal(source: SourceFile, misfit: Misfit) -> FileRefused:
    """What the operator is told about a misfit: column, value, whose type it is, and the way out."""
    plan = misfit.column
    whose = "the type the spec gives it" if plan.word == "spec" else "the table's type for it"
    where = "" if misfit.line is not None or misfit.row is None else f" (row {misfit.row + 1})"
    reason = f"column `{plan.name}`: {shown(plan.name, misfit.value, source.hidden)} is no {plan.type}, {whose}{where}"
    wider = "float64" if plan.type == "int64" and _is_number(misfit.value) else "string"
    ambiguous = notations.remedy(plan.name, str(misfit.value)) if plan.type in ("date", "timestamp", "float64") else None
    if null_words.is_word(str(misfit.value)):
        ambiguous = f"Say `columns: {{{plan.name}: {{type: {plan.type}, nulls: ['{misfit.value}']}}}}` in the spec if that is no value."
    remedy = f"Correct the value, or say `columns: {{{plan.name}: {wider}}}` in the Dataset's spec, which ingests its files again"
    remedy += "; `lakectl migrate preview` drafts a migration, which does not." if plan.word == "table" else "."
    remedy = ambiguous or remedy
    return source.refused(misfit.line, reason, remedy=remedy)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
