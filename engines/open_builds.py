"""The builds that are open: of each index what answers now, by model, and a few that answered once.

A build is opened when it is first asked, in a thread, and kept. When the manifest changes (`follow`), the next is loaded and warmed while
the one before goes on answering, then takes its place; that one may be of another model, where nobody named one. New search parameters of
the same build are set without loading.

It refuses to search, and to know who may: that is `search.py`. What is open is `serving.py`.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

from engines.embedding.registry import Embedder, Model
from engines.errors import IndexNotServing
from engines.index_memory import Room, heap_bytes, held_bytes, stand_in
from engines.search_at import manifest_of
from engines.serving import Files, Serving, beside, failures_of, find_files, open_alone, open_serving, with_tail
from engines.sql.tables import RESCUED_FOR
from specs.errors import LakehouseError
from state.catalog.indexes import Build, IndexRecord, ServingManifest
from state.errors import ObjectMissing
from state.failures import BucketFailure
from state.objects import ObjectRef

MOST_FORMER = 2  # builds that are open beside those that answer now
LET_GO = 120.0  # seconds in which searches by an outgoing build end; a filter may take `limits.querySeconds`, and waits for its turn before
RETRY_AFTER = 5.0  # seconds from a manifest that could not be opened to the next attempt

_log = logging.getLogger(__name__)

_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")


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
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="index-loader")
        # One after the other: two builds that load at once would both be in memory besides those that serve.
        self._turn = asyncio.Lock()

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
            opened = self._former[build.digest] = asyncio.create_task(self._open_apart(build, manifest_of(record, build)))
            if len(self._former) > MOST_FORMER:
                self._former.popitem(last=False)
        self._former.move_to_end(build.digest)
        return await asyncio.shield(opened)

    async def with_tail(self, serving: Serving, manifest: ServingManifest) -> Serving:
        """The same build, with the tail of another manifest. Raises what opening it raises."""
        return await self._run(with_tail, serving, manifest, self._files)

    def follow(self, indexes: Iterable[str]) -> None:
        """These changed: begin to load what answers now, before anybody asks, and let go of what does not any more. On the event loop."""
        for name in indexes:
            under_way = [slot for slot, loading in self._loading.items() if not loading.done.done()]
            slots = [slot for slot in {*self._held, *under_way} if slot.name == name]
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
                elif self._current(slot, manifest, build) is None and not self._goes(slot):
                    self._load(slot, build, manifest)

    def is_open(self, index: str, build: str | None = None) -> bool:
        """Whether a build of an index answers at once: the one of this digest, None: one that answers where none is named. From any
        thread."""
        held = [serving for slot, serving in list(self._held.items()) if slot.name == index and not serving.stands_in]
        former = self._former.get(build or "")
        opened = former is not None and former.done() and not former.cancelled() and former.exception() is None
        return opened or any(build in (None, serving.build.digest) for serving in held)

    def forget(self, index: str) -> None:
        """Lets go of all that is open for an index."""
        self._served.pop(index, None)
        record = self._records.index(index)
        for digest in [digest for digest in self._former if record is not None and digest in record.builds]:
            del self._former[digest]
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
        """The load of this build: the one under way, which ends with the tail of then, or a new one.

        A failed one is repeated, but while another answers not at once.
        """
        loading = self._loading.get(slot)
        if loading is not None and loading.build == build:
            failed = loading.done.done() and loading.done.exception() is not None
            soon = slot in self._held and self._clock() < loading.since + RETRY_AFTER
            if not failed or (loading.manifest == manifest and soon):
                return loading
        done = asyncio.create_task(self._open(slot, build, manifest))
        loading = self._loading[slot] = _Loading(manifest, build, done, self._clock())
        done.add_done_callback(lambda _: self._loaded(slot, loading))
        return loading

    def _loaded(self, slot: Slot, loading: _Loading) -> None:
        """It answers by now, unless it is not what is to answer any more; what changed in the meantime is loaded in its turn."""
        if loading.done.cancelled() or loading.done.exception() is not None or self._loading.get(slot) is not loading:
            return
        del self._loading[slot]
        self.follow([slot.name])

    async def _open(self, slot: Slot, build: Build, manifest: ServingManifest) -> Serving:
        """Open, warm, and let it answer from now on, with the tail of then."""
        try:
            if not self._is_open(slot, build) and self._twin(build) is None:
                await self._make_room(slot, build)
            async with self._turn:
                if slot in self._held and self._manifest_of(slot, build) is None:
                    return self._held[slot]  # the pointer went on while there was no room; whatever serves now is loaded by itself
                opened = self._held[slot] if self._is_open(slot, build) else await self._alone(build, manifest)
                opened = await self._completed(slot, opened, manifest)
                if slot in self._loading and self._manifest_of(slot, build) is not None:
                    self._held[slot] = opened  # searched by newer parameters, if there are any, from the next search on: see _current
                return opened
        except LakehouseError as error:
            _log.warning("Index %s: %s", slot.name, error.explain())
            raise

    def _is_open(self, slot: Slot, build: Build) -> bool:
        return slot in self._held and self._held[slot].has(build)

    def _goes(self, slot: Slot) -> bool:
        """Whether it only stands in until another model's build is loaded: read again, its graph would take that one's room."""
        return slot in self._held and self._held[slot].stands_in and slot not in self._named and not self._serves_now(slot)

    def _serves_now(self, slot: Slot) -> bool:
        """Whether its model is the one that is to answer where none is named."""
        record = self._records.index(slot.name)
        return record is not None and slot.model == next(iter(record.answers), None)

    def _manifest_of(self, slot: Slot, build: Build) -> ServingManifest | None:
        """By which this build answers now; None where another one does."""
        record = self._records.index(slot.name)
        manifest = None if record is None else record.answers.get(slot.model)
        return manifest if record is not None and manifest is not None and record.builds.get(manifest.build) == build else None

    async def _completed(self, slot: Slot, opened: Serving, manifest: ServingManifest) -> Serving:
        """The open build with the newest tail: the one it was to be opened with may be gone, as opening took its time."""
        while True:
            manifest = self._manifest_of(slot, opened.build) or manifest
            try:
                return await self.with_tail(opened, manifest)
            except ObjectMissing:
                if self._manifest_of(slot, opened.build) in (None, manifest):
                    raise

    async def _make_room(self, slot: Slot, build: Build) -> None:
        """Has the outgoing build let go of its graph, if there is no memory for both, and waits until the last search by it is over.

        The loader opens tails and former builds meanwhile, for which those searches may wait.
        """
        if await self._fits(build):
            return
        await self._run(find_files, build, self._files)  # nothing lets go for what is not to be had
        self._former.clear()
        outgoing = self._outgoing(slot)
        if outgoing is None:
            return
        gone = asyncio.Event()
        self._step_back(outgoing, gone)
        try:
            async with asyncio.timeout(LET_GO):
                await gone.wait()
        except TimeoutError:
            _log.warning("Index %s: its next build is loaded beside the one that serves, for which there is little memory.", slot.name)

    def _outgoing(self, slot: Slot) -> Slot | None:
        """What this is to take the place of, if that has a graph to let go of."""
        outgoing = self._served.get(slot.name, slot) if slot not in self._held and self._serves_now(slot) else slot
        held = None if outgoing in self._named and outgoing != slot else self._held.get(outgoing)
        return None if held is None or held.stands_in or not heap_bytes(held.build) else outgoing

    def _step_back(self, slot: Slot, gone: asyncio.Event) -> None:
        """What answers goes on without its own index. gone: set when the last search by that is over."""
        held, loop = self._held[slot], asyncio.get_running_loop()
        self._held[slot] = stand_in(held)

        def told() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(gone.set)

        weakref.finalize(held.index, told).atexit = False

    async def _fits(self, build: Build) -> bool:
        """Whether there is memory for the build beside all that is open, or nothing that could make some."""
        incoming = heap_bytes(build)
        return not incoming or await self._run(self._has_room, incoming, list(self._held.values()), list(self._former.values()))

    def _has_room(self, incoming: int, held: Sequence[Serving], former: Sequence[asyncio.Future[Serving]]) -> bool:
        """Blocking: it asks the system."""
        taken = held_bytes(held, former)
        return not taken or self._room.has(incoming, taken)

    def _twin(self, build: Build) -> Serving | None:
        """What is open of the very same files, for an index that shares them with this one."""
        held = (one for one in self._held.values() if one.build.files == build.files)
        return next((one for one in held if not one.stands_in and one.whole()), None)

    async def _alone(self, build: Build, manifest: ServingManifest) -> Serving:
        if (twin := self._twin(build)) is not None:
            return beside(twin, build, manifest)
        return await self._run(open_alone, build, manifest, self._files, self._open_model, self._clock())

    async def _open_apart(self, build: Build, manifest: ServingManifest) -> Serving:
        """Others that are open apart close first, if there is no memory beside them."""
        if not await self._fits(build):
            for digest in [digest for digest in self._former if digest != build.digest]:
                del self._former[digest]
        async with self._turn:
            return await self._run(open_serving, build, manifest, self._files, self._open_model, self._clock())

    def _run(self, work: Callable[_Given, _Done], *given: _Given.args, **named: _Given.kwargs) -> Awaitable[_Done]:
        """In the loader's thread."""
        return asyncio.wrap_future(self._loader.submit(work, *given, **named))
