"""GET /catalog/datasets and /catalog/datasets/{name}: what each dataset holds, as the catalog says.

Opening a large catalog may read shards, so it runs in a thread. Next: `dataset_documents.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Lock
from typing import Protocol

import orjson
from aiohttp import web

from api.bodies import JSON, NoParameters, encoded, read_parameters
from api.dataset_documents import DatasetAnswer, DatasetsAnswer, Sight, document, in_short, note_values, sight_of
from api.endpoints import Endpoint
from api.errors import ApiError, DatasetUnknown
from api.reader import READER
from api.sight import dataset_seen
from api.threads import Threads, Wanted
from engines.audit import Audit, Facts
from engines.audited import LONGEST_NAME
from engines.errors import ReaderRefused
from engines.quotas import Quotas
from engines.reading import Reader
from engines.sql.tables import sql_name
from state.catalog.fold import ObjectState
from state.descriptions import Describe, Description

_KEPT_ANSWERS = 16


class DatasetCatalog(Protocol):
    """The catalog, for reading. Blocking."""

    def objects(self, kind: str) -> Mapping[str, ObjectState]:
        """Every object of the kind."""

    def get(self, name: str) -> ObjectState | None:
        """An object by "Kind/name"."""


@dataclass(frozen=True, slots=True)
class DatasetRoutes:
    """Answers both routes."""

    catalog: DatasetCatalog
    describe: Describe
    audit: Audit
    quotas: Quotas
    threads: Threads
    answers: _Answers = field(default_factory=lambda: _Answers())

    async def handle_all(self, request: web.Request) -> web.StreamResponse:
        """Only what the reader may know of."""
        read_parameters(request, NoParameters)
        return encoded(await self.threads.run(lambda wanted: self.all(request[READER], wanted)))

    async def handle_one(self, request: web.Request) -> web.StreamResponse:
        """Raises DatasetUnknown, for a forbidden one as well: its very name may be a secret; QuotaExceeded; AuditUnavailable."""
        read_parameters(request, NoParameters)
        name, reader = request.match_info["name"], request[READER]
        async with self.audit.access("describe", reader, refusals=(ApiError, ReaderRefused)) as access:
            access.tables = (sql_name(name)[:LONGEST_NAME],)
            await self.quotas.described(reader)
            return encoded(await self.threads.run(lambda wanted: self.one(name, reader, access)))

    def all(self, reader: Reader, wanted: Wanted) -> bytes:
        """The list as JSON, cut short once it is not wanted. Blocking."""
        states = takewhile(lambda _: wanted(), self.catalog.objects("Dataset").values())
        seen = ((state.table, self.describe(state), sight_of(reader, state)) for state in states if _visible(reader, state))
        rows = [in_short(table, told, sight) for table, told, sight in seen if table is not None]
        return orjson.dumps({"datasets": sorted(rows, key=lambda row: str(row["name"]))})

    def one(self, name: str, reader: Reader, access: Facts) -> bytes:
        """One dataset as JSON; access: takes what it gives. Blocking. Raises DatasetUnknown."""
        state = self.catalog.get(f"Dataset/{name}")
        if state is None or state.table is None or not _visible(reader, state):
            raise DatasetUnknown(f"There is no dataset {name!r}, or nothing was ingested into it yet.")
        told, sight = self.describe(state), sight_of(reader, state)
        note_values(state.table, told, sight, access)
        answer = self.answers.get(state, told, sight)
        if answer is None:
            answer = orjson.dumps(document(state, told, reader))
            self.answers.put(state, told, sight, answer)
        return answer


class _Answers:
    """What was answered last of some datasets: one of a thousand files takes 5 ms, and who waits for a change asks again and again."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, Sight], tuple[ObjectState, Description, bytes]] = OrderedDict()
        self._lock = Lock()

    def get(self, state: ObjectState, told: Description, sight: Sight) -> bytes | None:
        """Of the very same state and description."""
        with self._lock:
            known = self._known.get((state.object, sight))
        return known[2] if known is not None and known[0] is state and known[1] is told else None

    def put(self, state: ObjectState, told: Description, sight: Sight, answer: bytes) -> None:
        """To be found by the next who asks."""
        with self._lock:
            self._known[state.object, sight] = state, told, answer
            self._known.move_to_end((state.object, sight))
            if len(self._known) > _KEPT_ANSWERS:
                self._known.popitem(last=False)


def _visible(reader: Reader, state: ObjectState) -> bool:
    return state.table is not None and dataset_seen(reader, state.name, state)


def endpoints(catalog: DatasetCatalog, describe: Describe, audit: Audit, quotas: Quotas, threads: Threads) -> tuple[Endpoint, ...]:
    """The routes of the catalog."""
    routes = DatasetRoutes(catalog, describe, audit, quotas, threads)
    path, summary = "/catalog/datasets", "Every dataset with its figures"
    one, detail = "/catalog/datasets/{name}", "One dataset: description, columns with their profile, files, sources, lineage"
    return (
        Endpoint("GET", path, summary, routes.handle_all, {JSON: DatasetsAnswer}, problems=(400,), readers="scoped"),
        Endpoint(
            "GET", one, detail, routes.handle_one, {JSON: DatasetAnswer}, problems=(400, 404, 429, 503), readers="scoped", audited=True,
        ),
    )  # fmt: skip
