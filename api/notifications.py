"""POST /storage/buckets/{bucket}/notify: a bucket's service says that objects changed, and datasets that read there are looked at now.

The body is what S3, MinIO and servers like them send, or nothing. It is a hint: what changed is found by listing the bucket, so that nobody
can make a dataset take what is not there. Without keys (an empty body, a service's first test, another service's format), every dataset
that reads the bucket is looked at. Next: `reconciler/bucket_watch.py` for how often that happens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote_plus

from aiohttp import web
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api.bodies import JSON, Document, answer, read_body
from api.endpoints import Endpoint
from api.errors import BucketNotFound
from api.reader import READER, may
from engines.reading import BucketName

Notified = Callable[[str, Collection[str] | None], Sequence[str]]
"""Told of a bucket and the keys that changed there, None for unknown ones; the datasets that are looked at. On the event loop."""


class Told(Document):
    """Base of what services send: it has far more in it than is needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class ChangedObject(Told):
    """An object."""

    key: Annotated[str, Field(min_length=1), AfterValidator(unquote_plus)] = Field(description="URL-encoded, spaces as `+`.")


class Change(Told):
    """What happened in a bucket."""

    object: ChangedObject


class Record(Told):
    """One event."""

    s3: Change


class Notification(Told):
    """What S3 sends when objects change (version 2 of its format)."""

    records: list[Record] | None = Field(None, alias="Records", description="Left out, all of the bucket is looked at.")


class NotifyAnswer(Document):
    """What comes of it."""

    datasets: list[str] = Field(description="Datasets that are looked at because of it.")


@dataclass(frozen=True, slots=True)
class NotifyRoute:
    """buckets: names that a bucket may have."""

    notified: Notified
    buckets: Callable[[], Container[str]]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises BucketNotFound, and faults of the body."""
        bucket = request.match_info["bucket"]
        if bucket not in self.buckets() or not may(request[READER], BucketName(bucket), "describe"):
            raise BucketNotFound(f"There is no bucket {bucket!r}.")
        told = await read_body(request, Notification) if await request.read() else Notification(Records=None)
        keys = None if told.records is None else {record.s3.object.key for record in told.records}
        return answer({"datasets": list(self.notified(bucket, keys))})


def endpoints(notified: Notified, buckets: Callable[[], Container[str]]) -> tuple[Endpoint, ...]:
    """The route of notifications."""
    path, summary = "/storage/buckets/{bucket}/notify", "Have datasets that read the bucket look for new objects"
    handle = NotifyRoute(notified, buckets).handle
    problems = (400, 403, 404, 413, 415, 422)
    return (
        Endpoint(
            "POST",
            path,
            summary,
            handle,
            {JSON: NotifyAnswer},
            body=Notification,
            body_optional=True,
            problems=problems,
            readers="operators",
        ),
    )
