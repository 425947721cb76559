"""What a file means: plan and commit against tables of cases, and against a model that only knows the sentences of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.dataset.commit import Accepted, Outcomes, amendment, commit
from controllers.dataset.endings import conclude
from controllers.dataset.files import Listing, SourceFile, Unusable
from controllers.dataset.plan import plan
from controllers.dataset.standing import Standing
from controllers.dataset.steps import Correct, DatasetStep, Follow, Observed, TakeUp
from controllers.outcome import Ready, Stalled, Waiting
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.parse import parse_file
from specs.resource import Resource
from state import reasons
from state.catalog.data_files import ColumnStats, DataFile
from state.catalog.entry import Adopted, Renamed, TableCommit
from state.catalog.fold import ObjectState, apply, fold
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Refusal, Table
from state.objects import ObjectRef

NAME = "Dataset/people"
SCHEMA = Schema(1, (Column(1, "k", "string"), Column(2, "v", "string")))
MODES = ("append", "upsert", "replace")


def dataset(spec: str, name: str = "people") -> Resource:
    text = f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    parsed = parse_file("specs/people.yaml", text.encode())
    assert not parsed.errors, parsed.errors
    return parsed.resources[0]


def spec_of(write: str, more: str = "") -> Resource:
    return dataset(f'{{source: {{files: "data/*.csv"}}, primaryKey: [k], write: {write}{more}}}')


def source(path: str, content: str) -> SourceFile:
    return SourceFile(path, digest(content), len(content), 0)


def listing(files: Mapping[str, str], unusable: Iterable[str] = ()) -> Listing:
    """Files by path; a content is a word of `key` + `value` pairs ("a1b2"), refused if it ends with "!"."""
    return Listing(tuple(source(path, files[path]) for path in sorted(files)), tuple(Unusable(path, "cannot be read") for path in unusable))


def rows_in(content: str) -> dict[str, str]:
    return dict(zip(content[::2], content[1::2], strict=True))


@dataclass
class Lake:
    """A table and the files it follows; ingesting is pretended, committing and folding are real."""

    resource: Resource
    state: ObjectState = field(default_factory=lambda: ObjectState(NAME))
    damaged: frozenset[str] = frozenset()
    contents: dict[str, str] = field(default_factory=dict)
    commits: list[TableCommit] = field(default_factory=list)

    @property
    def table(self) -> Table:
        """As it is now; one without files before the first commit."""
        return self.state.table or Table("people")

    def observed(self, now: Listing, **facts: Any) -> Observed:
        return Observed(self.state.table, now, True, Standing(self.damaged), **facts)

    def steps(self, now: Listing) -> tuple[DatasetStep, ...]:
        return plan(self.resource, self.observed(now))

    def follow(self, files: Mapping[str, str], unusable: Iterable[str] = ()) -> list[Follow]:
        """Plans and applies until nothing is left; returns the steps taken."""
        now = listing(files, unusable)
        self.contents |= {digest(content): content for content in files.values()}
        taken: list[Follow] = []
        while steps := self.steps(now):
            assert len(taken) < 6, f"does not converge: {steps}"
            (step,) = steps
            if isinstance(step, Correct):  # what nothing brings back is given up
                self.state = apply(self.state, amendment(NAME, self.table, step))
                continue
            assert isinstance(step, Follow)
            self.apply(step)
            taken.append(step)
        return taken

    def apply(self, step: Follow) -> None:
        taken, refused = [], []
        for file in step.ingest:
            content = self.contents[file.digest]
            if content.endswith("!"):
                refused.append(Refusal(file.path, file.digest, 2, "does not fit", step.transformation))
            else:
                taken.append(Accepted(file, self._parts(content, step)))
        change = commit(NAME, self.resource.spec_as(DatasetSpec), self.state.table, step, Outcomes(tuple(taken), tuple(refused), SCHEMA))
        self.state = apply(self.state, change)
        self.commits.append(change)
        repaired = {file.digest for file in step.ingest}
        self.damaged = frozenset(f.key for f in self.table.files if f.key in self.damaged and f.source not in repaired)

    def _parts(self, content: str, step: Follow) -> tuple[DataFile, ...]:
        """A part a pair, so that contents have none, one or several."""
        name = digest([content, step.transformation])[:8]
        refs = [ObjectRef("primary", f"datasets/people/{name}-{n}.parquet", 2, "") for n in range(len(content) // 2)]
        return tuple(DataFile(ref, "base", 0, 1, digest(content), n, 1) for n, ref in enumerate(refs))

    def held(self) -> list[str]:
        """Contents in the table, each once for every time that its rows are there."""
        found = [(file.source, file.first_row) for file in self.table.files]
        return sorted(self.contents[content] for content, first in found if first == 0)

    def rows(self) -> dict[str, str]:
        """As a reader merges: base before delta, then by sequence."""
        merged: dict[str, str] = {}
        for file in self.table.data_files:
            pair = self.contents[file.source][2 * file.first_row :][:2]
            merged[pair[0]] = pair[1]
        return merged


X, Y, Z = "a1b1", "a2c2", "b3"

# what the files were, one listing after another, and the contents that the table holds at the end, by write mode
CASES: dict[str, tuple[list[dict[str, str]], dict[str, list[str]]]] = {
    "new path": ([{"x": X}, {"x": X, "y": Y}], {"append": [X, Y], "upsert": [X, Y], "replace": [X, Y]}),
    "changed content": ([{"x": X}, {"x": Y}], {"append": [Y], "upsert": [X, Y], "replace": [Y]}),
    "gone": ([{"x": X, "y": Y}, {"y": Y}], {"append": [X, Y], "upsert": [X, Y], "replace": [Y]}),
    "all gone": ([{"x": X}, {}], {"append": [X], "upsert": [X], "replace": []}),
    "copy": ([{"x": X}, {"x": X, "y": X}], {"append": [X], "upsert": [X], "replace": [X]}),
    "rename": ([{"x": X}, {"y": X}], {"append": [X], "upsert": [X], "replace": [X]}),
    "rename, then change": ([{"x": X}, {"y": X}, {"y": Y}], {"append": [Y], "upsert": [X, Y], "replace": [Y]}),
    "rename and a new file in its place": ([{"x": X}, {"x": Y, "y": X}], {"append": [X, Y], "upsert": [X, Y], "replace": [X, Y]}),
    "two swap": ([{"x": X, "y": Y}, {"x": Y, "y": X}], {"append": [X, Y], "upsert": [X, Y], "replace": [X, Y]}),
    "put back": ([{"x": X}, {}, {"x": X}], {"append": [X], "upsert": [X], "replace": [X]}),
    "put back as another": ([{"x": X}, {}, {"x": Y}], {"append": [Y], "upsert": [X, Y], "replace": [Y]}),
    "back to former content": ([{"x": X}, {"x": Y}, {"x": X}], {"append": [X], "upsert": [X, Y], "replace": [X]}),
    "several at once": ([{"x": X}, {"x": Y, "y": X, "z": Z}], {"append": [X, Y, Z], "upsert": [X, Y, Z], "replace": [X, Y, Z]}),
    "one of two copies changes": ([{"x": X, "y": X}, {"x": X, "y": Y}], {"append": [X, Y], "upsert": [X, Y], "replace": [X, Y]}),
    "both copies change": ([{"x": X, "y": X}, {"x": Z, "y": Y}], {"append": [Y, Z], "upsert": [X, Y, Z], "replace": [Y, Z]}),
    "both become the other's copy": ([{"x": X, "y": Y}, {"x": Y}, {"x": X, "y": X}], {"append": [X], "upsert": [X, Y], "replace": [X]}),
    "one of two copies goes": ([{"x": X, "y": X}, {"y": X}], {"append": [X], "upsert": [X], "replace": [X]}),
    "an empty file": ([{"x": ""}, {"x": "", "y": X}], {"append": [X], "upsert": [X], "replace": [X]}),
    "becomes empty": ([{"x": X}, {"x": ""}], {"append": [], "upsert": [X], "replace": []}),
    "refused": ([{"x": X, "y": "a9!"}], {"append": [X], "upsert": [X], "replace": [X]}),
    "refused content at a known path": ([{"x": X}, {"x": "a9!"}], {"append": [X], "upsert": [X], "replace": [X]}),
    "refused, then mended": ([{"x": X}, {"x": "a9!"}, {"x": Z}], {"append": [Z], "upsert": [X, Z], "replace": [Z]}),
    "refused, then gone": ([{"x": X}, {"x": "a9!"}, {}], {"append": [X], "upsert": [X], "replace": []}),
    "a refused file and its copy": ([{"x": X}, {"x": X, "y": "a9!", "z": "a9!"}], {"append": [X], "upsert": [X], "replace": [X]}),
}


@pytest.mark.parametrize("write", MODES)
@pytest.mark.parametrize("case", CASES)
def test_what_a_file_means(case: str, write: str) -> None:
    history, expected = CASES[case]
    lake = Lake(spec_of(write))
    for files in history:
        lake.follow(files)
    assert lake.held() == sorted(expected[write])


UPSERTS = {
    "in lexical order of paths": ([{"y": "k2", "x": "k1"}], "2"),
    "changed content is newest": ([{"x": "k1", "y": "k2"}, {"x": "k3", "y": "k2"}], "3"),
    "former content is newest again": ([{"x": "k1"}, {"x": "k2"}, {"x": "k1"}], "1"),
    "a third content after a return": ([{"x": "k1"}, {"x": "k2"}, {"x": "k1"}, {"x": "k3"}], "3"),
    "a copy is not applied again": ([{"x": "k1", "y": "k2"}, {"x": "k1", "y": "k2", "z": "k1"}], "2"),
    "two paths return to one content": ([{"x": "k1", "y": "k2"}, {"x": "k3", "y": "k4"}, {"x": "k1", "y": "k1"}], "1"),
    "a return before a new file": ([{"x": "k1"}, {"x": "k2"}, {"x": "k1", "y": "k3"}], "3"),
    "a new file before a return": ([{"y": "k1"}, {"y": "k2"}, {"x": "k3", "y": "k1"}], "1"),
    "a new content twice, the second time at a known path": ([{"z": "k1"}, {"x": "k2", "y": "k3", "z": "k2"}], "2"),
    "swapped": ([{"x": "k1", "y": "k2"}, {"x": "k2", "y": "k1"}], "1"),
    "put back": ([{"x": "k1", "y": "k2"}, {"y": "k2"}, {"x": "k1", "y": "k2"}], "2"),
}


@pytest.mark.parametrize("case", UPSERTS)
def test_the_newest_row_of_a_key_wins(case: str) -> None:
    history, expected = UPSERTS[case]
    lake = Lake(spec_of("upsert"))
    for files in history:
        lake.follow(files)
    assert lake.rows() == {"k": expected}


class Model:
    """The documentation's table as code, about contents only: no digests, no sequences, no files."""

    def __init__(self, write: str) -> None:
        self.write = write
        self.bound: dict[str, str] = {}
        self.applied: list[str] = []

    def observe(self, files: Mapping[str, str]) -> None:
        before = dict(self.bound)
        for path in sorted(files):
            content = files[path]
            if content.endswith("!"):
                continue
            again = path in before and before[path] != content
            if again or content not in self.applied:
                self.applied.append(content)
            self.bound[path] = content
        for path in before.keys() - files.keys():
            if self.write == "replace" or before[path] in files.values():
                del self.bound[path]

    def rows(self) -> dict[str, str]:
        merged: dict[str, str] = {}
        for content in self.applied:
            merged |= rows_in(content)
        return merged


