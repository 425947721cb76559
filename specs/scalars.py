"""The small values that specs are made of: names, durations, sizes, lists that may be written as one entry.

Each type refuses with a sentence of ours, and describes itself in JSON Schema so that editors complete and check it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
    Tag,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from specs import durations, sizes
from specs.column_types import PATTERN as COLUMN_TYPE_PATTERN
from specs.column_types import ColumnTypeInvalid, parse_column_type
from specs.model import FORM, refuse
from specs.roles import OPERATOR
from specs.wording import found

T = TypeVar("T")

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_DNS_LABEL = re.compile(DNS_LABEL)
TEXT_FORM, OBJECT_FORM = "<text>", "<object>"
"""Tags of unions of a word and an object; `specs.schema.data_path` takes them out of paths."""


def check_name(text: str) -> str:
    """A DNS label, or a refusal that offers one."""
    if _DNS_LABEL.fullmatch(text):
        return text
    offer = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    message = f"must be lower-case letters, digits and hyphens, at most 63, no hyphen at either end; found {found(text)}"
    raise refuse(message, f"did you mean `{offer}`?" if offer and len(text) <= 80 else None)


def plain_path(text: str) -> str:
    """A path without `.` and empty segments, so that one place has one name; `.` if nothing is left.

    `..` is not resolved: where a link is on the way it leads elsewhere.
    """
    if "\0" in text:
        raise refuse("holds the character 0x00, which no path may hold")
    root = "/" if text.startswith("/") else ""
    return root + "/".join(segment for segment in text.split("/") if segment not in ("", ".")) or "."


def _not_empty(value: Any) -> Any:
    if value is None:
        raise refuse("is empty", "give it a value or leave it out")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    seen: set[T] = set()
    for value in values:
        if value in seen:
            raise refuse(f"names `{value}` twice")
        seen.add(value)
    return values


class _OneOrManySchema:
    """Says in JSON Schema that one entry may stand without brackets."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = {**handler(schema), "uniqueItems": True}
        return {"anyOf": [many["items"], many]}


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise refuse(f"needs a duration with its unit; found {found(value)}", "write it as in 30s, 10m, 1h30m or 7d")
    try:
        return durations.parse_duration(value)
    except durations.DurationInvalid as error:
        raise refuse(f"needs a duration; found {found(value)}", "write it as in 30s, 10m, 1h30m or 7d") from error


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        return sizes.parse_size(str(value))
    except sizes.SizeInvalid as error:
        raise refuse(f"needs a size; found {found(value)}", "write it as in 512MiB or 4GiB") from error


def _column_type(text: str) -> str:
    try:
        return parse_column_type(text)
    except ColumnTypeInvalid as error:
        raise refuse(f"{error}; found {found(text)}", error.remedy) from error


def _moment(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if value == "latest":
        return "latest"
    try:
        return datetime.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise refuse(f"needs latest, a version or a time; found {found(value)}", "write a time as in 2026-01-31T12:00:00Z") from None


def form_of(value: Any) -> str | None:
    """Which member of a union of a word and an object a value is meant to be."""
    if isinstance(value, str):
        return TEXT_FORM
    return None if value is None or isinstance(value, (int, float, list)) else OBJECT_FORM


def word_or_object(message: str) -> Discriminator:
    """The discriminator of such a union; `message` says what is needed when a value is neither."""
    return Discriminator(form_of, custom_error_type=FORM, custom_error_message=message)


Word = Tag(TEXT_FORM)
Object = Tag(OBJECT_FORM)

Opt = Annotated[T | None, BeforeValidator(_not_empty)]
"""May be left out (None), but may not be written as an empty value."""
Text = Annotated[str, Field(min_length=1)]


def _given_by_specs(role: str) -> str:
    if role == OPERATOR:
        raise refuse(f"may not be `{OPERATOR}`, which is reserved for the lake's operator", "call the role by another name")
    return role


Role = Annotated[Text, AfterValidator(_given_by_specs)]
Sequence = Annotated[tuple[T, ...], Strict(False)]
OneOrMany = Annotated[
    tuple[T, ...], Strict(False), Field(min_length=1), BeforeValidator(_listed), AfterValidator(_each_once), _OneOrManySchema()
]
"""A list of at least one entry, each once; a single entry may be written without brackets."""

NAME_SCHEMA = {"type": "string", "pattern": DNS_LABEL, "x-type": "name"}
Name = Annotated[str, AfterValidator(check_name), WithJsonSchema(NAME_SCHEMA)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(durations.format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": durations.PATTERN, "examples": ["30s", "10m", "7d"], "x-type": "duration"}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": sizes.PATTERN, "minimum": 0, "examples": ["512MiB", "4GiB"], "x-type": "size"}
    ),
]
ColumnType = Annotated[
    str,
    AfterValidator(_column_type),
    WithJsonSchema(
        {"type": "string", "pattern": COLUMN_TYPE_PATTERN, "examples": ["string", "int64", "decimal(10,2)"], "x-type": "column type"}
    ),
]
Moment = Annotated[
    int | str,
    BeforeValidator(_moment),
    WithJsonSchema(
        {"type": ["string", "integer"], "examples": ["latest", 12, "2026-01-31T12:00:00Z"], "x-type": "latest, version or time"}
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
Sensitivity = Literal["pii", "phi", "financial", "internal", "public"]
