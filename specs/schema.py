"""The kinds as JSON Schema, for editors, and as a tree of fields, for `lakectl explain`.

Both come from the same models that validate, so they cannot say anything else.

Read next: `specs.model` (where single types describe themselves), `specs.validation` (which asks here for valid fields).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from specs.durations import format_duration
from specs.errors import SpecInvalid
from specs.metadata import Metadata
from specs.registry import API_VERSION, KINDS, find_kind
from specs.suggestions import did_you_mean

Path = tuple[str | int, ...]
_DIALECT = "http://json-schema.org/draft-07/schema#"
_ENTRY = "*"


class FieldUnknown(SpecInvalid):
    """A path that leads to no field of its kind."""

    slug = "field-unknown"


@dataclass(frozen=True, slots=True)
class FieldHelp:
    """One field: YAML name, dotted path, type in words, whether it must be given, default as YAML (None: none), what it holds."""

    name: str
    path: str
    type: str
    required: bool
    default: str | None
    description: str
    fields: tuple[FieldHelp, ...] = ()


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of whole documents of one kind. Raises KindUnknown."""
    info = find_kind(kind)
    return {"$schema": _DIALECT, **_document_schema(info.kind)}


def json_schemas() -> dict[str, dict[str, Any]]:
    """File name to schema: one a kind, and `lakehouse.json`, which tells the kinds apart and so fits files of many documents."""
    every: dict[str, Any] = {
        "$schema": _DIALECT,
        "title": "Lakehouse",
        "description": "A document of any kind.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(KINDS), "description": "What the document is about."}},
        "allOf": [
            {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}} for kind in KINDS
        ],
        "$defs": {},
    }
    for kind in KINDS:
        schema = _document_schema(kind)
        for name, definition in schema.pop("$defs").items():
            every["$defs"].setdefault(name, definition)
        every["$defs"][kind] = schema
    return {f"{kind}.json": json_schema(kind) for kind in KINDS} | {"lakehouse.json": every}


def explain(kind: str, path: str | None = None) -> FieldHelp:
    """The tree of fields of a kind, or of one dotted field (`spec.` in front may be left out). Raises KindUnknown, FieldUnknown."""
    info = find_kind(kind)
    schema = model_schema(info.model)
    names = [name for name in (path or "").split(".") if name]
    if names[:1] == ["metadata"]:
        schema, names = model_schema(Metadata), names[1:]
        node: Mapping[str, Any] = schema
    else:
        node = schema
        names = names[1:] if names[:1] == ["spec"] else names
    taken: list[str] = []
    required = True
    for name in names:
        fields = _fields(schema, node)
        if name not in fields:
            where = ".".join([info.kind, *taken])
            remedy = did_you_mean(name, fields) or (f"Fields there: {', '.join(sorted(fields))}." if fields else "It has no fields.")
            raise FieldUnknown(f"`{where}` has no field `{name[:64]}`.", remedy=remedy)
        required = name in _entries(schema, node).get("required", ())
        node = fields[name]
        taken.append(name)
    if not taken:
        top = _help(schema, node, info.kind, "", True)
        return FieldHelp(info.kind, "", "kind", True, None, info.summary, top.fields)
    return _help(schema, node, taken[-1], ".".join(taken[:-1]), required)


class _Generator(GenerateJsonSchema):
    """pydantic's schemas, with durations as specs write them."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@cache
def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model in YAML names, with `$defs`. Shared: not to be changed."""
    schema: dict[str, Any] = _without_null(model.model_json_schema(by_alias=True, schema_generator=_Generator))
    return schema


def fields_at(model: type[BaseModel], path: Path) -> tuple[str, ...]:
    """The YAML names of the fields that may stand in the object at `path`; empty where any may, or where no object stands."""
    schema = model_schema(model)
    node = _node_at(schema, path)
    return tuple(name for name in _fields(schema, node) if name != _ENTRY) if node is not None else ()