PATHS = st.sampled_from(["v", "w", "x", "y"])
CONTENTS = st.sampled_from(["a1", "a2b2", "b3", "a4c4", "", "a9!"])
HISTORIES = st.lists(st.tuples(st.dictionaries(PATHS, CONTENTS), st.integers(0, 7)), min_size=1, max_size=7)


@given(write=st.sampled_from(MODES), history=HISTORIES)
def test_any_history_gives_what_the_model_gives(write: str, history: list[tuple[dict[str, str], int]]) -> None:
    lake, model = Lake(spec_of(write)), Model(write)
    for files, damage in history:
        keys = [file.key for file in lake.table.files]
        lake.damaged |= frozenset(keys[damage : damage + 1])
        lake.follow(files)
        model.observe(files)
        assert lake.steps(listing(files)) == ()
        if write == "upsert":
            assert lake.rows() == model.rows()
        else:
            assert lake.held() == sorted({content for content in model.bound.values() if content})
        assert {path: lake.contents[binding.digest] for path, binding in lake.table.bindings.items()} == model.bound
        assert {path for path, binding in lake.table.bindings.items() if binding.present} <= files.keys()
        broken = {lake.contents[file.source] for file in lake.table.files if file.key in lake.damaged}
        assert not broken & set(files.values()), "what can be read again is repaired"


