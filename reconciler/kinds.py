"""The one place that knows which controller acts on which kind, for the writer and for whoever only plans. A kind without one says so in
its status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from engines.jobs.executor import Executor
from engines.live_recall import Live
from engines.ollama.activation import ModelRuntime
from engines.vectors.embedding_cache import EmbeddingCache
from reconciler.blob_cache import BlobCache
from reconciler.models import AuditedJobs
from reconciler.opening import State
from reconciler.policies import policy_book
from reconciler.status_writer import StatusWriter
from reconciler.world import World
from specs.kinds.dataset import DatasetSpec
from specs.own import tuned
from specs.registry import KINDS
from specs.resource import Key
from specs.version import PARSER_VERSION
from state.discards import Discards
from state.trials import TrialBook
from state.tuning import TuningBook


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
    keeps, views = partial(_keeps, state, world), state.place.cache / "views"
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
        views,
        rows,
        objects,
        state.clock,
    )
    trials = TrialBook(state.streams)

    def told(index: str) -> Live | None:
        gate = recall_gate(state, world, tuning, index)
        return live(index) or outlived(state.statuses.get(f"Index/{index}"), state.catalog.index(index), gate)

    index = IndexController(
        state.catalog, state.buckets, discards, builds, statuses, world.resource, world.generations, trials, tuning, told
    )
    generation = IndexGenerationController(state.catalog, builds, world.resource)
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


def recall_gate(state: State, world: World, tuning: TuningBook, index: str) -> float:
    """Which recall searches of an index are held against."""
    budgets = [budget for budget in world.of("TrialBudget", Key("Index", index)) if tuned(budget).index == index]
    return gate_of(in_force(budgets, state.catalog, tuning, world.resource, state.clock()))
