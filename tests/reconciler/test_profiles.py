"""A profile says what it binds, whose builds answer, at which moment, and what of it is not there; warmth is asked for and let go of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index
from test_profile_indexes import KEYED, MINE, ROWS, profile

from controllers.outcome import Outcome
from controllers.profile.plan import ModelState, Warmth
from engines.profile_reader import reader_of
from reconciler.access import Access
from specs.kinds.profile import ProfileSpec
from specs.resource import Key
from state import reasons
from state.status import ConditionType, Status


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    return bench


def settle(bench: Bench, *specs: str, more: str = "") -> Status:
    bench.commit(BUCKET, dataset("x", KEYED + more), index("i", "x"), *specs)
    return bench.settle()["Profile/p"]


def visit(bench: Bench) -> Outcome:
    found = bench.reconciler.visit(Key("Profile", "p"))
    assert found is not None
    return found.outcome


def condition(status: Status, kind: ConditionType) -> tuple[str, str]:
    found = status.condition(kind)
    assert found is not None
    return found.status, found.message


@dataclass
class Warm:
    """Warms what it is asked for when the test says so."""

    wanted: dict[str, Warmth] = field(default_factory=dict)
    warm: set[str] = field(default_factory=set)
    why: str = ""

    def cold(self, profile: str, warmth: Warmth) -> Mapping[str, str]:
        names = [*warmth.tables, *(name for name, _ in warmth.indexes)]
        return {name: self.why for name in names if name not in self.warm}

    def begin(self, profile: str, warmth: Warmth) -> None:
        self.wanted[profile] = warmth

    def let_go(self, profile: str) -> None:
        self.wanted.pop(profile, None)

    def keeps(self, profile: str) -> bool:
        return profile in self.wanted


class Models:
    """Chat models in one state."""

    def __init__(self, state: ModelState) -> None:
        self.state = state

    def ready(self, model: str) -> ModelState:
        return self.state


def test_what_is_bound_is_told_with_versions_and_whose_builds_answer(lake: Bench) -> None:
    shared = settle(lake, generation("g", "i"), profile("p", ", role: recruiter"))
    assert (shared.ready, shared.message) == ("True", "binds 1 table (x) and 1 index (i)")
    assert condition(shared, "TablesBound") == ("True", f"x at version 1 of {lake.catalog.table('x').at}")  # type: ignore[union-attr]
    assert condition(shared, "IndexesBound") == ("True", "i: g serves, of the index's own builds, shared")
    assert shared.detail["answers"] == {"i": "i"}
    own = settle(lake, generation("g", "i"), profile("p", ", embed: {model: {builtin: {dimensions: 64}}}"))
    assert own.message == "binds 1 table (x) and 1 index (i), builds of its own for i"
    assert condition(own, "IndexesBound") == ("True", "i: g@p serves, of builds of its own (i@p)")
    assert (own.detail["own"], own.detail["generations"]) == (1, {"i": "g@p"})


def test_an_empty_binding_is_ready_and_means_nothing(lake: Bench) -> None:
    text = "apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {name: p}\nspec: {}\n"
    status = settle(lake, text)
    assert (status.ready, status.message) == ("True", "binds nothing, and so its reader sees nothing")
    assert condition(status, "TablesBound") == ("True", "none, and so none is seen")


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ("{datasets: [y]}", reasons.REFERENCE_MISSING, "Dataset/y is not there; declare it"),
        ("{datasets: [x], indexes: [j]}", reasons.REFERENCE_MISSING, "Index/j is not there; declare it"),
        ("{datasets: [empty, y, x], indexes: [j, i]}", reasons.REFERENCE_MISSING, "Dataset/y and Index/j are not there; declare them"),
        ("{datasets: [empty], indexes: [none]}", reasons.DEPENDENCY_NOT_READY, "no rows yet; Index/none does not serve yet"),
        ("{datasets: [empty]}", reasons.DEPENDENCY_NOT_READY, "Dataset/empty has no rows yet"),
        ("{indexes: [none]}", reasons.DEPENDENCY_NOT_READY, "Index/none does not serve yet"),
        ("{datasets: [x], bucket: mine}", reasons.INVALID_SPEC, "Dataset/x is kept in Bucket/primary, and `bucket` lets this profile see"),
    ],
)
def test_what_is_missing_is_named(lake: Bench, spec: str, reason: str, words: str) -> None:
    text = f"apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {{name: p}}\nspec: {spec}\n"
    status = settle(lake, MINE, dataset("empty"), index("none", "empty"), text)
    assert (status.ready, status.reason) == ("False", reason)
    assert words in status.message


POLICY = "apiVersion: lakehouse/v1\nkind: Policy\nmetadata: {name: rules}\nspec: {dataset: x, rows: [{roles: [%s], where: %s}]%s}\n"


@pytest.mark.parametrize(
    ("policy", "closed"),
    [
        (POLICY % ("recruiter", '"id > 1"', ""), ""),
        (POLICY % ("admin", '"true"', ""), "x, i"),
        (POLICY % ("recruiter", '"1 = 2"', ""), "x, i"),
        (POLICY % ("recruiter", '"nothing > 1"', ""), "x, i"),
        (POLICY % ("recruiter", '"true"', ", columns: [{columns: text, mask: hash}]"), "i"),
    ],
)
def test_what_policies_close_to_its_role_is_told_as_access_is_explained(lake: Bench, policy: str, closed: str) -> None:
    status = settle(lake, profile("p", ", role: recruiter"), policy)
    readable = status.condition("Readable")
    assert readable is not None
    assert status.ready == "True"
    assert status.message == "binds 1 table (x) and 1 index (i)" + (f"; closed to role recruiter by policy: {closed}" if closed else "")
    assert (readable.status, readable.reason) == (("False", reasons.CLOSED_TO_ROLE) if closed else ("True", reasons.SUCCEEDED))
    book, of = lake.kinds.policy.book, lake.world.resource(Key("Profile", "p"))
    assert of is not None
    reader = reader_of("p", of.spec_as(ProfileSpec), book.now())
    access = Access(lake.world, lake.catalog, book, lambda _: reader)
    for verb, name in (("query", "x"), ("search", "i")):
        found = access.explain(verb, name, "p")  # type: ignore[arg-type]
        assert found["allowed"] == (name not in closed.split(", "))
        assert found["allowed"] or " ".join(found["why"]) in readable.message


def test_a_policy_that_changes_has_profiles_visited(lake: Bench) -> None:
    rules = POLICY % ("recruiter", '"true"', "")
    searches = "apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {name: q}\nspec: {indexes: [i]}\n"
    profiles = profile("p", ", role: recruiter"), searches
    settle(lake, *profiles)
    readers = {Key("Profile", "p"), Key("Profile", "q")}
    for changed in (rules, rules.replace("recruiter", "admin"), None, rules.replace('"true"', "3"), None, "spec: [\n" + rules, None):
        pending = lake.commit(BUCKET, dataset("x", KEYED), index("i", "x"), *profiles, *([changed] if changed else []))
        assert readers <= set(pending.quiet), changed


def test_the_moment_is_a_field_for_which_no_job_runs(lake: Bench) -> None:
    settle(lake, profile("p"))
    lake.write("data/x/2.csv", "id,text\n2,baker of bread\n4,welder\n")
    lake.clock.advance(86_400)
    settle(lake, profile("p"))
    table, jobs = lake.catalog.table("x"), list(lake.streams.read("jobs"))
    assert table is not None
    seq = lake.catalog.seq
    assert [number for number, _ in table.versions] == [1, 2]
    for at, version in (("1", 1), ("'2026-01-02T12:00:00Z'", 1), ("2", 2), ("latest", 2)):
        status = settle(lake, profile("p", f", at: {at}"))
        assert status.ready == "True"
        assert status.detail["versions"] == {"x": version}
    assert condition(settle(lake, profile("p", ", at: 1")), "IndexesBound")[1].startswith("i at version 1: ")
    assert list(lake.streams.read("jobs")) == jobs
    changed = [type(change).__name__ for entry in lake.catalog.entries(after=seq) for change in entry.changes]
    assert set(changed) <= {"Managed"}  # the inventory of the spec, and nothing else


def test_a_moment_that_is_not_kept_is_stalled_with_those_that_are(lake: Bench) -> None:
    status = settle(lake, profile("p", ", at: 7"))
    assert (status.ready, status.reason) == ("False", reasons.VERSION_GONE)
    assert "`x` has no version 7; only version 1 of" in status.message


def test_an_active_profile_is_ready_once_it_is_warm(lake: Bench) -> None:
    warm = lake.kinds.profiles.warm = Warm()
    status = settle(lake, profile("p", ", active: true"))
    assert (status.ready, status.reason, status.message) == ("False", reasons.WARMING, "warm x, i, since the profile is active")
    assert warm.wanted == {"p": Warmth(("x",), (("i", None),), None)}
    warm.warm = {"x", "i"}
    visit(lake)
    status = lake.by_object()["Profile/p"]
    assert (status.ready, status.message) == ("True", "binds 1 table (x) and 1 index (i); warm")
    assert condition(status, "Warm") == ("True", "all that it binds is warm")
    warm.warm, warm.why = {"x"}, "the disk is full"  # what was evicted is warmed again
    assert visit(lake).message == "warm i, since the disk is full"
    status = settle(lake, profile("p"))
    assert (status.ready, warm.wanted) == ("True", {})
    assert condition(status, "Warm") == ("False", "`active: true` keeps it warm")


def test_what_is_warm_is_of_the_moment(lake: Bench) -> None:
    warm = lake.kinds.profiles.warm = Warm()
    settle(lake, profile("p", ", active: true, at: 1"))
    build = lake.catalog.index("i").serving.build  # type: ignore[union-attr]
    assert warm.wanted == {"p": Warmth(("x",), (("i", build),), 1)}


def test_a_profile_that_goes_lets_go(lake: Bench) -> None:
    warm = lake.kinds.profiles.warm = Warm(warm={"x", "i"})
    settle(lake, profile("p", ", active: true"))
    warm.begin("p", Warmth())
    lake.commit(BUCKET, dataset("x", KEYED), index("i", "x"))
    assert warm.wanted == {}


def test_without_a_daemon_it_says_who_would_keep_it_warm(lake: Bench) -> None:
    status = settle(lake, profile("p", ", active: true"))
    assert status.ready == "True"
    assert condition(status, "Warm") == ("False", "a daemon keeps it warm")


@pytest.mark.parametrize(
    ("state", "ready", "said", "words"),
    [
        (None, "True", "False", "q:7b is not loaded: this process runs no chat models"),
        (ModelState("loaded"), "True", "True", "q:7b is loaded"),
        (
            ModelState("absent", "Ollama does not answer"),
            "True",
            "False",
            "cannot be had, and what needs it says so: Ollama does not answer",
        ),
        (ModelState("loading"), "False", "False", "q:7b is being loaded"),
        (ModelState("waiting", "another is active"), "False", "False", "q:7b waits: another is active"),
        (ModelState("loading", drift="another client loaded b"), "False", "ModelDrift", "q:7b is being loaded: another client loaded b"),
        (ModelState("loaded", drift="another client loaded b"), "True", "ModelDrift", "q:7b is loaded, but another client loaded b"),
    ],
)
def test_a_chat_model_is_waited_for_unless_it_cannot_be_had(
    lake: Bench, state: ModelState | None, ready: str, said: str, words: str
) -> None:
    lake.kinds.profiles.warm = Warm(warm={"x", "i"})
    lake.kinds.profiles.models = None if state is None else Models(state)
    status = settle(lake, profile("p", ", active: true, model: {ollama: 'q:7b'}"))
    assert status.ready == ready
    assert (condition(status, "ModelReady")[0] == "True") == (said == "True")
    assert words in condition(status, "ModelReady")[1]
    told = status.condition("ModelReady")
    assert told is not None
    assert (told.reason == "ModelDrift") == (said == "ModelDrift")
    if state is not None and state.drift:
        lake.kinds.profiles.models = Models(ModelState("loaded"))
        lake.settle()
        assert condition(lake.by_object()["Profile/p"], "ModelReady") == ("True", "q:7b is loaded"), "it is over"


def test_a_switch_has_only_profiles_visited(lake: Bench) -> None:
    settle(lake, profile("p"), profile("q", ", active: true"))
    pending = lake.commit(BUCKET, dataset("x", KEYED), index("i", "x"), profile("p", ", active: true"), profile("q"))
    assert ({str(key) for key in pending.changed}, pending.quiet) == ({"Profile/p", "Profile/q"}, ())
    pending = lake.commit(BUCKET, dataset("x", KEYED), index("i", "x"), profile("p", ", active: true", indexes="[j]"), profile("q"))
    assert ({str(key) for key in pending.changed}, pending.quiet) == ({"Profile/p"}, (Key("Index", "i"),))
