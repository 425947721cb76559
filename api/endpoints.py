"""What a route is: one value that router and OpenAPI document are both made of, so that neither knows a route the other does not.

Route modules return these from `endpoints(…)`. Next: `app.py`, which collects them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from aiohttp import web
from pydantic import BaseModel

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path.

    answers: the media types of a 200, the default first, each with its model (None: described by the media type alone).
    headers: of a 200, each with a sentence. problems: the statuses it may end as, besides those that any route may.
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
