"""What is known of an Index, what may answer for it, and the steps that a plan for it is made of. Plain data; next: `plan.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controllers.index.following import Lag
from controllers.index.measured import Measured
from controllers.outcome import Outcome
from controllers.step import Work
from engines.live_recall import Live
from state.catalog.indexes import Corpus, IndexRecord, Lexical, ServingManifest, Tail
from state.catalog.tables import Table


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe that may serve: its builds' digests over the corpora that are near, and how they are searched.

    Args:
        generation: name of the IndexGeneration; None for the recommended recipe.
        preferred: whether the engine is the recommended one for the size.
        build: over the newest corpus; elsewhere: over the others, by corpus.
        declared: whether an IndexGeneration sees to the build.
        chosen: whether somebody said that it is to serve. chooser: the TrialBudget that did; "" for a person.
    """

    generation: str | None
    engine: str
    parameters: Mapping[str, object] = field(hash=False)
    search: Mapping[str, object] = field(hash=False)
    build: str
    preferred: bool
    elsewhere: Mapping[str, str] = field(default_factory=dict, hash=False)
    declared: bool = True
    chosen: bool = False
    chooser: str = ""

    @property
    def choice(self) -> str:
        """How it came to be chosen, in words."""
        return f"chosen by {self.chooser or 'hand'}"


@dataclass(frozen=True, slots=True)
class Base:
    """A corpus that can stand for the present rows.

    Args:
        lag: what it lacks of them; None for nothing.
        tail: that leads from it to them; None where they are the same.
        lexical: its keyword index, where one is wanted and whole.
    """

    corpus: Corpus
    lag: Lag | None = None
    tail: Tail | None = None
    lexical: Lexical | None = None


class Answer(NamedTuple):
    """A candidate that is built, and over what."""

    candidate: Candidate
    base: Base
    build: str

    @property
    def manifest(self) -> ServingManifest:
        """With the rows that came since, as far as they are known."""
        return ServingManifest(self.build, self.candidate.generation, dict(self.candidate.search), self.base.tail, self.base.lexical)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as an Index sees it.

    Args:
        wanted: digest of the corpus of the present rows; None while the dataset has no table.
        corpus_weight: bytes of text that embedding reads, about.
        bases: the corpora that can stand for the present rows, newest first; without any, those are to be embedded first.
        candidates: recipes over them.
        lag: what the corpus that serves lacks of the present rows, its tail included.
        damaged: digests of corpora, builds and keyword indexes whose objects are missing.
        problem: why the dataset, its columns, the bucket or the model cannot be used; None if they can.
        unbuilt: generations whose recipe cannot be built in this version.
        measured: what trials say of builds, by `engines.trials.choice.way`.
        versions: by the models beside the one that is to serve.
        unavailable: models that the spec names and that cannot be opened, with the reason.
        held: builds that budgets still need.
        given_up: builds that nobody waits for: their last attempt failed, or their generation is suspended.
        live: what is told of the recall of searches; None where nobody has looked.
    """

    table: Table | None
    record: IndexRecord | None
    wanted: str | None
    corpus_weight: int
    bases: tuple[Base, ...]
    candidates: tuple[Candidate, ...]
    bucket: str
    lag: Lag | None = None
    damaged: frozenset[str] = frozenset()
    problem: Outcome | None = None
    unbuilt: tuple[str, ...] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict, hash=False)
    versions: tuple["Version", ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict, hash=False)
    held: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()
    live: Live | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """An index by a model beside the one that is to serve, as if it were another index. former: it only follows the rows."""

    model: str
    observed: Observed
    former: bool = False


@dataclass(frozen=True, slots=True)
class Embed:
    """Makes the corpus."""

    why: str
    corpus: str
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of text."""
        return Work("embed", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        return "embed the texts that are new or changed"


@dataclass(frozen=True, slots=True)
class IndexWords:
    """Makes the keyword index of a corpus."""

    why: str
    corpus: Corpus
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of text."""
        return Work("lexical", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        return "build the keyword index"


@dataclass(frozen=True, slots=True)
class BuildOwn:
    """Builds a recipe that no IndexGeneration sees to: the one recommended for the size, or one that was chosen by hand."""

    why: str
    candidate: Candidate
    weight: int

    @property
    def work(self) -> Work | None:
        """Bytes of vectors."""
        return Work("build", self.weight)

    def summary(self) -> str:
        """See `Step`."""
        whose = "chosen" if self.candidate.chosen else "recommended" if self.candidate.generation is None else self.candidate.generation
        return f"build the {whose} {self.candidate.engine} index"


@dataclass(frozen=True, slots=True)
class Serve:
    """Moves the pointer."""

    why: str
    manifest: ServingManifest
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"serve {self.manifest.generation or 'the recommended build'} ({self.manifest.build[:8]})"


@dataclass(frozen=True, slots=True)
class Follow:
    """Embeds what changed since, and moves the pointer to the manifest with it."""

    why: str
    manifest: ServingManifest
    lag: Lag
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"embed what changed since version {self.lag.version}"


@dataclass(frozen=True, slots=True)
class Unchoose:
    """Lets go of a choice that was made by hand."""

    why: str
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "let go of what was chosen by hand"


@dataclass(frozen=True, slots=True)
class Forget:
    """Lets go of builds and corpora that are neither served nor kept for a way back."""

    why: str
    corpora: tuple[str, ...]
    builds: tuple[str, ...]
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"remove {len(self.builds)} old builds and {len(self.corpora)} old corpora"


Making = Embed | Follow | IndexWords | BuildOwn | Serve
"""What brings an index by one model to the present rows."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The same for a model beside the one that serves."""

    model: str
    step: Making

    @property
    def why(self) -> str:
        """That of the step."""
        return self.step.why

    @property
    def work(self) -> Work | None:
        """That of the step."""
        return self.step.work

    def summary(self) -> str:
        """See `Step`."""
        return f"{self.step.summary()}, by {self.model}"


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Ends the answers by a model that nobody asks for any more."""

    why: str
    model: str
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"let go of the model {self.model}"


IndexStep = Making | Beside | Withdraw | Unchoose | Forget
"""What an Index's plan is made of."""