@given(history=HISTORIES)
def test_sequences_of_an_upsert_are_a_base_and_then_deltas(history: list[tuple[dict[str, str], int]]) -> None:
    lake = Lake(spec_of("upsert"))
    for files, _ in history:
        lake.follow(files)
    found = {(file.sequence, file.source): file.role for file in lake.table.files}
    order = sorted(found)
    assert len({sequence for sequence, _ in order}) == len(order), "no two contents share a place"
    assert all(found[place] == "delta" for place in order[1:])


def test_gone_is_said_once() -> None:
    lake = Lake(spec_of("append"))
    lake.follow({"x": X, "y": Y})
    (step,) = lake.follow({"y": Y})
    assert step.gone == ("x",)
    assert step.summary() == "note that x is gone"
    assert lake.follow({"y": Y}) == []


@pytest.mark.parametrize("write", MODES)
def test_what_cannot_be_read_now_is_not_gone(write: str) -> None:
    lake = Lake(spec_of(write))
    lake.follow({"x": X, "y": Y})
    assert lake.follow({"y": Y}, unusable=["x"]) == []
    outcome = conclude(lake.resource, lake.observed(listing({"y": Y}, ["x"])))
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reasons.FILE_REFUSED
    assert outcome.message.startswith("x cannot be read; version 1 ")


