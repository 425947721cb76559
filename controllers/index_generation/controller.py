"""IndexGeneration's hands: looks at the index's corpus and builds the recipe over it."""

from collections.abc import Callable

from controllers.index.builds import Builds, unopened
from controllers.index.models import in_force
from controllers.index_generation import plan as planning
from controllers.index_generation.plan import BuildGeneration, Observed
from controllers.outcome import Outcome
from controllers.step import Started
from specs.errors import LakehouseError
from specs.kinds.index import IndexSpec, model_name
from specs.kinds.index_generation import IndexGenerationSpec
from specs.resource import Key, Resource
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState


class IndexGenerationController:
    """See `controllers.controller.Controller`.

    Args:
        wanted: the spec in force of an object, None if nobody wants it.
    """

    def __init__(self, catalog: Catalog, builds: Builds, wanted: Callable[[Key], Resource | None]) -> None:
        self._catalog = catalog
        self._builds = builds
        self._wanted = wanted

    def observe(self, resource: Resource) -> Observed:
        """The index as it is wanted, its corpus, and this recipe over it."""
        spec = resource.spec_as(IndexGenerationSpec)
        index = self._wanted(Key("Index", spec.index))
        record = self._catalog.index(spec.index)
        if index is None:
            return Observed(False, record, None, None)
        index_spec = in_force(index.spec_as(IndexSpec), record)
        table = self._catalog.table(index_spec.dataset)
        opens = unopened(model_name(index_spec.embed.model)) is None
        embeds = table is not None and table.columns and opens
        bases = self._builds.bases(index_spec, table, record) if table is not None and embeds else ()
        if not bases:
            return Observed(True, record, None, None)
        base = bases[0].corpus
        candidate = self._builds.candidate(resource.key.name, spec, bases)
        build = record.builds.get(candidate.build) if record is not None else None
        return Observed(True, record, base, candidate, build is not None and not self._builds.whole(build.files.values()))

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Its build."""
        return (f"build {observed.candidate.build}",) if observed.damaged and observed.candidate is not None else ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[BuildGeneration, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: BuildGeneration, revision: str) -> Started | None:
        """Raises JobFailed and state errors: all are retried."""
        index = self._wanted(Key("Index", resource.spec_as(IndexGenerationSpec).index))
        if index is None:
            return None
        build = step.candidate.build
        try:
            started = self._builds.build(index, step.candidate, step.weight, str(resource.key), revision)
        except LakehouseError:
            self._builds.tell(index.key, build, failed=True)
            raise
        if started is None:
            self._builds.tell(index.key, build, failed=False)
        return started

    def retire(self, record: ObjectState) -> str:
        """A recipe owns nothing: its builds are the index's, which lets go of them in time."""
        return "its builds stay with the index until they are superseded"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Only the inventory knows a generation, and perhaps a job."""
        self._builds.abandon(record.object)
        self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)
