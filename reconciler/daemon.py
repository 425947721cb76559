"""The daemon: takes the lease, follows the watched ref, answers HTTP, and ends in good order on SIGTERM.

What it owns is opened in this order and closed in the reverse one: state and lease, the listener, the loop. A second daemon
on the same state is refused with the first one's name. `on_up` is told once the listener is bound.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from prometheus_client import CollectorRegistry

from api.app import Parts as ApiParts
from api.app import build_app
from api.embedding_cache import EmbeddingCaches
from api.limits import Limits
from api.reader import is_loopback
from api.server import address, listener, serving
from api.status import Daemon as DaemonFacts
from engines.policies.testing import CaseResult, run_cases
from reconciler.access import Access
from reconciler.allocator import keep_freed_memory
from reconciler.assembly import Assembly, assemble
from reconciler.damage_watch import owner_of
from reconciler.directory import Directory
from reconciler.doorbell import doorbell
from reconciler.driver import Driver
from reconciler.errors import SettingsInvalid
from reconciler.footprint import DaemonAddress, remove_daemon, write_daemon
from reconciler.metrics import watch_loop, watch_recall, watch_searches
from reconciler.newest import Newest
from reconciler.opening import Housekeeping, State, open_state, utc_now
from reconciler.place import Place
from reconciler.reading import Readers, StatusView, reading
from reconciler.settings import Settings, armed_failpoints, load_settings, split_address
from reconciler.upkeep import DAEMON
from specs.kinds.dataset import DatasetSpec
from specs.kinds.policy import PolicySpec
from specs.kinds.profile import ProfileSpec
from specs.resource import Key
from specs.version import VERSION
from state import failpoints, reasons
from state.errors import ObjectCorrupt, ObjectMissing, StateError
from state.secrets import SecretsFile, secrets_path
from state.timestamps import iso
from state.tokens import TokenFile

TURN = 0.0005
"""Seconds after which a thread that computes lets another one go on. A request passes from thread to thread some six times, and waited each
time for Python's 5 ms beside the visit of a table of a thousand files. Not before all was visited once: four threads that compute at once
pay a fifth of their time for it."""

_WAIT_FOR_WORKER = 30.0
_MARGIN = 30.0
"""Seconds by which a request may take longer than its query: the query's own error is to arrive first."""


def daemon_settings(place: Place, listen: str | None) -> Settings:
    """Settings of the watched commit; an unreadable or faulty file at start-up is an error, not a guess."""
    settings = load_settings(place.source.settings(place.source.revision()))
    return settings.model_copy(update={"listen": listen}) if listen is not None else settings


async def run_daemon(place: Place, settings: Settings, on_up: Callable[[str], None]) -> None:
    """Runs until SIGTERM or SIGINT. Raises LeaseHeld, StateBucketMissing, OSError (the address is taken), LeaseLost."""
    keep_freed_memory()
    failpoints.arm(armed_failpoints())
    tokens = TokenFile(SecretsFile(await asyncio.to_thread(secrets_path, os.environ)))
    asks = await asyncio.to_thread(_check_listener, settings.listen, tokens)
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(listener(*split_address(settings.listen)))
        url = f"http://{address(bound)}"
        state = await asyncio.to_thread(open_state, place, settings, address=url)
        stack.push_async_callback(asyncio.to_thread, Housekeeping(state).close)
        assembly = await assemble(state, settings)
        stack.push_async_callback(asyncio.to_thread, assembly.notifier.close)
        stack.push_async_callback(asyncio.to_thread, assembly.executor.shutdown)
        assembly.models.start()
        stack.push_async_callback(asyncio.to_thread, assembly.models.close)
        stack.push_async_callback(asyncio.to_thread, assembly.files.save)
        directory = _directory(assembly, tokens, asks)
        mend, pinned = partial(_mend, assembly), partial(_pinned, assembly)
        readers = await stack.enter_async_context(reading(state, settings, mend, pinned, assembly.recall, directory, assembly.models))
        assembly.policy.run_cases = partial(_cases, asyncio.get_running_loop(), readers, assembly)
        _keep_warm(assembly, readers)
        await stack.enter_async_context(doorbell(place.socket, assembly.driver.poke))
        facts = DaemonFacts(iso(utc_now()), address(bound), os.getpid())
        app = build_app(_api(state, assembly, readers, directory, facts, settings))
        await stack.enter_async_context(serving(app, bound))
        where = DaemonAddress(url, facts.pid, state.id, facts.since, str(place.socket))
        await _serve(state, assembly, directory, where, on_up)


def _cases(loop: asyncio.AbstractEventLoop, readers: Readers, assembly: Assembly, spec: PolicySpec) -> Sequence[CaseResult]:
    """The cases beside a policy, run for its status: nobody is shown a row, and none is in the audit. In a visit's thread."""
    asked = run_cases(spec, assembly.policy.book.now(), readers.queries.queries)
    return asyncio.run_coroutine_threadsafe(asked, loop).result()


async def _mend(assembly: Assembly, damage: ObjectMissing | ObjectCorrupt) -> None:
    """Whoever the damaged object belongs to has been visited."""
    owner = owner_of(damage.key)
    if owner is not None:
        await assembly.driver.visited(owner)


