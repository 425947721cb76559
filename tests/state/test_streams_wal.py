"""The write-ahead file: durable when acknowledged, shared syncs, torn tails, live and dead owners, a full disk."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from shutil import rmtree

import pytest

from state.errors import BucketUnavailable, DiskFull
from state.streams import wal
from state.streams.wal import WalRecord, WriteAhead, orphans, read_wal, wal_paths

IDS = [f"01ARZ3NDEKTSV4RRFFQ69G5F{n:02d}" for n in range(100)]


def line(number: int, stream: str = "events") -> bytes:
    return WalRecord(stream, IDS[number], b'{"id":"%b"}' % IDS[number].encode()).encode()


def ids_in(folder: Path, stream: str | None = None) -> list[str]:
    contents = [read_wal(path, stream) for path in wal_paths(folder)]
    return [record.id for content in contents if content for record in content.records]


@pytest.fixture
def ahead(tmp_path: Path) -> WriteAhead:
    return WriteAhead(tmp_path / "wal", "me")


def test_no_file_before_the_first_append(ahead: WriteAhead, tmp_path: Path) -> None:
    assert wal_paths(tmp_path / "wal") == []
    ahead.sync()
    assert ahead.seal() == ()
    assert not (tmp_path / "wal").exists()


def test_append_returns_after_the_sync_that_covers_it(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[list[str]] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        synced.append(ids_in(tmp_path / "wal"))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    ahead.append(line(0))
    assert synced == [IDS[:1]]
    ahead.append_lazy(line(1))
    assert synced == [IDS[:1]]
    ahead.append(line(2))
    assert synced[1:] == [IDS[:3]]


def test_the_folder_and_those_above_it_are_synced_before_the_first_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may have been made by somebody who did not: a power cut would take the folder, and with it what was acknowledged."""
    folder = tmp_path / "cache" / "wal"
    folder.parent.mkdir()
    synced: set[Path] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    WriteAhead(folder, "me").append(line(0))
    assert {tmp_path, folder.parent, folder} <= synced


