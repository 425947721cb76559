"""Tool: a named, governed action for agents. A tool that writes makes a proposal; nothing changes without a person's word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from specs.model import Fault, Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, OneOrMany, Opt, Text
from specs.sql_names import parameters_of, tables_of
from specs.suggestions import did_you_mean

_FEW = 100
"""Parameters among which the nearest to a mistaken one is looked for: it takes time by their number."""


class ToolSearch(Part):
    """A search in an index."""

    index: Name = Field(description="The Index that is searched.")
    text: Text = Field(description="The text searched for; `$name` stands for a parameter.")
    k: Annotated[int, Field(ge=1, le=1000)] = Field(default=10, description="How many hits.")
    filter: Opt[Text] = Field(default=None, description="A SQL condition over the rows; `$name` stands for a parameter.")


class ToolChange(Part):
    """A change of one row, made as a proposal."""

    dataset: Name = Field(description="The Dataset whose row is changed.")
    key: Any = Field(description="The row's primary key: a value, a list or an object; `$name` stands for a parameter.")
    set_: Mapping[Text, Any] = Field(alias="set", description="The new values by column; `$name` stands for a parameter.", min_length=1)


class ToolQuota(Part):
    """How often the tool may be called."""

    per_minute: Opt[Annotated[int, Field(ge=1)]] = Field(default=None, description="Calls in a minute, for each reader.")


class ToolSpec(Spec):
    """A named action: exactly one of query, search, change."""

    one_of: ClassVar = ("query", "search", "change")

    description: Text = Field(description="What the tool does, for the model that chooses it.")
    parameters: Mapping[str, Any] = Field(default={}, description="A JSON Schema of type object for the tool's parameters.")
    mode: Literal["read", "write"] = Field(default="read", description="Whether it reads, or proposes a change.")
    query: Opt[Text] = Field(default=None, description="The SQL that answers; `$name` stands for a parameter.")
    search: Opt[ToolSearch] = Field(default=None, description="The search that answers.")
    change: Opt[ToolChange] = Field(default=None, description="The change that is proposed; needs `mode: write`.")
    roles: OneOrMany[Text] = Field(default=(), description="The roles that may call it; none named, none may.")
    audit: Literal["full", "summary"] = Field(
        default="full", description="Whether the audit keeps parameters and result, or only that it was called."
    )
    quota: ToolQuota = Field(default=ToolQuota(), description="How often it may be called.")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Mode and action agree, and every parameter that the query names is declared."""
        mode = given.get("mode", "read")
        if "change" in given and mode == "read":
            yield Fault("`change` needs `mode: write`", ("change",))
        if mode == "write" and "change" not in given and ("query" in given or "search" in given):
            yield Fault("`mode: write` needs `change`", ("mode",))
        parameters = given.get("parameters", {})
        if not isinstance(parameters, dict):
            return
        if parameters and parameters.get("type") != "object":
            yield Fault("`parameters` needs `type: object`", ("parameters",))
        declared = parameters.get("properties", {})
        if isinstance(declared, dict) and isinstance(given.get("query"), str):
            for name in parameters_of(given["query"]):
                if name not in declared:
                    yield Fault(
                        f"`query` names the parameter `${name}`, which `parameters` does not declare",
                        ("query",),
                        did_you_mean(name, declared) if len(declared) <= _FEW else None,
                    )


def references(spec: ToolSpec) -> Iterator[Key]:
    """The datasets and the index that it reads or changes."""
    if spec.query is not None:
        yield from (Key("Dataset", name) for name in tables_of(spec.query))
    if spec.search is not None:
        yield Key("Index", spec.search.index)
    if spec.change is not None:
        yield Key("Dataset", spec.change.dataset)


def transformation(spec: ToolSpec) -> Mapping[str, object]:
    """What a call does."""
    return dump(spec, "parameters", "mode", "query", "search", "change")
