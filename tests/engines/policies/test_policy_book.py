"""What governs a Dataset: what specs and catalog say, at once; faults close, and what was governed stays so until its spec releases it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from datafusion import SessionContext
from hypothesis import given
from hypothesis import strategies as st

from engines.policies.book import PolicyBook
from engines.policies.governed import Governed, Mask
from engines.policies.governing import Named
from engines.reading import Reader, TableName, decide
from engines.sql.policy_sql import check
from engines.sql.shown import shown_as
from specs.kinds.dataset import DatasetSpec
from specs.kinds.policy import PolicySpec
from specs.registry import build_spec
from specs.resource import Key
from state.catalog.entry import Entry
from state.catalog.fold import Inventory, ObjectState
from state.catalog.schemas import Column, Derivation, Schema
from state.catalog.tables import Origin, Table
from state.catalog.view import EMPTY, View
from state.descriptions import Description, describe
from state.profiles import ColumnProfile, Finding, TableProfile

EMAIL = Finding("email", "pii", 0.9, 10, "90% of 10 sampled values are e-mail addresses")
SCHEMA = Schema(1, (Column(1, "id", "int64"), Column(2, "mail", "string"), Column(3, "Pay", "float64"), Column(4, "status", "string")))
ROWS = [{"roles": ["recruiter"], "where": "status <> 'gone'"}, {"roles": ["admin"], "where": "true"}]


@dataclass
class Lake:
    """Specs and catalog as a test says them. Implements `Specs`, `Catalog` and `Describe`."""

    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    named: dict[str, PolicySpec] = field(default_factory=dict)
    broken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    states: dict[str, ObjectState] = field(default_factory=dict)
    found: dict[str, Finding] = field(default_factory=lambda: {"mail": EMAIL})
    complete: bool = True
    stamp: object = None
    _view: View = EMPTY
    described: int = 0

    def policies(self, dataset: str) -> Iterable[Named]:
        return ((name, spec) for name, spec in sorted(self.named.items()) if spec.dataset == dataset)

    def faulty(self, dataset: str) -> Iterable[str]:
        return self.broken.get(dataset, ())

    def declares(self, policy: str) -> bool:
        return policy in self.named

    def dataset(self, name: str) -> DatasetSpec | None:
        return self.datasets.get(name)

    def view(self) -> View:
        return self._view

    def __call__(self, state: ObjectState) -> Description:
        self.described += 1
        columns = {name: ColumnProfile(1, 0, 1, (), {finding.entity: finding}) for name, finding in self.found.items()}
        return describe(state, TableProfile(columns, self.complete))

    def policy(self, name: str, dataset: str = "people", **spec: Any) -> None:
        built = build_spec(Key("Policy", name), {"dataset": dataset, **spec})
        assert isinstance(built, PolicySpec)
        self.named[name] = built
        self.stamp = object()

    def without(self, policy: str) -> None:
        del self.named[policy]
        self.stamp = object()

    def declare(self, name: str, **spec: Any) -> None:
        built = build_spec(Key("Dataset", name), {"source": {"files": [f"{name}/*.csv"]}, **spec})
        assert isinstance(built, DatasetSpec)
        self.datasets[name] = built
        self.stamp = object()

    def hold(self, name: str = "people", **parts: Any) -> None:
        """A table in the catalog."""
        table = parts.pop("table", Table(name, 1, "primary", schemas=(SCHEMA,)))
        managed = Inventory("d", "retain", parts.pop("about", {}))
        self.know(ObjectState(f"Dataset/{name}", managed=managed, table=table, **parts))

    def know(self, state: ObjectState) -> None:
        seq = self._view.seq + 1
        entry = Entry(seq, "w", 1, "2026-01-01T00:00:00.000Z", "a", "r", None, ())
        self._view = self._view.moved(entry, {state.object: state})


@pytest.fixture
def lake() -> Lake:
    lake = Lake()
    lake.declare("people")
    lake.hold()
    return lake


def book(lake: Lake, clock: Callable[[], float] = time.monotonic) -> PolicyBook:
    return PolicyBook(lake, lake, lake, check, clock)


def masks(lake: Lake, role: str | None = None) -> Mapping[str, Mask]:
    governed = book(lake).now().governed("people")
    assert governed is not None
    assert governed.closed is None, governed.closed
    return governed.shown_to(role).masks


def closed(lake: Lake, dataset: str = "people") -> str:
    governed = book(lake).now().governed(dataset)
    assert governed is not None
    return governed.closed or ""


class TestRules:
    def test_nothing_governs_what_no_policy_names(self, lake: Lake) -> None:
        assert book(lake).now().governed("people") is None
        assert book(lake).now().governed("nobody") is None
        assert lake.described == 0

    def test_rows_by_role_and_sensitive_columns(self, lake: Lake) -> None:
        lake.policy("access", rows=ROWS, columns=[{"sensitivity": "pii", "except": ["admin"], "mask": "redact"}])
        rules = book(lake)
        recruiter = decide(Reader(role="recruiter", rules=rules.now()), TableName("people"), "read")
        assert (recruiter.row_filter, recruiter.masks) == ("(status <> 'gone')", {"mail": Mask("redact")})
        admin = decide(Reader(role="admin", rules=rules.now()), TableName("people"), "read")
        assert (admin.row_filter, admin.masks, admin.policies) == (None, {}, ("access",))
        stranger = decide(Reader(rules=rules.now()), TableName("people"), "read")
        assert (stranger.row_filter, stranger.masks) == ("false", {"mail": Mask("redact")})

    @pytest.mark.parametrize(
        ("said", "mask"),
        [
            ("lastFour", Mask("lastFour")),
            (None, Mask("null")),
            ({"constant": {"b": 1, "a": "x"}}, Mask("constant", '{"a":"x","b":1}')),
            ({"expression": "upper(mail)"}, Mask("expression", "upper(mail)")),
        ],
    )
    def test_every_kind_of_mask(self, lake: Lake, said: object, mask: Mask) -> None:
        lake.policy("p", columns=[{"columns": ["mail"], "mask": said}])
        assert masks(lake) == {"mail": mask}

    @pytest.mark.parametrize(("name", "column"), [("mail", "mail"), ("MAIL", "mail"), ("Pay", "Pay")])
    def test_columns_are_named_as_in_sql(self, lake: Lake, name: str, column: str) -> None:
        lake.policy("p", columns=[{"columns": [name], "roles": ["temp"], "mask": "null"}])
        assert masks(lake, "temp") == {column: Mask("null")}
        assert masks(lake) == {}

    def test_the_former_name_of_a_renamed_column_goes_on_masking(self, lake: Lake) -> None:
        renamed = Schema(2, (Column(1, "id", "int64"), Column(2, "email", "string")), Derivation(1, ('"id"', '"mail"')))
        lake.hold(table=Table("people", 2, "primary", schemas=(SCHEMA, renamed)))
        lake.policy("p", columns=[{"columns": ["mail"], "mask": "hash"}])
        assert masks(lake) == {"email": Mask("hash")}

    def test_a_sensitive_column_that_is_gone_stays_hidden_where_it_was(self, lake: Lake) -> None:
        without = Schema(2, (Column(1, "id", "int64"), Column(4, "status", "string"), Column(5, "Pay", "float64")))
        now = Table("people", 2, "primary", schemas=(SCHEMA, without))
        then = Table("people", 1, "primary", schemas=(without, SCHEMA))
        lake.hold(table=now)
        lake.policy("p", columns=[{"sensitivity": ["pii"], "except": ["admin"], "mask": {"expression": "upper(status)"}}])
        nothing = Mask("null")
        assert masks(lake) == {"mail": nothing, "Pay (former)": nothing}
        decision = decide(Reader(rules=book(lake).now()), TableName("people"), "read")
        assert not decision.whole
        shown = shown_as(decision, (now, then))
        assert shown is not None
        assert shown.masked == {"mail", "Pay"}
        assert masks(lake, "admin") == {}

    def test_what_the_whole_is_treated_as_counts_for_every_column(self, lake: Lake) -> None:
        lake.hold(about={"sensitivity": ["internal"]})
        lake.policy("p", columns=[{"sensitivity": ["internal"], "mask": "null"}])
        assert masks(lake).keys() == {"id", "mail", "Pay", "status"}

    def test_a_word_of_the_spec_holds_before_the_catalog_knows_it(self, lake: Lake) -> None:
        lake.declare("people", columns={"status": {"sensitivity": "financial"}})
        lake.policy("p", columns=[{"sensitivity": ["financial"], "mask": "null"}])
        assert masks(lake).keys() == {"status"}

    def test_while_a_profile_cannot_be_read_columns_may_be_anything(self, lake: Lake) -> None:
        lake.complete = False
        lake.hold(about={"columns": {"status": {"sensitivity": ["public"]}}})
        lake.policy("p", columns=[{"sensitivity": ["phi"], "mask": "null"}])
        now = [0.0]
        rules = book(lake, lambda: now[0])
        governed = rules.now().governed("people")
        assert governed is not None
        assert governed.shown_to(None).masks.keys() == {"id", "mail", "Pay"}
        lake.complete = True
        assert rules.now().governed("people") is governed
        now[0] = 6.0
        after = rules.now().governed("people")
        assert after is not None
        assert after.shown_to(None).masks == {}


class TestAtOnce:
    def test_the_same_answer_until_something_changes(self, lake: Lake) -> None:
        lake.policy("p", rows=ROWS)
        rules = book(lake)
        before = rules.now().governed("people")
        assert rules.now().governed("people") is before
        lake.know(ObjectState("Dataset/other"))
        lake.stamp = object()
        state = lake.view().get("Dataset/people")
        described: dict[ObjectState, Description] = {}
        again = PolicyBook(lake, lake, lambda of: described.setdefault(of, describe(of, TableProfile({}, complete=True))), check)
        first = again.now().governed("people")
        lake.know(ObjectState("Dataset/third"))
        assert again.now().governed("people") is first
        assert list(described) == [state]

    def test_a_policy_that_changes_and_a_column_that_turns_out_to_be_sensitive(self, lake: Lake) -> None:
        lake.policy("p", columns=[{"sensitivity": ["pii"], "mask": "redact"}])
        rules = book(lake)
        assert rules.now().governed("people") != Governed()
        lake.found["status"] = replace(EMAIL, entity="name")
        lake.hold(table=Table("people", 2, "primary", schemas=(SCHEMA,)))
        after = rules.now().governed("people")
        assert after is not None
        assert after.shown_to(None).masks.keys() == {"mail", "status"}
        lake.policy("p", columns=[{"columns": ["id"], "mask": "null"}])
        last = rules.now().governed("people")
        assert last is not None
        assert last.shown_to(None).masks == {"id": Mask("null")}


class TestClosed:
    @pytest.mark.parametrize(
        "spec",
        [
            {"columns": [{"columns": ["phone"], "mask": "null"}]},
            {"rows": [{"roles": "r", "where": "region = 'x'"}]},
            {"rows": [{"roles": "r", "where": "true) OR (true"}]},
            {"rows": [{"roles": "r", "where": "true -- all"}]},
            {"rows": [{"roles": "r", "where": "true AS x"}]},
            {"rows": [{"roles": "r", "where": "true; DROP TABLE people"}]},
            {"rows": [{"roles": "r", "where": "status"}]},
            {"rows": [{"roles": "r", "where": "EXISTS (SELECT 1)"}]},
            {"rows": [{"roles": "r", "where": "id IN (SELECT id FROM other)"}]},
            {"rows": [{"roles": "r", "where": "count(*) > 1"}]},
            {"rows": [{"roles": "r", "where": "row_number() OVER () > 1"}]},
            {"rows": [{"roles": "r", "where": "random() > 0.5"}]},
            {"rows": [{"roles": "r", "where": "1 + " * 2000 + "1 > 0"}]},
            {"columns": [{"columns": ["mail"], "mask": {"expression": "nobody(mail)"}}]},
            {"columns": [{"columns": ["Pay"], "mask": {"expression": "make_array(1)"}}]},
        ],
    )
    def test_by_a_faulty_policy_which_is_named(self, lake: Lake, spec: dict[str, Any]) -> None:
        lake.policy("good", rows=[{"roles": "r", "where": "true"}])
        lake.policy("bad", **spec)
        assert closed(lake) == "Nobody but operators may read `people`: Policy `bad` cannot be applied until it is corrected."
        assert book(lake).standing("people").faults.keys() == {"bad"}
        reader = Reader(role="r", rules=book(lake).now())
        assert not decide(reader, TableName("people"), "read").allowed

    def test_by_one_that_does_not_parse(self, lake: Lake) -> None:
        lake.declare("copy", source={"sql": "SELECT * FROM people"}, policy="none")
        lake.declare("other", source={"sql": "SELECT * FROM people"})
        rules = book(lake)
        assert rules.now().governed("people") is None
        lake.broken, lake.stamp = {"people": ("typo",)}, object()
        assert rules.now().governed("people") == Governed(closed=closed(lake))
        assert closed(lake) == "Nobody but operators may read `people`: Policy `typo` cannot be applied until it is corrected."
        assert rules.standing("people").faults.keys() == {"typo"}
        assert rules.now().governed("copy") is None
        assert closed(lake, "other")
        lake.broken, lake.stamp = {}, object()
        assert rules.now().governed("people") is None

    @pytest.mark.parametrize(
        "where",
        [
            "status = $role OR status = $region",
            "id > cast($least AS bigint)",
            "\"Pay\" > 3 AND STATUS LIKE '%;--%'",
            "mail IS NULL /* x */",
        ],
    )
    def test_not_by_what_can_be_planned(self, lake: Lake, where: str) -> None:
        lake.policy("p", rows=[{"roles": "r", "where": where}])
        assert closed(lake) == ""

    def test_after_the_last_policy_went_until_the_spec_releases_it(self, lake: Lake) -> None:
        lake.hold(governed=True)
        assert "does not say `policy: none`" in closed(lake)
        lake.declare("people", policy="none")
        assert book(lake).now().governed("people") is None

    def test_policy_none_does_not_open_what_a_policy_names(self, lake: Lake) -> None:
        lake.declare("people", policy="none")
        lake.policy("p", rows=ROWS)
        governed = book(lake).now().governed("people")
        assert governed is not None
        assert governed.shown_to("temp").row_filter == "false"

    def test_data_without_a_spec_or_a_table(self, lake: Lake) -> None:
        lake.policy("p", "gone", rows=ROWS)
        lake.hold("gone")
        assert "no spec declares it" in closed(lake, "gone")
        lake.declare("gone")
        lake.hold("gone", table=None)
        assert "holds nothing yet" in closed(lake, "gone")

    def test_a_dataset_that_was_dropped_and_comes_again(self, lake: Lake) -> None:
        lake.know(ObjectState("Dataset/people", last_version=3, governed=True))
        assert closed(lake)


class TestHeldRemoval:
    """A policy without a spec stays in force until its removal is approved."""

    def test_of_one_of_several(self, lake: Lake) -> None:
        lake.policy("stays", columns=[{"columns": ["mail"], "mask": "lastFour"}])
        about = {"dataset": "people", "rows": ROWS, "columns": [{"columns": ["mail"], "mask": "redact"}]}
        lake.know(ObjectState("Policy/goes", managed=Inventory("d", "delete", about)))
        rules = book(lake)
        standing = rules.standing("people")
        assert standing.held == ("goes",)
        assert standing.governed is not None
        shown = standing.governed.shown_to("recruiter")
        assert (shown.row_filter, shown.masks) == ("(status <> 'gone')", {"mail": Mask("redact")})
        lake.know(ObjectState("Policy/goes"))
        after = rules.now().governed("people")
        assert after is not None
        assert after.shown_to("recruiter").masks == {"mail": Mask("lastFour")}

    def test_of_the_last_one_closes(self, lake: Lake) -> None:
        lake.know(ObjectState("Policy/goes", managed=Inventory("d", "delete", {"dataset": "people", "rows": ROWS})))
        assert "no Policy names it any more" in closed(lake)
        assert book(lake).standing("people").held == ("goes",)

    def test_one_that_this_release_does_not_accept_shows_nothing(self, lake: Lake) -> None:
        lake.policy("stays", rows=ROWS)
        lake.know(ObjectState("Policy/goes", managed=Inventory("d", "delete", {"dataset": "people", "of_old": True})))
        governed = book(lake).now().governed("people")
        assert governed is not None
        assert governed.shown_to("admin").row_filter == "false"


class TestLineage:
    def made_of(self, lake: Lake, name: str, of: str, **more: Any) -> None:
        lake.declare(name, source={"sql": f"SELECT * FROM {of.replace('-', '_')}"}, **more)
        lake.hold(name)

    def test_what_is_made_of_it_is_closed_however_far(self, lake: Lake) -> None:
        lake.policy("p", rows=ROWS)
        self.made_of(lake, "mid-way", "people")
        self.made_of(lake, "far", "mid-way")
        assert "made of what is governed" in closed(lake, "mid-way")
        assert "people" not in closed(lake, "mid-way")
        assert book(lake).standing("mid-way").source == "people"
        assert "made of what is governed" in closed(lake, "far")
        assert "mid-way" not in closed(lake, "far")
        assert book(lake).standing("far").source == "mid-way"

    def test_until_it_has_a_policy_or_says_none(self, lake: Lake) -> None:
        lake.policy("p", rows=ROWS)
        self.made_of(lake, "mid-way", "people", policy="none")
        self.made_of(lake, "far", "mid-way")
        assert book(lake).now().governed("mid-way") is None
        assert book(lake).now().governed("far") is None
        self.made_of(lake, "own", "people")
        lake.policy("of-own", "own", columns=[{"columns": ["mail"], "mask": "null"}])
        governed = book(lake).now().governed("own")
        assert governed is not None
        assert governed.closed is None

    def test_what_its_rows_were_made_of_counts_as_long_as_it_has_them(self, lake: Lake) -> None:
        lake.policy("p", rows=ROWS)
        lake.declare("copy")
        lake.hold("copy", table=Table("copy", 1, "primary", schemas=(SCHEMA,), origin=Origin(inputs={"people": 1})))
        assert "made of what is governed" in closed(lake, "copy")
        assert "people" not in closed(lake, "copy")
        assert book(lake).standing("copy").source == "people"

    def test_a_circle_ends(self, lake: Lake) -> None:
        self.made_of(lake, "one", "two")
        self.made_of(lake, "two", "one")
        assert book(lake).now().governed("one") is None

    def test_what_is_closed_closes_too(self, lake: Lake) -> None:
        lake.hold(governed=True)
        self.made_of(lake, "copy", "people")
        assert closed(lake, "copy")


RULES = st.builds(
    lambda roles, where: {"roles": sorted(roles), "where": where},
    st.sets(st.sampled_from(["a", "b"]), min_size=1),
    st.sampled_from(["true", "id > 1", "status = $region", "mail IS NULL"]),
)
MASKS = st.builds(
    lambda columns, who, mask: {"columns": sorted(columns), **who, "mask": mask},
    st.sets(st.sampled_from(["mail", "status"]), min_size=1),
    st.sampled_from([{}, {"roles": ["a"]}, {"except": ["b"]}]),
    st.sampled_from(["null", "redact", "hash", "lastFour", "firstFour", {"constant": "x"}, {"expression": "upper(mail)"}]),
)
POLICIES = st.builds(lambda rows, columns: {"rows": rows, "columns": columns}, st.lists(RULES, max_size=3), st.lists(MASKS, max_size=3))
STRICT = {"null": 4, "constant": 3, "redact": 3, "hash": 2, "year": 1, "firstFour": 1, "lastFour": 1, "expression": 1}


@given(st.lists(POLICIES, max_size=3), POLICIES, st.sampled_from(["a", "b", None]))
def test_a_policy_that_is_added_never_shows_more(given_: list[dict[str, Any]], added: dict[str, Any], role: str | None) -> None:
    lake = Lake()
    lake.declare("people")
    lake.hold()
    for number, spec in enumerate(given_):
        lake.policy(f"p{number}", **spec)
    before = book(lake).now().governed("people")
    lake.policy("added", **added)
    after = book(lake).now().governed("people")
    assert after is not None
    assert after.closed is None
    less, more = after.shown_to(role), (before or Governed()).shown_to(role)
    assert more.masks.keys() <= less.masks.keys()
    for column, mask in more.masks.items():
        assert less.masks[column] == mask or STRICT[less.masks[column].kind] > STRICT[mask.kind]
    assert rows_shown(less.row_filter) <= rows_shown(more.row_filter)


def rows_shown(row_filter: str | None) -> set[int]:
    """Ids of a few rows that satisfy a filter, of a reader whose region is x."""
    rows = {"id": [0, 1, 2, 3], "mail": [None, "m", None, "m"], "status": ["x", None, "y", "x"]}
    context = SessionContext()
    context.from_pydict(rows, "people")
    found = context.sql(f"SELECT id FROM people WHERE {row_filter or 'true'}", param_values={"region": "x"})
    return set(found.to_pydict()["id"])
