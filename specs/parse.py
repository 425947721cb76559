"""Files of YAML to resources, with an error value for everything that is wrong, each naming file, line and column.

A file with a bad document still yields the others. All errors of a document are reported, in the order of their lines.
Nothing is raised for bad input, and nothing is read from disk: the text is passed in.

Read next: `specs.yaml_source` (strict YAML), `specs.validation` (sentences), `specs.registry` (kinds).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from specs.metadata import Metadata
from specs.model import Part, Spec
from specs.registry import API_VERSION, KINDS, digest_of, references_of, transformation_of
from specs.resource import Key, Origin, Resource
from specs.scalars import DNS_LABEL
from specs.suggestions import did_you_mean, is_slip, nearest
from specs.validation import Problem, place, problems_under, validate
from specs.wording import found, quoted
from specs.yaml_source import MAX_CHARACTERS, MAX_FAULTS, Document, read_documents

MAX_DOCUMENT_BYTES = MAX_CHARACTERS
MAX_FILE_BYTES = 4 * MAX_DOCUMENT_BYTES
MAX_ERRORS = MAX_FAULTS
"""Errors reported of one document; the rest is counted."""
MAX_FILE_ERRORS = 1_000
"""Errors kept of one file; the rest is counted, so that no file of broken documents fills the memory."""
MAX_KINDS = 100
"""Kinds that a text which cannot be read is looked through for; each is compared with all that there are."""
_FIELDS = ("apiVersion", "kind", "metadata", "spec")
_NAME = re.compile(DNS_LABEL)
_KIND, _DATASET = (re.compile(rf"\b{word}[\"']?[ \t]*:[ \t]*[\"']?([\w-]+)") for word in ("kind", "dataset"))


@dataclass(frozen=True, slots=True, order=True)
class SpecError:
    """One thing wrong in a file. line and column are 1-based; key is the object where kind and name could be read; governs are the Datasets
    that it would govern, of what looks like a Policy, however little of it can be read."""

    path: str
    line: int
    column: int
    message: str
    hint: str | None = None
    key: Key | None = None
    governs: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f"{self.key}: " if self.key is not None else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.path}:{self.line}:{self.column}: {about}{self.message}{hint}"


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What came of one file: resources and errors in the order of their lines."""

    path: str
    resources: tuple[Resource, ...]
    errors: tuple[SpecError, ...]

    def to_record(self) -> list[Any]:
        """A JSON-able list for caches by content."""
        errors = [[e.line, e.column, e.message, e.hint, list(e.key) if e.key else None, list(e.governs)] for e in self.errors]
        return [self.path, [resource.to_record() for resource in self.resources], errors]

    @classmethod
    def from_record(cls, record: list[Any], path: str | None = None) -> ParsedFile:
        """The file of a record; `path` replaces the recorded one, for the same content elsewhere."""
        path = path or record[0]
        errors = tuple(
            [
                SpecError(path, line, column, text, hint, Key(*key) if key else None, tuple(of))
                for line, column, text, hint, key, of in record[2]
            ]
        )
        return cls(path, tuple([Resource.from_record(resource, path) for resource in record[1]]), errors)


def parse_file(path: str, text: bytes) -> ParsedFile:
    """The resources and errors of one file. `path` is only named, never opened."""
    if len(text) > MAX_FILE_BYTES:
        message = f"the file has {len(text):,} bytes; at most {MAX_FILE_BYTES:,} are read"
        meant = policies_meant(text.decode("utf-8", "replace"))
        return ParsedFile(path, (), (SpecError(path, 1, 1, message, "split it into several files", governs=meant),))
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return ParsedFile(path, (), (_not_utf8(path, text, error.start),))
    resources: list[Resource] = []
    errors: list[SpecError] = []
    more, governed = 0, dict[str, None]()
    for document in read_documents(decoded, MAX_DOCUMENT_BYTES):
        resource, wrong = _read(path, document)
        if resource is not None:
            resources.append(resource)
        kept = wrong[: MAX_FILE_ERRORS - len(errors)]
        errors.extend(kept)
        more += len(wrong) - len(kept)
        governed |= dict.fromkeys(name for error in wrong[len(kept) :] for name in error.governs)
    if more:
        # of no object: any former document of the file may be meant
        errors.append(
            SpecError(path, errors[-1].line, errors[-1].column, f"and {more:,} more errors in this file", governs=tuple(governed))
        )
    return ParsedFile(path, tuple(resources), tuple(errors))


