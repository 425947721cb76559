"""The ten kinds in one table: the only place that knows them all.

A later kind is one module in `specs/kinds/` and one row here. Which kinds a release acts on is the controllers' word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from specs import digests
from specs.errors import SpecInvalid
from specs.kinds import bucket, dataset, eval_set, index, index_generation, policy, profile, tool, trial_budget, workspace
from specs.model import Spec
from specs.resource import Key
from specs.suggestions import did_you_mean

API_VERSION = "lakehouse/v1"


class KindUnknown(SpecInvalid):
    """A kind that does not exist."""

    slug = "kind-unknown"


@dataclass(frozen=True, slots=True)
class KindInfo:
    """One kind: its spec's model, its name in lists (`datasets`), one sentence, what it refers to, what its result depends on."""

    kind: str
    model: type[Spec]
    plural: str
    summary: str
    references: Callable[[Any], Iterable[Key]]
    transformation: Callable[[Any], Mapping[str, object]]


_ROWS = (
    KindInfo(
        "Bucket",
        bucket.BucketSpec,
        "buckets",
        "A place for objects: a folder, an S3 server, memory.",
        bucket.references,
        bucket.transformation,
    ),
    KindInfo(
        "Dataset", dataset.DatasetSpec, "datasets", "A table and where its rows come from.", dataset.references, dataset.transformation
    ),
    KindInfo("Index", index.IndexSpec, "indexes", "A logical vector index over a dataset's texts.", index.references, index.transformation),
    KindInfo(
        "IndexGeneration",
        index_generation.IndexGenerationSpec,
        "indexgenerations",
        "A recipe for building an index.",
        index_generation.references,
        index_generation.transformation,
    ),
    KindInfo(
        "EvalSet", eval_set.EvalSetSpec, "evalsets", "Held-out queries that measure an index.", eval_set.references, eval_set.transformation
    ),
    KindInfo(
        "TrialBudget",
        trial_budget.TrialBudgetSpec,
        "trialbudgets",
        "How far an index may be tuned by itself.",
        trial_budget.references,
        trial_budget.transformation,
    ),
    KindInfo("Profile", profile.ProfileSpec, "profiles", "A reader and all that it may see.", profile.references, profile.transformation),
    KindInfo("Policy", policy.PolicySpec, "policies", "Row filters and column masks by role.", policy.references, policy.in_force),
    KindInfo("Tool", tool.ToolSpec, "tools", "A named, governed action for agents.", tool.references, tool.transformation),
    KindInfo("Workspace", workspace.WorkspaceSpec, "workspaces", "An agent's overlay.", workspace.references, workspace.transformation),
)

KINDS: Mapping[str, KindInfo] = MappingProxyType({row.kind: row for row in _ROWS})


def find_kind(word: str) -> KindInfo:
    """The kind that a person means: its name or plural in any case. Raises KindUnknown with the nearest."""
    folded = word.lower()
    for row in _ROWS:
        if folded in (row.kind.lower(), row.plural):
            return row
    raise KindUnknown(f"There is no kind `{word[:64]}`.", remedy=did_you_mean(word, KINDS) or f"Kinds: {', '.join(KINDS)}.")


def build_spec(key: Key, given: object) -> Spec:
    """The typed spec of plain data that was valid before. Raises SpecInvalid if this release does not accept it."""
    try:
        return find_kind(key.kind).model.model_validate(given)
    except ValidationError as error:
        remedy = "Parse its file again to see every error with its line."
        raise SpecInvalid(f"{key} is not valid: {error.error_count()} errors.", remedy=remedy) from error


def digest_of(document: Mapping[str, Any]) -> str:
    """The digest of all that a document sets: kind, name, labels, annotations, spec."""
    return digests.digest({"kind": document["kind"], "metadata": document["metadata"], "spec": document["spec"]})


def transformation_of(kind: str, spec: Spec) -> str:
    """The digest of what the result of a spec depends on."""
    return digests.digest({"kind": kind, **KINDS[kind].transformation(spec)})


def references_of(kind: str, spec: Spec) -> tuple[Key, ...]:
    """What a spec refers to, sorted, each once."""
    return tuple(sorted(set(KINDS[kind].references(spec))))
