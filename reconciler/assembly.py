"""Puts a writer together: controllers, world, loop, queue. Nothing runs yet; see `reconciler.driver`, and `reconciler.kinds` for who acts
on which kind.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from controllers.dataset.checks import FileChecks
from controllers.dataset.files import SourceFiles
from controllers.policy.controller import PolicyController
from controllers.profile.controller import ProfileController
from engines.jobs.executor import Executor, JobLimits
from engines.live_recall import LiveRecall
from engines.sql.ledgers import LEDGER_SCHEMAS, ledger_table
from engines.sql.views import ViewSweep
from engines.vectors.embedding_cache import EmbeddingCache
from reconciler.backoff import Backoff, BackoffPolicy
from reconciler.bucket_watch import BucketWatch
from reconciler.collecting import alone, collector, settings_at
from reconciler.damage_watch import DamageWatch
from reconciler.data_watch import DataWatch
from reconciler.driver import Driver, Parts
from reconciler.follow import Follower
from reconciler.job_desk import JobDesk
from reconciler.kinds import make_kinds, make_world, recall_gate, source_files
from reconciler.loop import Reconciler
from reconciler.models import ModelService
from reconciler.notifying import Command, Notifier
from reconciler.opening import State
from reconciler.operator import Chores, Operator
from reconciler.queue import WorkQueue
from reconciler.removal import Remover
from reconciler.settings import Settings
from reconciler.status_writer import StatusWriter
from reconciler.upkeep import Upkeep, tell
from reconciler.world import World
from state import reasons
from state.catalog.fold import tables_of
from state.catalog.indexes import ServingManifest
from state.errors import StateError
from state.streams.compaction import Compaction
from state.streams.retention import Retention
from state.tuning import TuningBook
from state.turns import Turns

_log = logging.getLogger(__name__)

_VIEWS_KEPT = 24 * 3600.0
"""Seconds that the links to a former version stay: longer than any query or embedding job reads by them."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A writer, ready to run on the event loop it was made on."""

    state: State
    world: World
    follower: Follower
    statuses: StatusWriter
    executor: Executor
    queue: WorkQueue
    driver: Driver
    notifier: Notifier
    bucket_watch: BucketWatch
    files: SourceFiles
    embeddings: EmbeddingCache
    recall: LiveRecall
    policy: PolicyController
    profiles: ProfileController
    models: ModelService


async def assemble(state: State, settings: Settings) -> Assembly:
    """A writer over an open state, for the running event loop. The state must have been opened with the lease."""
    return await asyncio.to_thread(_assemble, state, settings, asyncio.get_running_loop())