@pytest.mark.parametrize("write", MODES)
def test_what_lies_in_a_folder_that_cannot_be_read_now_is_not_gone_either(write: str) -> None:
    lake = Lake(spec_of(write))
    lake.follow({"d/e/x": X, "y": Y})
    assert lake.follow({"y": Y}, unusable=["d"]) == []


def test_refused_files_are_named_and_the_rest_is_served() -> None:
    lake = Lake(spec_of("append"))
    files = {"x": X, "y": "a9!", "z": "b9!"}
    lake.follow(files)
    outcome = conclude(lake.resource, lake.observed(listing(files)))
    assert outcome == Stalled(
        reasons.FILE_REFUSED,
        "y:2: does not fit (the whole file is refused), and 1 more file; version 1 with 2 rows stays served",
        detail={"rows": 2, "version": 1, "files": 1, "refused": ["y:2: does not fit", "z:2: does not fit"]},
        also=(),
    )


OTHER = ", columns: {v: int64}"


@pytest.mark.parametrize("write", ["append", "replace"])
def test_another_transformation_makes_the_table_anew(write: str) -> None:
    lake = Lake(spec_of(write))
    lake.follow({"x": X, "y": X, "z": Y})
    former = lake.table.files
    lake.resource = spec_of(write, OTHER)
    (step,) = lake.follow({"x": X, "y": X, "z": Z})
    assert step.reset
    assert lake.held() == sorted([X, Z])
    assert not {file.key for file in lake.table.files} & {file.key for file in former}
    assert set(lake.table.bindings) == {"x", "y", "z"}


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_another_transformation_needs_every_source(write: str) -> None:
    lake = Lake(spec_of(write))
    lake.follow({"x": X, "y": Y})
    lake.follow({"y": Y})
    lake.resource = spec_of(write, OTHER)
    assert lake.follow({"y": Y, "z": Z}) == []
    outcome = conclude(lake.resource, lake.observed(listing({"y": Y, "z": Z})))
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reasons.SOURCE_GONE
    assert "`columns`, `contract` or how the files are read changed" in outcome.message
    assert "but x is gone" in outcome.message
    # the content may come back anywhere
    lake.follow({"y": Y, "z": Z, "elsewhere": X})
    assert lake.held() == sorted([X, Y, Z])


def test_a_source_that_is_gone_names_the_fields_that_ask_for_it() -> None:
    lake = Lake(spec_of("upsert"))
    lake.follow({"x": X, "y": Y})
    lake.resource = spec_of("append")
    outcome = conclude(lake.resource, lake.observed(listing({"y": Y})))
    assert isinstance(outcome, Stalled)
    assert outcome.message.startswith("write (upsert before) changed, which reads every file again, but x is gone")