def duplicates(files: Iterable[ParsedFile]) -> tuple[SpecError, ...]:
    """An error for each resource whose key another one has before it, in the order of path and line; the first stands."""
    first: dict[Key, Origin] = {}
    errors: list[SpecError] = []
    for resource in sorted((r for file in files for r in file.resources), key=lambda r: r.origin):
        stands = first.setdefault(resource.key, resource.origin)
        if stands is not resource.origin:
            errors.append(declared_twice(resource, stands))
    return tuple(errors)


def declared_twice(resource: Resource, stands: Origin) -> SpecError:
    """The error of a resource whose key stands elsewhere already."""
    message, origin = f"already declared at {stands}, which stands", resource.origin
    governs = tuple(key.name for key in resource.references if key.kind == "Dataset") if resource.key.kind == "Policy" else ()
    return SpecError(origin.path, origin.line, 1, message, "remove one of the two, or rename it", resource.key, governs)


def _not_utf8(path: str, text: bytes, at: int) -> SpecError:
    before = text[:at].decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    meant = policies_meant(text.decode("utf-8", "replace"))
    return SpecError(path, line, column, f"the byte {text[at]:#04x} is not UTF-8", "save the file as UTF-8", governs=meant)


def _read(path: str, document: Document) -> tuple[Resource | None, list[SpecError]]:
    wrong = {(f.line, f.column, f.message, f.hint) for f in document.faults}
    built: list[Part] = []
    if not document.broken:
        for problem in problems_under(tuple(_problems(document, built)), frozenset(fault.path for fault in document.faults)):
            line, column = place(document.mark, problem)
            wrong.add((line, column, problem.message, problem.hint))
    if wrong:
        key, governs = _readable_key(document.data), _governs(document)
        ordered = [SpecError(path, *item, key, governs) for item in sorted(wrong, key=lambda item: (item[0], item[1], item[2]))]
        if len(ordered) > MAX_ERRORS:
            last = ordered[MAX_ERRORS]
            more = SpecError(
                path, last.line, last.column, f"and {len(ordered) - MAX_ERRORS:,} more errors in this document", None, key, governs
            )
            ordered = [*ordered[:MAX_ERRORS], more]
        return None, ordered
    return _resource(document.data, Origin(path, document.line), built[-1]), []


def _resource(data: Mapping[str, Any], origin: Origin, spec: Any) -> Resource:
    kind = data["kind"]
    body = json.dumps(data, separators=(",", ":"), allow_nan=False)
    key = Key(kind, data["metadata"]["name"])
    return Resource(key, digest_of(data), transformation_of(kind, spec), references_of(kind, spec), origin, body)


def _readable_key(data: object) -> Key | None:
    """Kind and name, where the kind exists and the name is one."""
    match data:
        case {"kind": str(kind), "metadata": {"name": str(name)}} if kind in KINDS and _NAME.fullmatch(name):
            return Key(kind, name)
    return None


def _governs(document: Document) -> tuple[str, ...]:
    """The Datasets of what is meant to be a Policy, also where a field's name is mistaken; by its text where the syntax ends it early."""
    data = document.data
    if isinstance(data, dict) and any(map(_is_policy, _texts(data, "kind"))):
        parts = (data, *(part for part in data.values() if isinstance(part, dict)))
        if found := [_dataset(name) for part in parts for name in _texts(part, "dataset")]:
            return tuple(dict.fromkeys(found))
    return policies_meant(document.text) if document.broken else ()


