"""What comes in and what goes out: JSON read into models, query strings too, and the choice of a format for the answer.

Unknown fields are faults that name the nearest known one. It refuses to know any route or engine. Next: `query.py`, which uses all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Annotated, Any, TypeAlias, TypeVar

import orjson
from aiohttp import web
from annotated_types import Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from api.encodings import decompressed
from api.errors import BodyMalformed, BodyUnsupported, FieldFault, FieldsInvalid, NotAcceptable, ParametersInvalid
from specs.suggestions import did_you_mean

JSON = "application/json"


def _numbered(value: object) -> object:
    """What pydantic would take true for is version 1."""
    parts = value.values() if isinstance(value, Mapping) else (value,)
    if any(isinstance(part, bool) for part in parts):
        raise ValueError("must name a number, not true or false")
    return value


Moments: TypeAlias = Annotated[int | str | dict[str, int | str], BeforeValidator(_numbered)]
"""A version or an instant, of all tables or by table."""
Schemas: TypeAlias = Annotated[int | dict[str, int], BeforeValidator(_numbered)]
"""A schema's id, of all tables or by table."""

_JSON_HEADERS = {"Content-Type": JSON}

_WEIGHT = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")

_FAULTS_TOLD = 20
"""A body of one MB can hold 100 000 faults: telling all would take a second of the loop, and four MB."""


class Document(BaseModel):
    """Base of every request and response: camelCase outside, frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class NoParameters(Document):
    """A route without parameters."""


Model = TypeVar("Model", bound=Document)


def at_most(model: type[Model], name: str, most: int) -> type[Model]:
    """The model with a bound on one of its numbers, which its default keeps too. Bounds are known when an app is made, not before."""
    field = copy(model.model_fields[name])
    field.default = min(field.default, most)
    field.metadata = [*field.metadata, Le(most)]
    bounded: dict[str, Any] = {name: (field.annotation, field)}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **bounded)


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """The body as a model. Raises BodyUnsupported, CodingUnsupported, BodyMalformed, BodyTooLarge, FieldsInvalid."""
    if "Content-Type" in request.headers and request.content_type != JSON:
        raise BodyUnsupported(f"A body of type {request.content_type} cannot be read.")
    received = await request.read()  # aiohttp raises 413 by itself
    body = decompressed(received, request.headers.get("Content-Encoding", ""), request.client_max_size)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        if faults[0]["type"] == "json_invalid":
            raise BodyMalformed(f"The body is no JSON: {faults[0]['ctx']['error']}.") from error
        raise FieldsInvalid(*_told(faults, model)) from error


def as_model(given: Mapping[str, Any], model: type[Model]) -> Model:
    """What another than a request gives. Raises FieldsInvalid."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise FieldsInvalid(*_told(error.errors(include_url=False, include_input=False), model)) from error


def read_parameters(request: web.Request, model: type[Model]) -> Model:
    """The query string as a model. Raises ParametersInvalid."""
    given = request.query
    repeated = [name for name in given if len(given.getall(name)) > 1]
    if repeated:
        raise ParametersInvalid([FieldFault(repeated[0], "is given more than once")])
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise ParametersInvalid(*_told(error.errors(include_url=False, include_input=False), model)) from error


def _told(faults: Sequence[ErrorDetails], model: type[BaseModel]) -> tuple[list[FieldFault], int]:
    """The first faults in words, and how many there are."""
    return [_fault(fault, model) for fault in faults[:_FAULTS_TOLD]], len(faults)


def _fault(fault: ErrorDetails, model: type[BaseModel]) -> FieldFault:
    place = ".".join(str(part) for part in fault["loc"])
    match fault["type"]:
        case "extra_forbidden":
            known = [field.alias or name for name, field in model.model_fields.items()]
            return FieldFault(place, "is not a known field", did_you_mean(str(fault["loc"][-1]), known) or f"known are {', '.join(known)}")
        case "less_than_equal":
            return FieldFault(place, f"must be at most {fault['ctx']['le']}")
        case "missing":
            return FieldFault(place, "is missing")
        case "model_type":
            return FieldFault(place, "The body must be a JSON object.")
        case "value_error":
            return FieldFault(place, str(fault["ctx"]["error"]))
        case _:
            return FieldFault(place, fault["msg"][:1].lower() + fault["msg"][1:])


def answer(content: object, *, status: int = 200) -> web.Response:
    """A JSON response. Large contents are better encoded in a thread and passed to `encoded`."""
    return web.Response(status=status, body=orjson.dumps(content), headers=_JSON_HEADERS)


def encoded(body: bytes, media_type: str = JSON, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response whose body is bytes already."""
    return web.Response(body=body, headers={"Content-Type": media_type, **(headers or {})})


def preferred(request: web.Request, offered: Sequence[str]) -> str:
    """The offered media type that Accept likes best; the first one if it has no say. Raises NotAcceptable."""
    accept = ", ".join(request.headers.getall("Accept", ())).strip()
    if accept in {"", "*/*"}:
        return offered[0]
    wanted = [_weighed(item) for item in accept.split(",")]
    ranked = [(max((_weight(media, kind, weight) for media, weight in wanted), default=(-1, 0.0))[1], kind) for kind in offered]
    best = max(weight for weight, _ in ranked)
    if best <= 0:
        raise NotAcceptable(f"No answer can be given as {accept}.", remedy=f"Accept {', '.join(offered)}.")
    return next(kind for weight, kind in ranked if weight == best)


def _weighed(item: str) -> tuple[str, float]:
    """A media range and its weight; what is no weight (RFC 9110 12.4.2) wants nothing of it."""
    media, *parameters = (part.strip().lower() for part in item.split(";"))
    weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    return media, float(weight) if _WEIGHT.fullmatch(weight) else 0.0


def _weight(media: str, kind: str, weight: float) -> tuple[int, float]:
    """How exactly the range names the type (the most exact range decides, RFC 9110 12.5.1), and its weight."""
    if media == kind:
        return 2, weight
    if media == f"{kind.partition('/')[0]}/*":
        return 1, weight
    return (0, weight) if media == "*/*" else (-1, 0.0)