def _assemble(state: State, settings: Settings, loop: asyncio.AbstractEventLoop) -> Assembly:
    assert state.lease is not None
    statuses = StatusWriter(state.statuses, state.streams, state.clock)
    world = make_world(state, statuses)
    desk = JobDesk(state.streams)
    executor = _executor(state, settings, desk)
    files = source_files(state)
    checks = FileChecks(state.buckets, state.objects)
    embeddings = EmbeddingCache(state.place.cache / "embeddings", settings.limits.embedding_cache_bytes)
    embeddings.fit()
    tuning = TuningBook(state.streams)
    recall = _live_recall(state, world, tuning, settings)
    models = ModelService(settings, statuses, world, state)
    kinds = make_kinds(state, world, statuses, executor, files, checks, embeddings, tuning, recall.of, models.runtime)
    models.draft(kinds.policy.book.now)
    kinds.profiles.models = models.runtime
    turns = Turns()
    stop_jobs = partial(executor.keep_only, wanted=frozenset())
    remover = Remover(world, state.catalog, statuses, kinds.retiring, turns)
    follower = Follower(state.place.source, world, state.catalog, statuses, remover, settings)
    reconciler = Reconciler(kinds.controllers, world.desired, world.circle, state.catalog, statuses, state.clock, turns, stop_jobs)
    queue = WorkQueue(time.monotonic)
    compaction = Compaction(state.streams, state.lease.check)
    retention = Retention(state.streams, state.lease.check, partial(tell, statuses))
    collect = collector(state, world, settings_at(state.place), executor, turns)
    chores = Chores(
        files, kinds.objects, checks, compaction, collect, kinds.edits, kinds.promotions, kinds.trial_runs, alone(executor, turns)
    )
    parts = Parts(
        source=state.place.source,
        world=world,
        follower=follower,
        reconciler=reconciler,
        queue=queue,
        backoff=Backoff(BackoffPolicy(), random.Random()),
        operator=Operator(state.requests, state.catalog, world, follower, state.streams, chores, state.clock),
        data_watch=DataWatch(state.place.data_root, (state.place.cache, *state.local_roots)),
        heartbeat=partial(_heartbeat, state),
        tidy=partial(_tidy, state, ViewSweep(state.place.cache / "views", _VIEWS_KEPT), files),
        upkeep=Upkeep(compaction, retention, lambda stream: follower.settings.retention.of(stream)).run,
        clock=state.clock,
    )
    driver = Driver(parts, loop, reconcilers=settings.work.reconcilers)
    desk.wake = kinds.builds.wake = kinds.trials.wake = models.wake = driver.wake
    state.catalog.subscribe(driver.wake)
    state.buckets.failures.listen(_damage_watch(driver, checks).heard)
    recall.told = lambda index: driver.wake([f"Index/{index}"])  # and with it the budgets that refer to it
    notifier = _notifier(state, follower, statuses)
    statuses.hear = notifier.tell
    bucket_watch = BucketWatch(world, state.buckets, queue.add, loop.call_later)
    return Assembly(
        state,
        world,
        follower,
        statuses,
        executor,
        queue,
        driver,
        notifier,
        bucket_watch,
        files,
        embeddings,
        recall,
        kinds.policy,
        kinds.profiles,
        models,
    )


def _live_recall(state: State, world: World, tuning: TuningBook, settings: Settings) -> LiveRecall:
    def serves(index: str) -> ServingManifest | None:
        record = state.catalog.index(index)
        return None if record is None else record.serving

    return LiveRecall(settings.work.recall_share, serves, partial(recall_gate, state, world, tuning))


def _executor(state: State, settings: Settings, desk: JobDesk) -> Executor:
    limits = JobLimits(settings.work.job_workers, settings.work.inline_bytes)
    return Executor(state.place.cache / "jobs", limits, desk.ended, failures=state.buckets.failures)


def _notifier(state: State, follower: Follower, statuses: StatusWriter) -> Notifier:
    """Runs what the settings in force name; what it cannot tell becomes an event."""

    def command() -> Command:
        notify = follower.settings.notify
        return Command(notify.command, notify.timeout)

    def failed(event: Mapping[str, Any], problem: str) -> None:
        message = f"nobody was told of `{event['reason']}`: {problem}"
        try:
            statuses.record_event(event["object"], "Warning", reasons.NOTIFICATION_FAILED, message, event["revision"])
        except StateError as error:
            _log.warning("%s: %s", message, error.explain())

    return Notifier(command, state.place.data_root, failed)


def _damage_watch(driver: Driver, checks: FileChecks) -> DamageWatch:
    """Readers that meet damage make the driver look."""

    def look(owners: Iterable[str]) -> None:
        names = list(owners)
        for kind, _, name in (owner.partition("/") for owner in names):
            if kind == "Dataset":
                checks.missed(name)
        driver.look(names)

    return DamageWatch(look)


def _heartbeat(state: State, revision: str | None, relisted_at: datetime | None) -> None:
    """Raises CatalogCorrupt where the state bucket lost what this writer goes by, BucketUnavailable where a bucket's folder is gone."""
    assert state.lease is not None
    state.catalog.check_standing()
    state.lease.heartbeat(revision, relisted_at)
    state.statuses.checkpoint(if_due=True)
    for name, config in state.buckets.configs().items():
        if config.backend == "local":
            state.buckets.ask(name)


def _tidy(state: State, views: ViewSweep, files: SourceFiles) -> None:
    """What is local: of nobody any more, or for the next process."""
    files.save()
    states = [known for kind in ("Dataset", "Index") for known in state.catalog.objects(kind).values()]
    views.run([*tables_of(states), *(ledger_table(kind, states) for kind in LEDGER_SCHEMAS)], time.monotonic())
    state.buckets.sweep_staging()