def _keep_warm(assembly: Assembly, readers: Readers) -> None:
    """Profiles ask the readers of this process, and are visited when that has come to something."""
    assembly.profiles.warm = readers.warming
    readers.warming.told = lambda profile: assembly.driver.look([f"Profile/{profile}"])


def _pinned(assembly: Assembly, dataset: str) -> bool:
    """Whether the spec keeps the table in the hot cache."""
    resource = assembly.world.resource(Key("Dataset", dataset))
    cache = None if resource is None else resource.spec_as(DatasetSpec).cache
    return cache is not None and cache.pin


def _check_listener(listen: str, tokens: TokenFile) -> bool:
    """Whether tokens are asked for, from here on, whatever becomes of the file meanwhile.

    Raises SettingsInvalid where others than this machine could ask and would be asked for no token, SecretsFileRefused.
    """
    asks = len(tokens.current()) > 0
    if not asks and not is_loopback(split_address(listen)[0]):
        raise SettingsInvalid(
            f"`listen: {listen}` lets other machines in, and nobody is asked for a token.",
            remedy=f"Write tokens into {tokens.path}, or listen on 127.0.0.1; docs/access.md says how.",
        )
    return asks


def _directory(assembly: Assembly, tokens: TokenFile, asks: bool) -> Directory:
    def profile(name: str) -> ProfileSpec | None:
        resource = assembly.world.resource(Key("Profile", name))
        return None if resource is None else resource.spec_as(ProfileSpec)

    def told(fault: str | None) -> None:
        if fault is None:
            assembly.statuses.mention(DAEMON, "Normal", reasons.TOKENS_SOUND, "The file of tokens is sound again.")
        else:
            assembly.statuses.mention(DAEMON, "Warning", reasons.TOKENS_REFUSED, f"Nobody is let in. {fault}")

    rules, in_force = assembly.policy.book.now, lambda: assembly.world.revision is not None
    newest = Newest(assembly.state.place.source.head, lambda: assembly.world.revision, assembly.driver.followed)
    return Directory(tokens, profile, rules=rules, in_force=in_force, told=told, asks=asks, caught_up=newest.caught_up)


def _api(state: State, assembly: Assembly, readers: Readers, directory: Directory, facts: DaemonFacts, settings: Settings) -> ApiParts:
    registry = CollectorRegistry()
    watch_loop(registry, assembly)
    watch_recall(registry, assembly.recall)
    watch_searches(registry, readers.tally)
    return ApiParts(
        queries=readers.queries,
        searches=readers.searches,
        statuses=StatusView(state, lambda: assembly.world.revision),
        events=state.streams,
        catalog=state.catalog,
        describe=state.describe,
        hot=readers.hot,
        embeddings=EmbeddingCaches(assembly.embeddings.stats, readers.query_vectors.stats),
        models=readers.models,
        buckets=state.buckets,
        objects=state.objects,
        audit=readers.audit,
        quotas=readers.quotas,
        notified=assembly.bucket_watch.notified,
        missing=lambda: (*directory.missing(), *_missing(assembly)),
        daemon=facts,
        directory=directory,
        access=Access(assembly.world, state.catalog, assembly.policy.book, directory.profile),
        listen_host=split_address(settings.listen)[0],
        hosts=frozenset(name.strip().lower() for name in (socket.gethostname(), *settings.hosts.split(",")) if name.strip()),
        version=VERSION,
        limits=_limits(settings),
        registry=registry,
    )


async def _serve(state: State, assembly: Assembly, directory: Directory, where: DaemonAddress, on_up: Callable[[str], None]) -> None:
    """Drives until a signal; tells clients where to find this process meanwhile."""
    epoch = state.lease.epoch if state.lease is not None else 0
    await asyncio.to_thread(write_daemon, state.place.cache, where)
    asks = "; asks for no token: whoever reaches it is its operator" if directory.open else ""
    started = f"answers at {where.url}, epoch {epoch}{asks}"
    await asyncio.to_thread(assembly.statuses.record_event, DAEMON, "Normal", reasons.STARTED, started)
    for damage in state.catalog.damaged:
        await asyncio.to_thread(assembly.statuses.record_event, DAEMON, "Warning", reasons.CHECKPOINT_DAMAGED, damage)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, assembly.driver.stop)
    turning = loop.create_task(_turn_quickly(assembly.driver))
    try:
        on_up(where.url)
        await assembly.driver.run()
    finally:
        turning.cancel()
        await asyncio.to_thread(remove_daemon, state.place.cache, where.pid)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    with contextlib.suppress(StateError):  # a full disk is no reason to end in disorder
        await asyncio.to_thread(assembly.statuses.record_event, DAEMON, "Normal", reasons.STOPPED, "stopped in good order")


async def _turn_quickly(driver: Driver) -> None:
    await driver.looked.wait()
    sys.setswitchinterval(TURN)


def _missing(assembly: Assembly) -> Sequence[str]:
    """Why the daemon is not ready: it has not looked at every object once."""
    if not assembly.driver.first_pass.is_set():
        return ("the watched revision has not been read yet",)
    unseen = assembly.driver.unvisited
    return (f"{unseen} objects have not been looked at yet",) if unseen else ()


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    whole = limits.query_seconds + _WAIT_FOR_WORKER + _MARGIN
    return Limits(body_bytes=limits.body_bytes, query_rows=limits.query_rows, search_k=limits.search_k, seconds=whole)
