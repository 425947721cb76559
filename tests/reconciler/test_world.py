"""What is wanted: the last good spec stays in force, in a running process as after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_lake import Past, Repository, dataset, documents, generation, index

from reconciler.blob_cache import BlobCache
from reconciler.errors import SourceUnavailable
from reconciler.sources.git import GitSource
from reconciler.world import SPEC_FILE, World
from specs.digests import digest
from specs.resource import Key

A, B = "specs/a.yaml", "specs/b.yaml"
X, Y = Key("Dataset", "x"), Key("Dataset", "y")
BROKEN_X = dataset("x").replace("source:", "sauce:")
NAMELESS = "apiVersion: lakehouse/v1\nkind: Dataset\nspec: {}\n"
OWNED_X = dataset("x", ", owner: me")


def world_of(source: Past, known: Mapping[tuple[Key, str], str] | None = None) -> World:
    return World(source, BlobCache(None, "v"), lambda key, digest: (known or {}).get((key, digest)))


def at_end(*revisions: Mapping[str, str], skip: bool = False) -> World:
    """A world that saw every revision, or only the last one."""
    source = Past(revisions)
    world = world_of(source)
    for number in range(len(revisions) - 1 if skip else 0, len(revisions)):
        world.advance(str(number))
    return world


def owner(world: World, key: Key) -> object:
    resource = world.resource(key)
    return "-" if resource is None else getattr(resource.spec, "owner", None)


def errors(world: World, key: Key) -> list[str]:
    return [str(error) for error in world.objects[key].errors]


RESTARTS = pytest.mark.parametrize("skip", [False, True], ids=["running", "restarted"])


class TestTheLastGoodSpec:
    @RESTARTS
    def test_stays_in_force(self, skip: bool) -> None:
        world = at_end({A: OWNED_X}, {A: BROKEN_X}, skip=skip)
        assert owner(world, X) == "me"
        assert any("Dataset/x: unknown field `sauce`" in error for error in errors(world, X))

    @RESTARTS
    def test_through_several_bad_ones(self, skip: bool) -> None:
        world = at_end({A: OWNED_X}, {A: BROKEN_X}, {A: BROKEN_X + "# again\n"}, {A: NAMELESS}, skip=skip)
        assert owner(world, X) == "me"
        assert Key(SPEC_FILE, A) in world.objects

    @RESTARTS
    def test_is_the_newest_good_one(self, skip: bool) -> None:
        world = at_end({A: OWNED_X}, {A: BROKEN_X}, {A: dataset("x", ", owner: you")}, {A: BROKEN_X}, skip=skip)
        assert owner(world, X) == "you"

    @RESTARTS
    def test_was_never_there(self, skip: bool) -> None:
        world = at_end({A: BROKEN_X}, skip=skip)
        assert world.objects[X].resource is None
        assert errors(world, X)

    @RESTARTS
    def test_does_not_come_back_from_before_its_removal(self, skip: bool) -> None:
        world = at_end({A: documents(OWNED_X, dataset("y"))}, {A: dataset("y")}, {A: documents(BROKEN_X, dataset("y"))}, skip=skip)
        assert world.objects[X].resource is None
        assert owner(world, Y) is None

    @RESTARTS
    def test_nor_from_before_its_file_was_removed(self, skip: bool) -> None:
        assert at_end({A: OWNED_X}, {}, {A: BROKEN_X}, skip=skip).objects[X].resource is None

    @RESTARTS
    def test_is_that_of_commits_which_were_passed_over(self, skip: bool) -> None:
        source = Past([{A: OWNED_X}, {A: dataset("x", ", owner: you")}, {A: BROKEN_X}])
        world = world_of(source)
        for revision in ("2",) if skip else ("0", "2"):
            world.advance(revision)
        assert owner(world, X) == "you"

    def test_survives_a_rewritten_past(self) -> None:
        """A force-push to a history without any good version takes nothing out of force."""
        source = Past([{A: documents(OWNED_X, dataset("y"))}])
        world = world_of(source)
        world.advance("0")
        source.revisions = [{}, {A: NAMELESS}]
        source.texts[digest(NAMELESS)] = NAMELESS
        world.revision = "lost"
        change = world.advance("1")
        assert owner(world, X) == "me"
        assert change.removed == frozenset()

    @RESTARTS
    def test_the_rest_of_the_file_goes_on(self, skip: bool) -> None:
        world = at_end({A: documents(OWNED_X, dataset("y"))}, {A: documents(BROKEN_X, dataset("y", ", owner: new"))}, skip=skip)
        assert (owner(world, X), owner(world, Y)) == ("me", "new")
        assert errors(world, Y) == []

    def test_of_a_huge_file(self) -> None:
        world = at_end({A: OWNED_X}, {A: OWNED_X + "#" * (5 << 20)})
        assert owner(world, X) == "me"
        assert "at most" in errors(world, Key(SPEC_FILE, A))[0]


class TestNameless:
    def test_is_listed_under_its_file_and_gone_with_it(self) -> None:
        source = Past([{A: NAMELESS}, {}])
        world = world_of(source)
        assert world.advance("0").changed == {Key(SPEC_FILE, A)}
        assert world.objects[Key(SPEC_FILE, A)].resource is None
        assert world.advance("1").removed == {Key(SPEC_FILE, A)}

    def test_yml_is_refused_by_name(self) -> None:
        world = at_end({"specs/a.yml": OWNED_X})
        assert errors(world, Key(SPEC_FILE, "specs/a.yml")) == [
            "specs/a.yml:1:1: spec files end in .yaml, this one would be ignored; rename it"
        ]


class TestTwice:
    def test_in_two_files_the_first_stands(self) -> None:
        world = at_end({A: OWNED_X, B: dataset("x", ", owner: you")})
        assert owner(world, X) == "me"
        assert errors(world, X) == [
            "specs/b.yaml:1:1: Dataset/x: already declared at specs/a.yaml:1, which stands; remove one of the two, or rename it"
        ]

    def test_when_the_first_goes_the_second_stands(self) -> None:
        world = at_end({A: OWNED_X, B: dataset("x", ", owner: you")}, {B: dataset("x", ", owner: you")})
        assert (owner(world, X), errors(world, X)) == ("you", [])

    def test_in_one_file_it_is_said(self) -> None:
        world = at_end({A: documents(OWNED_X, dataset("x", ", owner: you"))})
        assert owner(world, X) == "me"
        (error,) = errors(world, X)
        assert error.startswith("specs/a.yaml:6:1: Dataset/x: already declared at")

    def test_a_moved_document_changes_nothing(self) -> None:
        source = Past([{A: OWNED_X}, {B: OWNED_X}])
        world = world_of(source)
        world.advance("0")
        change = world.advance("1")
        assert (change.changed, change.removed) == (frozenset(), frozenset())
        resource = world.resource(X)
        assert resource is not None
        assert resource.origin.path == B


class TestRevisions:
    def test_is_kept_while_the_digest_is(self) -> None:
        world = at_end({A: OWNED_X}, {A: f"# a comment\n{OWNED_X}", B: dataset("y")}, {A: dataset("x"), B: dataset("y")})
        assert (world.objects[X].revision, world.objects[Y].revision) == ("2", "1")
        world = at_end({A: OWNED_X}, {A: f"# a comment\n{OWNED_X}"})
        assert world.objects[X].revision == "0"

    def test_a_restart_takes_what_was_recorded(self) -> None:
        source = Past([{A: OWNED_X, B: dataset("y")}])
        first = world_of(source)
        first.advance("0")
        second = world_of(source, {(X, first.objects[X].digest): "before", (Y, "another"): "wrong"})
        second.advance("0")
        assert (second.objects[X].revision, second.objects[Y].revision) == ("before", "0")


class TestChanges:
    def test_what_refers_and_is_referred_to(self) -> None:
        source = Past(
            [
                {A: dataset("x"), B: index("i", "x")},
                {A: dataset("x"), B: documents(index("i", "x"), generation("g", "i"))},
                {A: dataset("x"), B: generation("g", "i")},
            ]
        )
        world = world_of(source)
        i, g = Key("Index", "i"), Key("IndexGeneration", "g")
        assert world.advance("0").referred == {X}
        change = world.advance("1")
        assert change.changed == {g}
        assert change.referred == {i}
        assert [resource.key for resource in world.generations(i)] == [g]
        assert world.dependents(X) == {i}
        assert world.advance("2").removed == {i}
        assert world.dependents(X) == frozenset()
        assert world.dependents(i) == {g}, "what is missing still has those who wait for it"

    def test_and_then(self) -> None:
        source = Past([{}, {A: dataset("x"), B: dataset("y")}, {B: dataset("y")}, {A: dataset("x"), B: dataset("y")}])
        world = world_of(source)
        one, two, three = [world.advance(revision) for revision in ("1", "2", "3")]
        assert one.and_then(two).removed == {X}
        assert one.and_then(two).changed == {Y}
        assert one.and_then(two).and_then(three).changed == {X, Y}
        assert one.and_then(two).and_then(three).removed == frozenset()

    def test_a_lost_revision_compares_everything(self) -> None:
        source = Past([{A: dataset("x"), B: dataset("y")}, {B: dataset("y", ", owner: you")}])
        world = world_of(source)
        world.advance("0")
        world.revision = "lost"
        change = world.advance("1")
        assert change.changed == {Y}
        assert change.removed == {X}

    def test_a_failure_changes_nothing(self) -> None:
        source = Past([{A: dataset("x")}, {A: dataset("x", ", owner: you"), B: dataset("y")}])
        world = world_of(source)
        world.advance("0")
        before = dict(world.objects)
        text = source.texts.pop(digest(dataset("y")))

        def read(blob: str) -> bytes:
            if blob not in source.texts:
                raise SourceUnavailable("lost")
            return source.texts[blob].encode()

        source.read = read  # type: ignore[method-assign]
        with pytest.raises(SourceUnavailable):
            world.advance("1")
        assert (world.objects, world.revision) == (before, "0")
        source.texts[digest(text)] = text
        assert world.advance("1").changed == {X, Y}

    def test_only_what_changed_is_read(self) -> None:
        source = Past([{A: dataset("x"), B: dataset("y")}, {A: dataset("x"), B: dataset("y", ", owner: me")}])
        world = world_of(source)
        world.advance("0")
        source.read_blobs.clear()
        world.advance("1")
        assert len(source.read_blobs) == 1

    def test_what_others_iterate_over_is_never_changed(self) -> None:
        source = Past([{A: dataset("x")}, {B: dataset("y")}])
        world = world_of(source)
        world.advance("0")
        objects = world.objects
        world.advance("1")
        assert objects.keys() == {X}
        assert world.objects.keys() == {Y}


PIECES = st.sampled_from([dataset("x"), OWNED_X, BROKEN_X, NAMELESS, dataset("y"), index("i", "x"), ": : not yaml [\n", "# nothing\n"])
TEXTS = st.lists(PIECES, min_size=1, max_size=3).map(lambda pieces: documents(*pieces))
HISTORIES = st.lists(st.dictionaries(st.sampled_from([A, B]), TEXTS), min_size=1, max_size=6)


@given(HISTORIES)
def test_step_by_step_is_the_same_as_from_nothing(history: list[dict[str, str]]) -> None:
    source = Past(history)
    running = world_of(source)
    for number in range(len(history)):
        before = running.objects
        change = running.advance(str(number))
        fresh = world_of(source)
        fresh.advance(str(number))
        assert {key: (d.resource, d.errors) for key, d in running.objects.items()} == {
            key: (d.resource, d.errors) for key, d in fresh.objects.items()
        }
        assert change.removed == before.keys() - running.objects.keys()
        assert change.changed == {key for key, d in running.objects.items() if key not in before or before[key].digest != d.digest}
        for key in {X, Y, *running.objects}:
            assert running.dependents(key) == {r.key for r in running.resources() if key in r.references}


def test_over_git(tmp_path: Path) -> None:
    """The same with a real repository: a restart finds the last good one, and a collected past is no matter."""
    repository = Repository(tmp_path)
    repository.commit({A: OWNED_X, B: dataset("y")})
    source = GitSource(tmp_path)
    world = World(source, BlobCache(None, "v"), lambda key, digest: None)
    world.advance(source.revision())
    repository.commit({A: BROKEN_X})
    world.advance(source.revision())
    fresh = World(GitSource(tmp_path), BlobCache(None, "v"), lambda key, digest: None)
    fresh.advance(source.revision())
    for each in (world, fresh):
        assert owner(each, X) == "me"
    old = source.revision()
    repository.commit({B: None}, orphan=True)
    (tmp_path / ".git/objects" / old[:2] / old[2:]).unlink()
    reopened = GitSource(tmp_path)
    world._source = reopened  # as if libgit2 had forgotten the object as well
    change = world.advance(reopened.revision())
    assert change.removed == {Y}
    assert owner(world, X) == "me"