def test_an_upserted_content_that_was_overwritten_is_a_source_that_is_gone() -> None:
    lake = Lake(spec_of("upsert"))
    lake.follow({"x": X})
    lake.follow({"x": Y})
    lake.resource = spec_of("upsert", OTHER)
    assert lake.follow({"x": Y}) == []
    outcome = conclude(lake.resource, lake.observed(listing({"x": Y})))
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reasons.SOURCE_GONE
    assert f"the former content {digest(X)[:8]}" in outcome.message
    # the file and its spec may have changed at once, or the newer content was refused: the path is bound to the former one still
    lake = Lake(spec_of("upsert"))
    lake.follow({"x": X, "y": Y})
    lake.resource = spec_of("upsert", OTHER)
    assert lake.follow({"x": Z, "y": Y}) == []
    assert f"the former content {digest(X)[:8]}" in conclude(lake.resource, lake.observed(listing({"x": Z, "y": Y}))).message
    # put back beside the newer one, it can be read again
    assert lake.follow({"a": X, "x": Z, "y": Y}) != []


def test_a_replaced_table_needs_no_former_source() -> None:
    lake = Lake(spec_of("replace"))
    lake.follow({"x": X})
    lake.resource = spec_of("replace", OTHER)
    lake.follow({"y": Y})
    assert lake.held() == [Y]
    lake.resource = spec_of("replace")
    lake.follow({})
    assert lake.held() == []


@pytest.mark.parametrize("path", ["x", "moved"])
def test_a_refused_file_stops_a_reset(path: str) -> None:
    """Under its path or under another: its rows are in the table, and would be lost."""
    lake = Lake(spec_of("append"))
    lake.follow({"x": "a1b2", "y": Y})
    before = lake.table
    lake.resource = spec_of("append", OTHER)
    lake.contents[digest("a1b2")] = "a1b2!"
    now = {path: "a1b2", "y": Y}
    (step,) = lake.steps(listing(now))
    assert isinstance(step, Follow)
    lake.apply(step)
    assert (lake.table.files, lake.table.bindings, lake.table.transformation) == (before.files, before.bindings, before.transformation)
    assert lake.steps(listing(now)) == ()
    outcome = conclude(lake.resource, lake.observed(listing(now)))
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reasons.FILE_REFUSED
    # undoing the change is always possible
    lake.resource = spec_of("append")
    assert [step.ingest for step in lake.follow({"x": "a1b2", "y": Y})] in ([], [()])
    assert (lake.table.files, lake.table.bindings, lake.table.transformation) == (before.files, before.bindings, before.transformation)


def test_a_refusal_ends_with_its_file() -> None:
    lake = Lake(spec_of("append"))
    lake.follow({"x": X, "y": "a9!", "z": "b9!"})
    assert set(lake.table.refusals) == {"y", "z"}
    (step,) = lake.steps(listing({"x": X, "z": "b9!"}))
    assert isinstance(step, Follow)
    assert (step.summary(), step.why) == ("forget that y was refused", "refused files are gone")
    lake.apply(step)
    assert set(lake.table.refusals) == {"z"}
    assert lake.steps(listing({"x": X, "z": "b9!"})) == ()


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_file_that_is_gone_is_told_for_as_long_as_its_rows_stay(write: str) -> None:
    lake = Lake(spec_of(write))
    lake.follow({"x": X, "y": Y})
    lake.follow({"y": Y})
    ready = conclude(lake.resource, lake.observed(listing({"y": Y})))
    assert "from 1 file and 1 that is gone" in ready.message
    lake.follow({"x": X, "y": Y})
    assert "from 2 files" in conclude(lake.resource, lake.observed(listing({"x": X, "y": Y}))).message


def test_what_serves_is_not_claimed_of_a_table_without_columns() -> None:
    lake = Lake(spec_of("append"))
    lake.follow({"x": "a9!"})
    lake.state = replace(lake.state, table=replace(lake.table, schemas=()))  # as where the only file of a new table is refused
    outcome = conclude(lake.resource, lake.observed(listing({"x": "a9!"})))
    assert isinstance(outcome, Stalled)
    assert outcome.message.endswith("there is nothing to serve yet")


def test_a_new_file_that_is_refused_stops_no_reset() -> None:
    lake = Lake(spec_of("append"))
    lake.follow({"x": X})
    lake.resource = spec_of("append", OTHER)
    lake.follow({"x": X, "y": "a9!"})
    assert lake.held() == [X]
    assert lake.table.transformation != ""
    assert set(lake.table.refusals) == {"y"}