def test_appenders_that_come_during_a_sync_share_the_next(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    syncs: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        syncs.append(descriptor)
        begun.set()
        assert go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    first = threading.Thread(target=ahead.append, args=(line(0),))
    first.start()
    assert begun.wait(10)
    joined = threading.Barrier(21)

    def join(number: int) -> None:
        joined.wait(10)
        ahead.append(line(number))

    others = [threading.Thread(target=join, args=(number,)) for number in range(1, 21)]
    for other in others:
        other.start()
    joined.wait(10)
    while len(ahead._group.lines) < 20:
        os.sched_yield()
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert len(syncs) == 2
    assert sorted(ids_in(tmp_path / "wal")) == IDS[:21]


@pytest.mark.parametrize("cut", range(1, len(line(1))))
def test_a_torn_last_line_is_dropped(ahead: WriteAhead, tmp_path: Path, cut: int) -> None:
    ahead.append(line(0) + line(1))
    (path,) = wal_paths(tmp_path / "wal")
    os.truncate(path, path.stat().st_size - cut)
    content = read_wal(path)
    assert content is not None
    assert [record.id for record in content.records] == IDS[:1]
    assert content.damaged == 0


def test_what_is_forgotten_is_unlocked(tmp_path: Path) -> None:
    forgotten = WriteAhead(tmp_path / "wal", "me")
    forgotten.append(line(0))
    assert list(orphans(tmp_path / "wal")) == []
    del forgotten
    (file,) = orphans(tmp_path / "wal")
    assert [record.id for record in file.content().records] == IDS[:1]
    file.remove()
    file.release()  # once is enough


def test_a_damaged_line_costs_no_other(ahead: WriteAhead, tmp_path: Path) -> None:
    ahead.append(line(0) + line(1) + line(2))
    (path,) = wal_paths(tmp_path / "wal")
    data = bytearray(path.read_bytes())
    data[len(line(0)) + 60] ^= 1
    path.write_bytes(data)
    content = read_wal(path)
    assert content is not None
    assert [record.id for record in content.records] == [IDS[0], IDS[2]]
    assert content.damaged == 1


def test_one_stream_is_read_without_the_others(ahead: WriteAhead, tmp_path: Path) -> None:
    ahead.append(line(0) + line(1, "audit") + line(2))
    assert ids_in(tmp_path / "wal", "audit") == [IDS[1]]


def test_files_of_the_living_are_not_adopted_and_those_of_the_dead_are(ahead: WriteAhead, tmp_path: Path) -> None:
    ahead.append(line(0))
    assert list(orphans(tmp_path / "wal")) == []
    ahead.close()  # as death does: the lock is gone, the file is not
    (file,) = orphans(tmp_path / "wal")
    assert list(orphans(tmp_path / "wal")) == []
    file.remove()
    assert wal_paths(tmp_path / "wal") == []


def test_a_sealed_file_stays_locked_until_it_is_removed(ahead: WriteAhead, tmp_path: Path) -> None:
    ahead.append(line(0))
    (file,) = ahead.seal()
    ahead.append(line(1))
    assert list(orphans(tmp_path / "wal")) == []
    assert ids_in(tmp_path / "wal") == IDS[:2]
    file.remove()
    ahead.drop(file)
    assert ids_in(tmp_path / "wal") == IDS[1:2]


def test_an_adopter_that_takes_the_new_file_for_an_orphan_costs_nothing(
    ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wal.fcntl.flock
    taken: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        if not taken:
            (path,) = wal_paths(tmp_path / "wal")
            path.unlink()
            taken.append(path)
        real(descriptor, operation)

    monkeypatch.setattr(wal.fcntl, "flock", flock)
    ahead.append(line(0))
    assert len(taken) == 1
    assert ids_in(tmp_path / "wal") == IDS[:1]


def test_a_full_disk_names_the_folder_and_leaves_no_torn_line(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead.append(line(0))
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if len(data) > 10:
            return real(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        for _ in range(3):
            with pytest.raises(DiskFull, match="wal") as caught:
                ahead.append(line(1)[:15])
            assert caught.value.path == str(tmp_path / "wal")
        assert len(wal_paths(tmp_path / "wal")) == 1
    ahead.append(line(2))
    assert ids_in(tmp_path / "wal") == [IDS[0], IDS[2]]


def test_after_a_failed_sync_a_new_file_is_begun(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    ahead.append(line(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(BucketUnavailable):
            ahead.append(line(1))
        with pytest.raises(BucketUnavailable):
            ahead.append(line(1))
    ahead.append(line(2))
    assert ids_in(tmp_path / "wal") == [IDS[0], IDS[2]]
    assert len(wal_paths(tmp_path / "wal")) == 2


def test_every_member_of_a_failed_group_is_told(ahead: WriteAhead, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Barrier(8)
    told: list[bool] = []

    def fdatasync(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    def append(number: int) -> None:
        started.wait(10)
        with pytest.raises(DiskFull):
            ahead.append(line(number))
        told.append(True)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert told == [True] * 8


@pytest.mark.parametrize("error", [MemoryError("no room"), BucketUnavailable("write-ahead", "append", "gone"), ValueError("odd")])
def test_whatever_fails_is_told_and_not_acknowledged(ahead: WriteAhead, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(descriptor: int) -> None:
        raise error

    ahead.append(line(0))
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(type(error)):
        ahead.append(line(1))


def test_a_file_whose_name_was_removed_is_written_again(ahead: WriteAhead, tmp_path: Path) -> None:
    folder = tmp_path / "wal"
    ahead.append(line(0))
    rmtree(folder)
    ahead.append(line(1))
    assert ids_in(folder) == IDS[:2]
    assert ahead.size == sum(path.stat().st_size for path in wal_paths(folder))


def test_a_file_that_cannot_be_written_again_keeps_its_events(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead.append(line(0))
    wal_paths(tmp_path / "wal")[0].unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _full)
        with pytest.raises(DiskFull):
            ahead.append(line(1))
    ahead.append(line(2))
    assert ids_in(tmp_path / "wal") == [IDS[0], IDS[2]]
    assert len(wal_paths(tmp_path / "wal")) == 1


def test_what_cannot_be_cut_is_followed_by_nothing(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead.append(line(0))
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:20]) and _full(descriptor))
        patch.setattr(os, "ftruncate", lambda descriptor, size: _full(descriptor))
        with pytest.raises(DiskFull):
            ahead.append(line(1))
    ahead.append(line(2))
    assert ids_in(tmp_path / "wal") == [IDS[0], IDS[2]]


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_large_file_is_sealed_by_itself(ahead: WriteAhead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 100)
    for number in range(6):
        ahead.append(line(number))
    assert len(wal_paths(tmp_path / "wal")) > 1
    assert sorted(ids_in(tmp_path / "wal")) == IDS[:6]
    assert ahead.size == sum(path.stat().st_size for path in wal_paths(tmp_path / "wal"))
