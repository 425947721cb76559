"""Workspace: an agent's overlay over the shared data, with a life of a day, a week or a month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from specs.model import Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Opt, Sequence, Text


class SavedSearch(Part):
    """A search under a name."""

    name: Name = Field(description="The search's name.")
    index: Name = Field(description="The Index that is searched.")
    text: Text = Field(description="The text searched for.")
    k: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="How many hits.")
    filter: Opt[Text] = Field(default=None, description="A SQL condition over the rows.")


class Shortlist(Part):
    """Rows chosen by hand."""

    name: Name = Field(description="The list's name.")
    dataset: Name = Field(description="The Dataset of the rows.")
    keys: Sequence[Any] = Field(default=(), description="The rows' primary keys.")


class WorkspaceSpec(Spec):
    """An agent's overlay: whose, for how long, about what."""

    owner: Name = Field(description="The Profile that owns it.")
    tier: Literal["daily", "weekly", "monthly"] = Field(default="daily", description="How long it lives.")
    subject: Opt[Text] = Field(default=None, description="What it is about, as in JOB-000123.")
    searches: Sequence[SavedSearch] = Field(default=(), description="Saved searches.")
    shortlists: Sequence[Shortlist] = Field(default=(), description="Rows chosen by hand.")


def references(spec: WorkspaceSpec) -> Iterator[Key]:
    """The owner, and what searches and lists look into."""
    yield Key("Profile", spec.owner)
    yield from (Key("Index", search.index) for search in spec.searches)
    yield from (Key("Dataset", shortlist.dataset) for shortlist in spec.shortlists)


def transformation(spec: WorkspaceSpec) -> Mapping[str, object]:
    """All but what it is about."""
    return dump(spec, "owner", "tier", "searches", "shortlists")
