"""What the catalog keeps of indexes: corpora, tails, builds and serving manifests. Records as in `tables.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Self
from urllib.parse import unquote

from state.objects import ObjectRef


def model_of(fingerprint: str) -> str:
    """The model's name, with which a fingerprint begins; a slash in it is written %2F there."""
    return unquote(fingerprint.partition("/")[0])


@dataclass(frozen=True, slots=True)
class Lexical:
    """The keyword index of a corpus: `files` by role, over so many `chunks` that have so many `terms` together. `digest` is that of its
    inputs."""

    digest: str
    files: Mapping[str, ObjectRef] = field(hash=False)
    chunks: int
    terms: int

    def to_dict(self) -> dict[str, Any]:
        files = {name: ref.to_dict() for name, ref in self.files.items()}
        return {"digest": self.digest, "files": files, "chunks": self.chunks, "terms": self.terms}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "files": {name: ObjectRef.from_dict(ref) for name, ref in data["files"].items()}})


@dataclass(frozen=True, slots=True)
class Aside:
    """Chunks that have no vector of use: a ledger of so many `rows` in `ref`, in the form of `system.quarantine`."""

    ref: ObjectRef
    rows: int

    def to_dict(self) -> dict[str, Any]:
        return {"ref": self.ref.to_dict(), "rows": self.rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(ObjectRef.from_dict(data["ref"]), data["rows"])


@dataclass(frozen=True, slots=True)
class Corpus:
    """The embedded chunks of one table snapshot: a Parquet file in `ref`. `digest` is that of its inputs, `rows` counts source rows.

    `table_at` is when the table's version was committed: with `table_version` it says which version that was, whatever became of the
    table since; "" where it is not known. `lexical` is its keyword index, where one was asked for. `aside` are chunks that it lacks.
    `textless` of the rows have no text: null or blank in all text columns; 0 as well where nobody counted them.
    """

    digest: str
    ref: ObjectRef
    rows: int
    chunks: int
    snapshot: str
    table_version: int
    fingerprint: str
    dimension: int
    table_at: str = ""
    lexical: Lexical | None = None
    aside: Aside | None = None
    textless: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "ref": self.ref.to_dict(),
            "rows": self.rows,
            "chunks": self.chunks,
            "snapshot": self.snapshot,
            "table_version": self.table_version,
            "fingerprint": self.fingerprint,
            "dimension": self.dimension,
            "table_at": self.table_at,
            **({} if self.lexical is None else {"lexical": self.lexical.to_dict()}),
            **({} if self.aside is None else {"aside": self.aside.to_dict()}),
            **({"textless": self.textless} if self.textless else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        lexical = data.get("lexical")
        changed = {"ref": ObjectRef.from_dict(data["ref"]), "lexical": None if lexical is None else Lexical.from_dict(lexical)}
        return cls(**{**data, **changed, "aside": _aside(data)})

    @property
    def own_refs(self) -> tuple[ObjectRef, ...]:
        """Of what embedding made."""
        return _with_aside(self.ref, self.aside)

    @property
    def model(self) -> str:
        """The model's name, with which a fingerprint begins."""
        return model_of(self.fingerprint)

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Of all its objects."""
        return (*self.own_refs, *(() if self.lexical is None else self.lexical.files.values()))


@dataclass(frozen=True, slots=True)
class Tail:
    """What became of a table since the snapshot of the corpus `base`: a file in the form of a corpus, with the chunks of rows that are new
    or have other texts, and the keys of those that are gone.

    `changed` rows it tells of, `chunks` it holds, `hidden` chunks of the base that do not count any more, `rows` of the table that are
    indexed by both together. `snapshot`, `table_version` and `table_at` are those of the table that it leads to. `aside` are the chunks
    that both together lack, `textless` the rows that have no text; 0 as well where nobody counted them.
    """

    digest: str
    ref: ObjectRef
    base: str
    snapshot: str
    table_version: int
    table_at: str
    changed: int
    chunks: int
    hidden: int
    rows: int
    aside: Aside | None = None
    textless: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "ref": self.ref.to_dict(),
            "base": self.base,
            "snapshot": self.snapshot,
            "table_version": self.table_version,
            "table_at": self.table_at,
            "changed": self.changed,
            "chunks": self.chunks,
            "hidden": self.hidden,
            "rows": self.rows,
            **({} if self.aside is None else {"aside": self.aside.to_dict()}),
            **({"textless": self.textless} if self.textless else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"]), "aside": _aside(data)})

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Of its objects."""
        return _with_aside(self.ref, self.aside)


def _aside(data: Mapping[str, Any]) -> Aside | None:
    return Aside.from_dict(data["aside"]) if "aside" in data else None


def _with_aside(ref: ObjectRef, aside: Aside | None) -> tuple[ObjectRef, ...]:
    return (ref,) if aside is None else (ref, aside.ref)


@dataclass(frozen=True, slots=True)
class Build:
    """An index built over a corpus. `digest` is that of its inputs (its bytes are not reproducible), `generation` the recipe's name,
    None where the recipe was recommended; `files` by role within the engine; `count` vectors. It took `seconds`, `cpu_seconds` of all
    threads, and `peak_bytes` of memory beyond what the process had before; 0 where they were not measured."""

    digest: str
    generation: str | None
    engine: str
    parameters: Mapping[str, Any] = field(hash=False)
    corpus: str
    files: Mapping[str, ObjectRef] = field(hash=False)
    count: int
    dimension: int
    seconds: float
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        measured = {name: value for name, value in (("cpu_seconds", self.cpu_seconds), ("peak_bytes", self.peak_bytes)) if value}
        return measured | {
            "digest": self.digest,
            "generation": self.generation,
            "engine": self.engine,
            "parameters": dict(self.parameters),
            "corpus": self.corpus,
            "files": {name: ref.to_dict() for name, ref in self.files.items()},
            "count": self.count,
            "dimension": self.dimension,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "files": {name: ObjectRef.from_dict(ref) for name, ref in data["files"].items()}})


@dataclass(frozen=True, slots=True)
class EvalTruth:
    """What an EvalSet measures an index by: queries and their exact answers in one corpus, a Parquet file in `ref`.

    `digest` is that of its inputs. Of the `queries`, so many are `judged` (have relevant keys that are in the corpus) or carry one of the
    `filters`. `unknown` counts relevant keys that are not there, `unanswered` queries whose filter passes nothing.
    """

    eval_set: str
    digest: str
    corpus: str
    ref: ObjectRef
    k: int
    queries: int
    filters: int = 0
    judged: int = 0
    unknown: int = 0
    unanswered: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "eval_set": self.eval_set,
            "digest": self.digest,
            "corpus": self.corpus,
            "ref": self.ref.to_dict(),
            "k": self.k,
            "queries": self.queries,
            "filters": self.filters,
            "judged": self.judged,
            "unknown": self.unknown,
            "unanswered": self.unanswered,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"])})


@dataclass(frozen=True, slots=True)
class ServingManifest:
    """What answers a search: a build (by digest), search parameters, what became of the rows since, if anything did, and the keyword index
    of its corpus, if there is one."""

    build: str
    generation: str | None
    search: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tail: Tail | None = None
    lexical: Lexical | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "build": self.build,
            "generation": self.generation,
            "search": dict(self.search),
            "tail": None if self.tail is None else self.tail.to_dict(),
            **({} if self.lexical is None else {"lexical": self.lexical.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        tail, lexical = data.get("tail"), data.get("lexical")
        return cls(
            data["build"],
            data["generation"],
            data["search"],
            None if tail is None else Tail.from_dict(tail),
            None if lexical is None else Lexical.from_dict(lexical),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to answer for an index by somebody's word, until another word: the IndexGeneration of this name as its spec has it, or, where
    `engine` is given, exactly this recipe, that has or once had the name. `by` is the TrialBudget whose word it is; "" for a person's.
    `undeclared`: no spec declared the name when it was chosen, as none does that of a recipe which a TrialBudget found.
    `model`: the one that is to serve in the place of `instead_of`, which the spec named then; None for the spec's."""

    generation: str | None
    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    search: Mapping[str, Any] = field(default_factory=dict, hash=False)
    by: str = ""
    model: str | None = None
    instead_of: str | None = None
    undeclared: bool = False

    def to_dict(self) -> dict[str, Any]:
        known = {"generation": self.generation, "engine": self.engine}
        said: dict[str, Any] = ({"by": self.by} if self.by else {}) | ({"undeclared": True} if self.undeclared else {})
        model = {} if self.model is None else {"model": self.model, "instead_of": self.instead_of}
        return known | {"parameters": dict(self.parameters), "search": dict(self.search)} | said | model

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """A logical index: its corpora and builds by digest, what serves now, what served before (the way back), what is to serve where
    somebody said so, what it is measured by, by EvalSet, what answers for models beside the one that serves, by the model's name, and by
    which cause it answers in this way; see `Served`."""

    name: str
    corpora: Mapping[str, Corpus] = field(default_factory=dict, hash=False)
    builds: Mapping[str, Build] = field(default_factory=dict, hash=False)
    serving: ServingManifest | None = None
    previous: ServingManifest | None = None
    choice: Choice | None = None
    truths: Mapping[str, EvalTruth] = field(default_factory=dict, hash=False)
    beside: Mapping[str, ServingManifest] = field(default_factory=dict, hash=False)
    cause: str = ""

    def same_way(self, one: ServingManifest, other: ServingManifest) -> bool:
        """Whether both answer by the same model and recipe, searched in the same way, whatever rows they hold. Of recorded builds."""
        recipes = [(build.engine, build.parameters) for build in (self.builds[one.build], self.builds[other.build])]
        same = self.corpus_of(one).fingerprint == self.corpus_of(other).fingerprint
        return same and recipes[0] == recipes[1] and (one.generation, one.search) == (other.generation, other.search)

    def corpus_of(self, manifest: ServingManifest) -> Corpus:
        """What its build, which is recorded, was built over."""
        return self.corpora[self.builds[manifest.build].corpus]

    @property
    def answers(self) -> Mapping[str, ServingManifest]:
        """What answers for each model, by its name; first the one that serves."""
        known = self.serving is not None and self.serving.build in self.builds
        serving = {self.corpus_of(self.serving).model: self.serving} if known and self.serving is not None else {}
        return serving | {model: manifest for model, manifest in self.beside.items() if model not in serving}

    def by_model(self, name: str) -> IndexRecord:
        """The same index, as if this model served, by its name: nothing was chosen for it, nothing served before."""
        return replace(self, serving=self.answers.get(name), previous=None, choice=None)

    @property
    def manifests(self) -> tuple[ServingManifest, ...]:
        """Of what serves, of what answers beside, and of what served before."""
        return tuple(manifest for manifest in (self.serving, *self.beside.values(), self.previous) if manifest is not None)

    @property
    def tails(self) -> tuple[Tail, ...]:
        """Of all manifests."""
        return tuple(manifest.tail for manifest in self.manifests if manifest.tail is not None)

    @property
    def aside(self) -> Aside | None:
        """What it lacks for want of a vector: of what serves, else of the newest corpus."""
        if self.serving is not None and self.serving.tail is not None:
            return self.serving.tail.aside
        build = None if self.serving is None else self.builds.get(self.serving.build)
        corpora = self.corpora.values() if build is None else filter(None, (self.corpora.get(build.corpus),))
        newest = max(corpora, key=lambda corpus: corpus.table_version, default=None)
        return None if newest is None else newest.aside

    @property
    def bucket(self) -> str | None:
        """Where its vectors lie, all of them; None before there are any."""
        refs = chain((corpus.ref for corpus in self.corpora.values()), *(build.files.values() for build in self.builds.values()))
        return next((ref.bucket for ref in refs), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "corpora": [corpus.to_dict() for corpus in self.corpora.values()],
            "builds": [build.to_dict() for build in self.builds.values()],
            "serving": None if self.serving is None else self.serving.to_dict(),
            "previous": None if self.previous is None else self.previous.to_dict(),
            **({"choice": self.choice.to_dict()} if self.choice is not None else {}),
            **({"truths": [truth.to_dict() for truth in self.truths.values()]} if self.truths else {}),
            **({"beside": {model: manifest.to_dict() for model, manifest in self.beside.items()}} if self.beside else {}),
            **({"cause": self.cause} if self.cause else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        serving, previous = data["serving"], data["previous"]
        return cls(
            data["name"],
            {corpus["digest"]: Corpus.from_dict(corpus) for corpus in data["corpora"]},
            {build["digest"]: Build.from_dict(build) for build in data["builds"]},
            None if serving is None else ServingManifest.from_dict(serving),
            None if previous is None else ServingManifest.from_dict(previous),
            Choice.from_dict(data["choice"]) if "choice" in data else None,
            {truth["eval_set"]: EvalTruth.from_dict(truth) for truth in data.get("truths", ())},
            {model: ServingManifest.from_dict(manifest) for model, manifest in data.get("beside", {}).items()},
            data.get("cause", ""),
        )