def test_owner_tags_and_globs_read_nothing_again() -> None:
    lake = Lake(spec_of("append"))
    lake.follow({"x": X})
    lake.resource = dataset(
        '{source: {files: ["data/*.csv", "more/*.csv"]}, primaryKey: [k], write: append, owner: me, tags: [a], deletion: delete}'
    )
    assert lake.follow({"x": X}) == []


class TestRepair:
    def test_what_is_damaged_is_written_again_in_its_place(self) -> None:
        lake = Lake(spec_of("upsert"))
        lake.follow({"x": "k1", "y": "k2"})
        before = lake.table
        lake.damaged = frozenset([before.files[0].key])
        (step,) = lake.follow({"x": "k1", "y": "k2"})
        assert step.why == "data files are missing or damaged"
        assert [file.path for file in step.ingest] == ["x"]
        assert lake.table.files == before.files

    def test_a_damaged_file_may_become_newest(self) -> None:
        lake = Lake(spec_of("upsert"))
        lake.follow({"x": "k1", "y": "k2"})
        lake.damaged = frozenset([lake.table.files[0].key])
        lake.follow({"x": "k1", "y": "k1"})
        assert lake.rows() == {"k": "1"}

    def test_a_new_file_beside_a_repaired_base_is_a_delta(self) -> None:
        lake = Lake(spec_of("upsert"))
        lake.follow({"x": "k1"})
        lake.damaged = frozenset([lake.table.files[0].key])
        lake.follow({"x": "k1", "y": "k2"})
        assert lake.rows() == {"k": "2"}

    @pytest.mark.parametrize("write", MODES)
    def test_a_repair_that_is_refused_takes_nothing_away(self, write: str) -> None:
        lake = Lake(spec_of(write))
        lake.follow({"x": "a1"})
        before = lake.table
        lake.damaged = frozenset([before.files[0].key])
        lake.contents[digest("a1")] = "a1!"
        (step,) = lake.steps(listing({"y": "a1"}))
        assert isinstance(step, Follow)
        lake.apply(step)
        assert (lake.table.files, lake.table.bindings) == (before.files, before.bindings)

    def test_without_its_source_it_is_told(self) -> None:
        lake = Lake(spec_of("append"))
        lake.follow({"x": X})
        lake.follow({})
        key = lake.table.files[0].key
        lake.damaged = frozenset([key])
        lake.follow({})
        assert lake.table.lost_rows == 1
        assert lake.steps(listing({})) == ()
        outcome = conclude(lake.resource, lake.observed(listing({})))
        assert isinstance(outcome, Stalled)
        assert outcome.reason == reasons.OBJECT_MISSING
        assert key in outcome.message


class TestEndings:
    def test_ready(self) -> None:
        lake = Lake(spec_of("append"))
        lake.follow({"x": X})
        expected = Ready("2 rows from 1 file, version 1", {"rows": 2, "version": 1, "files": 1}, also=())
        assert conclude(lake.resource, lake.observed(listing({"x": X}))) == expected

    def test_rows_that_are_not_merged_yet_are_told_as_such(self) -> None:
        lake = Lake(spec_of("upsert"))
        lake.follow({"x": X})
        lake.follow({"x": X, "y": Y})
        told = conclude(lake.resource, lake.observed(listing({"x": X, "y": Y})))
        assert isinstance(told, Ready)
        assert ", before merging by key, version 2" in told.message
        assert told.detail["merged"] is False

    def test_pages_without_text_are_told(self) -> None:
        def ended(ocr: str) -> Ready:
            lake = Lake(dataset(f'{{source: {{files: "*"{ocr}}}}}'))
            lake.follow({"a.pdf": X, "b.csv": "c1"})
            table = lake.table
            scanned = tuple(replace(file, columns={"text": ColumnStats("a", "b", 3)}) for file in table.files)
            lake.state = replace(lake.state, table=replace(table, files=scanned))
            found = conclude(lake.resource, lake.observed(listing({"a.pdf": X, "b.csv": "c1"})))
            assert isinstance(found, Ready)
            return found

        assert ended("").detail["pagesWithoutText"] == {"a.pdf": 6}
        assert ended("").message.endswith("; 6 pages of a.pdf without text (scanned?): `text IS NULL` names them")
        assert "pagesWithoutText" not in ended(", ocr: false").detail

    def test_no_file_yet(self) -> None:
        lake = Lake(spec_of("append"))
        outcome = conclude(lake.resource, lake.observed(listing({})))
        assert isinstance(outcome, Waiting)
        assert outcome.reason == reasons.SOURCE_EMPTY
        assert "data/*.csv" in outcome.message

    def test_nothing_but_a_directory(self) -> None:
        lake = Lake(spec_of("append"))
        outcome = conclude(lake.resource, lake.observed(listing({}, ["data/x.csv"])))
        assert isinstance(outcome, Stalled)
        assert outcome.reason == reasons.FILE_REFUSED

    def test_no_bucket(self) -> None:
        lake = Lake(spec_of("append"))
        observed = replace(lake.observed(listing({"x": X})), bucket_attached=False)
        assert plan(lake.resource, observed) == ()
        outcome = conclude(lake.resource, observed)
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reasons.REFERENCE_MISSING, "Bucket/primary")

    def test_a_bucket_that_is_declared_is_waited_for(self) -> None:
        lake = Lake(spec_of("append"))
        observed = replace(lake.observed(listing({"x": X})), bucket_attached=False, bucket_declared=True)
        outcome = conclude(lake.resource, observed)
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reasons.DEPENDENCY_NOT_READY, "Bucket/primary")

    def test_another_bucket_is_refused(self) -> None:
        lake = Lake(spec_of("append"))
        lake.follow({"x": X})
        lake.resource = spec_of("append", ", bucket: other")
        assert lake.steps(listing({"x": X, "y": Y})) == ()
        outcome = conclude(lake.resource, lake.observed(listing({"x": X})))
        assert isinstance(outcome, Stalled)
        assert outcome.reason == reasons.STATE_IMMUTABLE
        assert "Bucket/primary" in outcome.message


