"""What a Dataset says beside its source: columns, contract, freshness, refresh, keeping, migrations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from specs.model import Fault, Part, refuse
from specs.scalars import ColumnType, Duration, OneOrMany, Opt, Sensitivity, Sequence, Text
from specs.wording import found

_CRON_FIELDS = 5
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def _cron(text: str) -> str:
    if len(text.split()) != _CRON_FIELDS:
        raise refuse(f"needs five fields (minute, hour, day, month, weekday); found {found(text)}", 'write it as in "0 2 * * *"')
    try:
        next(CronSim(text, _ANY_DAY), None)
    except CronSimError as error:
        raise refuse(f"names no time that ever comes ({str(error).lower()}); found {found(text)}", 'write it as in "0 2 * * *"') from None
    return text


def _a_second(every: timedelta) -> timedelta:
    if every < timedelta(seconds=1):
        raise refuse("is less than a second", "write it as in 30s, 10m or 7d")
    return every


def _column_of_dataset(text: str) -> str:
    dataset, dot, column = text.partition(".")
    if not (dataset and dot and column):
        raise refuse(f"needs a dataset and its column; found {found(text)}", "write it as in candidates.candidate_id")
    return text


class Column(Part):
    """What is known of one column; a plain type may stand for the object."""

    shorthand: ClassVar = "type"

    type: Opt[ColumnType] = Field(
        default=None, description="string, int64, float64, bool, date, timestamp, decimal(p,s), binary or list<T>; left out, inferred."
    )
    format: Opt[Literal["DMY", "MDY", "YMD", "comma"]] = Field(
        default=None,
        description="How a CSV writes the column's values: dates in this order, or numbers with a comma before the decimals; left out, "
        "detected where no value is ambiguous.",
    )
    nulls: Opt[Sequence[Text]] = Field(
        default=None,
        description="The texts of a CSV, a JSON file or a sheet that stand for no value in this column, exactly; left out, those of the "
        "source.",
        examples=[["N/A", "-"]],
    )
    nullable: bool = Field(default=True, description="Whether the column may be empty.")
    description: Opt[Text] = Field(default=None, description="What the column holds, for people and models.")
    sensitivity: OneOrMany[Sensitivity] = Field(
        default=(), description="What the column is to be treated as; overrides what is found in the data."
    )


class Bounds(Part):
    """The smallest and the largest value that a column may hold."""

    min: Opt[float] = Field(default=None, description="The smallest value, included.")
    max: Opt[float] = Field(default=None, description="The largest value, included.")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """The smallest is not above the largest."""
        low, high = given.get("min"), given.get("max")
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high:
            yield Fault(f"`min` is above `max`: {low} > {high}", ("min",))


class Contract(Part):
    """What every row must satisfy; rows that do not are dealt with by `onViolation`."""

    required: OneOrMany[Text] = Field(
        default=(), description="Columns that must exist and be filled.", examples=[["candidate_id", "email"]]
    )
    unique: Sequence[OneOrMany[Text]] = Field(
        default=(), description="Groups of columns whose values together occur once, as in [[id], [name, city]]."
    )
    ranges: Mapping[Text, Bounds] = Field(default={}, description="The smallest and largest value of columns.")
    checks: OneOrMany[Annotated[Text, Field(max_length=1000)]] = Field(
        default=(), description='SQL conditions that are true of every row, as in "hours BETWEEN 0 AND 168".'
    )
    references: Mapping[Text, Annotated[str, AfterValidator(_column_of_dataset)]] = Field(
        default={}, description="Columns whose values exist in another dataset's column, as in candidate_id: candidates.candidate_id."
    )
    on_violation: Literal["quarantine", "reject", "warn"] = Field(
        default="quarantine",
        description="What becomes of a violating row: it is set aside, or its whole file (or read) is refused, or it is only reported.",
    )


class Freshness(Part):
    """How old the data may become."""

    stale_after: Duration = Field(description="The age from which the dataset is reported as stale.")


class Refresh(Part):
    """When the source is read again, besides changes of the spec."""

    watch: bool = Field(default=True, description="Whether a changed file or object is followed at once.")
    every: Opt[Annotated[Duration, AfterValidator(_a_second)]] = Field(default=None, description="The time between two reads.")
    cron: Opt[Annotated[str, AfterValidator(_cron)]] = Field(default=None, description='Fixed times in UTC, as in "0 2 * * *".')


class Cache(Part):
    """Whether the table is held ready for queries."""

    pin: bool = Field(default=False, description="Whether the table stays in the hot cache whatever else is used.")


class Compaction(Part):
    """When pending changes are folded into the base files."""

    delta_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="The share of changed rows from which the table is compacted."
    )
    max_deltas: Annotated[int, Field(ge=1)] = Field(
        default=50, description="The number of pending delta files from which the table is compacted."
    )
    age: Duration = Field(default=timedelta(days=1), description="How long a change is pending at most.")


class Keep(Part):
    """Which former versions stay readable. A version is given up when it passes either limit."""

    versions: Annotated[int, Field(ge=1)] = Field(default=1000, description="How many versions, the present one included.")
    age: Duration = Field(default=timedelta(days=7), description="How long after another one took its place.")
    journal: Opt[Duration] = Field(default=None, description="How long changes of rows stay in system.journal; left out, for ever.")


class Split(Part):
    """How one column becomes several."""

    into: Sequence[Text] = Field(description="The new columns, in order.", min_length=2)
    separator: Annotated[str, Field(min_length=1)] = Field(
        default=" ", description="The text between the parts; the last column takes the rest."
    )


class Concat(Part):
    """How several columns become one."""

    columns: Sequence[Text] = Field(description="The columns to join, in order.", min_length=2)
    separator: str = Field(default=" ", description="The text put between them.")


class Migration(Part):
    """How rows of one former schema are read under the present one. Files are never rewritten for it."""

    from_: Annotated[int, Field(ge=1)] = Field(alias="from", description="The schema version that the rows were written under.")
    rename: Mapping[Text, Text] = Field(default={}, description="New names of columns, as in first_name: full_name.")
    cast: Mapping[Text, ColumnType] = Field(default={}, description="New types of columns.")
    split: Mapping[Text, Split] = Field(default={}, description="Columns that become several.")
    concat: Mapping[Text, Concat] = Field(default={}, description="New columns joined from several.")
    expression: Mapping[Text, Text] = Field(default={}, description="New columns computed in SQL over the old ones.")
    drop: OneOrMany[Text] = Field(default=(), description="Columns that are given up.")

    @property
    def brought(self) -> set[str]:
        """Names that columns have from then on."""
        into = (name for split in self.split.values() for name in split.into)
        return {*self.rename.values(), *into, *self.concat, *self.expression}

    @property
    def changed(self) -> Mapping[str, Collection[str]]:
        """By field, the former columns that are not merely renamed; those that an `expression` takes the place of are not known here."""
        joined = [name for concat in self.concat.values() for name in concat.columns]
        cast = [name for name in self.cast if name not in self.expression]
        return {"cast": cast, "split": list(self.split), "concat": joined, "drop": self.drop}


def unfollowed_keys(keys: tuple[str, ...], migrations: tuple[Migration, ...]) -> Iterator[Fault]:
    """Columns of the primary key that a migration takes from under it: the key is by the names after all migrations, and its columns can be
    renamed and no more. What an `expression` does to them needs the table's columns to tell."""
    for key in keys:
        name = key
        for number, migration in reversed(list(enumerate(migrations))):
            former = {new: old for old, new in migration.rename.items()}
            if name in former:
                name = former[name]
            elif name in migration.brought:
                break  # it begins here
            elif name in migration.rename:
                new = migration.rename[name]
                hint = f"write `{new}` for `{name}` in it"
                yield Fault(f"`primaryKey` names `{name}`, which `migrations[{number}]` renames to `{new}`", ("primaryKey",), hint)
                break
            what = next((what for what, names in migration.changed.items() if name in names), None)
            if what is not None:
                hint = "leave the column as it is, or declare a dataset of another name with the key that it is to have"
                said = f"`{what}` names `{name}`, which is in the primary key: that can be renamed, and no more"
                yield Fault(said, ("migrations", number, what), hint)
                break
