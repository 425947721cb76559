"""Requests: what operators ask of a running daemon, one immutable object each.

`requests/<ulid>.json` is put once by whoever asks, read by the daemon, and removed after the event that says how it ended is durable. Ids
sort by time, so the oldest comes first. A payload means what its verb makes of it; this module only knows the verbs.
Other names in that folder are none of its business. Refuses to act on anything, and to lose a request: one that cannot be read is listed
by `damaged`, so that it can end as an event, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from specs.errors import LakehouseError
from specs.resource import Key
from state.errors import ObjectMissing, RequestInvalid
from state.objects import ObjectStore

FORMAT = 1
VERBS = ("suspend", "resume", "reconcile", "promote", "rollback", "resync", "gc", "approve", "row-set", "row-delete")
# What these do is not about one object.
_OF_ALL = frozenset({"gc", "reconcile", "approve"})
_PREFIX = "requests/"


@dataclass(frozen=True, slots=True)
class Request:
    """`id` is a ULID; `object` is "Kind/name", or "" where the verb may be about everything (gc, reconcile, approve).

    `actor` is who asks, `reason` why; `digest` is what the decision was made on (None: whatever is there), `at` an ISO instant.
    """

    id: str
    verb: str
    object: str
    actor: str
    reason: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A request object that is none; `reason` is a sentence."""

    id: str
    reason: str


class RequestQueue:
    """Thread-safe; blocking. Any process may submit; the holder of the lease reads and removes."""

    def __init__(self, store: ObjectStore) -> None:
        """store: the state bucket."""
        self._store = store

    def submit(self, request: Request) -> None:
        """Durable on return. Raises RequestInvalid; the same request again, after a timeout, is no error."""
        fault = _fault(request)
        if fault is not None:
            raise RequestInvalid(fault)
        try:
            body = json.dumps({"format": FORMAT, **asdict(request)}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise RequestInvalid(f"The payload of {request.verb} is no JSON: {error}.") from error
        self._store.put(_key(request.id), body)

    def pending(self) -> tuple[Request, ...]:
        """Oldest first, without damaged ones."""
        return tuple(found for found in self._read() if isinstance(found, Request))

    def damaged(self) -> tuple[Damaged, ...]:
        """What lies among the requests and cannot be read as one; `remove` works on their ids."""
        return tuple(found for found in self._read() if isinstance(found, Damaged))

    def remove(self, id: str) -> None:  # noqa: A002  (the field's name)
        """After its end is recorded. No error if it is gone."""
        self._store.delete(_key(id))

    def _read(self) -> Iterator[Request | Damaged]:
        for info in self._store.list(_PREFIX):
            if not info.key.endswith(".json"):
                continue
            name = info.key.removeprefix(_PREFIX).removesuffix(".json")
            try:
                yield _parse(name, self._store.get(info.key))
            except ObjectMissing:
                continue  # removed meanwhile


def _parse(name: str, body: bytes) -> Request | Damaged:
    try:
        document = json.loads(body)
        version = document.pop("format")
        if version != FORMAT:
            return Damaged(name, f"It has format {version}; this release reads {FORMAT}.")
        request = Request(**document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Damaged(name, f"It cannot be read: {error}.")
    fault = _fault(request)
    if fault is None and request.id != name:
        fault = f"It says that its id is {request.id}."
    return request if fault is None else Damaged(name, fault)


def _fault(request: Request) -> str | None:
    """Also applied to what is read back: anybody can put an object into a bucket."""
    if request.verb not in VERBS:
        return f"{request.verb!r} is no verb; there are {', '.join(VERBS)}."
    texts = (request.id, request.object, request.actor, request.reason, request.at)
    if not all(isinstance(text, str) for text in texts) or not isinstance(request.payload, dict):
        return "A field has the wrong type."
    if not request.id.isalnum() or not request.actor:
        return "It needs an id of letters and digits, and an actor."
    if not request.object:
        return None if request.verb in _OF_ALL else f"{request.verb} needs an object, as Kind/name."
    try:
        Key.parse(request.object)
    except LakehouseError as error:
        return str(error)
    return None


def _key(id: str) -> str:  # noqa: A002  (the field's name)
    return f"{_PREFIX}{id}.json"
