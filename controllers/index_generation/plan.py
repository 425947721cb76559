"""What an IndexGeneration needs next; pure: its build over the index's present corpus, whoever serves."""

from dataclasses import dataclass

from controllers.index.steps import Candidate
from controllers.outcome import Outcome, Ready, Waiting
from controllers.step import Work
from specs.kinds.index_generation import IndexGenerationSpec
from specs.resource import Resource
from state import reasons
from state.catalog.indexes import Corpus, IndexRecord


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a generation sees it.

    Args:
        index_wanted: whether a spec declares the index.
        base: the corpus that the index is built over; None while there is none.
        candidate: this recipe over that corpus; None while there is no corpus.
        damaged: whether the build's objects are missing.
    """

    index_wanted: bool
    record: IndexRecord | None
    base: Corpus | None
    candidate: Candidate | None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class BuildGeneration:
    """Builds the recipe."""

    why: str
    candidate: Candidate
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of vectors."""
        return Work("build", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        return f"build the {self.candidate.engine} index"


def plan(resource: Resource, observed: Observed) -> tuple[BuildGeneration, ...]:
    """Build, if the corpus is there and the build is not."""
    candidate, record = observed.candidate, observed.record
    if candidate is None or record is None or observed.base is None:
        return ()
    if candidate.build in record.builds and not observed.damaged:
        return ()
    base = observed.base
    why = "its files are missing or damaged" if observed.damaged else "no build of this recipe over the present rows"
    return (BuildGeneration(why, candidate, base.chunks * base.dimension * 4),)


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    index = f"Index/{resource.spec_as(IndexGenerationSpec).index}"
    if not observed.index_wanted:
        return Waiting(reasons.REFERENCE_MISSING, f"{index} is not there; declare it", blocked_by=index)
    record, candidate = observed.record, observed.candidate
    if candidate is None or record is None or candidate.build not in record.builds:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{index} has no corpus of the present rows yet", blocked_by=index)
    build = record.builds[candidate.build]
    serves = record.serving is not None and record.serving.build == build.digest
    return Ready(
        f"{build.count:,} vectors, {'serves' if serves else 'stands by'}",
        {"build": build.digest, "engine": build.engine, "parameters": dict(build.parameters), "seconds": build.seconds, "serving": serves},
    )
