"""What readers who are no operators see of `system.*`: the filters and masks, run over rows as the tables have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from datafusion import SessionContext

from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.policies.system_tables import SHOWN, Known, Part, part_of
from engines.reading import ANONYMOUS, Binding, Decision, IndexName, Reader, TableName
from engines.sql.ledgers import LEDGER_SCHEMAS
from engines.sql.system_sight import decision_of
from state.streams.catalog_tables import CATALOG_TABLES

WHOLE = Known("open")
MASKED = Known("masked", masked=frozenset({"Phone"}), key=("id",), columns={
    "id": frozenset({"id"}), "phone": frozenset({"phone", "mobile"}), "city": frozenset({"city"}), "mobile": frozenset({"mobile"}),
})  # fmt: skip
FILTERED = Known("filtered", filtered=True)
ALL = (WHOLE, MASKED, FILTERED)

JOURNAL = [
    {"dataset": dataset, "entity": "E", "field": name, "old": "was", "new": "is", "reason": "why", "source": "a.csv"}
    for dataset in ("open", "masked", "filtered", "other")
    for name in ("id", "phone", "mobile", "city", "gone", None)
]
BAD_ROWS = [
    {"dataset": dataset, "source": "a.csv", "line": 7, "rule": "nullable", "reason": "'x' is none", "text": "x,y", "key": "K"}
    for dataset in ("open", "masked", "filtered", "other")
]


def names_of(table: str) -> list[str]:
    kind = table.removeprefix("system.")
    if kind in CATALOG_TABLES:
        return [column.name for column in CATALOG_TABLES[kind].columns]
    return [column.name for column in LEDGER_SCHEMAS[kind].columns]  # type: ignore[index]


def shown(table: str, rows: Sequence[Mapping[str, Any]], part: Part) -> list[dict[str, Any]]:
    """What DataFusion makes of the part: the columns in order, those of masks as they say."""
    context = SessionContext()
    names = names_of(table)
    columns = {name: pa.array([row.get(name) for row in rows], _type(name)) for name in names}
    context.register_record_batches("rows", [[pa.RecordBatch.from_pydict(columns)]])
    masked = {name: "NULL" if mask.kind == "null" else mask.argument for name, mask in part.masks.items()}
    listed = ", ".join(f'{masked.get(name, f"{chr(34)}{name}{chr(34)}")} AS "{name}"' for name in names)
    values = {name: pa.scalar(value) for name, value in part.values.items()}
    return context.sql(f"SELECT {listed} FROM rows WHERE {part.row_filter}", param_values=values).to_arrow_table().to_pylist()


def _type(name: str) -> pa.DataType:
    return (
        pa.bool_()
        if name in ("drafted", "merged", "retained", "serving")
        else pa.int64()
        if name in ("rows", "line", "count")
        else pa.string()
    )


def part(table: str, datasets: Sequence[Known] = ALL, indexes: Sequence[str] = ()) -> Part:
    found = part_of(table, datasets, indexes)
    assert found is not None
    return found


def test_the_journal_tells_values_of_what_was_never_masked() -> None:
    found = shown("system.journal", JOURNAL, part("system.journal"))
    assert {row["dataset"] for row in found} == {"open", "masked"}
    assert all(row["old"] == "was" and row["new"] == "is" and row["reason"] == "why" for row in found if row["dataset"] == "open")
    told = {row["field"]: row["old"] for row in found if row["dataset"] == "masked"}
    assert told == {"id": "was", "city": "was", "phone": None, "mobile": None, "gone": None, None: None}
    assert all(row["entity"] == "E" and row["reason"] is None and row["source"] is None for row in found if row["dataset"] == "masked")


def test_the_journal_names_no_row_whose_key_is_masked() -> None:
    for known in (Known("masked", masked=frozenset({"ID"}), key=("id",)), Known("masked", masked=frozenset({"phone"}))):
        found = shown("system.journal", JOURNAL, part("system.journal", [known]))
        assert [row["entity"] for row in found] == [None] * 6


def test_quarantine_tells_texts_of_what_is_seen_whole() -> None:
    found = shown("system.quarantine", BAD_ROWS, part("system.quarantine"))
    assert [(row["dataset"], row["text"], row["reason"], row["key"], row["source"]) for row in found] == [
        ("open", "x,y", "'x' is none", "K", "a.csv"), ("masked", None, None, None, None),
    ]  # fmt: skip


def test_datasets_have_figures_where_they_are_seen_whole() -> None:
    rows = [
        {"dataset": name, "rows": 5, "description": "5 rows", "drafted": drafted, "owner": "me", "origin": "{}", "snapshot": "s"}
        for name in ("open", "masked", "filtered", "other")
        for drafted in (True, False)
    ]
    found = shown("system.datasets", rows, part("system.datasets"))
    assert [(row["dataset"], row["rows"], row["description"], row["snapshot"], row["origin"]) for row in found] == [
        ("open", 5, "5 rows", "s", None), ("open", 5, "5 rows", "s", None),
        ("masked", None, None, None, None), ("masked", None, "5 rows", None, None),
        ("filtered", None, None, None, None), ("filtered", None, "5 rows", None, None),
    ]  # fmt: skip
    assert {row["owner"] for row in found} == {"me"}


def test_columns_have_samples_where_they_are_seen_whole() -> None:
    said, guessed = "the spec says so", "9 of 10 look like e-mail"
    rows = [
        {"dataset": name, "name": "mail", "min": "a", "max": "b", "examples": "[]", "evidence": evidence, "sensitivity": '["pii"]'}
        for name in ("open", "masked", "filtered", "other")
        for evidence in (said, guessed)
    ]
    found = shown("system.columns", rows, part("system.columns"))
    assert [(row["dataset"], row["min"], row["examples"], row["evidence"], row["sensitivity"]) for row in found] == [
        ("open", "a", "[]", said, '["pii"]'), ("open", "a", "[]", guessed, '["pii"]'),
        ("masked", None, None, said, '["pii"]'), ("masked", None, None, None, None),
        ("filtered", None, None, said, '["pii"]'), ("filtered", None, None, None, None),
    ]  # fmt: skip


def test_indexes_are_those_that_are_bound_without_their_sizes() -> None:
    rows = [{"index": name, "count": 9, "engine": "hnsw"} for name in ("resumes", "others", "resumes@desk")]
    found = shown("system.indexes", rows, part("system.indexes", (), ["resumes"]))
    assert [(row["index"], row["count"], row["engine"]) for row in found] == [("resumes", None, "hnsw")]
    assert shown("system.indexes", rows, part("system.indexes", ALL)) == []


@pytest.mark.parametrize("name", ["*", "%", "open' OR '1'='1", "$name0", "OPEN", "open ", 'open"', "o_en", "(open)", ""])
@pytest.mark.parametrize("table", ["system.datasets", "system.journal"])
def test_a_name_is_a_value(table: str, name: str) -> None:
    rows = [{"dataset": "open", "drafted": True}]
    assert shown(table, rows, part(table, [Known(name)])) == []
    assert shown(table, rows, part(table, [])) == []


COLUMNS = {
    "system.datasets": """dataset table_name version merged columns bucket primary_key write schema_id transformation retained owner drafted
        tags""",
    "system.columns": "dataset position name type id schema_id description",
    "system.versions": "dataset version at merged schema_id",
    "system.indexes": "index build generation search engine table_version previous_build previous_generation builds corpora",
    "system.index_models": "index model serving fingerprint dimension generation engine build table_version",
    "system.journal": "dataset field op actor revision version workspace at",
    "system.quarantine": "dataset line rule at",
}
"""What is shown as it is, whatever policies say: a column that is added to one of these tables belongs here, or has a mask."""


@pytest.mark.parametrize("table", sorted(SHOWN))
def test_every_column_is_shown_on_purpose(table: str) -> None:
    masked = set(part(table, ALL, ["resumes"]).masks)
    assert masked.isdisjoint(COLUMNS[table].split())
    assert masked | set(COLUMNS[table].split()) == set(names_of(table))


def test_nothing_else_is_there() -> None:
    for name in ("system.audit", "system.catalog", "system.files", "system.events", "system.trials", "system.DATASETS", "datasets", ""):
        assert part_of(name, ALL, ["resumes"]) is None


@dataclass
class Listing:
    """Datasets `open` and `kept` in bucket a, `far` in bucket b, `none` without rows."""

    asked: list[str] = field(default_factory=list)

    def names(self) -> list[TableName]:
        return [self.named(name) for name in ("open", "kept", "far", "none")] + [TableName("system.datasets")]

    def indexes(self) -> list[IndexName]:
        return [IndexName("resumes", "a"), IndexName("others", "b")]

    def named(self, name: str) -> TableName:
        self.asked.append(name)
        return TableName(name, {"open": "a", "kept": "a", "far": "b"}.get(name))

    def columns(self, name: TableName) -> tuple[Mapping[str, frozenset[str]], tuple[str, ...]]:
        return {"id": frozenset({"id"})}, ("id",)


@dataclass
class Rules:
    known: Mapping[str, Governed]

    def governed(self, dataset: str) -> Governed | None:
        return self.known.get(dataset)


KEPT = Rules(
    {"kept": Governed((PolicyRules("p", (RowRule(frozenset({"clerk"}), "a > 1"),), (MaskRule(frozenset({"id"}), Mask("hash")),)),))}
)


def bound(*datasets: str, **more: Any) -> Reader:
    return Reader(role="clerk", binding=Binding(frozenset(datasets), frozenset({"resumes"})), rules=KEPT, **more)


def seen(decision: Decision) -> set[str]:
    return set(decision.values.values())


def test_whoever_is_no_operator_sees_what_it_may_know_of() -> None:
    table = TableName("system.datasets")
    assert seen(decision_of(bound("open", "kept"), table, Listing())) == {"open", "kept"}
    assert decision_of(bound("open", "kept"), table, Listing()).policies == ("p",)
    assert seen(decision_of(bound(), table, Listing())) == set()
    assert seen(decision_of(bound("open", "far"), TableName("system.versions"), Listing())) == {"open", "far"}
    assert seen(decision_of(bound("open", "far", bucket="a"), table, Listing())) == {"open"}
    assert seen(decision_of(Reader(role="clerk", rules=KEPT), table, Listing())) == {"open", "kept", "far", "none"}
    assert seen(decision_of(bound("open"), TableName("system.indexes"), Listing())) == {"resumes"}
    assert seen(decision_of(bound("open", bucket="b"), TableName("system.indexes"), Listing())) == set()


def test_what_is_closed_is_not_told_of() -> None:
    closed = Rules({"open": Governed(closed="Nobody may.")})
    assert seen(decision_of(Reader(role="clerk", rules=closed), TableName("system.columns"), Listing())) == {"kept", "far", "none"}


def test_a_profile_asks_for_what_it_binds_alone() -> None:
    listing = Listing()
    decision_of(bound("open", "system.audit", "*"), TableName("system.datasets"), listing)
    assert listing.asked == ["*", "open"]


@pytest.mark.parametrize("name", ["system.audit", "system.events", "system.anything", "system.Datasets"])
def test_other_system_tables_are_for_operators(name: str) -> None:
    assert not decision_of(bound("open"), TableName(name), Listing()).allowed
    assert not decision_of(Reader(role="admin"), TableName(name), Listing()).allowed
    assert decision_of(ANONYMOUS, TableName(name), Listing()).whole


def test_datasets_are_decided_as_ever() -> None:
    assert decision_of(bound("kept"), TableName("kept", "a"), Listing()).row_filter == "(a > 1)"
    assert not decision_of(bound("kept"), TableName("open", "a"), Listing()).allowed