def may_be_empty_object(model: type[BaseModel], path: Path) -> bool:
    """Whether `{}` may stand at `path`."""
    schema = model_schema(model)
    node = _node_at(schema, path)
    form = _object_of(schema, node) if node is not None else {}
    return bool(form) and not form.get("required") and "oneOf" not in form


def takes_numbers(model: type[BaseModel], path: Path) -> bool:
    """Whether the entries of the list at `path` may be numbers."""
    schema = model_schema(model)
    node = _node_at(schema, path)
    items = _items(schema, node) if node is not None else None
    return items is not None and any(form.get("type", "number") in ("number", "integer") for form in _choices(schema, items))


def example_at(model: type[BaseModel], path: Path) -> Any:
    """What may stand at `path`, for example; None where the field says nothing."""
    node = _node_at(model_schema(model), path) or {}
    return next(iter(node.get("examples", ())), None)


def is_map(model: type[BaseModel], path: Path) -> bool:
    """Whether an object of free names stands at `path`."""
    schema = model_schema(model)
    node = _node_at(schema, path)
    return node is not None and _ENTRY in _fields(schema, node)


def data_path(model: type[BaseModel], location: Path) -> Path:
    """pydantic's location of a fault as a path through the data.

    pydantic puts the tag of the form taken between a union and what is in it. It is told by the schema, not by its text: a field of a
    user may be called like a tag.
    """
    schema = model_schema(model)
    node: Mapping[str, Any] | None = schema
    path: list[str | int] = []
    for step in location:
        if node is not None and _is_tagged(form := _resolve(schema, node)):
            node = _object_of(schema, form)
        else:
            path.append(step)
            node = _step(schema, node, step) if node is not None else None
    return tuple(path)


def _is_tagged(form: Mapping[str, Any]) -> bool:
    """Whether a schema is a union of a word and an object; `oneOf` beside fields says which of them exclude each other."""
    return "oneOf" in form and "properties" not in form


def _node_at(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    node: Mapping[str, Any] | None = schema
    for step in path:
        node = _step(schema, node, step) if node is not None else None
    return node


def _step(schema: Mapping[str, Any], node: Mapping[str, Any], step: str | int) -> Mapping[str, Any] | None:
    if isinstance(step, int):
        return _items(schema, node)
    fields = _fields(schema, node)
    return fields.get(step) or fields.get(_ENTRY)


@lru_cache(maxsize=256)
def places_of(model: type[BaseModel], name: str) -> tuple[str, ...]:
    """The dotted paths of objects in a kind in which a field of this YAML name may stand; the empty path is the spec itself."""
    schema = model_schema(model)
    return tuple(sorted(set(_places(schema, schema, name, "", 0)), key=lambda path: (path.count("."), path)))


def _places(schema: Mapping[str, Any], node: Mapping[str, Any], name: str, path: str, depth: int) -> Iterator[str]:
    fields = _fields(schema, node)
    if name in fields:
        yield path
    if depth < 6:
        for field, inner in fields.items():
            yield from _places(schema, inner, name, f"{path}.{field}".lstrip("."), depth + 1)


def _document_schema(kind: str) -> dict[str, Any]:
    spec, metadata = deepcopy(model_schema(KINDS[kind].model)), deepcopy(model_schema(Metadata))
    definitions = {**spec.pop("$defs", {}), **metadata.pop("$defs", {})}
    return {
        "title": kind,
        "description": KINDS[kind].summary,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION, "title": "API version", "description": "The version of the format."},
            "kind": {"const": kind, "title": "Kind", "description": "What the document is about."},
            "metadata": metadata,
            "spec": spec,
        },
        "$defs": definitions,
    }


