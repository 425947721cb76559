"""Objects and kinds as people type them: `dataset/x`, `datasets`, `Dataset/x`; and what was probably meant."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.lakectl.errors import ObjectUnknown, UsageInvalid
from specs.errors import LakehouseError

if TYPE_CHECKING:
    from reconciler.lakectl.session import Session

# As `specs.registry` has them, which imports every model; a test holds the two together.
PLURALS = {
    "Bucket": "buckets",
    "Dataset": "datasets",
    "Index": "indexes",
    "IndexGeneration": "indexgenerations",
    "EvalSet": "evalsets",
    "TrialBudget": "trialbudgets",
    "Profile": "profiles",
    "Policy": "policies",
    "Tool": "tools",
    "Workspace": "workspaces",
}
_OWN = ("SpecFile", "Source", "Prune")
"""Kinds of objects that the loop lists by itself."""


def find_kind(word: str) -> str:
    """The kind that a word means: its name or plural, in any case. Raises UsageInvalid."""
    folded = word.lower()
    for kind, plural in PLURALS.items():
        if folded in (kind.lower(), plural):
            return kind
    found = next((kind for kind in _OWN if kind.lower() == folded), None)
    if found is not None:
        return found
    from specs.suggestions import did_you_mean

    hint = did_you_mean(word, [*PLURALS, *PLURALS.values()])
    kinds = f"Kinds: {', '.join(PLURALS)}."
    remedy = kinds if hint else f"{kinds} An object is named with its kind, as in Dataset/{word}."
    raise UsageInvalid(f"there is no kind `{word}`{f'; {hint}' if hint else ''}", remedy=remedy)


def find_object(word: str, session: "Session") -> str:
    """`Kind/name` of what was typed. Raises UsageInvalid where it names no single object, with those of this name."""
    kind, slash, name = word.partition("/")
    if not slash or not name:
        meant = " or ".join(_named(word, session))
        remedy = f"Did you mean {meant}?" if meant else "Write it as KIND/NAME, as in Dataset/candidates."
        raise UsageInvalid(f"`{word}` names no object.", remedy=remedy)
    return f"{find_kind(kind)}/{name}"


def _named(name: str, session: "Session") -> list[str]:
    from reconciler.lakectl.observation import observer

    try:
        known = observer(session).look().statuses
    except LakehouseError:  # whoever cannot be asked helps nobody with a name
        return []
    return [status.object for status in known if status.name == name and status.kind not in _OWN]


def unknown_object(name: str, known: Iterable[str]) -> ObjectUnknown:
    """The error for an object that nobody knows, with the nearest that is known."""
    from specs.suggestions import did_you_mean

    hint = did_you_mean(name, list(known))
    return ObjectUnknown(f"nothing is known of {name}{f'; {hint}' if hint else ''}", remedy="`lakectl status` lists what there is.")
