"""What nobody wants goes in order, unless it is too much or governed; an approval is of exactly one plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_lake import dataset

from reconciler.prune import PrunePlan, moving, plan_prune
from specs.parse import parse_file
from specs.resource import Key, Resource
from state.catalog.fold import Approval, Inventory, ObjectState
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table


def managed(*names: str, version: int = 1) -> list[ObjectState]:
    """Objects of the inventory; datasets have a table."""
    found = []
    for name in names:
        key = Key.parse(name)
        table = Table(key.name, version, schemas=(Schema(1, (Column(1, "a", "string"),)),)) if key.kind == "Dataset" else None
        found.append(ObjectState(name, managed=Inventory("d", "retain"), table=table))
    return found


def planned(
    inventory: Iterable[ObjectState],
    wanted: Iterable[str] = (),
    *,
    share: float = 0.3,
    governs: Collection[str] = (),
    approved: Collection[PrunePlan] = (),
    moves: Iterable[str] = (),
) -> PrunePlan:
    wants = {Key.of(name.partition("@")[0]): name for name in wanted}
    marked = {state.object: governed(state) if state.object in governs else state for state in inventory}
    approvals = [Approval("ada", plan.wanted, plan.versions) for plan in approved]
    return plan_prune(marked, wants, share, approvals, {Key.parse(name) for name in moves})


def governed(state: ObjectState) -> ObjectState:
    return replace(state, governed=True)


def names(plan: PrunePlan) -> list[str]:
    return [state.object for state in plan.objects]


TEN = [f"Dataset/d{n}" for n in range(10)]


class TestWhatGoes:
    def test_nothing_that_is_wanted(self) -> None:
        plan = planned(managed(*TEN), TEN)
        assert (names(plan), plan.held) == ([], {})

    def test_nothing_that_is_not_ours(self) -> None:
        stranger = replace(managed("Dataset/x")[0], managed=None)
        assert names(planned([stranger])) == []

    def test_nothing_that_is_retained_already(self) -> None:
        (state,) = managed("Dataset/x")
        assert state.table is not None
        assert names(planned([replace(state, table=replace(state.table, retained=True))])) == []

    def test_dependents_before_what_they_depend_on(self) -> None:
        inventory = managed("Bucket/b", "Dataset/d", "Index/i", "IndexGeneration/g", "Tool/t", "Dataset/c", "Profile/p")
        assert names(planned(inventory, share=1)) == [
            "Profile/p", "Tool/t", "IndexGeneration/g", "Index/i", "Dataset/c", "Dataset/d", "Bucket/b",
        ]  # fmt: skip


class TestMaxPrune:
    @pytest.mark.parametrize(("going", "share", "held"), [(3, 0.3, 0), (4, 0.3, 4), (10, 1.0, 0), (2, 0.0, 2), (1, 0.0, 0)])
    def test_holds_more_than_its_share(self, going: int, share: float, held: int) -> None:
        plan = planned(managed(*TEN), TEN[going:], share=share)
        assert (len(plan.objects), len(plan.held)) == (going - held, held)

    def test_a_single_object_goes_although_it_is_all(self) -> None:
        assert names(planned(managed("Dataset/x"))) == ["Dataset/x"]

    def test_counts_each_kind(self) -> None:
        plan = planned(managed(*TEN, "Index/a", "Index/b"), TEN[2:])
        assert names(plan) == TEN[:2]
        assert plan.held == dict.fromkeys(("Index/a", "Index/b"), "2 of 2 Index objects would go, more than maxPrune 30%")

    def test_what_is_cheap_to_make_again_goes_unasked(self) -> None:
        derived = ["EvalSet/e", "EvalSet/f", "TrialBudget/t", "TrialBudget/u"]
        assert names(planned(managed(*derived))) == derived

    def test_what_was_retained_before_is_not_counted(self) -> None:
        (old,) = managed("Dataset/old")
        assert old.table is not None
        retained = [replace(old, object=f"Dataset/r{n}", table=replace(old.table, retained=True)) for n in range(90)]
        assert len(planned([*managed(*TEN), *retained], TEN[4:]).held) == 4


class TestGoverned:
    def test_is_held_however_few(self) -> None:
        plan = planned(managed(*TEN), TEN[2:], governs=["Dataset/d0"])
        assert (names(plan), plan.held) == (["Dataset/d1"], {"Dataset/d0": "a policy governs it"})


class TestUnread:
    def test_a_file_that_cannot_be_read_may_ask_for_anything(self) -> None:
        plan = planned(managed("Dataset/x", "Index/i"), ["SpecFile/specs/x.yml", "SpecFile/specs/b.yaml"])
        assert names(plan) == []
        assert set(plan.held.values()) == {"specs/b.yaml cannot be read and may ask for it, so mend that file first"}
        approved = planned(managed("Dataset/x", "Index/i"), ["SpecFile/specs/x.yml", "SpecFile/specs/b.yaml"], approved=[plan])
        assert names(approved) == ["Index/i", "Dataset/x"]


class TestApproval:
    def test_lets_exactly_this_plan_go(self) -> None:
        held = planned(managed(*TEN), TEN[5:])
        assert len(held.held) == 5
        assert names(planned(managed(*TEN), TEN[5:], approved=[held])) == TEN[:5]
        another = planned(managed(*TEN), TEN[6:])
        assert len(planned(managed(*TEN), TEN[5:], approved=[another]).held) == 5

    @pytest.mark.parametrize(
        ("inventory", "wanted"),
        [
            (managed(*TEN), TEN[6:]),
            (managed(*TEN), [*TEN[5:], "Dataset/new"]),
            (managed(*TEN), [*TEN[6:], "Dataset/d5@changed"]),
            (managed(*TEN, version=2), TEN[5:]),
            (managed(*TEN, "Dataset/more"), TEN[5:]),
        ],
        ids=["one more goes", "one more is wanted", "one is wanted otherwise", "rows came", "one more was there"],
    )
    def test_is_void_when_anything_changes(self, inventory: list[ObjectState], wanted: list[str]) -> None:
        held = planned(managed(*TEN), TEN[5:])
        assert planned(inventory, wanted).id != held.id
        assert planned(inventory, wanted, approved=[held]).held

    def test_holds_for_what_is_left_of_it(self) -> None:
        held = planned(managed(*TEN), TEN[5:])
        assert names(planned(managed(*TEN[2:]), TEN[5:], approved=[held])) == TEN[2:5]

    def test_is_not_void_for_what_goes_unasked(self) -> None:
        held = planned(managed(*TEN, "Index/i"), [*TEN[5:], "Index/i"])
        assert planned(managed(*TEN, "Index/i"), TEN[5:]).id == held.id

    def test_is_not_void_for_other_kinds(self) -> None:
        held = planned(managed(*TEN), TEN[5:])
        assert planned(managed(*TEN), [*TEN[5:], "Tool/new"]).id == held.id


class TestMoving:
    def resources(self, *specs: str) -> list[Resource]:
        return [resource for spec in specs for resource in parse_file("specs/a.yaml", spec.encode()).resources]

    def test_a_renamed_table_goes_with_its_new_name(self) -> None:
        tables = {"old": Table("old")}
        found = moving(self.resources(dataset("new", ", renamedFrom: old"), dataset("x")), tables.get)
        assert found == {Key("Dataset", "old"): Key("Dataset", "new")}
        plan = planned(managed("Dataset/old", "Dataset/x"), ["Dataset/new", "Dataset/x"], moves=map(str, found))
        assert (names(plan), plan.held) == ([], {})

    def test_not_after_the_move_nor_without_a_table(self) -> None:
        resources = self.resources(dataset("new", ", renamedFrom: old"))
        assert moving(resources, {"new": Table("new"), "old": Table("old")}.get) == {}
        assert moving(resources, {}.get) == {}


NAMES = st.sets(st.sampled_from(TEN + [f"Index/i{n}" for n in range(5)]))


@given(have=NAMES, want=NAMES, share=st.sampled_from([0.0, 0.3, 1.0]))
def test_everything_surplus_is_told_once(have: set[str], want: set[str], share: float) -> None:
    plan = planned(managed(*sorted(have)), sorted(want), share=share)
    going = names(plan)
    assert sorted([*going, *plan.held]) == sorted(have - want)
    approved = planned(managed(*sorted(have)), sorted(want), share=share, approved=[plan])
    assert sorted(names(approved)) == sorted(have - want)
    assert planned(managed(*sorted(have & want)), sorted(want), share=share).objects == ()
