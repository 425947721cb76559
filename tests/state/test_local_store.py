"""What only a folder can do wrong: durability, leftovers, symlinks, a full disk, a killed process, racing processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from state.errors import BucketUnavailable, DiskFull, KeyInvalid, ObjectExists
from state.failpoints import declared
from state.local_store import LocalStore
from state.staging import scratch

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process with our packages, whose stdin and stdout are pipes."""
    preamble = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.Popen([sys.executable, "-c", preamble + code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake", "lake")


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def open_below(folder: Path) -> int:
    """How many files of this process are open there, removed ones too."""
    found = 0
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since by some other thread
            found += str(handle.readlink()).startswith(str(folder))
    return found


def test_content_folder_and_name_are_synced_in_that_order(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_sync, real_link, real_replace = os.fsync, os.link, os.replace

    def record_sync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_relative_to(store.root.parent):  # the folders above are synced, too
            calls.append("sync " + str(path.relative_to(store.root.parent)))
        real_sync(handle)

    def record_link(source: Path, target: Path) -> None:
        calls.append("link")
        real_link(source, target)

    def record_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "link", record_link)
    monkeypatch.setattr(os, "replace", record_replace)
    store.put("a/b/c", b"x", if_absent=True)
    content = next(call for call in calls if ".tmp" in call)
    assert calls == ["sync .", content, "sync lake", "sync lake/a", "link", "sync lake/a/b"]
    calls.clear()
    store.put("a/b/c", b"y")
    assert [call.split(".tmp")[0] for call in calls] == ["sync lake/", "rename", "sync lake/a/b"]


def test_nothing_but_the_object_remains(store: LocalStore) -> None:
    store.put("a", b"1")
    store.put("b", b"1", if_absent=True)
    staged = store.stage()
    staged.write_bytes(b"1")
    store.put_file("c", staged)
    assert {name for name in files_below(store.root) if not name.endswith(".lock")} == {"a", "b", "c"}


def test_a_small_store_of_its_own_is_listed_without_its_staging_area(store: LocalStore) -> None:
    store.stage().write_bytes(b"half")
    store.put("a", b"1")
    assert [info.key for info in store.list()] == ["a"]
    for key in (".tmp", ".tmp/1", "a/.tmp/1"):
        with pytest.raises(KeyInvalid, match="staged"):
            store.get(key)


@pytest.mark.parametrize("points_to", ["outside", "inside"])
def test_symlinks_below_the_root_are_refused_and_not_listed(store: LocalStore, tmp_path: Path, points_to: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put("real/secret", b"x")
    target = outside if points_to == "outside" else store.root / "real"
    (store.root / "folder").symlink_to(target)
    (store.root / "file").symlink_to(target / "secret")
    for key in ("folder/secret", "file"):
        for method in (store.get, store.head, store.delete, store.path, lambda k: store.put(k, b"overwritten")):
            with pytest.raises(KeyInvalid, match="symlink"):
                method(key)
    with pytest.raises(KeyInvalid, match="symlink"):
        store.list("folder/")
    assert [info.key for info in store.list()] == ["real/secret"]
    assert store.sizes(["folder/secret", "file", "real/secret"]) == {"real/secret": 1}
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_root_itself_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "lake").symlink_to(tmp_path / "big-disk")
    LocalStore(tmp_path / "lake").put("a", b"1")
    assert (tmp_path / "big-disk" / "a").read_bytes() == b"1"


def test_a_key_that_runs_through_an_object_is_refused(store: LocalStore) -> None:
    store.put("a/b", b"1")
    for key in ("a/b/c", "a"):
        for if_absent in (True, False):
            with pytest.raises(KeyInvalid, match="begin"):
                store.put(key, b"2", if_absent=if_absent)
    assert store.get("a/b") == b"1"


def test_names_that_can_be_no_key_are_not_listed(store: LocalStore) -> None:
    store.put("a", b"1")
    Path(os.fsdecode(os.fsencode(store.root) + b"/\xff\xfe")).write_bytes(b"")
    (store.root / "line\nbreak").write_bytes(b"")
    assert [info.key for info in store.list()] == ["a"]


def test_a_full_disk_says_where_and_what_to_do(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"before")

    def no_space(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        with pytest.raises(DiskFull, match="a") as caught:
            store.put("a", b"after")
    assert caught.value.path == str(store.root / "a")
    assert "Free space" in caught.value.explain()
    assert store.get("a") == b"before"
    assert [name for name in files_below(store.root / ".tmp") if not name.endswith(".lock")] == []
    store.put("a", b"after")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tiny", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_that_is_really_full_takes_up_work_when_there_is_room(tiny_disk: Path) -> None:
    store = LocalStore(tiny_disk, "lake")
    store.put("a", b"x" * 40_000)
    for _ in range(3):
        with pytest.raises(DiskFull):
            store.put("b", b"x" * 40_000, if_absent=True)
    assert [info.key for info in store.list()] == ["a"]
    store.delete("a")
    store.put("b", b"x" * 40_000, if_absent=True)
    assert store.head("b").size == 40_000


def test_other_errors_of_the_disk_name_the_path(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(handle: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "fsync", denied)
    with pytest.raises(BucketUnavailable, match=r"lake did not answer \(put\): Permission denied \(.*lake/a/b\)") as caught:
        store.put("a/b", b"")
    assert "permissions" in caught.value.explain()


EVERYTHING: dict[str, Callable[[LocalStore], object]] = {
    "put": lambda store: store.put("a/b", b"2"),
    "put if absent": lambda store: store.put("a/c", b"2", if_absent=True),
    "stage": lambda store: store.stage(),
    "get": lambda store: store.get("a/b"),
    "head": lambda store: store.head("a/b"),
    "list": lambda store: list(store.list("a/")),
    "folders": lambda store: store.folders(""),
    "delete": lambda store: store.delete("a/b"),
}


@pytest.mark.parametrize("mount_point", [False, True], ids=["gone", "empty"])
@pytest.mark.parametrize("operation", EVERYTHING)
def test_a_root_that_is_gone_is_not_made_again(store: LocalStore, tmp_path: Path, operation: str, mount_point: bool) -> None:
    store.put("a/b", b"1")
    store.root.rename(tmp_path / "away")
    if mount_point:
        store.root.mkdir()
    for _ in range(2):
        with pytest.raises(BucketUnavailable, match=f"its folder {store.root} is gone") as raised:
            EVERYTHING[operation](store)
    assert f"mkdir -p {store.root}/datasets" in (raised.value.remedy or "")
    if mount_point:
        store.root.rmdir()
    assert not store.root.exists()
    (tmp_path / "away").rename(store.root)
    assert store.get("a/b") == b"1"
    store.put("a/b", b"3")


def test_a_root_that_somebody_knows_of_is_not_made(store: LocalStore) -> None:
    store.expect()
    with pytest.raises(BucketUnavailable, match="is gone, or empty now"):
        store.put("a", b"1")
    (store.root / "datasets").mkdir(parents=True)
    store.put("a", b"1")


def test_a_folder_below_the_root_is_made_again(store: LocalStore) -> None:
    store.put("a/b", b"1")
    shutil.rmtree(store.root / "a")
    store.put("a/b", b"3")
    assert store.get("a/b") == b"3"


def test_a_root_that_is_removed_again_and_again_costs_no_open_files(store: LocalStore) -> None:
    for _ in range(3):
        store.put("a", b"1")
    before = open_below(store.root)
    for _ in range(10):
        shutil.rmtree(store.root)
        with pytest.raises(BucketUnavailable):
            store.put("a", b"2")
        (store.root / "datasets").mkdir(parents=True)
        store.put("a", b"2")
    assert open_below(store.root) == before


def test_a_staged_file_that_is_gone_takes_no_other_with_it(store: LocalStore) -> None:
    other, gone = store.stage(), store.stage()
    other.write_bytes(b"1")
    gone.unlink()
    with pytest.raises(BucketUnavailable):
        store.put_file("a", gone)
    store.put_file("b", other)
    assert store.get("b") == b"1"
    assert store.stage().parent == other.parent


def test_a_folder_that_comes_back_with_the_object_in_it_has_it(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes folder and object anew between our two tries."""
    store.put("a/other", b"1")
    link = os.link

    def removed_then_taken(staged: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        target.write_bytes(b"theirs")
        raise FileNotFoundError(errno.ENOENT, "gone", str(target))

    monkeypatch.setattr(os, "link", removed_then_taken)
    with pytest.raises(ObjectExists):
        store.put("a/b", b"ours", if_absent=True)
    assert store.get("a/b") == b"theirs"


def test_a_deletion_that_failed_is_made_durable_by_the_next(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/b", b"1")
    synced: list[Path] = []

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(BucketUnavailable):
            store.delete("a/b")
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    store.delete("a/b")
    assert synced == [store.root / "a"]
    store.delete("c/b")


@pytest.mark.parametrize("if_absent", [False, True])
def test_what_was_put_is_put_although_its_staged_file_cannot_be_removed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, if_absent: bool
) -> None:
    staged = store.stage()
    staged.write_bytes(b"1")

    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "unlink", broken)
    store.put_file("a", staged, if_absent=if_absent)
    store.put("b", b"2", if_absent=if_absent)
    assert (store.get("a"), store.get("b")) == (b"1", b"2")


STAGE_AND_WAIT = """
from pathlib import Path
from state.local_store import LocalStore
store = LocalStore(Path(sys.argv[1]))
staged = store.stage()
staged.write_bytes(b"half")
print(staged, flush=True)
sys.stdin.read()
"""


def test_only_what_dead_processes_left_is_swept(store: LocalStore) -> None:
    mine = store.stage()
    alive, killed = python(STAGE_AND_WAIT, str(store.root)), python(STAGE_AND_WAIT, str(store.root))
    with alive, killed:
        paths = [Path(process.stdout.readline().strip()) for process in (alive, killed)]  # type: ignore[union-attr]
        killed.kill()
        killed.wait()
        assert store.sweep_staging() == 1
        assert [path.exists() for path in (mine, *paths)] == [True, True, False]
        assert store.sweep_staging() == 0
        alive.stdin.close()  # type: ignore[union-attr]
        alive.wait()
        assert not paths[0].exists(), "a process that ends by itself cleans up"
    assert store.sweep_staging() == 0
    assert mine.exists()


def test_half_a_sweep_is_finished_and_strangers_are_left_alone(store: LocalStore) -> None:
    store.stage()
    base = store.root / ".tmp"
    (base / "1-dead").mkdir()
    (base / "1-dead" / "0").write_bytes(b"half")
    (base / "2-dead.lock").touch()
    (base / "stranger").write_bytes(b"")
    assert store.sweep_staging() == 2
    assert {path.name for path in base.iterdir() if path.name.startswith(("1", "2", "s"))} >= {"stranger"}
    assert not (base / "1-dead").exists()
    assert not (base / "2-dead.lock").exists()


DIE_AT = """
from pathlib import Path
from state.failpoints import arm
from state.local_store import LocalStore
store = LocalStore(Path(sys.argv[1]))
store.put("log/1", b"one", if_absent=True)
arm({sys.argv[2]: "kill"})
store.put("log/2", b"two" * 1000, if_absent=True)
"""


@pytest.mark.parametrize("point", [name for name in declared() if name.startswith("local-store.")])
def test_a_put_that_is_killed_has_happened_or_not(store: LocalStore, point: str) -> None:
    with python(DIE_AT, str(store.root), point) as process:
        assert process.wait() == -signal.SIGKILL
    assert store.get("log/1") == b"one"
    assert {info.key: info.size for info in store.list("log/2")} in ({}, {"log/2": 3000})
    assert store.sweep_staging() == 1
    assert {name for name in files_below(store.root) if name.startswith(".tmp")} <= set()


RACE = """
from pathlib import Path
from state.errors import ObjectExists
from state.local_store import LocalStore
store = LocalStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
won = 0
for turn in range(50):
    try:
        store.put(f"race/{turn}", sys.argv[2].encode(), if_absent=True)
        won += 1
    except ObjectExists:
        assert len(store.get(f"race/{turn}")) == 1
print(won)
"""


def test_of_many_processes_one_wins_each_key(store: LocalStore) -> None:
    racers = [python(RACE, str(store.root), str(number)) for number in range(4)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for racer in racers:
        racer.stdin.write("go\n")  # type: ignore[union-attr]
        racer.stdin.flush()  # type: ignore[union-attr]
    wins = [int(racer.communicate()[0]) for racer in racers]
    assert sum(wins) == 50
    owners = [store.get(info.key).decode() for info in store.list("race/")]
    assert [owners.count(str(number)) for number in range(4)] == wins


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_file_where_the_root_should_be_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "lake").write_text("not a folder", encoding="utf-8")
    store = LocalStore(tmp_path / "lake" / below, "primary")
    with pytest.raises(BucketUnavailable) as raised:
        store.put("a/b", b"x")
    assert f"{tmp_path}/lake is no folder" in str(raised.value)
    assert raised.value.remedy == "Move it away, or give the bucket another path."


def test_scratch_is_among_what_is_staged_and_leaves_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "lake", "lake")
    with scratch(store) as folder:
        (folder / "spilled").write_text("x")
        assert tmp_path / "lake/.tmp" in folder.parents
        beside = list(folder.parent.iterdir())
    assert not folder.exists()
    assert [path for path in beside if path.exists()] == []
