"""Whom a changed file concerns, and which folders are watched for it; then the operating system's own word."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.sources.source import Watched
from reconciler.watch import DataWatch, existing, watch
from specs.resource import Key

ROOT = Path("/data")
LAKE = ROOT / "lake"


def key(name: str) -> Key:
    return Key("Dataset", name)


def aimed(globs: Mapping[str, tuple[str, ...]]) -> DataWatch:
    data = DataWatch(ROOT, (LAKE, ROOT / ".lakehouse"))
    data.aim({key(name): patterns for name, patterns in globs.items()})
    return data


def concerned(data: DataWatch, *paths: str) -> set[str]:
    return {found.name for found in data.concerned(ROOT / path for path in paths)}


DATA = aimed(
    {
        "people": ("data/people/*.csv",),
        "calls": ("data/calls/**/*.ndjson",),
        "one": ("data/one.csv",),
        "two": ("data/people/*.csv", "more/[ab]?.csv"),
        "all": ("*.parquet",),
    }
)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("data/people/a.csv", {"people", "two"}),
        ("data/people/a.txt", set()),
        ("data/calls/2026/01/x.ndjson", {"calls"}),
        ("data/calls/x.ndjson", {"calls"}),
        ("data/calls/2026/x.csv", set()),
        ("data/calls/2026", {"calls"}),
        ("data/one.csv", {"one"}),
        ("data/other.csv", set()),
        ("data/people", {"people", "two"}),
        ("data", {"people", "two", "calls", "one"}),
        ("more/ax.csv", {"two"}),
        ("more/cx.csv", set()),
        ("x.parquet", {"all"}),
        ("lake/x.parquet", set()),
        (".lakehouse/wal/x", set()),
        ("README.md", set()),
    ],
)
def test_whom_a_path_concerns(path: str, names: set[str]) -> None:
    found = concerned(DATA, path)
    assert found - {"all"} == names - {"all"}
    assert names <= found


def test_several_paths_at_once() -> None:
    assert concerned(DATA, "data/one.csv", "data/people/x.csv", "lake/y") == {"one", "people", "two"}


def test_names_with_marks_of_patterns() -> None:
    data = DataWatch(Path("/da[ta]*"), ())
    data.aim({key("x"): ("in/*.csv",)})
    assert data.concerned([Path("/da[ta]*/in/a.csv")]) == {key("x")}
    assert data.concerned([Path("/dataX/in/a.csv")]) == set()


class TestAiming:
    def test_tells_whether_other_folders_are_to_be_watched(self) -> None:
        data = DataWatch(ROOT, ())
        assert data.aim({key("a"): ("data/a/*.csv",)})
        assert not data.aim({key("a"): ("data/a/*.csv",)})
        assert not data.aim({key("a"): ("data/a/*.tsv",)})
        assert data.prefixes() == {ROOT / "data/a"}
        assert data.aim({key("a"): ("data/b/*.tsv",)})
        assert data.aim({})
        assert data.prefixes() == frozenset()

    def test_forgets_what_is_wanted_no_more(self) -> None:
        data = DataWatch(ROOT, ())
        data.aim({key("a"): ("d/*.csv", "d/x.csv"), key("b"): ("d/*.csv",)})
        data.aim({key("b"): ("d/*.csv",)})
        assert concerned(data, "d/x.csv") == {"b"}
        data.aim({})
        assert concerned(data, "d/x.csv", "d") == set()

    def test_a_glob_named_twice(self) -> None:
        data = DataWatch(ROOT, ())
        data.aim({key("a"): ("d/*.csv", "d/*.csv", "x.csv", "x.csv")})
        assert concerned(data, "d/x.csv") == {"a"}
        data.aim({key("a"): ()})
        assert data.prefixes() == frozenset()


class TestFolders:
    def test_the_deepest_that_exists_and_outermost_only(self, tmp_path: Path) -> None:
        (tmp_path / "data/people/old").mkdir(parents=True)
        (tmp_path / "data-2").mkdir()
        wanted = [tmp_path / path for path in ("data/people", "data/people/old", "data-2", "data/people/new/er")]
        assert existing(wanted, tmp_path) == (Watched(tmp_path / "data/people", True), Watched(tmp_path / "data-2", True))

    def test_the_root_without_depth(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        wanted = [tmp_path, tmp_path / "missing/deep", tmp_path / "data"]
        assert existing(wanted, tmp_path) == (Watched(tmp_path, False), Watched(tmp_path / "data", True))

    def test_nothing_wanted(self, tmp_path: Path) -> None:
        assert existing([], tmp_path) == ()


def test_the_operating_system_tells(tmp_path: Path) -> None:
    """A burst in a folder, hidden ones included; a missing folder is left to the relist."""
    (tmp_path / "deep/.git").mkdir(parents=True)
    folders = [Watched(tmp_path / "deep", True), Watched(tmp_path / "missing", True)]

    async def scenario() -> None:
        stop, seen = asyncio.Event(), asyncio.Event()
        paths: set[Path] = set()

        def changed(burst: set[Path]) -> None:
            paths.update(burst)
            seen.set()

        watching = asyncio.create_task(watch(folders, changed, stop))
        target = tmp_path / "deep/.git/HEAD"
        number = 0
        while not seen.is_set():
            # the watch may not be there yet: touched until it is seen
            number += 1
            await asyncio.to_thread(target.write_text, f"{number}")
            try:
                await asyncio.wait_for(seen.wait(), 0.2)
            except TimeoutError:
                assert number < 50
        assert target in paths
        stop.set()
        await asyncio.wait_for(watching, 10)

    asyncio.run(scenario())


def test_a_name_that_is_no_text_breaks_no_watch(tmp_path: Path) -> None:
    """watchfiles raises at it; the folder is watched again, and all of it looked at."""

    async def scenario() -> None:
        stop, began, looked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        seen: set[Path] = set()

        def changed(burst: set[Path]) -> None:
            seen.update(burst)
            looked.set()

        watching = asyncio.create_task(watch([Watched(tmp_path, True)], changed, stop, began.set))
        await asyncio.wait_for(began.wait(), 10)
        await asyncio.to_thread(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")).touch)
        await asyncio.wait_for(looked.wait(), 10)
        assert seen == {tmp_path}
        looked.clear()
        await asyncio.to_thread((tmp_path / "next.csv").touch)
        await asyncio.wait_for(looked.wait(), 10)
        assert tmp_path / "next.csv" in seen
        stop.set()
        await asyncio.wait_for(watching, 10)

    asyncio.run(scenario())
