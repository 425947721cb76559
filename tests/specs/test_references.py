"""The graph of references: order, circles, dependents."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from specs.parse import parse_file
from specs.references import order
from specs.resource import Key, Origin, Resource

graphs = st.dictionaries(st.integers(0, 9), st.frozensets(st.integers(0, 11), max_size=4), max_size=10)


def key(number: int) -> Key:
    return Key("Dataset", f"d{number:02}")


def resources(graph: dict[int, frozenset[int]]) -> list[Resource]:
    return [
        Resource(key(number), "", "", tuple(sorted(key(other) for other in others)), Origin("a", number), "{}")
        for number, others in graph.items()
    ]


def has_circle(graph: dict[Key, tuple[Key, ...]]) -> bool:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        return True
    return False


def reached_from(start: Key, references: Mapping[Key, frozenset[Key]]) -> set[Key]:
    reached: set[Key] = set()
    waiting = [start]
    while waiting:
        new = references[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return reached


@given(graphs)
def test_order_respects_references_and_reports_circles(graph: dict[int, frozenset[int]]) -> None:
    given_resources = resources(graph)
    result = order(given_resources)
    circular = {member for cycle in result.cycles for member in cycle}
    assert sorted([*result.ordered, *circular]) == sorted(resource.key for resource in given_resources)
    place = {member: number for number, member in enumerate(result.ordered)}
    references = {resource.key: resource.references for resource in given_resources}
    for member in result.ordered:
        assert all(place[other] < place[member] for other in references[member] if other in place)
    assert bool(result.cycles) == has_circle(references)
    for cycle in result.cycles:
        assert cycle[0] == min(cycle)
        for member in cycle:  # every member comes back to itself within its circle
            assert member in reached_from(member, {other: frozenset(references[other]) & set(cycle) for other in cycle})


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_input(graph: dict[int, frozenset[int]], shuffle: object) -> None:
    given_resources = resources(graph)
    assert order(given_resources) == order(list(reversed(given_resources)))


def test_circles_are_walked_from_their_smallest() -> None:
    result = order(
        resources({1: frozenset({3}), 2: frozenset({1}), 3: frozenset({2}), 4: frozenset({1}), 5: frozenset({5}), 0: frozenset({4})})
    )
    assert result.cycles == ((key(1), key(3), key(2)), (key(5),))
    assert result.ordered == (key(4), key(0))


def test_a_long_chain_needs_no_recursion() -> None:
    chain = resources({number: frozenset({number + 1}) for number in range(5000)})
    assert [member.name for member in order(chain).ordered[:2]] == ["d4999", "d4998"]
    closed = resources({number: frozenset({(number + 1) % 5000}) for number in range(5000)})
    assert len(order(closed).cycles[0]) == 5000


def test_the_documented_specs_have_an_order() -> None:
    result = order(parse_file("valid.yaml", (Path(__file__).parent / "valid.yaml").read_bytes()).resources)
    assert result.cycles == ()
    assert result.ordered.index(Key("Dataset", "candidates")) < result.ordered.index(Key("Dataset", "cold-leads"))
    assert result.ordered.index(Key("Index", "resumes")) < result.ordered.index(Key("IndexGeneration", "resumes-g1"))
