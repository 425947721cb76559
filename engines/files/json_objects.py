"""The objects of a JSON file, one by one, with the lines on which they begin.

NDJSON (UTF-8) is parsed a line at a time by orjson. Anything else, a top-level array, objects over several lines, another encoding, is
scanned incrementally by the standard library in a window that holds one object. Neither rounds: a number that float64 cannot keep is a
Decimal, an integer is as long as it is. Refuses what is no object, NaN, two values of one name in an object, nesting beyond MAX_DEPTH, and
a line or object beyond MAX_ROW_BYTES. Next: `json_lines.py`, which makes columns of them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from engines.errors import FileRefused
from engines.files import shapes
from engines.files.flattening import TwoOfOneName
from engines.files.physical_lines import UNDECODED, encoding_remedy, open_text, too_long
from engines.files.source import MAX_ROW_BYTES, SourceFile

MAX_DEPTH = 200
"""Of objects and arrays within a record; below what any JSON writer of ours, or SQL engine, can follow."""
MAX_DIGITS = 4_000
"""Of a whole number: what Python turns into an int without being asked twice is 4 300."""
_CHUNK = 1 << 20
_LONG_NUMBER = re.compile(rb"[0-9][0-9.]{15}|[0-9][eE]")
"""What float64 or int64 may not keep; found in texts as well, which then only costs the slower parser."""
_BLANKS = (" :", "\t:", "\n:", "\r:")
"""What may stand between a name and its value, where a writer puts blanks there."""
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile("[ \t\r\n\ufeff]*")
_BOM = b"\xef\xbb\xbf"


def read_objects(source: SourceFile) -> Iterator[tuple[int, dict[str, Any], int]]:
    """(line from 1, object, bytes or characters taken) for each object of the file. Raises FileRefused, FileUnreadable."""
    return _by_line(source) if source.is_utf8 and _has_object_lines(source) else _one_by_one(source)


def _has_object_lines(source: SourceFile) -> bool:
    """Whether the first line that is not blank is an object by itself (or so wrong that its line should be named)."""
    with source.open_bytes() as file, source.translated():
        while line := file.readline(MAX_ROW_BYTES + 1):
            if text := line.removeprefix(_BOM).strip():
                if text[:1] == b"[":
                    return False
                if text[:1] != b"{":
                    return True
                try:
                    return isinstance(orjson.loads(text), dict)
                except orjson.JSONDecodeError:
                    return text[-1:] == b"}" and b'"' in text
    return True


def _by_line(source: SourceFile) -> Iterator[tuple[int, dict[str, Any], int]]:
    number = 0
    with source.open_bytes() as file, source.translated():
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES:
                raise too_long(source, number)
            text = (line.removeprefix(_BOM) if number == 1 else line).strip()
            if text:
                yield number, _parse(source, number, text), len(line)


def _parse(source: SourceFile, line: int, text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text) if _LONG_NUMBER.search(text) is None else json.loads(text, **_EXACTLY)
    except RecursionError as error:
        raise _too_deep(source, line) from error
    except ValueError as error:  # every JSONDecodeError, UnicodeDecodeError and those of our own
        if not _is_utf8(text):
            raise _not_decoded(source, line) from error
        raise _broken(source, line, f"no valid JSON: {error}") from error
    plain = text.decode()
    _check_text(source, line, value, plain)
    if not isinstance(value, dict):
        raise _broken(source, line, f"an object is expected, not {_kind_of(plain)}")
    _check_depth(source, line, value, plain.count("{") + plain.count("["))
    _check_names(source, line, value, plain)
    return value


def _one_by_one(source: SourceFile) -> Iterator[tuple[int, dict[str, Any], int]]:
    with source.translated(), open_text(source) as text:
        scan = _Scan(source, text)
        in_array = scan.peek() == "["
        if in_array:
            scan.skip(1)
        while (mark := scan.peek()) and not (in_array and mark == "]"):
            if mark != "{":
                raise _broken(source, scan.line, f"an object is expected, not {_kind_of(scan.ahead())}")
            line = scan.line
            yield line, *scan.take()
            if in_array:
                scan.separate()
        if in_array:
            scan.end_array()


class _Scan:
    """A window over a text that moves forward, holding what is left of the last object that was tried. line: of the position, from 1."""

    def __init__(self, source: SourceFile, text: io.TextIOWrapper) -> None:
        self._source, self._text = source, text
        self._decoder = json.JSONDecoder(**_EXACTLY)
        self._buffer, self._position, self._ended = "", 0, False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            assert match is not None
            self.skip(match.end() - self._position)
            if self._position < len(self._buffer) or not self._fill(_CHUNK):
                return self._buffer[self._position : self._position + 1]

    def ahead(self) -> str:
        """Some of what comes, for a message."""
        return self._buffer[self._position : self._position + 2 * shapes.SHOWN].split("\n", 1)[0]

    def skip(self, count: int) -> None:
        """Moves on, counting lines."""
        self.line += self._buffer.count("\n", self._position, self._position + count)
        self._position += count

    def separate(self) -> None:
        """Past the comma between two elements of an array."""
        mark = self.peek()
        if mark == ",":
            self.skip(1)
        elif mark not in ("]", ""):
            raise _broken(self._source, self.line, f"`,` or `]` is expected, not {_kind_of(self.ahead())}")

    def end_array(self) -> None:
        """Past the bracket; nothing may follow it, or it would be lost."""
        if self.peek() != "]":
            raise _broken(self._source, self.line, "the array never ends")
        self.skip(1)
        if self.peek():
            raise _broken(self._source, self.line, f"nothing may follow the array, as {_kind_of(self.ahead())} does")

    def take(self) -> tuple[dict[str, Any], int]:
        """The object at the position, and its length. A failed attempt doubles what is read, so that all of them cost twice the last."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
                break
            except RecursionError as error:
                raise _too_deep(self._source, self.line) from error
            except json.JSONDecodeError as error:
                waiting = len(self._buffer) - self._position
                if waiting > MAX_ROW_BYTES:
                    reason = f"an object that begins here is longer than {MAX_ROW_BYTES >> 20} MiB, or never closed"
                    raise _broken(self._source, self.line, reason) from error
                if not self._fill(max(_CHUNK, waiting)):
                    line = self.line + self._buffer.count("\n", self._position, error.pos)
                    raise _broken(self._source, line, f"no valid JSON: {error.msg}") from error
            except ValueError as error:
                raise _broken(self._source, self.line, f"no valid JSON: {error}") from error
        taken = end - self._position
        text = self._buffer[self._position : end]
        if UNDECODED.search(text):
            raise _not_decoded(self._source, self.line)
        _check_text(self._source, self.line, value, text)
        _check_depth(self._source, self.line, value, text.count("{") + text.count("["))
        _check_names(self._source, self.line, value, text)
        self.skip(taken)
        assert isinstance(value, dict)
        return value, taken

    def _fill(self, count: int) -> bool:
        if self._ended:
            return False
        try:
            more = self._text.read(count)
        except UnicodeError as error:
            raise _not_decoded(self._source, self.line) from error
        self._buffer, self._position, self._ended = self._buffer[self._position :] + more, 0, not more
        return bool(more)


