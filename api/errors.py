"""What can be wrong with a request before any engine sees it.

    LakehouseError
    └── ApiError                    carries the HTTP status it ends as
        ├── BodyMalformed           400  not JSON
        ├── FieldsInvalid           422  JSON, but fields are unknown, missing or of another type; names each
        │   └── ParametersInvalid   400  the same of the query string
        ├── BodyTooLarge            413
        ├── BodyUnsupported         415  a content type that is not JSON
        ├── CodingUnsupported       415  compressed in a way that is not known here
        ├── ExpectationRefused      417  an Expect that is not 100-continue
        ├── NotAcceptable           406  no format that the client accepts
        ├── RouteUnknown            404
        ├── MethodRefused           405
        ├── HostRefused             403  a Host or Origin that a page of another site would send
        ├── DatasetUnknown          404
        ├── BucketNotFound          404
        ├── ModelUnknown            404
        ├── ObjectNotFound          404
        ├── KeyRefused              400  no key that an object may have
        ├── RangeInvalid            416  no part of the object
        ├── ObjectReplaced          503  it changed between two looks
        ├── ReadRefused             403  this reader may not see it
        ├── NotReady                503  the first pass over all objects is not done
        ├── TooBusy                 503  more requests at once than allowed
        ├── RequestTimeout          504  the whole request took too long
        └── Defect                  500  an error that is none of ours

Next: `problems.py`, which turns these and every other room's errors into problem documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from specs.errors import LakehouseError


class ApiError(LakehouseError):
    """A request that cannot be served as it was sent."""

    slug = "request-refused"
    status: ClassVar[int] = 400

    @property
    def headers(self) -> Mapping[str, str]:
        """What the response carries besides the document."""
        return {}

    @property
    def extensions(self) -> Mapping[str, Any]:
        """Further members of the problem document."""
        return {}


class BodyMalformed(ApiError):
    """The body is no JSON at all."""

    slug = "body-malformed"


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field that does not fit. field: as a path, "params.city"; hint: the field that was probably meant, as a sentence."""

    field: str
    message: str
    hint: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As an entry of `errors` in the problem document."""
        entry: dict[str, Any] = {"field": self.field, "message": self.message}
        return entry | {"hint": self.hint} if self.hint else entry

    def __str__(self) -> str:
        sentence = f"{self.field}: {self.message}" if self.field else self.message
        return f"{sentence}; {self.hint}" if self.hint else sentence


class FieldsInvalid(ApiError):
    """The body is JSON and does not say what the route needs. The message names the first fault, `errors` those that were looked at.

    count: of all faults there are, where more are known than `faults` tells.
    """

    slug = "body-invalid"
    status = 422

    def __init__(self, faults: Sequence[FieldFault], count: int | None = None) -> None:
        more = (count or len(faults)) - 1
        super().__init__(f"{faults[0]} (and {more} more)." if more else str(faults[0]))
        self.faults = tuple(faults)

    @property
    def extensions(self) -> Mapping[str, Any]:
        """The faults, in the order of the model's fields."""
        return {"errors": [fault.to_document() for fault in self.faults]}


class ParametersInvalid(FieldsInvalid):
    """A parameter of the query string is unknown, given twice, or of another type."""

    slug = "parameters-invalid"
    status = 400


class BodyTooLarge(ApiError):
    """The body has more bytes than the limit."""

    slug = "body-too-large"
    status = 413
    remedy = "`limits.bodyBytes` in lakehouse.yaml is the limit."


class BodyUnsupported(ApiError):
    """The body's content type is not JSON."""

    slug = "body-unsupported"
    status = 415
    remedy = "Send JSON with the header `Content-Type: application/json`."


class CodingUnsupported(ApiError):
    """The body is compressed in a way that cannot be undone. known: the ways that can."""

    slug = "coding-unsupported"
    status = 415

    def __init__(self, message: str, known: Sequence[str]) -> None:
        super().__init__(message, remedy=f"Send it as it is, or compressed with {' or '.join(known)}.")
        self.known = tuple(known)

    @property
    def headers(self) -> Mapping[str, str]:
        """RFC 9110 15.5.16: what would have been accepted."""
        return {"Accept-Encoding": ", ".join(self.known)}


class ExpectationRefused(ApiError):
    """The header Expect asks for something that this server does not do."""

    slug = "expectation-refused"
    status = 417
    remedy = "Leave the header out, or send `Expect: 100-continue`."


class NotAcceptable(ApiError):
    """The Accept header names no format that this route has."""

    slug = "not-acceptable"
    status = 406


class RouteUnknown(ApiError):
    """Nothing answers under this path."""

    slug = "route-unknown"
    status = 404
    remedy = "GET /openapi.json lists every route."


class MethodRefused(ApiError):
    """The path is known, the method is not. allowed: the methods that are, as in the header Allow."""

    slug = "method-refused"
    status = 405

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not allowed on {path}.", remedy=f"Use {' or '.join(allowed)}.")
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> Mapping[str, str]:
        """RFC 9110 wants Allow with a 405."""
        return {"Allow": ",".join(self.allowed)}


class HostRefused(ApiError):
    """The request came through a name or a page that this listener does not serve."""

    slug = "host-refused"
    status = 403


class DatasetUnknown(ApiError):
    """No dataset has this name, or none that this reader may know of."""

    slug = "dataset-unknown"
    status = 404
    remedy = "GET /catalog/datasets lists the datasets."


class ModelUnknown(ApiError):
    """No model has this name, or none that this reader may know of."""

    slug = "model-unknown"
    status = 404
    remedy = "GET /models lists the models."


class BucketNotFound(ApiError):
    """No bucket has this name, or none that this reader may know of."""

    slug = "bucket-not-found"
    status = 404
    remedy = "GET /storage/buckets lists the buckets."


class ObjectNotFound(ApiError):
    """Nothing lies under this key."""

    slug = "object-not-found"
    status = 404


class KeyRefused(ApiError):
    """The key cannot be one of an object: it is absolute, leaves its bucket, or is not for clients."""

    slug = "key-refused"


class RangeInvalid(ApiError):
    """The header Range asks for no part of the object. size: of the object."""

    slug = "range-invalid"
    status = 416

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message, remedy="Ask for one range, as in `Range: bytes=0-1023`.")
        self.size = size

    @property
    def headers(self) -> Mapping[str, str]:
        """RFC 9110 15.5.17 wants the size with a 416."""
        return {"Content-Range": f"bytes */{self.size}"}


class ObjectReplaced(ApiError):
    """The object changed between two looks at it."""

    slug = "object-replaced"
    status = 503
    remedy = "Ask again."


class ReadRefused(ApiError):
    """The reader may not see what was asked for."""

    slug = "read-refused"
    status = 403


class NotReady(ApiError):
    """reasons: what is still missing, one sentence each."""

    slug = "not-ready"
    status = 503

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = tuple(reasons)

    @property
    def headers(self) -> Mapping[str, str]:
        """Worth asking again soon."""
        return {"Retry-After": "1"}

    @property
    def extensions(self) -> Mapping[str, Any]:
        """The reasons one by one."""
        return {"reasons": list(self.reasons)}


class TooBusy(ApiError):
    """As many requests are being answered as may be at once."""

    slug = "too-busy"
    status = 503

    @property
    def headers(self) -> Mapping[str, str]:
        """Worth asking again soon."""
        return {"Retry-After": "1"}


class RequestTimeout(ApiError):
    """The request, reading its body included, took longer than one may."""

    slug = "request-timeout"
    status = 504


class Defect(ApiError):
    """Something failed that no error of ours describes; its text stays in the log."""

    slug = "internal-error"
    status = 500
