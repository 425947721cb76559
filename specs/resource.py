"""A resource: one spec as it stands in one commit, and the key it is known by everywhere.

A `Resource` is cheap on purpose. It keeps its document as JSON text and builds the typed model only when asked, so that
100 000 resources come out of the blob cache in about a second without importing pydantic. It knows nothing of status,
of versions in the catalog or of who reconciles it.

Read next: `specs.parse` (how resources come out of YAML), `specs.registry` (the kinds), `specs.references` (their order).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from specs.errors import SpecInvalid

if TYPE_CHECKING:
    from specs.metadata import Metadata
    from specs.model import Spec

    S = TypeVar("S", bound=Spec)


MARK = "@"
"""Stands in names of what a profile has of an index for itself, and in no name that anybody may write."""


def own_name(name: str, profile: str) -> str:
    """What an index, a recipe or an eval set is called that a profile has for itself; see `specs/own.py`."""
    return f"{name}{MARK}{profile}"


def base_name(name: str) -> str:
    """The name that was written: the inverse of `own_name`, and the name itself of what is nobody's own."""
    return name.partition(MARK)[0]


class Key(NamedTuple):
    """Kind and name, the identity of a resource; written `Dataset/candidates`.

    A tuple rather than a dataclass: keys are hashed and compared by the hundred thousand, and tuples do it in C.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `Kind/name`. Raises SpecInvalid for any other form; whether the kind exists is not asked here."""
        kind, slash, name = text.partition("/")
        if not (kind and slash and name) or "/" in name:
            raise SpecInvalid(f"`{text}` is not an object's key.", remedy="Write it as Kind/name, as in Dataset/candidates.")
        return cls(kind, name)

    @classmethod
    def of(cls, name: str) -> Key:
        """The inverse of `str(key)`, also for names that nobody may write (a file's path); nothing is checked."""
        kind, _, rest = name.partition("/")
        return cls(kind, rest)


class Origin(NamedTuple):
    """Where a resource was read: path within the tree (with `/`) and 1-based line of its document."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One valid spec.

    digest: over everything that is set (kind, name, labels, annotations, spec), 32 hex characters.
    transformation: the same over only what the result depends on; a new owner or tag leaves it alone.
    references: the resources it names, sorted, each once; they need not exist.
    body: the document as JSON, keys in the order they were written.
    """

    key: Key
    digest: str
    transformation: str
    references: tuple[Key, ...]
    origin: Origin
    body: str = field(repr=False)
    _spec: Spec | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def document(self) -> Mapping[str, Any]:
        """The document as plain data, decoded anew at each call."""
        document: Mapping[str, Any] = json.loads(self.body)
        return document

    @property
    def spec(self) -> Spec:
        """The typed spec of its kind, built at first use. Raises SpecInvalid if this release no longer accepts it."""
        if self._spec is None:
            from specs.registry import build_spec  # here, because readers of records should not pay for pydantic

            object.__setattr__(self, "_spec", build_spec(self.key, self.document.get("spec")))
        assert self._spec is not None
        return self._spec

    def spec_as(self, model: type[S]) -> S:
        """The typed spec, checked to be of `model`. Raises TypeError for another kind: that is a mistake in the caller."""
        spec = self.spec
        if not isinstance(spec, model):
            raise TypeError(f"{self.key} has a {type(spec).__name__}, not a {model.__name__}")
        return spec

    @classmethod
    def of_spec(
        cls,
        key: Key,
        digest: str,
        transformation: str,
        references: tuple[Key, ...],
        origin: Origin,
        document: Mapping[str, Any],
        spec: Spec,
    ) -> Resource:
        """One that nobody wrote; its spec need not be what somebody may write."""
        made = cls(key, digest, transformation, references, origin, json.dumps(document, separators=(",", ":"), allow_nan=False))
        object.__setattr__(made, "_spec", spec)
        return made

    @property
    def metadata(self) -> Metadata:
        """Name, labels and annotations."""
        from specs.metadata import Metadata  # as in `spec`

        return Metadata.model_validate(self.document["metadata"])

    def to_record(self) -> list[Any]:
        """A JSON-able list for caches; `from_record` reads it back."""
        references = [list(key) for key in self.references]
        return [self.key.kind, self.key.name, self.digest, self.transformation, references, self.origin.path, self.origin.line, self.body]

    @classmethod
    def from_record(cls, record: list[Any], path: str | None = None) -> Resource:
        """The resource of a record. `path` replaces the recorded one: the same blob may lie elsewhere in another commit."""
        kind, name, digest, transformation, references, recorded, line, body = record
        keys = tuple([Key(kind, name) for kind, name in references])
        return cls(Key(kind, name), digest, transformation, keys, Origin(path or recorded, line), body)

    def __reduce__(self) -> tuple[Any, ...]:
        return Resource.from_record, (self.to_record(),)
