"""Strict YAML: text to plain data, with the place of every key and value.

The idea: PyYAML's (libyaml's) event layer tells everything that was written, before aliases are followed or tags obeyed.
Data are built from the events here, so that a document means what it looks like: no aliases, anchors, merge keys, tags,
directives, duplicate or composite keys. 741 bytes of merge keys keep `safe_load` busy for 40 s; here they are an error.

Plain words follow JSON and YAML 1.2 rather than 1.1: `no`, `on`, `012`, `1_000`, `1:30`, `0x1F` and dates stay text; only
true, false, null, decimal integers of 64 bits and finite decimals are more. A file is cut at its `---` lines first, so
that a document whose syntax is broken takes no other with it.

Read next: `specs.parse`, which makes resources of the documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from specs.errors import SpecInvalid

MAX_DEPTH = 32
MAX_CHARACTERS = 1024 * 1024
MAX_FAULTS = 50
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOUNDARY = re.compile(r"^---(?=[ \t\n]|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)*%")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
"""What no editor shows. U+0085, U+2028 and U+2029 end a line for libyaml, but for nobody who reads the file."""
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?=[eE]))|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_CLEARER = {
    "mapping values are not allowed in this context": "a `: ` stands where none can be; check the indentation, or quote the text",
    "found character that cannot start any token": "nothing can begin with this character; quote the text, and indent with spaces",
    "found a tab character that violates indentation": "a tab is used for indentation; use spaces",
    "did not find expected ',' or ']'": "a list opened with `[` is not closed, or a comma is missing",
    "did not find expected ',' or '}'": "an object opened with `{` is not closed, or a comma is missing",
    "did not find expected key": "a `key: value` was expected here; check the indentation",
    "could not find expected ':'": "a `:` was expected after a key",
    "did not find expected node content": "a value is missing, or an opened `[` or `{` is not closed",
    "found unexpected end of stream": "a quoted text is not closed",
    "did not find expected '-' indicator": "an entry of the list was expected to begin with `-`; check the indentation",
}


@dataclass(slots=True)
class Mark:
    """Where a value stands, 1-based; `text` is a plain word as written; for an object or list, where what it holds stands."""

    line: int
    column: int
    text: str | None = None
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: dict[str | int, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class YamlFault:
    """What strict reading refuses, and where; `path` leads to the value that it spoils."""

    line: int
    column: int
    message: str
    hint: str | None = None
    path: tuple[str | int, ...] = ()


@dataclass(slots=True)
class Document:
    """One document: its data as far as they could be read, their marks, and the faults. `broken`: the syntax ended it early; `text` is then
    what stands there."""

    line: int
    data: Any = None
    mark: Mark = field(default_factory=lambda: Mark(1, 1))
    faults: list[YamlFault] = field(default_factory=list)
    broken: bool = False
    text: str = ""


class YamlInvalid(SpecInvalid):
    """A text that strict reading refuses; the message names every place."""

    slug = "yaml-invalid"


def read_single(path: str, text: bytes) -> Document:
    """The document of a file that holds at most one; its data are None if the file is empty.

    Raises YamlInvalid with `path:line:column` of every fault.
    """
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlInvalid(f"{path}: the file is not UTF-8 at byte {error.start}.", remedy="Save the file as UTF-8.") from error
    documents = list(islice(read_documents(decoded, MAX_CHARACTERS), 2))
    faults = [f"{path}:{fault.line}:{fault.column}: {fault.message}" for document in documents for fault in document.faults]
    if len(documents) > 1:
        faults.append(f"{path}:{documents[1].line}:1: a second document begins here; only one is read")
    if faults:
        raise YamlInvalid("\n".join(faults[:MAX_FAULTS]))
    return documents[0] if documents else Document(1)


def read_documents(text: str, max_characters: int) -> Iterator[Document]:
    """The documents of a file in order. Empty ones (data None, no faults) are left out. Never raises for bad input."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    starts = [match.start() for match in _BOUNDARY.finditer(text)]
    line = 1
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        chunk = text[start:end]
        if chunk.strip() not in ("", "---"):
            for document in _read_chunk(chunk, line, max_characters):
                if document.data is not None or document.faults:
                    yield document
        line += chunk.count("\n")


def _read_chunk(chunk: str, line: int, max_characters: int) -> Iterator[Document]:
    refused = _refused_at_once(chunk, line, max_characters)
    if refused is not None:
        yield Document(line, faults=[refused], broken=True, text=chunk)
        return
    builder = _Builder(line)
    try:
        for event in yaml.parse(chunk, Loader=_LOADER):
            builder.take(event)
            if type(event) is yaml.DocumentEndEvent:
                yield builder.document
                builder = _Builder(line)
    except _TooDeep:
        pass
    except yaml.MarkedYAMLError as error:
        builder.document.faults.append(_syntax_fault(error, chunk, line))
    except yaml.YAMLError as error:
        builder.document.faults.append(YamlFault(line, 1, f"YAML: {str(error).splitlines()[0]}"))
    else:
        return
    builder.document.broken, builder.document.text = True, chunk
    yield builder.document