def _without_null(node: Any) -> Any:
    """The schema without the nulls that pydantic adds for optional fields: an empty value is refused."""
    if isinstance(node, list):
        return [_without_null(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    plain = {
        key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None) and key != "discriminator"
    }
    choices = plain.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del plain["anyOf"]
        return {**(rest[0] if len(rest) == 1 else {"anyOf": rest}), **plain}
    return plain


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        target: Mapping[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return {**_resolve(schema, target), **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _choices(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The forms that a value may take, unions opened."""
    node = _resolve(schema, node)
    choices = node["oneOf"] if _is_tagged(node) else node.get("anyOf")
    return [form for choice in choices for form in _choices(schema, choice)] if choices else [node]


def _object_of(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    forms = _choices(schema, node)
    return next((form for form in forms if "properties" in form or "additionalProperties" in form), {})


def _entries(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that a value is, or that each entry of a list is."""
    items = None if _object_of(schema, node) else _items(schema, node)
    return _object_of(schema, node) if items is None else _entries(schema, items)


def _items(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((form["items"] for form in _choices(schema, node) if isinstance(form.get("items"), dict)), None)


def _fields(schema: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The fields of an object, those of a list's entries, or `*` for the entries of a map and, with it, their fields."""
    here = _object_of(schema, node)
    if "properties" in here:
        return dict(here["properties"])
    if isinstance(here.get("additionalProperties"), dict):
        return {_ENTRY: here["additionalProperties"]}
    items = _items(schema, node)
    return _fields(schema, items) if items is not None else {}


def _help(schema: Mapping[str, Any], node: Mapping[str, Any], name: str, parent: str, required: bool) -> FieldHelp:
    path = f"{parent}.{name}" if parent else name
    inner = "" if not parent and "properties" in node and "$defs" in node else path
    needed = _entries(schema, node).get("required", ())
    fields = tuple(_help(schema, field, key, inner, key in needed) for key, field in _fields(schema, node).items() if key != _ENTRY)
    if not fields and _ENTRY in (entries := _fields(schema, node)) and _fields(schema, entries[_ENTRY]):
        fields = (_help(schema, entries[_ENTRY], _ENTRY, inner, False),)
    resolved = _resolve(schema, node)
    return FieldHelp(name, path, type_words(schema, node), required, _default_words(resolved), resolved.get("description", ""), fields)


def type_words(schema: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The type of a field in words: `list of text`, `duration`, `one of append, upsert, replace`."""
    forms = _choices(schema, node)
    words: list[str] = []
    for form in forms:
        word = _form_words(schema, form)
        if word not in words:
            words.append(word)
    if len(words) == 2 and words[1] == f"list of {words[0]}":
        return f"{words[0]}, or a list of such"
    return " or ".join(words)


def _form_words(schema: Mapping[str, Any], form: Mapping[str, Any]) -> str:
    if "x-type" in form:
        return str(form["x-type"])
    if "const" in form:
        return f"`{form['const']}`"
    if "enum" in form:
        return f"one of {', '.join(str(entry) for entry in form['enum'] if entry is not None)}"
    match form.get("type"):
        case "array":
            return f"list of {type_words(schema, form['items'])}" if form.get("items") else "list"
        case "object":
            entries = form.get("additionalProperties")
            return f"map of {type_words(schema, entries)}" if isinstance(entries, dict) and entries else "object"
        case "integer":
            return "whole number"
        case "string":
            return "text"
        case "boolean":
            return "true or false"
        case "number":
            return "number"
        case _:
            return "any value"


def _default_words(node: Mapping[str, Any]) -> str | None:
    if "default" not in node:
        return None
    if node["default"] in ([], {}, ""):
        return None
    match node["default"]:
        case bool(value):
            return "true" if value else "false"
        case dict(fields):
            shown = {key: value for key, value in fields.items() if value not in (None, [], {})}
            return "{" + ", ".join(f"{key}: {_default_words({'default': value})}" for key, value in shown.items()) + "}"
        case list(entries):
            return "[" + ", ".join(map(str, entries)) + "]"
        case str(text) if text.isspace():
            return f'"{text}"'
        case value:
            return str(value)
