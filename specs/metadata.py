"""What every resource carries beside its spec."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from specs.model import Part
from specs.scalars import Name


class Metadata(Part):
    """The name of a resource, and free labels for people and tools."""

    name: Name = Field(
        description="The name, unique within its kind: lower-case letters, digits and hyphens. In SQL, hyphens become underscores."
    )
    labels: Mapping[str, str] = Field(default={}, description="Short values to select resources by.")
    annotations: Mapping[str, str] = Field(default={}, description="Longer notes for people and tools; nothing depends on them.")