def _texts(part: Mapping[Any, Any], field: str) -> Iterator[str]:
    """What stands under the field, or one that was to be it: a text, or a list of them."""
    for name, value in part.items():
        if isinstance(name, str) and is_slip(name, field):
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def policies_meant(text: str) -> tuple[str, ...]:
    """The Datasets that a text names which cannot be read as YAML and seems to hold Policies: rather one too many, since what nobody can
    read governs nothing, and would leave them open."""
    text = text.replace("\0", "")  # of UTF-16, its letters are left
    kinds = {found[1] for found in _KIND.finditer(text)}
    if len(kinds) <= MAX_KINDS and not any(map(_is_policy, kinds)):
        return ()
    return tuple(dict.fromkeys(_dataset(found[1]) for found in _DATASET.finditer(text)))


def _is_policy(kind: str) -> bool:
    """Whether it is what the kind is called, or was to be."""
    return kind == "Policy" or (kind not in KINDS and nearest(kind, KINDS) == "Policy")


def _dataset(name: str) -> str:
    """As a Dataset can be called: SQL's name of it, or one with capitals, is meant for the same."""
    return name.strip().lower().replace("_", "-")


def _problems(document: Document, built: list[Part]) -> Iterator[Problem]:
    """Every problem of a document; the models that came out well are put into `built`, the spec last."""
    data = document.data
    if not isinstance(data, dict):
        yield Problem((), "value", f"a document is an object with {', '.join(_FIELDS)}; found {found(data)}")
        return
    yield from _head(data)
    info = KINDS.get(data["kind"]) if isinstance(data.get("kind"), str) else None
    for name in data:
        if name not in _FIELDS:
            inside = info is not None and name in {field.alias for field in info.model.model_fields.values()}
            hint = "it belongs in `spec`" if inside else did_you_mean(name, _FIELDS) or f"valid here: {', '.join(_FIELDS)}"
            yield Problem((name,), "key", f"unknown field {quoted(name)}", hint)
    for name, model in (("metadata", Metadata), ("spec", info.model if info else None)):
        if name not in data:
            yield Problem((), "value", f"`{name}` is missing")
        elif model is not None:
            part, problems = validate(model, data[name], document.mark.children.get(name))
            built.extend([part] if part is not None else [])
            if isinstance(part, Spec) and (key := _readable_key(data)) is not None:
                problems = tuple(Problem(fault.at, "value", fault.message, fault.hint) for fault in part.faults_of(key.name))
            for problem in problems:
                yield _prefixed(name, problem)


def _prefixed(name: str, problem: Problem) -> Problem:
    message, hint = problem.message, problem.hint
    if name == "spec" and problem.at == "key" and problem.path in (("labels",), ("annotations",), ("name",)):
        hint = "it belongs in `metadata`"
    elif name == "metadata" and message.startswith("`spec`"):
        message = f"`metadata`{message[6:]}"
    elif name == "metadata" and message.startswith("`"):
        message = f"`metadata.{message[1:]}"
    elif name == "metadata" and message.startswith("unknown"):
        message = f"{message} in `metadata`" if len(problem.path) == 1 else message
    return Problem((name, *problem.path), problem.at, message, hint)


def _head(data: Mapping[str, Any]) -> Iterator[Problem]:
    version, kind = data.get("apiVersion"), data.get("kind")
    if "apiVersion" not in data:
        yield Problem((), "value", "`apiVersion` is missing", f"begin the document with apiVersion: {API_VERSION}")
    elif version != API_VERSION:
        yield Problem(("apiVersion",), "value", f"`apiVersion` must be {API_VERSION}; found {found(version)}")
    if "kind" not in data:
        yield Problem((), "value", "`kind` is missing", f"one of {', '.join(KINDS)}")
    elif not isinstance(kind, str):
        yield Problem(("kind",), "value", f"`kind` needs text; found {found(kind)}")
    elif kind not in KINDS:
        yield Problem(("kind",), "value", f"unknown kind {found(kind)}", did_you_mean(kind, KINDS) or f"one of {', '.join(KINDS)}")
