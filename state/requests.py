"""Requests: what operators ask of a running daemon, one immutable object each.

`requests/<ulid>.json` is put once by whoever asks, read by the daemon, and removed after the event that says how it ended is durable. Ids
sort by time, so the oldest comes first. A payload means what its verb makes of it; this module only knows the verbs.
Other names in that folder are none of its business. Refuses to act on anything, and to lose a request: one that cannot be read, or whose
end could not be recorded, is listed by `damaged`, so that it can end as an event, too. It refuses the same things when asked as when read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from specs.errors import LakehouseError
from specs.resource import Key
from state.errors import KeyInvalid, ObjectMissing, RequestInvalid, StateError
from state.objects import ObjectInfo, ObjectStore
from state.streams import ids

FORMAT = 1
MAX_BYTES = 64 * 1024
"""Of a request's document: its row and its event have to fit among the others of their streams."""
VERBS = (
    "suspend",
    "resume",
    "reconcile",
    "promote",
    "rollback",
    "trial-run",
    "resync",
    "gc",
    "compact",
    "approve",
    "row-set",
    "row-delete",
)
# What these do is not about one object.
_OF_ALL = frozenset({"gc", "compact", "reconcile", "approve", "resync"})
_PREFIX = "requests/"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """`id` is a ULID; `object` is "Kind/name", or "" where the verb may be about everything (gc, compact, reconcile, approve, resync).

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
        self._unreadable: set[str] = set()  # told of already

    def submit(self, request: Request) -> None:
        """Durable on return. Raises RequestInvalid; the same request again, after a timeout, is no error."""
        fault = _fault(request)
        if fault is not None:
            raise RequestInvalid(fault)
        try:
            body = json.dumps({"format": FORMAT, **_document(request)}, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise RequestInvalid(f"The payload of {request.verb} is no JSON: {error}.") from error
        if len(body) > MAX_BYTES:
            raise RequestInvalid(f"{_large(len(body))} Say it in fewer words.")
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
            try:
                yield self._read_one(info)
            except (ObjectMissing, KeyInvalid):
                continue  # removed meanwhile, or nothing that anybody could have submitted
            except StateError as error:
                # One that cannot be read now stays for later; it must not hold up the others.
                if info.key not in self._unreadable:
                    _log.warning("the request %s waits: %s", info.key, error.explain())
                self._unreadable.add(info.key)

    def _read_one(self, info: ObjectInfo) -> Request | Damaged:
        name = info.key.removeprefix(_PREFIX).removesuffix(".json")
        return Damaged(name, _large(info.size)) if info.size > MAX_BYTES else _parse(name, self._store.get(info.key))


def _parse(name: str, body: bytes) -> Request | Damaged:
    try:
        document = orjson.loads(body)  # refuses what nothing could write again: half surrogates, NaN, endless nesting
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


def _document(request: Request) -> dict[str, Any]:
    return {part.name: getattr(request, part.name) for part in fields(request)}


def _large(size: int) -> str:
    return f"It has {size} bytes; a request has at most {MAX_BYTES}."


def _fault(request: Request) -> str | None:
    """Also applied to what is read back: anybody can put an object into a bucket."""
    if request.verb not in VERBS:
        return f"{request.verb!r} is no verb; there are {', '.join(VERBS)}."
    texts = (request.id, request.object, request.actor, request.reason, request.at)
    if not all(isinstance(text, str) for text in texts) or not isinstance(request.payload, dict):
        return "A field has the wrong type."
    if request.digest is not None and not isinstance(request.digest, str):
        return "A field has the wrong type."
    if not ids.is_id(request.id) or not request.actor:
        return "It needs an id of letters and digits (a ULID), and an actor."
    try:
        orjson.dumps(_document(request))
    except orjson.JSONEncodeError as error:
        return f"It is no JSON that can be recorded: {error}."
    if not request.object:
        return None if request.verb in _OF_ALL else f"{request.verb} needs an object, as Kind/name."
    try:
        Key.parse(request.object)
    except LakehouseError as error:
        return str(error)
    return None


def _key(id: str) -> str:  # noqa: A002  (the field's name)
    return f"{_PREFIX}{id}.json"
