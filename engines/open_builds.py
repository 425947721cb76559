"""The builds that are open: of each index what answers now, by model, and a few that answered once.

A build is opened when it is first asked, in a thread, and kept. When the manifest changes (`follow`), the next is loaded and warmed while
the one before goes on answering, then takes its place; that one may be of another model, where nobody named one. New search parameters of
the same build are set without loading.

It refuses to search, and to know who may: that is `search.py`. What is open is `serving.py`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from engines.embedding.registry import Embedder, Model
from engines.errors import IndexNotServing
from engines.index_memory import Room, heap_bytes, held_bytes, stand_in
from engines.search_at import manifest_of
from engines.serving import Files, Serving, failures_of, open_serving, with_tail
from engines.sql.tables import RESCUED_FOR
from specs.errors import LakehouseError
from state.catalog.indexes import Build, IndexRecord, ServingManifest
from state.errors import ObjectMissing
from state.failures import BucketFailure
from state.objects import ObjectRef

MOST_FORMER = 2  # builds that are open beside those that answer now
LET_GO = 5.0  # seconds in which searches by an outgoing build end
RETRY_AFTER = 5.0  # seconds from a manifest that could not be opened to the next attempt

_log = logging.getLogger(__name__)


class Records(Protocol):
    """The catalog, as far as this needs it."""

    def index(self, name: str) -> IndexRecord | None:
        """What is recorded of the index; None if there is none. From memory: called on the event loop."""


class Slot(NamedTuple):
    """An index by one model, each by its name: of those one build answers."""

    name: str
    model: str


@dataclass(frozen=True, slots=True)
class _Loading:
    """A load under way, or one that failed. since: when it began, in seconds."""

    manifest: ServingManifest
    build: Build
    done: asyncio.Future[Serving]
    since: float


class OpenBuilds:
    """Used on one event loop; close it at the end."""

    def __init__(
        self, records: Records, files: Files, open_model: Callable[[Model], Embedder], clock: Callable[[], float], room: Room
    ) -> None:
        """open_model: blocking. clock: seconds. room: for builds in memory."""
        self._records = records
        self._files = files
        self._open_model = open_model
        self._clock = clock
        self._room = room
        self._held: dict[Slot, Serving] = {}
        self._served: dict[str, Slot] = {}
        """What answered last for an index of which no model was named."""
        self._named: set[Slot] = set()
        """What was asked by name: it stays open though another model serves."""
        self._loading: dict[Slot, _Loading] = {}
        self._former: OrderedDict[str, asyncio.Future[Serving]] = OrderedDict()
        self._looking: dict[Slot, asyncio.Future[tuple[BucketFailure, ...]]] = {}
        # One after the other: two builds that load at once would both be in memory besides those that serve.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="index-loader")

    async def answering(self, index: str, record: IndexRecord, manifest: ServingManifest, *, named: bool) -> Serving:
        """What answers for the model of this manifest; waits only if nothing did so far. named: no other model may answer meanwhile.

        Raises IndexNotServing, and what opening a build raises.
        """
        build = record.builds.get(manifest.build)
        if build is None:
            raise IndexNotServing(f"Index {index} is to be served by a build that is gone: {manifest.build}.", remedy="Reconcile it.")
        slot = Slot(index, record.corpus_of(manifest).model)
        held = self._held.get(slot)
        if held is not None and not held.whole():
            _log.warning("Index %s: a file of its build was cut while it served; it is opened again.", index)
            self.forget(index)
        current = self._current(slot, manifest, build)
        if named:
            self._named.add(slot)
        if current is not None:
            if not named:
                self._serves(slot)
            return self._again(slot, current)
        loading = self._load(slot, build, manifest)
        former = slot if slot in self._held or named else self._served.get(index, slot)
        if former in self._held:
            return self._again(former, self._held[former])
        try:
            opened = await asyncio.shield(loading.done)
        except ObjectMissing:  # a tail that another took the place of meanwhile
            now = self._records.index(index)
            later = None if now is None else now.answers.get(slot.model) if named else now.serving
            if now is None or later is None or later == manifest:
                raise
            return await self.answering(index, now, later, named=named)
        if not named and slot in self._held:
            self._serves(slot)
        return opened

    async def apart(self, record: IndexRecord, build: Build) -> Serving:
        """A build that does not answer any more, or not yet, or beside what does; some are kept. Raises what opening a build raises."""
        opened = self._former.get(build.digest)
        if opened is None or (opened.done() and (opened.exception() is not None or not opened.result().whole())):
            opened = asyncio.wrap_future(self._loader.submit(self._opened, build, manifest_of(record, build)))
            self._former[build.digest] = opened
            if len(self._former) > MOST_FORMER:
                self._former.popitem(last=False)
        self._former.move_to_end(build.digest)
        return await asyncio.shield(opened)

    async def with_tail(self, serving: Serving, manifest: ServingManifest) -> Serving:
        """The same build, with the tail of another manifest. Raises what opening it raises."""
        return await asyncio.wrap_future(self._loader.submit(with_tail, serving, manifest, self._files))

    def follow(self, indexes: Iterable[str]) -> None:
        """These changed: begin to load what answers now, before anybody asks, and let go of what does not any more. On the event loop."""
        for name in indexes:
            slots = [slot for slot in self._held if slot.name == name]
            record = self._records.index(name) if slots else None
            if record is None or record.serving is None:
                self.forget(name)
                continue
            answers = record.answers
            for slot in dict.fromkeys([Slot(name, next(iter(answers))), *slots]):
                manifest = answers.get(slot.model)
                build = None if manifest is None else record.builds.get(manifest.build)
                if manifest is None or build is None:
                    self._drop(slot)
                elif self._current(slot, manifest, build) is None:
                    self._load(slot, build, manifest)

    def forget(self, index: str) -> None:
        """Lets go of all that is open for an index."""
        self._served.pop(index, None)
        for slot in [slot for slot in {*self._held, *self._loading} if slot.name == index]:
            self._drop(slot)

    def close(self) -> None:
        """Let go of all builds, and of those that are being loaded. On the event loop, when no search runs any more."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for loading in self._loading.values():
            loading.done.cancel()  # else its thread would tell a loop that may be closed by then
        for look in self._looking.values():
            look.cancel()
        for opened in self._former.values():
            opened.cancel()
        self._former.clear()
        self._held.clear()
        self._loading.clear()

    def _serves(self, slot: Slot) -> None:
        """From now on; a model that did so before is let go of: two graphs may be more than fits into memory."""
        before, self._served[slot.name] = self._served.get(slot.name), slot
        if before is not None and before != slot and before not in self._named:
            self._drop(before)

    def _drop(self, slot: Slot) -> None:
        self._held.pop(slot, None)
        self._loading.pop(slot, None)
        self._named.discard(slot)

    def _again(self, slot: Slot, held: Serving) -> Serving:
        """The same. That files of a rescue bucket answer is told each time; whether their own is back, is looked at beside the answer."""
        for failure in held.failures:
            self._files.again(failure)
        if held.failures and slot not in self._looking and self._clock() > held.looked_at + RESCUED_FOR:
            look = self._looking[slot] = asyncio.wrap_future(self._loader.submit(self._look_again, held.refs))
            look.add_done_callback(lambda _: self._looked(slot, held.build, look))
        return held

    def _look_again(self, refs: Iterable[ObjectRef]) -> tuple[BucketFailure, ...]:
        """Of the files as they are found now. Blocking."""
        return failures_of([self._files.find(ref) for ref in refs])

    def _looked(self, slot: Slot, build: Build, look: asyncio.Future[tuple[BucketFailure, ...]]) -> None:
        """What was opened serves on: its bytes are the same, wherever they come from. On the event loop."""
        self._looking.pop(slot, None)
        if look.cancelled():
            return
        failed, held = look.exception() is not None, self._held.get(slot)
        if held is not None and held.build == build:
            failures = held.failures if failed else look.result()
            self._held[slot] = replace(held, failures=failures, looked_at=self._clock())

    def _current(self, slot: Slot, manifest: ServingManifest, build: Build) -> Serving | None:
        """The open build, if it is this one; searched as the manifest says from now on."""
        held = self._held.get(slot)
        if held is None or held.is_of(manifest, build):
            return held
        if not held.has(build) or (held.manifest.tail, held.manifest.lexical) != (manifest.tail, manifest.lexical):
            return None
        held.index.tune(manifest.search)
        tuned = self._held[slot] = replace(held, manifest=manifest)
        return tuned

    def _load(self, slot: Slot, build: Build, manifest: ServingManifest) -> _Loading:
        """The load of this manifest: the one under way, or a new one. A failed one is repeated, but not at once while another serves."""
        loading = self._loading.get(slot)
        if loading is not None and loading.manifest == manifest and loading.build == build:
            failed = loading.done.done() and loading.done.exception() is not None
            if not failed or (slot in self._held and self._clock() < loading.since + RETRY_AFTER):
                return loading
        done = asyncio.wrap_future(self._loader.submit(self._open, slot, build, manifest, asyncio.get_running_loop()))
        loading = self._loading[slot] = _Loading(manifest, build, done, self._clock())
        done.add_done_callback(lambda _: self._loaded(slot, loading))
        return loading

    def _loaded(self, slot: Slot, loading: _Loading) -> None:
        """Let what was loaded answer from now on, unless it is not what serves any more. On the event loop, as all that changes `_held`."""
        if loading.done.cancelled() or loading.done.exception() is not None or self._loading.get(slot) is not loading:
            return
        del self._loading[slot]
        record, loaded = self._records.index(slot.name), loading.done.result()
        manifest = None if record is None else record.answers.get(slot.model)
        if record is not None and manifest is not None and loaded.build == record.builds.get(manifest.build):
            self._held[slot] = loaded  # searched by newer parameters, if there are any, from the next search on: see _current

    def _open(self, slot: Slot, build: Build, manifest: ServingManifest, loop: asyncio.AbstractEventLoop) -> Serving:
        """Open and warm. Runs in the loader's thread."""
        try:
            followed = self._followed(slot, build, manifest)
            if followed is not None:
                return followed
            self._make_room(slot, build, loop)
            return self._opened(build, manifest)
        except LakehouseError as error:
            _log.warning("Index %s: %s", slot.name, error.explain())
            raise

    def _followed(self, slot: Slot, build: Build, manifest: ServingManifest) -> Serving | None:
        """The build that is open, with another tail; None where another one is. (No caller holds on to it: see `_make_room`.)"""
        held = self._held.get(slot)
        return with_tail(held, manifest, self._files) if held is not None and held.has(build) else None

    def _make_room(self, slot: Slot, build: Build, loop: asyncio.AbstractEventLoop) -> None:
        """Has the outgoing build let go of its graph, if there is no memory for both, and waits until it has."""
        incoming, held = heap_bytes(build), held_bytes(self._held.values(), self._former.values())
        if not incoming or not held or self._room.has(incoming, held):
            return
        gone = threading.Event()
        loop.call_soon_threadsafe(self._step_back, slot, gone)
        if not gone.wait(LET_GO):
            _log.warning("Index %s: its next build is loaded beside the one that serves, for which there is little memory.", slot.name)

    def _step_back(self, slot: Slot, gone: threading.Event) -> None:
        """What answers goes on without its own index; builds that are open apart close. On the event loop.

        gone: set when the last search by that index is over.
        """
        self._former.clear()
        held = self._held.get(slot)
        if held is None or held.stands_in:
            gone.set()
            return
        self._held[slot] = stand_in(held)
        weakref.finalize(held.index, gone.set)

    def _opened(self, build: Build, manifest: ServingManifest) -> Serving:
        return open_serving(build, manifest, self._files, self._open_model, self._clock())
