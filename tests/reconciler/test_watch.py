"""Whom a changed file concerns, and which folders are watched for it; then the operating system's own word."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from reconciler.data_watch import DataWatch, existing
from reconciler.sources.source import Watched
from reconciler.watch import Aim, FolderWatch, watch
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
        "shops": ("data/*/sales.csv",),
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
        ("data/calls/2026.01/v1.0", {"calls"}),
        ("data/shops.eu", {"shops"}),
        ("data/shops.eu/deeper.still/x", set()),
        ("data/one.csv", {"one", "shops"}),
        ("data/other.csv", {"shops"}),
        ("data/people", {"people", "two", "shops"}),
        ("data", {"people", "two", "calls", "one", "shops"}),
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
    assert concerned(DATA, "data/one.csv", "data/people/x.csv", "lake/y") == {"one", "people", "two", "shops"}


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
        assert not data.aim({key("b"): ("data/b/*.csv", "data/b/x.csv")})
        assert not data.aim({key("b"): ()})
        assert data.aim({key("a"): ()})
        assert data.prefixes() == frozenset()

    def test_forgets_what_is_wanted_no_more(self) -> None:
        data = DataWatch(ROOT, ())
        data.aim({key("a"): ("d/*.csv", "d/x.csv"), key("b"): ("d/*.csv",)})
        data.aim({key("a"): ()})
        assert concerned(data, "d/x.csv") == {"b"}
        data.aim({key("b"): ()})
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

    def test_where_nobody_may_look(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        assert existing([tmp_path / "x/below", tmp_path / ("n" * 300)], tmp_path) == (Watched(tmp_path, False),)

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


@pytest.mark.parametrize("between", ["seen", "at once"])
def test_a_folder_that_was_made_again_is_watched_again(tmp_path: Path, between: str) -> None:
    """The system's watch ends with the folder; what came before the next one is looked at."""
    folder = tmp_path / "deep/data"
    folder.mkdir(parents=True)

    async def aim() -> Aim:
        return Aim(await asyncio.to_thread(existing, [folder], tmp_path), frozenset() if folder.is_dir() else frozenset({folder}))

    async def scenario() -> None:
        seen: set[Path] = set()
        happened = asyncio.Event()

        def note(paths: Iterable[Path]) -> None:
            seen.update(paths)
            happened.set()

        async def until(*paths: Path) -> None:
            async with asyncio.timeout(10):
                while seen.isdisjoint(paths):
                    happened.clear()
                    await happened.wait()
            seen.clear()

        watching = asyncio.create_task(FolderWatch(aim, note, note).run())
        await until(folder)
        await asyncio.to_thread(shutil.rmtree, folder)
        if between == "seen":
            await until(folder)
        await asyncio.to_thread(folder.mkdir)
        await until(folder, folder.parent)
        async with asyncio.timeout(10):
            while folder / "a.csv" not in seen:
                await asyncio.to_thread((folder / "a.csv").write_text, "a\n1\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(happened.wait(), 0.2)
                happened.clear()
        watching.cancel()
        await asyncio.wait((watching,))

    asyncio.run(scenario())


def test_a_watch_that_is_overtaken_before_it_begins_leaves_nothing_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bursts of one moment: both watch the folder that came, and the second is ready first."""
    folder = tmp_path / "data"
    looking, overtaken = threading.Event(), threading.Event()

    def slow_at_first(path: Path) -> bool:
        if path == folder and not looking.is_set():
            looking.set()
            overtaken.wait(30)
        return path.is_dir()

    async def scenario() -> None:
        fresh: list[frozenset[Path]] = []
        folders = [tmp_path]
        seen = asyncio.Event()

        async def aim() -> Aim:
            missing = frozenset({tmp_path / "other"} if looking.is_set() else ())
            return Aim(tuple(Watched(path, False) for path in folders), missing)

        def note(paths: frozenset[Path]) -> None:
            fresh.append(paths)
            seen.set()

        watching = FolderWatch(aim, lambda paths: None, note)
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(30):
            await seen.wait()
            seen.clear()
            await asyncio.to_thread(folder.mkdir)
            folders.append(folder)
            watching.look_again()
            assert await asyncio.to_thread(looking.wait, 30)
            watching.look_again()
            await seen.wait()
            overtaken.set()
        assert fresh == [{tmp_path}, {folder}]
        running.cancel()
        await asyncio.wait((running,))

    monkeypatch.setattr("reconciler.watch.is_folder", slow_at_first)
    asyncio.run(scenario())