class TestTakingUp:
    former = Table("persons", 4, "primary", transformation="t", schemas=(SCHEMA,))

    def test_a_retained_table_is_taken_up_before_anything_else(self) -> None:
        lake = Lake(spec_of("append"))
        lake.follow({"x": X})
        lake.state = replace(lake.state, table=replace(lake.table, retained=True))
        (step,) = lake.steps(listing({"x": Y}))
        assert step == TakeUp("a spec asks for it again")
        lake.state = apply(lake.state, Adopted(NAME))
        lake.follow({"x": Y})
        assert lake.held() == [Y]

    def test_a_former_name_moves(self) -> None:
        lake = Lake(spec_of("append", ", renamedFrom: persons"))
        observed = lake.observed(listing({"x": X}), former=self.former)
        (step,) = plan(lake.resource, observed)
        assert isinstance(step, TakeUp)
        assert step.summary() == "take over the table of Dataset/persons"
        states = {"Dataset/persons": ObjectState("Dataset/persons", table=self.former)}
        after = fold(states.get, (Renamed(NAME, step.source or ""),))
        assert after[NAME].table == replace(self.former, name="people")
        assert after["Dataset/persons"].gone

    def test_not_while_the_former_spec_stands(self) -> None:
        lake = Lake(spec_of("append", ", renamedFrom: persons"))
        observed = lake.observed(listing({"x": X}), former=self.former, former_wanted=True)
        assert plan(lake.resource, observed) == ()
        outcome = conclude(lake.resource, observed)
        assert isinstance(outcome, Stalled)
        assert (outcome.reason, outcome.blocked_by) == (reasons.CONFLICT, "Dataset/persons")

    def test_a_former_name_without_a_table_is_no_matter(self) -> None:
        lake = Lake(spec_of("append", ", renamedFrom: persons"))
        lake.follow({"x": X})
        assert lake.held() == [X]


class TestWords:
    def test_of_a_step(self) -> None:
        lake = Lake(spec_of("append"))
        (step,) = lake.follow({"x": X, "y": Y})
        assert (step.summary(), step.why) == ("ingest x, y", "there is no table yet")
        assert step.work is not None
        assert (step.work.kind, step.work.weight) == ("ingest", len(X) + len(Y))
        (step,) = lake.follow({"w": X, "y": Z, "v": "c9", "u": "c8"})
        assert step.summary() == "ingest u, v, y, rebind w, x"
        assert step.why == "3 files new or changed"
        (step,) = lake.follow({"y": Z, "v": "c9", "u": "c8"})
        assert (step.summary(), step.why, step.work) == ("note that w is gone", "1 file gone", None)