def _refused_at_once(chunk: str, line: int, max_characters: int) -> YamlFault | None:
    if len(chunk) > max_characters:
        return YamlFault(
            line, 1, f"the document has {len(chunk):,} characters; at most {max_characters:,} are read", "split it into several documents"
        )
    if _DIRECTIVE.match(chunk):
        at = line + chunk[: chunk.index("%")].count("\n")
        return YamlFault(at, 1, "directives (lines that begin with `%`) are not accepted", "remove the line")
    if control := _CONTROL.search(chunk):
        before = chunk[: control.start()]
        column = len(before) - (before.rfind("\n") + 1) + 1
        code = ord(control[0])
        return YamlFault(
            line + before.count("\n"),
            column,
            f"the control character {code:#04x} is not accepted in a spec",
            f'remove it, or write it as "\\u{code:04x}" between double quotes',
        )
    return None


def _syntax_fault(error: yaml.MarkedYAMLError, chunk: str, line: int) -> YamlFault:
    """What libyaml could not read; what is still open where the document ends is shown where it begins."""
    mark, opened = error.problem_mark, error.context_mark
    problem = error.problem or error.context or "the text is not YAML"
    lines = chunk.rstrip("\n").split("\n")
    if mark is None or (opened is not None and mark.line >= len(lines)):
        mark = opened
    if mark is None:
        return YamlFault(line, 1, f"YAML: {problem}")
    if lines[min(mark.line, len(lines) - 1)][mark.column : mark.column + 1] == "\t":
        problem = "found a tab character that violates indentation"
    hint = f"it begins on line {line + opened.line}" if opened is not None and opened.line < mark.line else None
    at = min(mark.line, len(lines) - 1)
    return YamlFault(line + at, mark.column + 1 if at == mark.line else len(lines[at]) + 1, f"YAML: {_CLEARER.get(problem, problem)}", hint)


class _TooDeep(Exception):
    """Ends the reading of a document that is nested too deep."""


@dataclass(slots=True)
class _Frame:
    """An object or list that is being filled. key: the last key of an object; pending: its value comes next; skip: it was refused."""

    data: Any
    mark: Mark
    key: str = ""
    pending: bool = False
    skip: bool = False

    @property
    def wants_key(self) -> bool:
        return not self.pending and isinstance(self.data, dict)


class _Builder:
    """Builds one document from its events. Containers join their parent when they open, so that a broken document keeps its head."""

    def __init__(self, line: int) -> None:
        self.document = Document(line)
        self._line = line
        self._stack: list[_Frame] = []

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open(event, {})
        elif kind is yaml.SequenceStartEvent:
            self._open(event, [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._stack.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event)

    def _at(self, event: Any) -> tuple[int, int]:
        mark = event.start_mark
        return self._line + mark.line, mark.column + 1

    def _path(self) -> tuple[str | int, ...]:
        return tuple(max(len(frame.data) - 1, 0) if isinstance(frame.data, list) else frame.key for frame in self._stack)

    def _fault(self, event: Any, message: str, hint: str | None = None, path: tuple[str | int, ...] = ()) -> None:
        self.document.faults.append(YamlFault(*self._at(event), message, hint, path))

    def _refuse_marks(self, event: Any) -> None:
        if event.anchor is not None:
            self._fault(event, f"anchors (`&{event.anchor[:40]}`) are not accepted", "remove it; aliases are not accepted either")
        if event.tag is not None:
            self._fault(event, f"tags (`{event.tag[:60]}`) are not accepted", "remove it; quote a value that is to be text")

    def _alias(self, event: Any) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            frame.pending, frame.skip = True, True
        else:
            self._place(None, Mark(*self._at(event)))
        self._fault(event, "aliases (`*name`) are not accepted", "write the value out", self._path())

    def _scalar(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_marks(event)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            self._key(event, frame)
            return
        line, column = self._at(event)
        if event.implicit[0]:
            self._place(resolve_plain(event.value), Mark(line, column, event.value))
        else:
            self._place(event.value, Mark(line, column))

    def _key(self, event: Any, frame: _Frame) -> None:
        key = event.value
        frame.pending = True
        if event.implicit[0] and key == "<<":
            self._fault(event, "merge keys (`<<`) are not accepted", "write the fields out")
            frame.skip = True
        elif key in frame.mark.keys:
            line, _ = frame.mark.keys[key]
            self._fault(event, f"`{key[:80]}` is given twice, first on line {line}", "keep one of them")
            frame.skip = True
        else:
            frame.key = key
            frame.mark.keys[key] = self._at(event)

    def _open(self, event: Any, container: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_marks(event)
        if len(self._stack) >= MAX_DEPTH:
            self._fault(event, f"values are nested deeper than {MAX_DEPTH} levels")
            raise _TooDeep
        mark = Mark(*self._at(event))
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            self._fault(event, "an object or a list cannot be a key", "quote the key, or write `key: value`")
            frame.pending, frame.skip = True, True
        else:
            self._place(container, mark)
        self._stack.append(_Frame(container, mark))

    def _place(self, value: Any, mark: Mark) -> None:
        """Put a value where it belongs: the document, the next entry of a list, the pending key of an object."""
        if not self._stack:
            self.document.data, self.document.mark, self.document.line = value, mark, mark.line
            return
        frame = self._stack[-1]
        if isinstance(frame.data, list):
            frame.mark.children[len(frame.data)] = mark
            frame.data.append(value)
            return
        if not frame.skip:
            frame.data[frame.key] = value
            frame.mark.children[frame.key] = mark
        frame.pending, frame.skip = False, False


def resolve_plain(text: str) -> Any:
    """What an unquoted word means: null, true, false, an integer of 64 bits, a finite decimal; anything else is text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INTEGER.fullmatch(text):
        number = int(text)
        return number if -(2**63) <= number < 2**63 else text
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if value - value == 0 else text
    return text