def _exact_number(text: str) -> float | Decimal:
    """A JSON number with point or exponent as float, or as Decimal where float64 would round it. Raises ValueError."""
    try:
        return float(text) if shapes.is_exact(text) else Decimal(text)
    except InvalidOperation:
        raise ValueError("an exponent is beyond any number") from None


def _whole_number(text: str) -> int:
    """Raises ValueError."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits, of which at most {MAX_DIGITS} are read")
    return int(text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_EXACTLY: dict[str, Any] = {"parse_float": _exact_number, "parse_int": _whole_number, "parse_constant": _no_constant}


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_text(source: SourceFile, line: int, value: Any, text: str) -> None:
    """An escape may name half of a character, which is no text anywhere else."""
    if _HALF.search(text) is None:
        return
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise _broken(source, line, "half of a surrogate pair (\\ud800 to \\udfff) is no character") from error


def _check_names(source: SourceFile, line: int, value: dict[str, Any], text: str) -> None:
    """Parsers keep the last of two values of one name. A text with no more ends of names than the value has names holds none."""
    names = len(value) if text.count("{") == 1 else _names_in(value)
    if text.count('":') == names and not any(blank in text for blank in _BLANKS):
        return
    try:
        json.loads(text, object_pairs_hook=_once, **_EXACTLY)
    except TwoOfOneName as twice:
        raise source.refused(line, f"two values are named `{twice.name}`", remedy="Rename one of them.") from None


def _names_in(value: dict[str, Any]) -> int:
    """Of all objects within it."""
    count = 0
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            count += len(one)
            one = one.values()
        waiting += [part for part in one if isinstance(part, dict | list)]
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises TwoOfOneName."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise TwoOfOneName(next(name for name in names if names.count(name) > 1))
    return found


def _kind_of(text: str) -> str:
    """What a text begins with, in words that show nothing of it."""
    return next((word for begins, word in _KINDS if text[:1] and text[0] in begins), "what is no JSON")


_KINDS = (("{", "an object"), ("[", "an array"), ('"', "a text"), ("-0123456789", "a number"), ("tf", "true or false"), ("n", "null"))


def _not_decoded(source: SourceFile, line: int) -> FileRefused:
    return source.refused(line, f"is not {source.encoding}", remedy=encoding_remedy(source))


def _check_depth(source: SourceFile, line: int, value: Any, brackets: int) -> None:
    """Only texts with many brackets are walked, level by level."""
    if brackets <= MAX_DEPTH:
        return
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [part for item in level for part in (item.values() if isinstance(item, dict) else item) if isinstance(part, dict | list)]
        if not level:
            return
    raise _too_deep(source, line)


def _too_deep(source: SourceFile, line: int) -> FileRefused:
    return source.refused(line, f"a record nested deeper than {MAX_DEPTH} levels", remedy="Store what is nested as text, or apart.")


def _broken(source: SourceFile, line: int, reason: str) -> FileRefused:
    return source.refused(line, reason, remedy="A file holds JSON objects: one a line, or in a top-level array.")
