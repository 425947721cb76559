"""Errors as problem documents (RFC 9457): one table of statuses, one middleware. Nothing else in this room may catch Exception.

A document has `type` ("urn:lakehouse:problem:<slug>", stable), `title`, `status`, `detail`, and a `remedy` where there is one; some kinds
add members of their own. Clients decide by `type`; the other texts are for people. An error that is not ours is a defect: the client gets a
number to quote and no text of it, the log gets the rest.

It refuses to know any route. Next: `errors.py` for this room's errors, `app.py` for where the middleware stands.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict

from api.errors import ApiError, BodyMalformed, BodyTooLarge, Defect, ExpectationRefused, MethodRefused, RouteUnknown
from engines import errors as engine
from specs.errors import LakehouseError, SpecInvalid
from state import errors as state
from state.streams.schemas import StreamInvalid

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:lakehouse:problem:"

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """A problem document (RFC 9457). Members beyond these depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    remedy: str | None = None


STATUSES: Mapping[type[LakehouseError], int] = {
    LakehouseError: 500,
    SpecInvalid: 400,
    StreamInvalid: 400,
    state.BucketUnavailable: 503,
    state.DiskFull: 503,
    state.ObjectMissing: 503,
    state.ObjectCorrupt: 503,
    engine.QueryInvalid: 400,
    engine.QueryForbidden: 403,
    engine.QueryTimeout: 504,
    engine.QueryTooLarge: 422,
    engine.QueryMemory: 422,
    engine.QueryCancelled: 503,
    engine.WorkerCrashed: 422,  # of what it was asked to run: the message names the cause
    engine.WorkersBusy: 503,
    engine.ReaderRefused: 403,
    engine.TokenRefused: 401,
    engine.ProfileUnknown: 404,
    engine.ReadersClosed: 503,
    engine.QuotaExceeded: 429,
    engine.TableUnknown: 404,
    engine.VersionUnknown: 404,
    engine.IndexUnknown: 404,
    engine.PolicyUnknown: 404,
    engine.IndexNotServing: 503,
    engine.SearchInvalid: 400,
    engine.ModelMismatch: 422,
    engine.ModelUnavailable: 503,
    engine.AuditUnavailable: 503,
    engine.EngineUnsupported: 501,
}
"""The status of each branch of the error trees; what is not listed has that of its parent."""

_RETRY = {"Retry-After": "1"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="lakehouse"'}


def status_of(error: LakehouseError) -> int:
    """The HTTP status an error ends as."""
    if isinstance(error, ApiError):
        return error.status
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def document(error: LakehouseError) -> dict[str, Any]:
    """The problem document of one of our errors."""
    content: dict[str, Any] = {
        "type": PREFIX + error.slug,
        "title": error.slug.replace("-", " ").capitalize(),
        "status": status_of(error),
        "detail": _utf8(str(error)),
    }
    if error.remedy:
        content["remedy"] = _utf8(error.remedy)
    if isinstance(error, ApiError):
        content |= error.extensions
    return content


def _utf8(text: str) -> str:
    """Bytes that are no text, in a header or a file's name, stand in texts as lone surrogates, which no JSON can hold: escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def response(error: LakehouseError) -> web.Response:
    """The HTTP response of one of our errors."""
    content = document(error)
    headers = {"Content-Type": MEDIA_TYPE}
    match error:
        case ApiError():
            headers |= error.headers
        case engine.TokenRefused():
            headers |= _CHALLENGE
        case engine.QuotaExceeded():
            headers |= {"Retry-After": str(error.retry_after)}
        case _ if content["status"] == 503:
            headers |= _RETRY
    return web.Response(status=content["status"], body=orjson.dumps(content), headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error with its problem document; what is not ours becomes a 500 with a number that the log repeats."""
    try:
        return await handler(request)
    except LakehouseError as error:
        if status_of(error) == 500:
            _log.error("%s %s: %s", request.method, request.rel_url.raw_path, error, exc_info=error)
        return response(error)
    except web.HTTPException as error:
        return response(_translated(request, error))
    except Exception as error:  # noqa: BLE001 - the boundary: behind it is only the client
        number = uuid4().hex[:12]
        _log.exception("%s %s failed; incident %s", request.method, request.rel_url.raw_path, number)
        return response(Defect(f"This is a defect in Lakehouse ({type(error).__name__}).", remedy=f"Its log has incident {number}."))


def _translated(request: web.Request, error: web.HTTPException) -> LakehouseError:
    """aiohttp's own refusals, in our words."""
    match error:
        case web.HTTPNotFound():
            return RouteUnknown(f"Nothing answers under {request.path}.")
        case web.HTTPMethodNotAllowed():
            return MethodRefused(request.method, request.path, sorted(error.allowed_methods))
        case web.HTTPRequestEntityTooLarge():
            return BodyTooLarge("The body is larger than the limit.")
        case _:
            return BodyMalformed(error.reason)


async def expectations(request: web.Request) -> web.StreamResponse | None:
    """Answers the header Expect, which aiohttp asks about before any middleware runs: a body may come, and nothing else can be expected."""
    if request.version < HttpVersion11:
        return None  # RFC 9110 10.1.1: such a client cannot mean it
    expected = request.headers.get("Expect", "")
    if expected.lower() != "100-continue":
        return response(ExpectationRefused(f"Nothing is known of the expectation {expected!r}."))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # of the answer itself nothing was written
    return None
