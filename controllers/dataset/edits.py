"""Rows set or deleted by hand, on a request: a delta, its journal and one entry, as if a file had brought the row.

Only of tables whose rows have keys that win over each other (`write: upsert`). An edit that was committed before, by an answer that a crash
kept from being told, is known by its request's id and not done twice: the table names it, or the journal, once compaction has folded it
into others. A row that is set is held against the contract. Next: `engines/files/edit.py`, `edit_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from controllers.dataset.edit_rules import EditRules
from controllers.dataset.versions import stamped
from controllers.events import Events
from engines.errors import EditRefused
from engines.files.edit import Edit, edit
from engines.files.journal import Cause, sources
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import COMPACTION, EDIT
from state.catalog.entry import TableCommit
from state.catalog.tables import Ledger, Table
from state.failpoints import declare, hit
from state.objects import ObjectRef
from state.requests import Request
from state.streams.ids import instant
from state.timestamps import Clock, iso

_WRONG_CLOCKS = timedelta(days=1)
"""By how much those of two lives of a daemon may differ."""
_BEFORE_COMMIT = declare("edits.before-commit")
_AFTER_COMMIT = declare("edits.after-commit")


class Edits:
    """Blocking. The caller sees to it that nobody else works on the dataset meanwhile."""

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        path_of: Callable[[ObjectRef], Path],
        prefix_of: Callable[[str], str],
        rules: EditRules,
        events: Events,
        clock: Clock,
    ) -> None:
        """path_of: a local file with an object's bytes. prefix_of: where the objects of a dataset's table go."""
        self._catalog = catalog
        self._buckets = buckets
        self._path_of = path_of
        self._prefix_of = prefix_of
        self._rules = rules
        self._events = events
        self._clock = clock
        self._told: dict[str, frozenset[str]] = {}  # sources of rows, by the key of a folded file of the journal

    def carry_out(self, resource: Resource, request: Request, revision: str | None) -> str:
        """What was done, in words. Raises EditRefused, and state errors."""
        table = _editable(resource, self._catalog.table(resource.key.name))
        name, source = EDIT + request.id, f"request {request.id}"
        if any(ledger.source == name for ledger in table.ledgers) or source in self._folded(table, instant(request.id)):
            return "it was done before"
        asked = _asked(request, name)
        now = self._clock()
        cause = Cause(table.name, table.version + 1, request.actor, request.reason, revision, source)
        spec, store = resource.spec_as(DatasetSpec), self._buckets.store(table.bucket)
        judging = self._rules.judging(spec, table, asked.key, store)
        done = edit(asked, table, self._path_of, store, self._prefix_of(table.name), cause, now, judging)
        if done.part is None:
            return f"row {asked.key} is so already"
        version = table.version + 1
        change = TableCommit(
            object=str(resource.key),
            transformation=table.transformation,
            bucket=table.bucket,
            primary_key=table.primary_key,
            write=table.write,
            add=(done.part,),
            note=tuple(Ledger(noted.kind, noted.ref, noted.rows, noted.source, version, iso(now)) for noted in done.noted),
        )
        hit(_BEFORE_COMMIT)
        change = stamped(change, table, spec.keep, now)
        self._catalog.commit((change,), actor=request.actor, reason=request.reason, revision=revision)
        hit(_AFTER_COMMIT)
        if done.warning is not None:
            self._events.record_event(str(resource.key), "Warning", reasons.CONTRACT_BROKEN, done.warning, revision)
        left = self._rules.left_behind(table, done) if asked.values is None else ""
        warning = f". Warning: {done.warning[0].lower()}{done.warning[1:]}" if done.warning is not None else ""
        return f"{_told(asked, done.changes)}, version {version}{left}{warning}"

    def _folded(self, table: Table, since: datetime) -> Set[str]:
        """The sources of rows in folded files of the journal that may have been written since, whichever clock is wrong by how much."""
        first = iso(min(since, self._clock()) - _WRONG_CLOCKS)
        folds = [one for one in table.ledgers if one.kind == "journal" and one.source.startswith(COMPACTION) and one.at >= first]
        found = {one.ref.key: self._told.get(one.ref.key) or sources(self._path_of(one.ref)) for one in folds}
        self._told = {key: told for key, told in self._told.items() if not key.startswith(f"{self._prefix_of(table.name)}/")} | found
        return frozenset().union(*found.values())


def _editable(resource: Resource, table: Table | None) -> Table:
    spec = resource.spec_as(DatasetSpec)
    if spec.write != "upsert":
        raise EditRefused(
            f"Rows of {resource.key} cannot be changed one by one: its `write` is {spec.write}.",
            remedy="Change its source, or say `write: upsert` with a `primaryKey` in its spec.",
        )
    if table is None or not table.columns:
        raise EditRefused(f"{resource.key} has no table yet.", remedy=f"`lakectl why {resource.key}` tells what it waits for.")
    if table.write != spec.write or table.primary_key != tuple(spec.primary_key):
        raise EditRefused(f"{resource.key} is about to be made anew.", remedy=f"Ask again when `lakectl status {resource.key}` is Ready.")
    return table


def _asked(request: Request, name: str) -> Edit:
    key, values = request.payload.get("key"), request.payload.get("set")
    if request.verb == "row-delete":
        values = None
    elif not isinstance(values, Mapping) or not values or not all(_text(value) for value in values.values()):
        raise EditRefused("`set` needs text or null by column.", remedy='Write it as in {"key": "CAND-001", "set": {"phone": "555-0100"}}.')
    if not isinstance(key, str) or not key:
        raise EditRefused("`key` needs the text of a row's key.", remedy='Write it as in {"key": "CAND-001"}.')
    return Edit(key, values, name, create=request.payload.get("create") is True)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _told(asked: Edit, changes: tuple[tuple[str, str | None, str | None], ...]) -> str:
    if asked.values is None:
        return f"row {asked.key} is deleted"
    shown = ", ".join(f"{field} {_shown(old)} → {_shown(new)}" for field, old, new in changes[:5])
    more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
    return f"row {asked.key}: {shown}{more}"


def _shown(text: str | None, most: int = 60) -> str:
    if text is None:
        return "null"
    return text if len(text) <= most else f"{text[:most]}…"
