"""Changes of an index: its corpora and builds, what it is measured by, what answers, and what somebody chose.

Parts of `entry.Change`, in the same form. Next: `index_fold.py`, which folds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

from state.catalog.indexes import Build, Choice, Corpus, EvalTruth, ServingManifest


@dataclass(frozen=True, slots=True)
class CorpusAdded:
    """Chunks of a table snapshot were embedded. A digest that is there already is replaced: made again of the same inputs."""

    op: ClassVar[str] = "corpus-added"
    object: str
    corpus: Corpus

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "object": self.object, "corpus": self.corpus.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "corpus": Corpus.from_dict(data["corpus"])})


@dataclass(frozen=True, slots=True)
class BuildAdded:
    """An index was built. A digest that is there already is replaced: made again of the same inputs, its bytes may differ."""

    op: ClassVar[str] = "build-added"
    object: str
    build: Build

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "object": self.object, "build": self.build.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "build": Build.from_dict(data["build"])})


@dataclass(frozen=True, slots=True)
class Served:
    """The index's pointer moves to `manifest`: promotion and rollback alike. None: nothing answers any more.

    `cause`: digest of the specs and of the choice by which it moves; "" where that is not known."""

    op: ClassVar[str] = "served"
    object: str
    manifest: ServingManifest | None
    cause: str = ""

    def to_dict(self) -> dict[str, Any]:
        known = {"op": self.op, "object": self.object, "manifest": None if self.manifest is None else self.manifest.to_dict()}
        return known | ({"cause": self.cause} if self.cause else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        manifest = data["manifest"]
        return cls(**{**data, "manifest": None if manifest is None else ServingManifest.from_dict(manifest)})


@dataclass(frozen=True, slots=True)
class ServedBeside:
    """By `manifest` the index answers for a model beside the one that serves. None: it does not any more."""

    op: ClassVar[str] = "served-beside"
    object: str
    model: str
    manifest: ServingManifest | None

    def to_dict(self) -> dict[str, Any]:
        manifest = None if self.manifest is None else self.manifest.to_dict()
        return {"op": self.op, "object": self.object, "model": self.model, "manifest": manifest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        manifest = data["manifest"]
        return cls(**{**data, "manifest": None if manifest is None else ServingManifest.from_dict(manifest)})


@dataclass(frozen=True, slots=True)
class Chosen:
    """Somebody said what is to answer for the index; None: the rule decides again."""

    op: ClassVar[str] = "chosen"
    object: str
    choice: Choice | None

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "object": self.object, "choice": None if self.choice is None else self.choice.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        choice = data["choice"]
        return cls(**{**data, "choice": None if choice is None else Choice.from_dict(choice)})


@dataclass(frozen=True, slots=True)
class TruthMade:
    """Exact answers to the queries of an EvalSet in one corpus of the index are known. They take the place of the set's former ones."""

    op: ClassVar[str] = "truth-made"
    object: str
    truth: EvalTruth

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op, "object": self.object, "truth": self.truth.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "truth": EvalTruth.from_dict(data["truth"])})


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Corpora and builds, by digest, and truths, by EvalSet, that are no longer kept. Their objects may be deleted from now on."""

    op: ClassVar[str] = "forgotten"
    object: str
    corpora: tuple[str, ...] = ()
    builds: tuple[str, ...] = ()
    truths: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        truths = {"truths": list(self.truths)} if self.truths else {}
        return {"op": self.op, "object": self.object, "corpora": list(self.corpora), "builds": list(self.builds)} | truths

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        lists = {name: tuple(data.get(name, ())) for name in ("corpora", "builds", "truths")}
        return cls(**{**data, **lists})


IndexChange: TypeAlias = CorpusAdded | BuildAdded | Served | ServedBeside | Chosen | TruthMade | Forgotten
