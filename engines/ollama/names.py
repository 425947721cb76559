"""Names of models as Ollama has them: `model:tag`, where the tag `latest` may be left out. Pure."""

from __future__ import annotations

_TAG = ":latest"


def whole(name: str) -> str:
    """With its tag."""
    return name if ":" in name.rpartition("/")[2] else name + _TAG


def same(one: str, other: str) -> bool:
    """Whether both are the same model."""
    return whole(one) == whole(other)
