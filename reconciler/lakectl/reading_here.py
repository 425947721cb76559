"""Queries and searches by the daemon if there is one, else in this process over the open state: the same documents either way."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.credentials import client_at
from reconciler.lakectl.errors import DaemonProblem
from reconciler.lakectl.here import Here
from reconciler.lakectl.http import DaemonClient
from reconciler.lakectl.session import Session

if TYPE_CHECKING:
    from reconciler.opening import State
    from reconciler.settings import Settings
    from state.catalog.indexes import IndexRecord
    from state.trials import Trial


def query_document(session: Session, body: Mapping[str, Any]) -> dict[str, Any]:
    """The document of POST /query. Raises DaemonProblem, EngineError, and what opening the state raises."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.post("/query", body)
        return answered
    state, settings = open_here(session.here())

    async def ask() -> dict[str, Any]:
        from engines.at import at_from
        from engines.sql.query_request import QueryRequest
        from reconciler.lakectl.readers_here import reader_here
        from reconciler.reading import reading

        reader, directory = reader_here(session, state)
        at = at_from(body.get("at"), body.get("schema"))
        async with reading(state, settings, directory=directory) as readers:
            most = body.get("maxRows")
            limit = settings.limits.query_rows if most is None else min(most, settings.limits.query_rows)
            request = QueryRequest(body["sql"], body["params"], at=at, max_rows=limit)
            result = await readers.queries.run(request, reader)
            rows = [dict(row) for row in result.rows()]
            columns = [dict(column) for column in result.columns()]
            document = {"columns": columns, "rows": rows, "truncated": result.truncated, "versions": dict(result.versions)}
            caveats = {"lost": dict(result.lost), "rescues": list(result.rescues)}
            return document | {name: value for name, value in caveats.items() if value}

    return asyncio.run(ask())


def search_document(session: Session, body: Mapping[str, Any]) -> dict[str, Any]:
    """The document of POST /search. Raises as `query_document`."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.post("/search", {name: value for name, value in body.items() if value is not None})
        return answered
    state, settings = open_here(session.here())

    async def ask() -> dict[str, Any]:
        from api.bodies import as_model
        from api.search import SearchBody, answered
        from engines.errors import SearchInvalid
        from reconciler.lakectl.readers_here import reader_here
        from reconciler.reading import reading

        if body["k"] > settings.limits.search_k:
            raise SearchInvalid(f"k must be at most {settings.limits.search_k}.", remedy="`limits.searchK` in lakehouse.yaml is the limit.")
        reader, directory = reader_here(session, state)
        async with reading(state, settings, directory=directory) as readers:
            given = as_model({name: value for name, value in body.items() if value is not None}, SearchBody)
            return await answered(readers.searches, given, reader)

    return asyncio.run(ask())


def dataset_document(session: Session, name: str) -> dict[str, Any] | None:
    """The document of GET /catalog/datasets/{name}; None for one that holds nothing yet. Raises as `query_document`."""
    client = daemon_of(session)
    if client is not None:
        try:
            answered: dict[str, Any] = client.get(f"/catalog/datasets/{name}")
        except DaemonProblem as problem:
            if problem.type == "dataset-unknown":
                return None
            raise
        return answered
    from api.dataset_documents import document, note_values, sight_of
    from engines.audit import Audit
    from engines.reading import TableName, decide
    from engines.sql.tables import sql_name
    from reconciler.lakectl.readers_here import reader_here

    state, _ = open_here(session.here())
    reader, _ = reader_here(session, state)
    record = state.catalog.get(f"Dataset/{name}")
    if record is None or record.table is None or not decide(reader, TableName(sql_name(name), record.table.bucket), "describe").allowed:
        return None
    told = state.describe(record)
    with Audit(state.streams).access("describe", reader) as access:
        note_values(record.table, told, sight_of(reader, record), access)
        plain: dict[str, Any] = json.loads(json.dumps(document(record, told, reader)))
    state.streams.sync()  # for the head of the chain
    return plain


def errors_document(session: Session, parameters: Mapping[str, str | int | None]) -> dict[str, Any]:
    """The document of GET /storage/errors. Raises UsageInvalid, and as `query_document`."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.get("/storage/errors", parameters)
        return answered
    from state.failure_query import FailureQuery, answer, columns

    given = {"kind" if name == "class" else name: value for name, value in parameters.items() if value is not None}
    group = columns(str(given.pop("group", "")))
    state, _ = open_here(session.here())
    known = {*state.buckets.configs(), *(status.name for status in state.statuses.all("Bucket"))}
    return answer(state.streams, FailureQuery(group=group, **given), known)  # type: ignore[arg-type]


