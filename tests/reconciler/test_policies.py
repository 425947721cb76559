"""Policies in a lake: what governs a dataset is remembered whatever happens to specs, catalog and names; statuses say what is in force."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest
from small_lake import BUCKET, Bench, dataset
from test_operator import ask

from engines.policies.governed import Governed, Mask
from engines.policies.testing import CaseResult
from reconciler.rebuilding import Rebuild
from specs.kinds.policy import PolicySpec
from state import reasons

NONE = ", policy: none"
ROWS = "rows: [{roles: [clerk], where: \"city = 'Bern'\"}]"


def policy(name: str = "p", of: str = "x", spec: str = ROWS) -> str:
    return f"apiVersion: lakehouse/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec: {{dataset: {of}, {spec}}}\n"


def derived(name: str, sql: str, more: str = "") -> str:
    return f'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{sql: "{sql}"}}{more}}}\n'


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/a.csv", "id,city,mail\n1,Bern,ann@example.org\n2,Basel,bob@example.org\n")
    bench.commit(BUCKET, dataset("x"))
    bench.settle()
    return bench


def governed(lake: Bench, name: str = "x") -> Governed | None:
    return lake.kinds.policy.book.now().governed(name)


def closed(lake: Bench, name: str = "x") -> bool:
    found = governed(lake, name)
    return found is not None and found.closed is not None


def remembered(lake: Bench, name: str = "x") -> bool:
    state = lake.catalog.view().peek(f"Dataset/{name}")
    return state is not None and state.governed


def approve(lake: Bench) -> None:
    ask(lake, "approve", "", payload={"plan": lake.follower.prune().id})
    lake.operator.answer()
    assert not lake.follower.prune().held


def test_what_only_a_former_version_holds_is_masked_there(lake: Bench) -> None:
    """A rule by sensitivity goes by what is found in any version that can be read."""
    lake.commit(BUCKET, dataset("x"), policy(spec="columns: [{sensitivity: pii, except: [admin], mask: redact}]"))
    lake.settle()
    lake.write("data/x/a.csv", "id,city,mail\n1,Bern,none\n2,Basel,none\n")
    lake.settle()
    table = lake.catalog.table("x")
    assert table is not None
    assert table.former
    found = governed(lake)
    assert found is not None
    assert found.shown_to("clerk").masks == {"mail": Mask("redact")}


class TestStatus:
    def test_what_it_governs(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(spec=f"{ROWS}, columns: [{{sensitivity: pii, mask: redact}}]"))
        status = lake.settle()["Policy/p"]
        assert (status.ready, status.message) == ("True", "rows for clerk of x, 1 of its columns masked")
        assert status.detail["masked"] == ["mail"]
        found = governed(lake)
        assert found is not None
        assert found.shown_to("clerk").masks == {"mail": Mask("redact")}

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("columns: [{columns: mial, mask: 'null'}]", "`columns` names `mial`, which the table does not have; did you mean `mail`?"),
            ('rows: [{roles: a, where: "town = 1"}]', "`where` `town = 1` cannot be planned: There is no column `town`"),
            ('rows: [{roles: a, where: "city"}]', "`where` `city` is string"),
        ],
    )
    def test_a_faulty_one_is_stalled_and_closes_its_dataset(self, lake: Bench, spec: str, said: str) -> None:
        lake.commit(BUCKET, dataset("x"), policy(spec=spec), policy("good"))
        statuses = lake.settle()
        assert statuses["Policy/p"].reason == reasons.POLICY_FAULTY
        assert said in statuses["Policy/p"].message
        assert "closed to all but operators" in statuses["Policy/p"].message
        assert "Policy `p` cannot be applied" in statuses["Policy/good"].message
        assert closed(lake)
        lake.commit(BUCKET, dataset("x"), policy(), policy("good"))
        assert lake.settle()["Policy/p"].ready == "True"
        assert not closed(lake)

    def test_one_whose_dataset_is_not_there_waits(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(of="nobody"), policy("empty", "later"), dataset("later"))
        statuses = lake.settle()
        assert statuses["Policy/p"].reason == reasons.REFERENCE_MISSING
        assert statuses["Policy/empty"].reason == reasons.DEPENDENCY_NOT_READY
        assert closed(lake, "later")

    def test_a_mask_that_shows_nothing_is_a_condition(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(spec="columns: [{columns: [city, mail], mask: year}]"))
        status = lake.settle()["Policy/p"]
        condition = status.condition("MasksUnfit")
        assert condition is not None
        assert (status.ready, condition.status, condition.reason) == ("True", "True", reasons.MASK_UNFIT)
        assert status.message.endswith("; masks that show nothing of their types: city, mail")
        assert "mask year shows nothing of `city`, which is string" in condition.message
        assert "nothing of `mail`" in condition.message
        lake.commit(BUCKET, dataset("x"), policy(spec="columns: [{columns: [city, mail], mask: hash}]"))
        assert lake.settle()["Policy/p"].condition("MasksUnfit") is None

    def test_cases_that_nobody_can_run_are_not_known(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(spec=f'{ROWS}, tests: [{{role: clerk, sql: "SELECT 1", rows: [[1]]}}]'))
        condition = lake.settle()["Policy/p"].condition("TestsFailing")
        assert condition is not None
        assert (condition.status, condition.reason) == ("Unknown", reasons.NOT_OBSERVED)

    def test_cases_that_fail_are_a_condition(self, lake: Bench) -> None:
        asked: list[PolicySpec] = []

        def run(spec: PolicySpec) -> list[CaseResult]:
            asked.append(spec)
            return [CaseResult(number, case, [["2"]]) for number, case in enumerate(spec.tests, start=1)]

        lake.kinds.policy.run_cases = run
        cases = 'tests: [{role: clerk, sql: "SELECT 1", rows: [[2]]}, {role: clerk, sql: "SELECT 2", rows: [["2"]]}]'
        lake.commit(BUCKET, dataset("x"), policy(spec=f"{ROWS}, {cases}"))
        status = lake.settle()["Policy/p"]
        condition = status.condition("TestsFailing")
        assert condition is not None
        assert (status.ready, condition.status, condition.reason) == ("True", "True", reasons.TESTS_FAILED)
        assert "case 1 (clerk) returns other rows: `lakectl policy test p`" in condition.message
        lake.settle()
        assert len(asked) == 1
        right = cases.replace("[[2]]", '[["2"]]')
        lake.commit(BUCKET, dataset("x"), policy(spec=f"{ROWS}, {right}"))
        passed = lake.settle()["Policy/p"].condition("TestsFailing")
        assert passed is not None
        assert (passed.status, passed.message) == ("False", "2 of 2 cases pass")


class TestOnceGoverned:
    def test_the_last_policy_that_goes_leaves_it_closed_until_its_spec_says_none(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy())
        assert remembered(lake)
        assert not closed(lake)
        lake.commit(BUCKET, dataset("x"))
        assert closed(lake)
        assert lake.by_object()["Policy/p"].reason == reasons.PRUNE_HELD
        approve(lake)
        assert "Policy/p" not in lake.by_object()
        lake.open()
        lake.follower.advance()
        assert closed(lake), "also after a restart"
        lake.commit(BUCKET, dataset("x", NONE))
        assert governed(lake) is None
        assert not remembered(lake)
        assert [event["reason"] for event in lake.events() if event["reason"] in (reasons.GOVERNED, reasons.RELEASED)] == [
            reasons.GOVERNED,
            reasons.RELEASED,
        ]
        lake.commit(BUCKET, dataset("x"))
        assert governed(lake) is None, "what was released is governed by the next policy only"

    def test_by_what_nobody_can_read_only_while_it_is_there(self, lake: Bench) -> None:
        copy, unreadable = derived("mid", "SELECT id FROM x"), {"specs/p.yaml": "spec: [\n" + policy()}
        lake.commit(BUCKET, dataset("x"), copy)
        lake.commit(BUCKET, dataset("x"), copy, **unreadable)
        lake.open()
        lake.follower.advance()
        lake.commit(BUCKET, dataset("x", ", write: append"), copy, **unreadable)
        assert {name: (closed(lake, name), remembered(lake, name)) for name in ("x", "mid")} == {"x": (True, False), "mid": (True, False)}
        lake.commit(BUCKET, dataset("x"), copy)
        assert (governed(lake), governed(lake, "mid")) == (None, None)
        assert not lake.events(reasons.GOVERNED)

    def test_nor_does_that_release_what_was_governed_before(self, lake: Bench) -> None:
        unreadable = {"specs/q.yaml": "spec: [\n" + policy("q")}
        lake.commit(BUCKET, dataset("x"), policy())
        lake.commit(BUCKET, dataset("x"), **unreadable)
        lake.open()
        lake.follower.advance()
        lake.commit(BUCKET, dataset("x"))
        approve(lake)
        assert closed(lake)
        assert remembered(lake)

    def test_one_of_several_goes_on_restricting_until_its_removal_is_approved(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(), policy("q", spec="columns: [{columns: mail, mask: hash}]"))
        lake.commit(BUCKET, dataset("x"), policy("q", spec="columns: [{columns: mail, mask: hash}]"))
        lake.open()
        lake.follower.advance()
        found = governed(lake)
        assert found is not None
        assert found.shown_to("clerk").row_filter == "(city = 'Bern')"
        approve(lake)
        after = governed(lake)
        assert after is not None
        assert after.shown_to("clerk").row_filter is None

    def test_removed_together_with_its_policy_and_adopted_again(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy())
        lake.commit(BUCKET)
        approve(lake)
        assert lake.by_object()["Dataset/x"].reason == reasons.RETAINED
        assert closed(lake), "what is retained"
        lake.commit(BUCKET, dataset("x"))
        lake.settle()
        assert closed(lake)
        assert remembered(lake)

    def test_deleted_and_made_again(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x", ", deletion: delete"), policy())
        lake.commit(BUCKET)
        approve(lake)
        assert lake.catalog.get("Dataset/x") is None
        lake.commit(BUCKET, dataset("x"))
        lake.settle()
        assert closed(lake)

    @pytest.mark.parametrize("follows", [True, False])
    def test_a_renamed_one(self, lake: Bench, follows: bool) -> None:
        lake.commit(BUCKET, dataset("x"), policy())
        renamed = dataset("y", ", renamedFrom: x", glob="data/x/*.csv")
        lake.commit(BUCKET, renamed, policy(of="y" if follows else "x"))
        statuses = lake.settle()
        assert statuses["Dataset/y"].ready == "True"
        assert remembered(lake, "y")
        assert closed(lake, "y") is not follows

    def test_a_rebuilt_catalog_remembers(self, lake: Bench) -> None:
        lake.write("data/z/a.csv", "id\n1\n")
        lake.commit(BUCKET, dataset("x"), policy(), dataset("z"), policy("q", "z", "columns: []"))
        lake.settle()
        lake.commit(BUCKET, dataset("x"))
        approve(lake)
        lake.close()
        shutil.rmtree(lake.folder / "lake/catalog")
        rebuild = Rebuild(lake.state.place, lake.settings)
        found = rebuild.look()
        assert found.governed == {"Dataset/x", "Dataset/z"}
        rebuild.run(found)
        lake.open()
        lake.follower.advance()
        assert {name: remembered(lake, name) for name in ("x", "z")} == {"x": True, "z": True}
        assert closed(lake)
        assert closed(lake, "z")

    def test_a_policy_of_nothing_goes_unasked(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy(of="nobody"))
        lake.commit(BUCKET, dataset("x"))
        assert "Policy/p" not in lake.by_object()

    def test_one_whose_dataset_says_none_goes_unasked(self, lake: Bench) -> None:
        lake.commit(BUCKET, dataset("x"), policy())
        lake.commit(BUCKET, dataset("x", NONE))
        assert "Policy/p" not in lake.by_object()
        assert governed(lake) is None


class TestLineage:
    SPECS: Mapping[str, str] = {"mid": "SELECT id FROM x", "far": "SELECT id FROM mid"}

    def commit(self, lake: Bench, *more: str, mid: str = "") -> None:
        lake.commit(BUCKET, dataset("x"), derived("mid", self.SPECS["mid"], mid), derived("far", self.SPECS["far"]), *more)

    def test_what_is_made_of_it_is_closed_from_the_commit_on(self, lake: Bench) -> None:
        self.commit(lake)
        lake.settle()
        assert governed(lake, "far") is None
        self.commit(lake, policy())
        assert closed(lake, "mid")
        assert closed(lake, "far")
        assert remembered(lake, "far")

    def test_none_in_between_opens_what_comes_after(self, lake: Bench) -> None:
        self.commit(lake, policy())
        self.commit(lake, policy(), mid=NONE)
        assert governed(lake, "mid") is None
        assert not remembered(lake, "mid")
        assert closed(lake, "far"), "it was closed, and says nothing"

    def test_rows_that_stayed_are_closed_though_its_query_is_another_by_now(self, lake: Bench) -> None:
        self.commit(lake)
        lake.settle()
        lake.commit(BUCKET, dataset("x"), derived("mid", "SELECT 1 AS id"), policy())
        assert closed(lake, "mid")
