"""What a Dataset's contract comes to now: against which rows of which datasets new rows are judged. Reads the catalog; decides nothing.

A row is judged when its file is read, by what the datasets that it refers to hold then. When such a dataset changes, files that have rows
in quarantine for its sake are read again, and no others: a row that was taken stays, whatever goes from there. A source that is no file is
due then, as by an operator's word. Next: `plan.py`, which decides that; `engines/files/judge.py`, which judges.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from controllers.dataset.plan import outdated_contents
from controllers.dataset.steps import Follow
from controllers.outcome import Outcome, Stalled, Waiting
from engines.files.contract import Bounds, Reference, Terms
from engines.files.row_judging import touched
from engines.sql.spec_sql import fault
from engines.sql.tables import dataset_name, sql_name
from engines.sql.views import make_view
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.kinds.dataset_rules import Contract
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.tables import Table
from state.reader import ObjectReader

_SHOWN = 12


def contract_of(spec: DatasetSpec) -> Contract | None:
    """The contract in force; a column that must not be empty is one, with the usual consequence."""
    filled = [name for name, column in spec.columns.items() if not column.nullable]
    if spec.contract is None and not filled:
        return None
    contract = spec.contract or Contract()
    return contract.model_copy(update={"required": tuple(dict.fromkeys((*contract.required, *filled)))})


class Contracts:
    """Thread-safe; blocking where tables are opened."""

    def __init__(self, catalog: Catalog, objects: ObjectReader, views: Path) -> None:
        """views: the folder of views of tables, a cache."""
        self._catalog, self._objects, self._views = catalog, objects, views

    def problem(self, spec: DatasetSpec, columns: Collection[str] | None = None) -> Outcome | None:
        """What stands in the way of judging rows: SQL that is none, a dataset that is not there yet, or lacks the column. columns: that are
        judged, None for all."""
        if (wrong := fault(spec)) is not None:
            return Stalled(reasons.INVALID_SPEC, wrong)
        for column, name, target in _references(spec):
            if columns is not None and column not in columns:
                continue
            table = self._catalog.table(name)
            if table is None or not table.columns:
                message = f"rows are read once Dataset/{name} holds any, since `contract.references` looks into it"
                return Waiting(reasons.DEPENDENCY_NOT_READY, message, blocked_by=f"Dataset/{name}")
            found = table.schema.column(target)
            if found is None or found.type.startswith("list<") or found.type == "binary":
                has = ", ".join([known.name for known in table.columns][:_SHOWN])
                wrong = f"has no column `{target}`; it has {has}" if found is None else f"has `{target}` as {found.type}, not single values"
                return Stalled(reasons.INVALID_SPEC, f"`contract.references` of `{column}`: Dataset/{name} {wrong}", f"Dataset/{name}")
        return None

    def against(self, spec: DatasetSpec) -> str:
        """Digest of what the datasets hold that the contract refers to; "" for none."""
        tables = {name: self._catalog.table(name) for _, name, _ in _references(spec)}
        return digest({name: table.snapshot for name, table in tables.items() if table is not None}) if tables else ""

    def moved(self, spec: DatasetSpec, table: Table | None) -> str:
        """When what rows in quarantine refer to changed since they were judged, ISO 8601; "" where it did not, and of files."""
        if spec.source.in_files or table is None or not outdated_contents(table, self.against(spec)) or self.problem(spec) is not None:
            return ""
        tables = (self._catalog.table(name) for _, name, _ in _references(spec))
        return max((found.at for found in tables if found is not None), default="")

    def terms(self, spec: DatasetSpec, table: Table | None, step: Follow) -> Terms | None:
        """What the job of a step is told; None without a contract. Raises what reading an object raises."""
        contract = contract_of(spec)
        if contract is None:
            return None
        staying = _staying(table, step) if contract.unique and spec.write != "upsert" and table is not None else None
        return replace(
            _terms(contract),
            references=self._referred(_references(spec)),
            present=None if staying is None else self._view(staying),
            against=self.against(spec),
            beside="" if staying is None else staying.snapshot,
        )

    def of_edit(self, spec: DatasetSpec, table: Table, changed: Collection[str]) -> Terms | None:
        """What a row that is set by hand is held against, as far as it looks at changed columns; None for nothing."""
        contract = contract_of(spec)
        if contract is None:
            return None
        terms = touched(_terms(contract), changed, table.primary_key)
        present = self._view(table) if terms.unique and table.readable else None
        return replace(terms, present=present, references=self._referred(one for one in _references(spec) if one[0] in changed))

    def rows_of(self, name: str, column: str) -> Mapping[str, object] | None:
        """The rows of a dataset that has such a column of single values."""
        table = self._catalog.table(name)
        found = table.schema.column(column) if table is not None and table.readable else None
        return None if found is None or found.type.startswith("list<") else self._view(table)

    def _referred(self, references: Iterable[tuple[str, str, str]]) -> tuple[Reference, ...]:
        return tuple(Reference(column, name, target, self._view(self._catalog.table(name))) for column, name, target in references)

    def _view(self, table: Table | None) -> dict[str, object]:
        assert table is not None
        return make_view(table, self._views, self._objects, sql_name(table.name)).table.to_dict()


def _terms(contract: Contract) -> Terms:
    """As far as it says so itself."""
    return Terms(
        on_violation=contract.on_violation,
        required=tuple(contract.required),
        unique=tuple(tuple(group) for group in contract.unique),
        ranges={name: Bounds(bounds.min, bounds.max) for name, bounds in contract.ranges.items()},
        checks=tuple(contract.checks),
    )


def referring(spec: DatasetSpec, name: str) -> tuple[tuple[str, str], ...]:
    """Columns whose values occur in a column of the dataset of this name, with that column."""
    return tuple((column, target) for column, other, target in _references(spec) if other == name)


def _references(spec: DatasetSpec) -> list[tuple[str, str, str]]:
    """Each column with the dataset and the column that it refers to."""
    if spec.contract is None:
        return []
    split = ((column, target.partition(".")) for column, target in spec.contract.references.items())
    return [(column, dataset_name(name), target) for column, (name, _, target) in split]


def _staying(table: Table, step: Follow) -> Table | None:
    """The table with the rows that the step leaves where they are; None for none."""
    if step.reset:
        return None
    if step.adds:
        return table if any(not file.lost for file in table.files) else None
    rebound = {*(file.path for file in (*step.ingest, *step.bind)), *step.unbind}
    contents = {binding.digest for path, binding in table.bindings.items() if path not in rebound}
    contents = (contents | {file.digest for file in step.bind}) - step.repair
    files = tuple(file for file in table.files if file.source in contents)
    return replace(table, files=files) if any(not file.lost for file in files) else None