def audit_document(session: Session, parameters: Mapping[str, str | int | None]) -> dict[str, Any]:
    """The document of GET /access/audit. Raises as `errors_document`."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.get("/access/audit", parameters)
        return answered
    from state.audit_query import AuditQuery, answer, columns

    given = {name: value for name, value in parameters.items() if value is not None}
    group = columns(str(given.pop("group", "")))
    state, _ = open_here(session.here())
    return answer(state.streams, AuditQuery(group=group, **given))  # type: ignore[arg-type]


def models_document(session: Session) -> dict[str, Any]:
    """The document of GET /models. Raises DaemonProblem, and what opening the state raises."""
    client = daemon_of(session)
    if client is not None:
        told: dict[str, Any] = client.get("/models")
        return told
    state, settings = open_here(session.here())
    from api.models import document
    from engines.model_list import ModelList
    from reconciler.models import connected, recorded_models

    listed = ModelList(connected(settings), bound=lambda: recorded_models(state.catalog))
    return {"models": [document(row) for row in listed.rows()]}


def buckets_document(session: Session) -> dict[str, Any]:
    """The document of GET /storage/bucket-health. Raises as `query_document`."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.get("/storage/bucket-health")
        return answered
    from state.bucket_health import look, row

    state, _ = open_here(session.here())
    configs = state.buckets.configs()
    looks = {name: look(state.buckets.store(name), session.clock) for name in configs}
    return {"buckets": [row(config, looks, state.buckets.failures, state.buckets.mirrors) for config in configs.values()]}


def trials_of_index(session: Session, name: str) -> "tuple[Trial, ...]":
    """By GET /hnsw/trials/{index}, in the order in which they were measured. Raises as `query_document`."""
    from state.trials import Trial

    client = daemon_of(session)
    if client is None:
        return _trials_here(session, name)[0]
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get(f"/hnsw/trials/{name}", {"cursor": cursor})
        rows += page["trials"]
        cursor = page["cursor"]
        if cursor is None:
            return tuple(Trial.from_row(row) for row in reversed(rows))


def best_trial_document(session: Session, name: str, parameters: Mapping[str, str | None]) -> dict[str, Any]:
    """The document of GET /hnsw/trials/{index}/best, with its front. Raises SearchInvalid, ModelMismatch, and as `query_document`."""
    client = daemon_of(session)
    given = {"pareto": "true", **{name: value for name, value in parameters.items() if value is not None}}
    if client is not None:
        answered: dict[str, Any] = client.get(f"/hnsw/trials/{name}/best", given)
        return answered
    from api.trials import BestParameters, best_of

    return best_of(*_trials_here(session, name), BestParameters.model_validate(given))


def _trials_here(session: Session, name: str) -> "tuple[tuple[Trial, ...], IndexRecord]":
    from state.trials import STREAM, trials_of

    state, _ = open_here(session.here())
    record = state.catalog.index(name)
    if record is None:
        from engines.errors import IndexUnknown

        raise IndexUnknown.among(name, [known.name for known in state.catalog.objects("Index").values() if not known.gone])
    return trials_of(state.streams.read(STREAM), name), record


def open_here(here: Here) -> "tuple[State, Settings]":
    """The whole state, for reading, and the settings at HEAD. Raises StateBucketMissing, SourceUnavailable, …"""
    from reconciler.lakectl.specs_here import place_of, settings_of
    from reconciler.opening import open_state

    place = place_of(here)
    settings = settings_of(place)
    return open_state(place, settings, address=None), settings


def daemon_of(session: Session) -> DaemonClient | None:
    """The one that is to answer; None where this process does."""
    if session.url is not None:
        return client_at(session, session.url)
    from reconciler.lakectl.asking import find_daemon

    found = find_daemon(session.here(), session)
    return found.client if found is not None else None
