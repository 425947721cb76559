"""The base of every spec model: strict, frozen, camelCase in YAML, and every fault of an object reported at once.

pydantic stops before a model's own checks when one of its fields is wrong. A user would then fix one error only to meet
the next, so the checks that span fields (`one_of`, `rules`) look at the plain data and their faults are merged with those
of the fields.

What is not here: no model reads files, the clock or another resource. Whether a reference exists is the reconciler's question.

Read next: `specs.scalars` (names, durations, sizes), `specs.validation` (pydantic's errors in plain words).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from specs.wording import found
from specs.yaml_source import MAX_FAULTS

RULE = "lakehouse_rule"
"""The error type of our own sentences inside pydantic's errors."""
FORM = "lakehouse_form"
"""The error type of a value that is neither form of a union of a word and an object."""


class Fault(NamedTuple):
    """Something wrong across fields: a sentence, the path from this object to the place, and perhaps a way out."""

    message: str
    at: tuple[str | int, ...] = ()
    hint: str | None = None


def refuse(message: str, hint: str | None = None) -> PydanticCustomError:
    """The exception with which a validator of one value refuses it; the field's name is put before the message."""
    return PydanticCustomError(RULE, "{message}", {"message": message, "hint": hint, "named": False})


def _title(name: str, _: object) -> str:
    return name.replace("_", " ").strip().capitalize()


class Part(BaseModel):
    """An object within a spec. YAML names are the camelCase of the Python names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, field_title_generator=_title, defer_build=True
    )

    one_of: ClassVar[tuple[str, ...]] = ()
    """YAML names of which exactly one must be given."""
    shorthand: ClassVar[str | None] = None
    """The YAML name that a plain text stands for: `string` for `{type: string}`."""

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Faults across fields, found in the plain data by YAML names. Values may be of any type: the fields are checked apart.

        Not asked for more faults than are told.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_fault(cls, given: Any, build: ModelWrapValidatorHandler[Part]) -> Part:
        if cls.shorthand is not None and isinstance(given, str):
            given = {cls.shorthand: given}
        if cls.shorthand is not None and not isinstance(given, (dict, cls)):
            raise refuse(f"needs its {cls.shorthand} as text, or an object; found {found(given)}")
        if not isinstance(given, dict):
            return build(given)
        faults = [*_exactly_one(cls.one_of, given), *islice(cls.rules(given), MAX_FAULTS)]
        if not faults:
            return build(given)
        details = [_detail(fault, given) for fault in faults]
        try:
            build(given)
        except ValidationError as error:
            details.extend(_again(item) for item in error.errors(include_url=False))
        raise ValidationError.from_exception_data(cls.__name__, details)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.one_of:
            schema["oneOf"] = [{"required": [name]} for name in cls.one_of]
        if cls.shorthand is None:
            return schema
        text = {key: value for key, value in schema["properties"][cls.shorthand].items() if key not in ("title", "default")}
        return {"anyOf": [text, dict(schema)], "title": schema.get("title", ""), "description": schema.get("description", "")}


class Spec(Part):
    """The `spec` of one kind."""

    def faults_of(self, name: str) -> Iterator[Fault]:
        """Faults that only the object's own name or several parts together show. Asked of a spec that is valid else."""
        yield from ()


def dump(part: Part, *fields: str, mode: Literal["json"] = "json") -> dict[str, Any]:
    """The given Python fields as plain data under their YAML names, without what equals its default; for digests."""
    return part.model_dump(mode=mode, by_alias=True, include=set(fields) if fields else None, exclude_defaults=True)


def _exactly_one(names: tuple[str, ...], given: Mapping[str, Any]) -> Iterator[Fault]:
    there = [name for name in names if name in given]
    if names and len(there) != 1:
        yield Fault(f"exactly one of {', '.join(names)} is needed; found {' and '.join(there) or 'none'}")


def _detail(fault: Fault, given: object) -> InitErrorDetails:
    error = PydanticCustomError(RULE, "{message}", {"message": fault.message, "hint": fault.hint, "named": True, "depth": len(fault.at)})
    return InitErrorDetails(type=error, loc=fault.at, input=given)


def _again(item: Any) -> InitErrorDetails:
    """The details from which pydantic reported `item`, so that it can be reported together with ours."""
    context = item.get("ctx", {})
    ours = item["type"] in (RULE, FORM)
    kind = PydanticCustomError(item["type"], "{message}", {**context, "message": item["msg"]}) if ours else item["type"]
    return InitErrorDetails(type=kind, loc=item["loc"], input=item["input"], ctx=context)
