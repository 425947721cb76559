"""Policy: which rows and columns of a Dataset a role may see. Rules inside a policy permit, policies restrict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from specs.model import Fault, Part, Spec, dump
from specs.resource import Key
from specs.scalars import Name, Object, OneOrMany, Opt, Role, Sensitivity, Sequence, Text, Word, word_or_object


class MaskValue(Part):
    """A mask with a value of its own: exactly one of constant, expression."""

    one_of: ClassVar = ("constant", "expression")

    constant: Opt[Any] = Field(default=None, description="The value shown instead.")
    expression: Opt[Text] = Field(default=None, description="SQL over the row's columns whose value is shown instead.")


_MASKS = {"enum": ["null", None, "redact", "lastFour", "firstFour", "hash", "year"]}
Mask = Annotated[
    Annotated[Literal["null", "redact", "lastFour", "firstFour", "hash", "year"], WithJsonSchema(_MASKS), Word]
    | Annotated[MaskValue, Object],
    word_or_object("needs one of null, redact, lastFour, firstFour, hash, year, or an object as in {constant: hidden}"),
    # YAML reads an unquoted `null` as nothing; here it is a mask's name.
    BeforeValidator(lambda value: "null" if value is None else value),
]


class RowRule(Part):
    """Rows that roles may see."""

    roles: OneOrMany[Role] = Field(description="The roles that the rule permits.")
    where: Text = Field(description="A SQL condition over the columns; `true` permits every row.")


class ColumnRule(Part):
    """Columns that are masked: exactly one of columns, sensitivity names them."""

    one_of: ClassVar = ("columns", "sensitivity")

    columns: OneOrMany[Text] = Field(default=(), description="The columns by name.")
    sensitivity: OneOrMany[Sensitivity] = Field(default=(), description="The columns by what they are treated as.")
    roles: OneOrMany[Role] = Field(default=(), description="The roles for whom they are masked; without `roles` and `except`, all.")
    except_: OneOrMany[Role] = Field(default=(), alias="except", description="The roles for whom they are not masked.")
    mask: Mask = Field(
        description="What is shown instead: null, redact, lastFour, firstFour, hash, year, {constant: …} or {expression: …}."
    )

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Roles are named in one way."""
        if "roles" in given and "except" in given:
            yield Fault("`roles` and `except` exclude each other", ("except",))


class PolicyTest(Part):
    """A query as a role, and the rows it must return."""

    role: Role = Field(description="The role that asks.")
    sql: Text = Field(description="The query.")
    rows: Sequence[Sequence[Any]] = Field(description="The rows expected, in order, each a list of values.")
    attributes: Mapping[str, str] = Field(default={}, description="The attributes of the token that asks.")


class PolicySpec(Spec):
    """Row filters and column masks of one dataset. A role that no row rule permits sees no rows."""

    dataset: Name = Field(description="The Dataset that is governed.")
    rows: Sequence[RowRule] = Field(default=(), description="Which rows roles may see; without any rule, all rows.")
    columns: Sequence[ColumnRule] = Field(default=(), description="Which columns are masked.")
    tests: Sequence[PolicyTest] = Field(default=(), description="Cases that `lakectl policy test` runs.")


def references(spec: PolicySpec) -> Iterator[Key]:
    """The dataset."""
    yield Key("Dataset", spec.dataset)


def in_force(spec: PolicySpec) -> Mapping[str, object]:
    """All but the tests, as a spec again."""
    return dump(spec, "dataset", "rows", "columns")
