"""Whom a changed file concerns, and which folders are watched for it; then the operating system's own word."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn, Self

import pytest
from asyncinotify import Event, Inotify, Mask

from reconciler.data_watch import DataWatch, existing
from reconciler.folder_events import FolderEvents
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


class Watching:
    """A watch of one folder, and what it told since `told` was asked last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()
        self._news, self._stop, self._began = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(watch([Watched(self._folder, True)], self._changed, self._stop, self._began.set))
        await asyncio.wait_for(self._began.wait(), 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.wait_for(self._task, 10)

    async def told(self, *paths: Path) -> set[Path]:
        """All that was told by the time that these were."""
        async with asyncio.timeout(10):
            while not self._seen.issuperset(paths):
                self._news.clear()
                await self._news.wait()
        seen, self._seen = self._seen, set()
        return seen

    def _changed(self, burst: set[Path]) -> None:
        self._seen |= burst
        self._news.set()


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\n1\n", encoding="utf-8")
    return path


class TestDeepFolders:
    def test_a_name_that_is_no_text_is_told_as_it_is(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            async with Watching(tmp_path) as watching:
                odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
                await asyncio.to_thread(odd.touch)
                assert await watching.told(odd) == {odd}

        asyncio.run(scenario())

    def test_folders_that_come_are_watched_and_told(self, tmp_path: Path) -> None:
        """Files that were there before the folder could be watched lie below a folder that is told."""

        async def scenario() -> None:
            async with Watching(tmp_path) as watching:
                await asyncio.to_thread(put, tmp_path / "a/b/one.csv")
                await watching.told(tmp_path / "a")
                two = await asyncio.to_thread(put, tmp_path / "a/b/two.csv")
                await watching.told(two)

        asyncio.run(scenario())

    def test_a_folder_that_is_renamed_is_followed_under_its_new_name_alone(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            await asyncio.to_thread(put, tmp_path / "old/deep/one.csv")
            async with Watching(tmp_path) as watching:
                await asyncio.to_thread((tmp_path / "old").rename, tmp_path / "new")
                await watching.told(tmp_path / "old", tmp_path / "new")
                two = await asyncio.to_thread(put, tmp_path / "new/deep/two.csv")
                assert await watching.told(two) == {two}

        asyncio.run(scenario())

    def test_what_left_is_heard_of_no_more(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()

        async def scenario() -> None:
            await asyncio.to_thread(put, tmp_path / "in/gone/one.csv")
            async with Watching(tmp_path / "in") as watching:
                await asyncio.to_thread((tmp_path / "in/gone").rename, tmp_path / "out")
                await watching.told(tmp_path / "in/gone")
                await asyncio.to_thread(put, tmp_path / "out/two.csv")
                last = await asyncio.to_thread(put, tmp_path / "in/last.csv")
                assert await watching.told(last) == {last}

        asyncio.run(scenario())

    def test_links_in_a_circle_end(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/back").symlink_to(tmp_path)

        async def scenario() -> None:
            async with Watching(tmp_path) as watching:
                one = await asyncio.to_thread(put, tmp_path / "a/one.csv")
                assert one in await watching.told(one)

        asyncio.run(scenario())

    def test_the_system_that_lost_count_has_everything_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Inotify.get

        async def overflow(self: Inotify) -> Event:
            await real(self)
            return Event(None, Mask.Q_OVERFLOW, 0, None)

        async def scenario() -> None:
            async with Watching(tmp_path) as watching:
                await asyncio.to_thread(put, tmp_path / "one.csv")
                await watching.told(tmp_path)

        monkeypatch.setattr(Inotify, "get", overflow)
        asyncio.run(scenario())

    @pytest.mark.parametrize(
        ("call", "error", "said"),
        [
            ("add_watch", errno.ENOSPC, "raise fs.inotify.max_user_watches"),
            ("add_watch", errno.EIO, "changes are seen at the next relist: "),
            ("__init__", errno.EMFILE, "folders cannot be watched"),
        ],
    )
    def test_what_the_system_refuses_is_said_once_and_left_to_the_relist(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, error: int, said: str
    ) -> None:
        def refuse(*_: object, **__: object) -> NoReturn:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(Inotify, call, refuse)

        async def scenario() -> None:
            async with Watching(tmp_path):
                pass

        asyncio.run(scenario())
        assert [said in record.getMessage() for record in caplog.records] == [True]


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

    def slow_at_first(events: FolderEvents, folders: Iterable[Watched]) -> None:
        folders = tuple(folders)
        if Watched(folder, False) in folders and not looking.is_set():
            looking.set()
            overtaken.wait(30)
        add(events, folders)

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

    add = FolderEvents.add
    monkeypatch.setattr(FolderEvents, "add", slow_at_first)
    asyncio.run(scenario())
