"""Puts a writer together: controllers, world, loop, queue. Nothing runs yet; see `reconciler.driver`.

The one place that knows which controller acts on which kind. A kind without one says so in its status.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from controllers.bucket.controller import BucketController
from controllers.bucket.mirroring import Mirroring
from controllers.controller import Controller, Retiring
from controllers.dataset.checks import FileChecks
from controllers.dataset.controller import DatasetController
from controllers.dataset.edits import Edits
from controllers.dataset.files import SourceFiles
from controllers.dataset.known_digests import KnownDigests
from controllers.dataset.objects import SourceObjects
from controllers.dataset.row_sources import RowSources
from controllers.eval_set.controller import EvalSetController
from controllers.eval_set.trial_runs import TrialRuns
from controllers.index.builds import Builds
from controllers.index.controller import IndexController
from controllers.index.model_turns import ModelTurns
from controllers.index.promotions import Promotions
from controllers.index.recall import gate_of, lowered, outlived
from controllers.index_generation.controller import IndexGenerationController
from controllers.policy.controller import PolicyController
from controllers.profile.controller import ProfileController
from controllers.trial_budget.controller import TrialBudgetController
from controllers.trial_budget.in_force import in_force
from controllers.unsupported import Unsupported
from engines.audit import Audit
from engines.jobs.executor import Executor, JobLimits
from engines.live_recall import Live, LiveRecall
from engines.ollama.activation import ModelRuntime
from engines.sql.ledgers import LEDGER_SCHEMAS, ledger_table
from engines.sql.views import ViewSweep
from engines.vectors.embedding_cache import EmbeddingCache
from reconciler.backoff import Backoff, BackoffPolicy
from reconciler.blob_cache import BlobCache
from reconciler.bucket_watch import BucketWatch
from reconciler.collecting import alone, collector, settings_at
from reconciler.damage_watch import DamageWatch
from reconciler.data_watch import DataWatch
from reconciler.driver import Driver, Parts
from reconciler.follow import Follower
from reconciler.job_desk import JobDesk
from reconciler.loop import Reconciler
from reconciler.models import AuditedJobs, ModelService
from reconciler.notifying import Command, Notifier
from reconciler.opening import State
from reconciler.operator import Chores, Operator
from reconciler.policies import policy_book
from reconciler.queue import WorkQueue
from reconciler.removal import Remover
from reconciler.settings import Settings
from reconciler.status_writer import StatusWriter
from reconciler.upkeep import Upkeep, tell
from reconciler.world import World
from specs.kinds.dataset import DatasetSpec
from specs.own import tuned
from specs.registry import KINDS
from specs.resource import Key
from specs.version import PARSER_VERSION
from state import reasons
from state.catalog.fold import tables_of
from state.catalog.indexes import ServingManifest
from state.discards import Discards
from state.errors import StateError
from state.streams.compaction import Compaction
from state.streams.retention import Retention
from state.trials import TrialBook
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


@dataclass(frozen=True, slots=True)
class Kinds:
    """How each kind is reconciled, how its objects end; who changes rows of a Dataset, or what serves an Index, by hand; who knows objects
    that are sources; who builds, what was measured, and who measures on request; what policies are in force."""

    controllers: Mapping[str, Controller[Any, Any]]
    retiring: Mapping[str, Retiring]
    edits: Edits
    promotions: Promotions
    objects: SourceObjects
    builds: Builds
    trials: TrialBook
    trial_runs: TrialRuns
    policy: PolicyController
    profiles: ProfileController


def source_files(state: State) -> SourceFiles:
    """Below the data root, with what former processes hashed of them. Blocking."""
    place = state.place
    return SourceFiles(place.data_root, state.ours, known=KnownDigests(place.cache / "digests.json", place.data_root))


def make_world(state: State, statuses: StatusWriter) -> World:
    """The desired state, empty until it is advanced."""
    cache = BlobCache(state.place.cache / "specs.json", PARSER_VERSION, writes=state.lease is not None)
    return World(state.place.source, cache, statuses.known_revision)


def make_kinds(
    state: State,
    world: World,
    statuses: StatusWriter,
    executor: Executor,
    files: SourceFiles,
    checks: FileChecks,
    embeddings: EmbeddingCache,
    tuning: TuningBook,
    live: Callable[[str], Live | None] = lambda index: None,
    turns: ModelRuntime | None = None,
) -> Kinds:
    """Every kind's controller, and what carries out requests. live: what is told of the recall of an index's searches.
    turns: of models."""
    discards = Discards(state.store, state.buckets, state.catalog)
    models = ModelTurns(turns, AuditedJobs(Audit(state.streams)))
    builds = Builds(state.catalog, state.buckets, discards, state.objects, executor, state.place.cache, embeddings, models)
    mirroring = Mirroring(state.buckets, state.catalog.objects, executor, state.clock)
    keeps = partial(_keeps, state, world)
    bucket = BucketController(state.catalog, state.buckets, state.place.data_root, state.bucket, mirroring, world.resource, keeps)
    rows = RowSources(state.catalog, state.objects, executor, state.place.cache, world.resource)
    hidden = (state.place.cache, state.place.data_root / ".git")
    objects = SourceObjects(state.buckets, state.objects, executor, keeps, hidden, world.resource)
    dataset = DatasetController(
        state.catalog,
        state.buckets,
        discards,
        executor,
        files,
        statuses,
        checks,
        world.resource,
        lambda: world.of_kind("Dataset"),
        state.objects,
        state.place.cache / "views",
        rows,
        objects,
        state.clock,
    )
    trials = TrialBook(state.streams)

    def told(index: str) -> Live | None:
        gate = _gate(state, world, tuning, index)
        return live(index) or outlived(state.statuses.get(f"Index/{index}"), state.catalog.index(index), gate)

    index = IndexController(
        state.catalog, state.buckets, discards, builds, statuses, world.resource, world.generations, trials, tuning, told
    )
    generation = IndexGenerationController(state.catalog, builds, world.resource)
    views = state.place.cache / "views"
    eval_set = EvalSetController(
        state.catalog, state.buckets, discards, executor, state.objects, files, index, trials, views, world.resource, models
    )
    runs = TrialRuns(state.catalog, state.buckets, state.objects, executor, builds, trials)
    budget = TrialBudgetController(
        state.catalog,
        executor,
        index,
        runs,
        statuses,
        trials,
        tuning,
        world.resource,
        partial(world.resources, "TrialBudget"),
        state.clock,
        stays=state.lease is None or bool(state.lease.holder.address),
        lowered=lambda index: lowered(told(index)),
    )
    book = policy_book(state, world)
    policy, profile = PolicyController(state.catalog, book, world.resource), ProfileController(state.catalog, world.resource, book)
    built: dict[str, Any] = {
        "Bucket": bucket,
        "Dataset": dataset,
        "Index": index,
        "IndexGeneration": generation,
        "EvalSet": eval_set,
        "TrialBudget": budget,
        "Policy": policy,
        "Profile": profile,
    }
    unsupported = Unsupported()
    by_kind = {kind: built.get(kind, unsupported) for kind in KINDS}
    return Kinds(by_kind, built, dataset.edits, index.promotions, objects, builds, trials, runs, policy, profile)


def _keeps(state: State, world: World, bucket: str) -> bool:
    """Whether state, tables, indexes or copies of them are kept in a bucket."""
    if bucket == state.bucket:
        return True
    for key in world.dependents(Key("Bucket", bucket)):
        resource = world.resource(key)
        # a Dataset may only read there
        if resource is not None and (key.kind != "Dataset" or resource.spec_as(DatasetSpec).bucket == bucket):
            return True
    return any(record.table is not None and record.table.bucket == bucket for record in state.catalog.objects("Dataset").values())


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
    _wire(state, desk, driver, checks)
    kinds.builds.wake = driver.wake
    kinds.trials.wake = driver.wake
    models.wake = driver.wake
    kinds.profiles.models = models.runtime
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

    return LiveRecall(settings.work.recall_share, serves, partial(_gate, state, world, tuning))


def _gate(state: State, world: World, tuning: TuningBook, index: str) -> float:
    """Which recall searches of an index are held against."""
    budgets = [budget for budget in world.of("TrialBudget", Key("Index", index)) if tuned(budget).index == index]
    return gate_of(in_force(budgets, state.catalog, tuning, world.resource, state.clock()))


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


def _wire(state: State, desk: JobDesk, driver: Driver, checks: FileChecks) -> None:
    """Jobs that end, commits, and readers that meet damage make the driver look."""
    desk.wake = driver.wake
    state.catalog.subscribe(driver.wake)

    def look(owners: Iterable[str]) -> None:
        names = list(owners)
        for kind, _, name in (owner.partition("/") for owner in names):
            if kind == "Dataset":
                checks.missed(name)
        driver.look(names)

    state.buckets.failures.listen(DamageWatch(look).heard)


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
