"""What a route is: one value that router and OpenAPI document are both made of, so that neither knows a route the other does not.

Route modules return these from `endpoints(…)`, and say whom each answers; one that does not say answers operators alone. One that
gives rows, values or bytes says that the audit has a row of each answer. Next: `app.py`, which collects them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from api.reader import READER

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

Readers: TypeAlias = Literal["all", "scoped", "operators"]
"""Whom a route answers: everybody, with what is no reader's secret; every reader, with what it may see, for which the route or what is
behind it asks `decide`; operators of the lake, to whom nothing is hidden. To anybody else the last kind is not there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path.

    answers: the media types of a 200, the default first, each with its model (None: described by the media type alone).
    headers: of a 200, each with a sentence. problems: the statuses it may end as, besides those that any route may. readers: None where
    nobody said, which is as operators. audited: whether each answer leaves a row of the audit, to which the route or what is behind it
    sees.
    """

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handle: Handle
    answers: Mapping[str, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    body_optional: bool = False
    parameters: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    readers: Readers | None = None
    audited: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What `handle` answers, for whom it may; else as if nothing were there."""
        if self.readers not in ("all", "scoped") and not request[READER].operator:
            raise web.HTTPNotFound
        return await self.handle(request)
