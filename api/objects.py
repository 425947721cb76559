"""GET /storage/buckets/{bucket}/objects/{key}: an object's bytes as they lie in its bucket, whole or a range of them.

A piece is sent before the next one is read, so that memory does not grow with the object; the first one after its row in the audit is
durable. A failure on the way cuts the connection: fewer bytes than were promised are no answer. Only for readers who may see all of a
bucket: an object knows no rows.
It refuses to know what an object means. Next: `state/reader.py`, which asks the rescue bucket where there is one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from api.endpoints import Endpoint
from api.errors import ApiError, BucketNotFound, KeyRefused, ObjectNotFound, ObjectReplaced, RangeInvalid
from api.passing import pass_on
from api.reader import READER, require_bucket
from api.rescue import HEADERS, rescue_headers
from api.threads import Threads
from engines.audit import Access, Audit
from specs.errors import LakehouseError
from state.errors import BucketUnknown, KeyInvalid, ObjectMissing
from state.objects import ObjectInfo, OpenObject

OCTETS = "application/octet-stream"
_CONDITIONS = ("Range", "If-None-Match")
"""Headers that ask for an object's facts before it is opened. Without them one request of the store gives facts and bytes."""
_log = logging.getLogger(__name__)


class ObjectSource(Protocol):
    """The one reader of objects. Blocking."""

    def head(self, bucket: str, key: str) -> tuple[ObjectInfo, str | None]:
        """Facts, and the rescue bucket that told them."""

    def open(self, bucket: str, key: str, start: int = 0, length: int | None = None) -> tuple[OpenObject, str | None]:
        """Facts and bytes, and the rescue bucket that they come from."""


@dataclass(frozen=True, slots=True)
class ObjectRoute:
    """Answers it."""

    objects: ObjectSource
    audit: Audit
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises BucketNotFound, ObjectNotFound, KeyRefused, RangeInvalid, ReadRefused, AuditUnavailable, and what the store raises."""
        bucket, key = request.match_info["bucket"], request.match_info["key"]
        async with self.audit.access("object", request[READER], refusals=(ApiError,), bucket=bucket, key=key) as access:
            return await self._checked(request, bucket, key, access)

    async def _checked(self, request: web.Request, bucket: str, key: str, access: Access) -> web.StreamResponse:
        require_bucket(request, bucket)
        try:
            return await self._answer(request, bucket, key, access)
        except BucketUnknown as error:
            raise BucketNotFound(f"There is no bucket {bucket!r}.") from error
        except KeyInvalid as error:
            raise KeyRefused(str(error)) from error
        except ObjectMissing as error:
            raise ObjectNotFound(f"There is no object {key!r} in bucket {bucket}.") from error

    async def _answer(self, request: web.Request, bucket: str, key: str, access: Access) -> web.StreamResponse:
        if request.method == "GET" and not any(name in request.headers for name in _CONDITIONS):
            opened, source = await self.threads.run(lambda _: self.objects.open(bucket, key))
            response = web.StreamResponse(headers=_headers(opened.info, source))
            response.content_length = opened.info.size
            return await self._send(request, response, opened, access)
        info, rescue = await self.threads.run(lambda _: self.objects.head(bucket, key))
        if _known(request, info):
            return web.Response(status=304, headers=_headers(info, rescue))
        start, length = _range(request, info)
        part = length < info.size
        response = web.StreamResponse(status=206 if part else 200, headers=_headers(info, rescue))
        response.content_length = length
        if part:
            response.headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{info.size}"
        if request.method == "HEAD":
            response.content_type = OCTETS
            return response
        # what its own bucket could not tell, it is not asked for once more
        opened, other = await self.threads.run(lambda _: self.objects.open(rescue or bucket, key, start, length if part else None))
        if opened.info.size != info.size or (other is None and opened.info.etag != info.etag):
            await self.threads.run(lambda _: opened.pieces.close())
            raise ObjectReplaced(f"{bucket}/{key} was replaced while it was read.")
        response.headers.update(rescue_headers(other))
        return await self._send(request, response, opened, access)

    async def _send(self, request: web.Request, response: web.StreamResponse, opened: OpenObject, access: Access) -> web.StreamResponse:
        response.content_type = OCTETS
        try:
            first = await self.threads.run(lambda _: next(opened.pieces, b""))  # what fails here is told by a problem document
            if len(first) == response.content_length:
                access.bytes = len(first)
                await access.end()
            else:
                await access.begin()
            await response.prepare(request)
            await self._pass_on(request, response, first, opened, access)
        finally:
            await self.threads.run(lambda _: opened.pieces.close())
        return response

    async def _pass_on(self, request: web.Request, response: web.StreamResponse, first: bytes, opened: OpenObject, access: Access) -> None:
        try:
            await response.write(first)
            access.bytes = len(first)
            async for count in pass_on(request, response, opened.pieces, self.threads):
                access.bytes += count
        except ConnectionError:
            return  # the client left
        except BaseException as error:
            if request.transport is not None:
                request.transport.close()  # a problem document would be taken for the rest of the object
            if not isinstance(error, LakehouseError):
                raise
            access.error = error
            _log.warning("%s was cut off: %s", request.rel_url.raw_path, error)
            return
        await access.end()  # whoever has the last byte may leave now
        await response.write_eof()


def _headers(info: ObjectInfo, rescue: str | None) -> dict[str, str]:
    """Of the object, whatever is sent of it."""
    return {"ETag": etag(info), "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff", **rescue_headers(rescue)}


def etag(info: ObjectInfo) -> str:
    """As in the header: stores differ in whether they quote it."""
    return f'"{info.etag.strip(chr(34))}"'


def _known(request: web.Request, info: ObjectInfo) -> bool:
    """Whether the client says that it has it (RFC 9110 13.1.2)."""
    given = request.if_none_match or ()
    return any(tag.value in ("*", etag(info).strip('"')) for tag in given)


def _range(request: web.Request, info: ObjectInfo) -> tuple[int, int]:
    """First byte and how many. A range of something that was replaced since is all of it (RFC 9110 13.1.5). Raises RangeInvalid."""
    if "Range" not in request.headers or request.headers.get("If-Range", etag(info)) != etag(info):
        return 0, info.size
    try:
        asked = request.http_range
    except ValueError as error:
        raise RangeInvalid(f"{request.headers['Range']!r} is no range of bytes that can be given.", info.size) from error
    start, stop = asked.start or 0, info.size if asked.stop is None else min(asked.stop, info.size)
    if start < 0:
        start = max(0, info.size + start)
    if start >= stop:
        raise RangeInvalid(f"The object has {info.size} bytes, and none from {start} on.", info.size)
    return start, stop - start


def endpoints(objects: ObjectSource, audit: Audit, threads: Threads) -> tuple[Endpoint, ...]:
    """The route of objects."""
    headers = {"ETag": "Changes with the object.", "Content-Range": "Of a range (206).", **HEADERS}
    path, summary = "/storage/buckets/{bucket}/objects/{key:.+}", "An object's bytes, whole or a range of them"
    handle = ObjectRoute(objects, audit, threads).handle
    return (
        Endpoint(
            "GET",
            path,
            summary,
            handle,
            {OCTETS: None},
            headers=headers,
            problems=(400, 403, 404, 416, 503),
            readers="operators",
            audited=True,
        ),
    )
