"""An index embeds, builds, serves and forgets, one step at a time; what serves goes on serving until its successor is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.index import plan as index
from controllers.index.following import LEAST, Lag, lag, near
from controllers.index.models import in_force, kept
from controllers.index.steps import (
    Base,
    Beside,
    BuildOwn,
    Candidate,
    Embed,
    Follow,
    Forget,
    IndexWords,
    Observed,
    Serve,
    Unchoose,
    Version,
    Withdraw,
)
from controllers.index_generation import plan as generation
from controllers.index_generation.plan import BuildGeneration
from controllers.outcome import Ready, Stalled, Waiting
from specs.kinds.index import IndexSpec, model_name
from specs.parse import parse_file
from specs.resource import Resource
from state import reasons
from state.catalog.data_files import DataFile
from state.catalog.fold import ObjectState, apply
from state.catalog.index_changes import BuildAdded, CorpusAdded, Forgotten, Served
from state.catalog.indexes import Build, Choice, Corpus, IndexRecord, Lexical, ServingManifest, Tail
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Former, Table
from state.objects import ObjectRef

NAME = "Index/resumes"
TABLE = Table("people", 3, "primary", schemas=(Schema(1, (Column(1, "resume", "string"),)),))


def parsed(kind: str, name: str, spec: str) -> Resource:
    text = f"apiVersion: lakehouse/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    file = parse_file("specs/x.yaml", text.encode())
    assert not file.errors, file.errors
    return file.resources[0]


def index_of(more: str = "") -> Resource:
    return parsed("Index", "resumes", f"{{dataset: people, text: [resume]{more}}}")


AUTO = index_of()
PINNED = index_of(", serve: {generation: g1}")


def ref(key: str) -> ObjectRef:
    return ObjectRef("primary", key, 1, "")


def corpus(name: str) -> Corpus:
    return Corpus(name, ref(name), 5, 7, "s", 3, "f", 4)


def build(candidate: Candidate, over: str) -> Build:
    files = {"graph": ref(candidate.build)}
    return Build(candidate.build, candidate.generation, candidate.engine, candidate.parameters, over, files, 7, 4, 1.0)


def candidate(
    name: str | None, over: str, engine: str = "hnsw", parameters: Mapping[str, object] | None = None, preferred: bool = False
) -> Candidate:
    search = {"efSearch": 64} if engine == "hnsw" else {}
    return Candidate(name, engine, parameters or {}, search, f"{name}@{over}", preferred, declared=name is not None)


def record(corpora: str = "", builds: tuple[tuple[Candidate, str], ...] = (), serving: Candidate | None = None) -> IndexRecord:
    state = ObjectState(NAME)
    for name in corpora.split():
        state = apply(state, CorpusAdded(NAME, corpus(name)))
    for made, over in builds:
        state = apply(state, BuildAdded(NAME, build(made, over)))
    if serving is not None:
        state = apply(state, Served(NAME, manifest(serving)))
    return state.index or IndexRecord("resumes")


def manifest(chosen: Candidate) -> ServingManifest:
    return ServingManifest(chosen.build, chosen.generation, dict(chosen.search))


def observed(known: IndexRecord | None, *candidates: Candidate, want: str | None = "c1", **facts: Any) -> Observed:
    base = known.corpora.get(want) if known is not None and want is not None and want not in facts.get("damaged", ()) else None
    bases = (Base(base, facts.pop("base_lag", None), facts.pop("tail", None)),) if base is not None else ()
    return Observed(TABLE, known, want, 1000, facts.pop("bases", bases), candidates, "primary", **facts)


G1 = candidate("g1", "c1")
OWN = candidate(None, "c1", "flat", preferred=True)


class TestSteps:
    def test_first_the_corpus(self) -> None:
        (step,) = index.plan(AUTO, observed(None))
        assert step == Embed("nothing is embedded yet", "c1", 1000)
        assert step.work is not None
        assert (step.work.kind, step.work.weight) == ("embed", 1000)

    def test_again_when_the_rows_changed(self) -> None:
        (step,) = index.plan(AUTO, observed(record("c0")))
        assert isinstance(step, Embed)
        assert step.why == "rows, text columns, chunking or model changed"

    def test_again_when_it_is_damaged(self) -> None:
        (step,) = index.plan(AUTO, observed(record("c1"), damaged=frozenset({"c1"})))
        assert isinstance(step, Embed)
        assert step.why == "the corpus is missing or damaged"

    def test_then_the_recommended_build(self) -> None:
        (step,) = index.plan(AUTO, observed(record("c1"), OWN))
        assert step == BuildOwn("no IndexGeneration names a recipe", OWN, 7 * 4 * 4)
        assert step.summary() == "build the recommended flat index"

    def test_not_if_a_generation_is_to_come(self) -> None:
        assert index.plan(AUTO, observed(record("c1"), G1)) == ()

    def test_not_if_a_generation_is_pinned(self) -> None:
        assert index.plan(PINNED, observed(record("c1"), OWN)) == ()

    def test_then_the_pointer(self) -> None:
        (step,) = index.plan(AUTO, observed(record("c1", ((G1, "c1"),)), G1))
        assert step == Serve("it is the best build of the present rows", manifest(G1))
        assert step.summary() == "serve g1 (g1@c1)"

    def test_other_search_parameters_only_move_the_pointer(self) -> None:
        known = record("c1", ((G1, "c1"),), G1)
        (step,) = index.plan(AUTO, observed(known, replace(G1, search={"efSearch": 200})))
        assert step == Serve("it is the best build of the present rows", ServingManifest(G1.build, "g1", {"efSearch": 200}))

    def test_then_nothing(self) -> None:
        now = observed(record("c1", ((G1, "c1"),), G1), G1)
        assert index.plan(AUTO, now) == ()
        outcome = index.conclude(AUTO, now)
        assert isinstance(outcome, Ready)
        assert outcome.message == "g1 serves 7 chunks of 5 rows"

    def test_a_damaged_build_is_built_again(self) -> None:
        known = record("c1", ((OWN, "c1"),), OWN)
        (step,) = index.plan(AUTO, observed(known, OWN, damaged=frozenset({OWN.build})))
        assert isinstance(step, BuildOwn)

    def test_a_sound_one_takes_over_meanwhile(self) -> None:
        other = candidate("g2", "c1")
        known = record("c1", ((G1, "c1"), (other, "c1")), other)
        (step,) = index.plan(AUTO, observed(known, G1, other, damaged=frozenset({other.build})))
        assert isinstance(step, Serve)
        assert step.manifest == manifest(G1)

    def test_what_serves_stays_while_its_successor_is_built(self) -> None:
        old = candidate("g1", "c0")
        known = record("c0 c1", ((old, "c0"),), old)
        assert index.plan(AUTO, observed(known, G1)) == ()
        outcome = index.conclude(AUTO, observed(known, G1))
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g1")


def tail(base: str, version: int = 4) -> Tail:
    return Tail(f"t{version}", ref(f"t{version}"), base, f"s{version}", version, f"at{version}", changed=3, chunks=2, hidden=1, rows=6)


class TestFollowing:
    behind = Lag(corpus("c1"), 3, None, 1280)

    def test_what_serves_follows_the_rows_before_all_else(self) -> None:
        known = record("c1", ((G1, "c1"),), G1)
        (step,) = index.plan(AUTO, observed(known, G1, want="c2", lag=self.behind))
        assert step == Follow("rows came, changed or went since", manifest(G1), self.behind)
        assert step.summary() == "embed what changed since version 3"

    def test_the_tail_is_part_of_what_serves(self) -> None:
        known = record("c1", ((G1, "c1"),))
        state = apply(ObjectState(NAME, index=known), Served(NAME, replace(manifest(G1), tail=tail("c1"))))
        now = observed(state.index, G1, tail=tail("c1"))
        assert index.plan(AUTO, now) == ()
        outcome = index.conclude(AUTO, now)
        assert isinstance(outcome, Ready)
        assert outcome.message == "g1 serves 8 chunks of 6 rows"
        assert (outcome.detail["tableVersion"], outcome.detail["changedSince"]) == (4, 3)

    def test_another_build_of_the_same_corpus_takes_the_tail_over(self) -> None:
        other = candidate("g2", "c1", parameters={"m": 32})
        state = ObjectState(NAME, index=record("c1", ((G1, "c1"), (other, "c1"))))
        state = apply(state, Served(NAME, replace(manifest(G1), tail=tail("c1"))))
        (step,) = index.plan(AUTO, observed(state.index, G1, other, tail=tail("c1")))
        assert step == Serve("it is the best build of the present rows", replace(manifest(other), tail=tail("c1")))

    def test_a_build_of_another_corpus_catches_up_before_it_serves(self) -> None:
        new = candidate("g1", "c2")
        known = record("c1 c2", ((G1, "c1"), (new, "c2")), G1)
        behind = Lag(corpus("c2"), 3, None, 1280)
        (step,) = index.plan(AUTO, observed(known, new, want="c2", base_lag=behind))
        assert step == Follow("rows came, changed or went since it was built", manifest(new), behind)

    def test_nothing_is_embedded_while_rows_are_lost(self) -> None:
        file = DataFile(ref("f"), "base", 1, 5, "x", 0, 1, lost=True)
        now = observed(record("c1", ((G1, "c1"),), G1), G1, base_lag=self.behind, lag=self.behind)
        now = replace(now, table=replace(TABLE, files=(file,)))
        assert index.plan(AUTO, now) == ()
        assert isinstance(index.conclude(AUTO, now), Waiting)


class TestDistance:
    """The corpus `c1` is of version 3."""

    base = replace(corpus("c1"), rows=10_000, table_at="at3")

    def table(self, version: int, since: int = 1) -> Table:
        formers = tuple(Former(number, f"at{number}", 1, ()) for number in range(since, version))
        return replace(
            TABLE, version=version, at=f"at{version}", former=formers, files=(DataFile(ref(f"f{version}"), "base", 1, 5, "x", 0, 1),)
        )

    def test_nothing_is_lacking_where_the_rows_are_the_same(self) -> None:
        table = self.table(3)
        base = replace(self.base, snapshot=table.snapshot)
        assert lag(base, table, (), 0.1) is None
        assert near(base, table, (), 0.1)

    def test_the_corpus_alone(self) -> None:
        assert lag(self.base, self.table(5), (), 0.1) == Lag(self.base, 3, None, 5000)
        assert near(self.base, self.table(5), (), 0.1)

    def test_the_newest_tail_whose_version_is_known(self) -> None:
        tails = (tail("c1", 4), tail("c1", 9), tail("c2", 5))
        assert lag(self.base, self.table(6), tails, 0.1) == Lag(self.base, 4, tails[0], 5000)

    def test_a_version_that_is_not_kept_is_out_of_reach(self) -> None:
        assert lag(self.base, self.table(6, since=5), (), 0.1) is None
        assert not near(self.base, self.table(6, since=5), (), 0.1)

    def test_a_version_of_the_same_number_of_another_table_is_another(self) -> None:
        assert lag(replace(self.base, table_at="before"), self.table(5), (), 0.1) is None

    def test_past_the_share_another_corpus_is_made_while_what_serves_follows(self) -> None:
        much = replace(tail("c1"), changed=1001)
        assert not near(self.base, self.table(6), (much,), 0.1)
        assert near(self.base, self.table(6), (much,), 0.2)
        assert lag(self.base, self.table(6), (much,), 0.1) == Lag(self.base, 4, much, 5000)

    def test_small_tables_are_not_built_anew_for_some_rows(self) -> None:
        assert near(replace(self.base, rows=3), self.table(6), (replace(tail("c1"), changed=LEAST),), 0.1)


def chosen(spec: IndexSpec, now: Observed) -> Candidate | None:
    answer = index.choose(spec, now)
    return None if answer is None else answer.candidate


class TestByHand:
    better = candidate("g2", "c1", parameters={"m": 64})
    known = record("c1", ((G1, "c1"), (better, "c1")))

    def test_what_was_chosen_serves_whatever_is_better(self) -> None:
        known = replace(self.known, choice=Choice("g1"))
        (step,) = index.plan(AUTO, observed(known, replace(G1, chosen=True), self.better))
        assert step == Serve("it was chosen by hand", manifest(G1))

    def test_no_other_while_it_is_being_built(self) -> None:
        known = replace(record("c1", ((self.better, "c1"),), self.better), choice=Choice("g1"))
        now = observed(known, replace(G1, chosen=True), self.better)
        assert index.plan(AUTO, now) == ()
        assert isinstance(index.conclude(AUTO, now), Waiting)

    def test_a_recipe_that_no_generation_has_is_built_by_the_index(self) -> None:
        own = replace(candidate("g1", "c2", parameters={"m": 4}), declared=False, chosen=True)
        known = replace(record("c1 c2", ((G1, "c1"),), G1), choice=Choice("g1", "hnsw", {"m": 4}))
        (step,) = index.plan(AUTO, observed(known, own, candidate("g1", "c2"), want="c2"))
        assert step == BuildOwn("it was chosen by hand", own, 7 * 4 * 4)
        assert step.summary() == "build the chosen hnsw index"

    def test_a_build_over_another_corpus_that_is_near_serves_and_is_made_again_over_the_newest(self) -> None:
        own = replace(candidate("g1", "c2"), elsewhere={"c1": G1.build}, declared=False, chosen=True)
        known = replace(record("c1 c2", ((G1, "c1"),)), choice=Choice("g1", "hnsw"))
        bases = (Base(corpus("c2")), Base(corpus("c1"), tail=tail("c1")))
        now = observed(known, own, candidate("g1", "c2"), bases=bases)
        served = replace(manifest(G1), tail=tail("c1"))
        assert index.plan(AUTO, now) == (Serve("it was chosen by hand", served),)
        known = replace(known, serving=served)
        assert index.plan(AUTO, replace(now, record=known)) == (BuildOwn("it is over older rows", own, 7 * 4 * 4),)

    @pytest.mark.parametrize(
        ("resource", "choice", "why"),
        [
            (PINNED, Choice("g2"), "the spec says what serves"),
            (AUTO, Choice("g9"), "IndexGeneration/g9 is not declared any more"),
            (AUTO, Choice("g9", "hnsw"), "IndexGeneration/g9 is not declared any more"),
        ],
    )
    def test_a_word_ends_with_what_it_was_about(self, resource: Resource, choice: Choice, why: str) -> None:
        assert index.plan(resource, observed(replace(self.known, choice=choice), G1, self.better)) == (Unchoose(why),)

    @pytest.mark.parametrize("choice", [Choice("t-1", "hnsw", by="TrialBudget/t"), Choice("t-1", "hnsw", undeclared=True)])
    def test_a_recipe_that_no_spec_declares_needs_none(self, choice: Choice) -> None:
        now = observed(replace(self.known, choice=choice), G1, self.better)
        assert not any(isinstance(step, Unchoose) for step in index.plan(AUTO, now))

    def test_it_holds_while_its_generation_cannot_be_built(self) -> None:
        now = observed(replace(self.known, choice=Choice("g9")), G1, unbuilt=("g9",))
        assert not any(isinstance(step, Unchoose) for step in index.plan(AUTO, now))


class TestChoice:
    spec = AUTO.spec_as(IndexSpec)

    def test_only_what_is_built(self) -> None:
        assert chosen(self.spec, observed(record("c1"), G1)) is None
        assert chosen(self.spec, observed(None, G1)) is None

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            (candidate("a", "c1", "flat", preferred=True), candidate("b", "c1", "hnsw", {"m": 64})),
            (candidate("a", "c1", "hnsw", {"m": 32}), candidate("b", "c1", "hnsw", {"m": 16, "efConstruction": 500})),
            (candidate("a", "c1", "hnsw", {"m": 16, "efConstruction": 200}), candidate("b", "c1", "hnsw", {"m": 16, "efConstruction": 80})),
            (candidate("b", "c1"), candidate("a", "c1")),
        ],
    )
    def test_the_better_recipe(self, better: Candidate, worse: Candidate) -> None:
        known = record("c1", ((better, "c1"), (worse, "c1")))
        assert chosen(self.spec, observed(known, better, worse)) == better
        assert chosen(self.spec, observed(known, worse, better)) == better

    def test_the_pinned_one_whatever_is_better(self) -> None:
        better = candidate("g2", "c1", "flat", preferred=True)
        known = record("c1", ((G1, "c1"), (better, "c1")))
        assert chosen(PINNED.spec_as(IndexSpec), observed(known, G1, better)) == G1

    def test_no_other_instead_of_the_pinned_one(self) -> None:
        other = candidate("g2", "c1")
        known = record("c1", ((other, "c1"),))
        assert chosen(PINNED.spec_as(IndexSpec), observed(known, G1, other)) is None


class TestMovesOnce:
    """g3 is better than g2 by the rule, g2 than g1."""

    g1, g2, g3 = (candidate(f"g{n}", "c1", parameters={"m": 8 * n}) for n in (1, 2, 3))
    old = candidate("g1", "c0", parameters={"m": 8})

    @pytest.mark.parametrize(
        ("built", "serving", "facts", "step"),
        [
            ("g1", "g1", {}, None),
            ("g1 g2", "g1", {}, None),
            ("g1 g2 g3", "g1", {}, "g3"),
            ("g1 g3", "g1", {}, "g3"),
            ("g1 g2 g3", "g3", {}, None),
            ("g1 g2", "g1", {"given_up": "g3"}, "g2"),
            ("g1 g3", "g1", {"given_up": "g2"}, "g3"),
            ("g1", "g1", {"given_up": "g2 g3"}, None),
            ("g1 g2", "g1", {"damaged": "g1"}, "g2"),
            ("g1", None, {}, "g1"),
            ("g1 g2", None, {}, "g2"),
            ("", "old", {}, None),
            ("g1", "old", {}, None),
            ("g2", "old", {}, None),
            ("g2", "old", {"given_up": "g3"}, "g2"),
            ("g1", "old", {"given_up": "g2 g3"}, "g1"),
            ("g2 g3", "old", {}, "g3"),
        ],
    )
    def test_to_the_best_that_can_come(self, built: str, serving: str | None, facts: dict[str, str], step: str | None) -> None:
        known = {"g1": self.g1, "g2": self.g2, "g3": self.g3, "old": self.old}
        builds = tuple((known[name], "c1") for name in built.split())
        known_record = record("c0 c1", (*builds, (self.old, "c0")), None if serving is None else known[serving])
        named = {fact: frozenset(known[name].build for name in names.split()) for fact, names in facts.items()}
        now = observed(known_record, self.g1, self.g2, self.g3, **named)
        steps = [one for one in index.plan(AUTO, now) if isinstance(one, Serve)]
        assert [one.manifest for one in steps] == ([] if step is None else [manifest(known[step])])

    def test_what_waits_names_what_it_waits_for(self) -> None:
        known = record("c0 c1", ((self.g1, "c1"), (self.old, "c0")), self.old)
        outcome = index.conclude(AUTO, observed(known, self.g1, self.g2, self.g3))
        assert isinstance(outcome, Waiting)
        assert outcome.blocked_by == "IndexGeneration/g3"
        assert outcome.message.endswith("what was built before goes on serving")
        known = record("c1", ((self.g1, "c1"),), self.g1)
        outcome = index.conclude(AUTO, observed(known, self.g1, self.g3))
        assert isinstance(outcome, Ready), "it answers, and by the present rows"

    def test_other_search_parameters_wait_with_it(self) -> None:
        known, wider = record("c1", ((self.g1, "c1"),), self.g1), replace(self.g1, search={"efSearch": 200})
        assert index.plan(AUTO, observed(known, wider, self.g3)) == ()
        (step,) = index.plan(AUTO, observed(known, wider, self.g3, given_up=frozenset({self.g3.build})))
        assert isinstance(step, Serve)

    def test_a_recipe_that_nobody_builds_is_not_waited_for(self) -> None:
        own = replace(self.g3, declared=False)
        known = record("c1", ((self.g1, "c1"), (self.g2, "c1")), self.g1)
        (step,) = index.plan(AUTO, observed(known, self.g1, self.g2, own))
        assert isinstance(step, Serve)
        assert step.manifest == manifest(self.g2)


class TestForgetting:
    def history(self, length: int, keep: int) -> tuple[IndexRecord, Observed, Resource]:
        """`length` corpora, one after another, each built and served."""
        state = ObjectState(NAME)
        for number in range(length):
            made = candidate("g1", f"c{number}")
            for change in (
                CorpusAdded(NAME, corpus(f"c{number}")),
                BuildAdded(NAME, build(made, f"c{number}")),
                Served(NAME, manifest(made)),
            ):
                state = apply(state, change)
        assert state.index is not None
        last = f"c{length - 1}"
        return state.index, observed(state.index, candidate("g1", last), want=last), index_of(f", keep: {keep}")

    def test_what_is_past_keep_goes_oldest_first(self) -> None:
        _, now, resource = self.history(6, 3)
        (step,) = index.plan(resource, now)
        assert step == Forget("keep: 3", ("c0", "c1"), ("g1@c0", "g1@c1"))
        assert step.summary() == "remove 2 old builds and 2 old corpora"

    def test_nothing_goes_before(self) -> None:
        _, now, resource = self.history(4, 3)
        assert index.plan(resource, now) == ()

    def test_the_way_back_stays(self) -> None:
        known, now, resource = self.history(5, 1)
        before = candidate("g0", "c0", parameters={"m": 4})
        state = apply(ObjectState(NAME, index=known), BuildAdded(NAME, build(before, "c0")))
        state = apply(apply(state, Served(NAME, manifest(before))), Served(NAME, manifest(candidate("g1", "c4"))))
        assert state.index is not None
        assert state.index.previous == manifest(before)
        (step,) = index.plan(resource, replace(now, record=state.index))
        assert isinstance(step, Forget)
        assert step == Forget("keep: 1", ("c1", "c2", "c3"), ("g1@c0", "g1@c1", "g1@c2", "g1@c3"))

    def test_builds_of_the_present_rows_stay_whoever_serves(self) -> None:
        others = tuple((candidate(f"g{n}", "c1"), "c1") for n in range(6))
        known = record("c1", others, others[5][0])
        assert index.plan(index_of(", keep: 1"), observed(known, *(c for c, _ in others))) == ()

    def test_a_corpus_without_builds_goes(self) -> None:
        known = record("c0 c1", ((G1, "c1"),), G1)
        (step,) = index.plan(AUTO, observed(known, G1))
        assert step == Forget("keep: 3", ("c0",), ())

    @given(length=st.integers(1, 9), keep=st.integers(1, 5))
    def test_the_catalog_accepts_it_and_then_nothing_is_left_to_forget(self, length: int, keep: int) -> None:
        known, now, resource = self.history(length, keep)
        steps = index.plan(resource, now)
        state = ObjectState(NAME, index=known)
        for step in steps:
            assert isinstance(step, Forget)
            state = apply(state, Forgotten(NAME, step.corpora, step.builds))
        assert state.index is not None
        assert index.plan(resource, replace(now, record=state.index)) == ()
        assert len(state.index.builds) == min(length, keep + 1)


class TestEndings:
    @pytest.mark.parametrize(
        ("resource", "now", "reason", "blocker"),
        [
            (AUTO, Observed(None, None, None, 0, (), (), ""), reasons.DEPENDENCY_NOT_READY, "Dataset/people"),
            (AUTO, observed(record("c1"), G1), reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g1"),
            (AUTO, observed(record("c1")), reasons.DEPENDENCY_NOT_READY, None),
            (PINNED, observed(record("c1"), G1), reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g1"),
            (PINNED, observed(record("c1"), OWN), reasons.REFERENCE_MISSING, "IndexGeneration/g1"),
            (PINNED, observed(record("c1"), unbuilt=("g1",)), reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g1"),
            (AUTO, observed(record("c1"), unbuilt=("g9", "g8")), reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g8"),
            (AUTO, observed(record("c1"), G1, unbuilt=("g0",)), reasons.DEPENDENCY_NOT_READY, "IndexGeneration/g1"),
        ],
    )
    def test_waiting_names_its_blocker(self, resource: Resource, now: Observed, reason: str, blocker: str | None) -> None:
        assert index.plan(resource, now) == ()
        outcome = index.conclude(resource, now)
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reason, blocker)

    def test_what_stands_in_the_way_is_told(self) -> None:
        problem = Stalled(reasons.INVALID_SPEC, "text column `resume` does not exist")
        now = observed(None, problem=problem)
        assert index.plan(AUTO, now) == ()
        assert index.conclude(AUTO, now) is problem


class TestModels:
    spec = index_of(", embed: {also: [{builtin: {dimensions: 64}}, {builtin: {dimensions: 128}}]}")

    def served(self, **facts: Any) -> Observed:
        return observed(record("c1", ((G1, "c1"),), G1), G1, **facts)

    def test_what_is_beside_comes_after_what_serves(self) -> None:
        lane = Version("builtin-64", observed(None, want="s1"))
        (step,) = index.plan(self.spec, observed(record("c1"), OWN, versions=(lane,)))
        assert isinstance(step, BuildOwn)
        (step,) = index.plan(self.spec, self.served(versions=(lane,)))
        assert step == Beside("builtin-64", Embed("nothing is embedded yet", "s1", 1000))
        assert (step.why, step.summary()) == ("nothing is embedded yet", "embed the texts that are new or changed, by builtin-64")
        assert step.work == step.step.work

    def test_it_is_built_by_the_recipe_that_serves(self) -> None:
        way = replace(candidate("g1", "s1"), declared=False)
        lane = Version("builtin-64", observed(record("s1"), way, want="s1"))
        (step,) = index.plan(self.spec, self.served(versions=(lane,)))
        assert step.summary() == "build the g1 hnsw index, by builtin-64"

    def test_all_models_follow_the_rows_before_anything_is_made(self) -> None:
        behind = Lag(corpus("s1"), 2, None, LEAST)
        making = Version("builtin-64", observed(None, want="s1"))
        former = Version("minilm", observed(record("s1", ((OWN, "s1"),), OWN), want="s1", lag=behind), former=True)
        for now in (self.served(versions=(making, former)), observed(None, versions=(making, former))):
            (step,) = index.plan(self.spec, now)
            assert isinstance(step, Beside)
            assert (step.model, type(step.step)) == ("minilm", Follow)

    def test_the_former_model_is_not_made_anew(self) -> None:
        former = Version("minilm", observed(record("s1"), want="s9"), former=True)
        assert index.plan(self.spec, self.served(versions=(former,))) == ()

    def test_what_nobody_names_is_let_go_of(self) -> None:
        known = replace(record("c1", ((G1, "c1"),), G1), beside={"minilm": manifest(G1), "builtin-64": manifest(G1)})
        now = observed(known, G1, versions=(Version("builtin-64", self.served()),))
        (step,) = index.plan(self.spec, now)
        assert isinstance(step, Withdraw)
        assert (step.model, step.summary(), step.work) == ("minilm", "let go of the model minilm", None)
        assert index.plan(self.spec, replace(now, unavailable={"minilm": "it is not installed"})) == ()

    def test_what_is_beside_is_kept_whatever_keep_says(self) -> None:
        other = candidate("g2", "s1")
        known = record("c0 c1 s1", ((candidate("g0", "c0"), "c0"), (G1, "c1"), (other, "s1")), G1)
        lane = replace(known, serving=manifest(other))
        spec = index_of(", keep: 1, embed: {also: [{builtin: {dimensions: 64}}]}")
        beside = Version("builtin-64", observed(lane, replace(other, declared=False), want="s1"))
        now = observed(replace(known, beside={"builtin-64": manifest(other)}), G1, versions=(beside,))
        assert index.plan(spec, now) == (), "one former build is kept"
        more = record("c0 c1 s1", ((candidate("g9", "c0"), "c0"), (candidate("g0", "c0"), "c0"), (G1, "c1"), (other, "s1")), G1)
        now = observed(replace(more, beside={"builtin-64": manifest(other)}), G1, versions=(beside,))
        assert index.plan(spec, now) == (Forget("keep: 1", (), ("g9@c0",)),)

    def test_a_model_that_cannot_be_opened_is_told_beside_what_serves(self) -> None:
        outcome = index.conclude(self.spec, self.served(unavailable={"minilm": "it is not installed"}))
        assert isinstance(outcome, Stalled)
        assert outcome.message == "g1 serves 7 chunks of 5 rows; minilm is to be beside it, but: it is not installed"
        assert outcome.detail["generation"] == "g1"

    @pytest.mark.parametrize(
        ("chosen", "named", "model", "others"),
        [
            (None, "builtin", "builtin", ("builtin-64", "builtin-128")),
            (Choice(None, model="builtin-64", instead_of="builtin"), "builtin", "builtin-64", ("builtin", "builtin-128")),
            (Choice("g1", model="minilm", instead_of="builtin"), "builtin", "minilm", ("builtin", "builtin-64", "builtin-128")),
            (Choice(None, model="builtin-64", instead_of="minilm"), "builtin", "builtin", ("builtin-64", "builtin-128")),
            (Choice(None, model="nomic", instead_of="builtin"), "builtin", "builtin", ("builtin-64", "builtin-128")),
        ],
    )
    def test_which_model_is_to_serve(self, chosen: Choice | None, named: str, model: str, others: tuple[str, ...]) -> None:
        spec, known = self.spec.spec_as(IndexSpec), replace(record(), choice=chosen)
        assert model_name(in_force(spec, known).embed.model) == model
        assert kept(spec, known) == others

    def test_a_choice_ends_with_the_model_that_it_was_made_against(self) -> None:
        known = replace(record("c1", ((G1, "c1"),), G1), choice=Choice(None, model="minilm", instead_of="builtin-64"))
        (step,) = index.plan(self.spec, observed(known, G1))
        assert step == Unchoose("the spec names another model, builtin")


class TestWords:
    wanted = index_of(", lexical: true")
    words = Lexical("w1", {"terms": ref("w1")}, 7, 20)

    def base(self, **facts: Any) -> Base:
        return Base(corpus("c1"), **facts)

    def test_they_come_before_the_build_and_before_it_serves(self) -> None:
        for known in (record("c1"), record("c1", ((G1, "c1"),)), record("c1", ((G1, "c1"),), G1)):
            (step,) = index.plan(self.wanted, observed(known, G1, bases=(self.base(),)))
            assert step == IndexWords("the corpus has none yet", corpus("c1"), 1000)
            assert step.work is not None
            assert (step.work.kind, step.work.weight, step.summary()) == ("lexical", 1000, "build the keyword index")

    def test_what_serves_gets_them_with_the_pointer(self) -> None:
        known = record("c1", ((G1, "c1"),), G1)
        (step,) = index.plan(self.wanted, observed(known, G1, bases=(self.base(lexical=self.words),)))
        assert isinstance(step, Serve)
        assert step.manifest == replace(manifest(G1), lexical=self.words)

    def test_those_that_are_damaged_are_made_again(self) -> None:
        held = replace(corpus("c1"), lexical=self.words)
        (step,) = index.plan(self.wanted, observed(record("c1", ((G1, "c1"),), G1), G1, bases=(Base(held),)))
        assert isinstance(step, IndexWords)
        assert step.why.startswith("it is missing, damaged")

    def test_nobody_wants_them(self) -> None:
        assert index.plan(AUTO, observed(record("c1", ((G1, "c1"),), G1), G1)) == ()

    def test_records_come_back_as_they_were(self) -> None:
        held = replace(corpus("c1"), lexical=self.words)
        serving = replace(manifest(G1), lexical=self.words)
        known = replace(record("c1", ((G1, "c1"),)), corpora={"c1": held}, serving=serving)
        assert IndexRecord.from_dict(known.to_dict()) == known


class TestGeneration:
    spec = parsed("IndexGeneration", "g1", "{index: resumes, hnsw: {m: 16}}")

    def observed(self, known: IndexRecord | None, **facts: Any) -> generation.Observed:
        return generation.Observed(**{"index_wanted": True, "record": known, "base": corpus("c1"), "candidate": G1, **facts})

    def test_builds_over_the_present_corpus(self) -> None:
        (step,) = generation.plan(self.spec, self.observed(record("c1")))
        assert step == BuildGeneration("no build of this recipe over the present rows", G1, 7 * 4 * 4)
        assert step.summary() == "build the hnsw index"

    def test_builds_again_what_is_damaged(self) -> None:
        (step,) = generation.plan(self.spec, self.observed(record("c1", ((G1, "c1"),)), damaged=True))
        assert step.why == "its files are missing or damaged"

    @pytest.mark.parametrize(("serving", "words"), [(G1, "serves"), (None, "stands by")])
    def test_is_ready_whoever_serves(self, serving: Candidate | None, words: str) -> None:
        now = self.observed(record("c1", ((G1, "c1"),), serving))
        assert generation.plan(self.spec, now) == ()
        outcome = generation.conclude(self.spec, now)
        assert isinstance(outcome, Ready)
        assert outcome.message == f"7 vectors, {words}"

    @pytest.mark.parametrize(
        ("facts", "reason"),
        [
            ({"index_wanted": False, "base": None, "candidate": None}, reasons.REFERENCE_MISSING),
            ({"base": None, "candidate": None}, reasons.DEPENDENCY_NOT_READY),
            ({"candidate": None}, reasons.DEPENDENCY_NOT_READY),
        ],
    )
    def test_waits_for_its_index(self, facts: dict[str, Any], reason: str) -> None:
        now = self.observed(None, **facts)
        assert generation.plan(self.spec, now) == ()
        outcome = generation.conclude(self.spec, now)
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reason, "Index/resumes")
