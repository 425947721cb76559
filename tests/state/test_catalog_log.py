"""The log: who wins a number, what a loser finds there, and what damage looks like."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from obstore.store import MemoryStore

from state.catalog.entry import Entry, Suspended
from state.catalog.log import CatalogLog, log_key
from state.errors import BucketUnavailable, CatalogCorrupt, LeaseLost, ObjectExists
from state.objects import ObjectStore
from state.remote_store import Clients, ObstoreStore, open_memory


def entry(seq: int, writer: str = "w", epoch: int = 1, why: str = "x") -> Entry:
    return Entry(seq, writer, epoch, "2026-11-22T15:51:52.123Z", "ann", "because", None, (Suspended("Dataset/a", "ann", why),))


@pytest.fixture
def store() -> ObstoreStore:
    return open_memory("lake")


@pytest.fixture
def log(store: ObjectStore) -> CatalogLog:
    return CatalogLog(store)


class Forgetful(ObstoreStore):
    """A store whose puts win and then fail: by their own retry, or by no answer at all."""

    error: Callable[[str], Exception] | None = None

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        super().put(key, data, if_absent=if_absent)
        if self.error is not None:
            raise self.error(key)


def test_entries_are_read_in_order(log: CatalogLog) -> None:
    written = [log.append(entry(seq)) for seq in (1, 2, 3)]
    assert list(log.tail(0)) == written
    assert list(log.tail(2)) == written[2:]
    assert log.read(4) is None
    log.check_end(3)


def test_a_put_that_won_without_an_answer_is_ones_own() -> None:
    store = Forgetful(Clients.of(MemoryStore()), "lake")
    store.error = lambda key: ObjectExists("lake", key)
    log, ours = CatalogLog(store), entry(1)
    assert log.append(ours) is ours
    store.error = lambda key: BucketUnavailable("lake", "put", "timeout")
    with pytest.raises(BucketUnavailable):
        log.append(entry(2))
    assert log.append(entry(2, why="y")) == entry(2)


def test_an_older_writer_is_superseded_and_a_newer_one_ends_us(log: CatalogLog) -> None:
    log.append(entry(1, "old", 1))
    assert log.append(entry(1, "new", 2)) == entry(1, "old", 1)
    log.append(entry(2, "new", 2))
    with pytest.raises(LeaseLost, match="new") as lost:
        log.append(entry(2, "old", 1))
    assert (lost.value.epoch, lost.value.newer) == (1, 2)
    with pytest.raises(LeaseLost):
        log.append(entry(2, "another", 2))


@pytest.mark.parametrize("data", [b"", b'{"format":1,', entry(9).encode()])
def test_damage_is_named(store: ObjectStore, log: CatalogLog, data: bytes) -> None:
    store.put(log_key(1), data)
    for read in (lambda: log.read(1), lambda: list(log.tail(0)), lambda: log.append(entry(1))):
        with pytest.raises(CatalogCorrupt, match=re.escape(log_key(1))) as raised:
            read()
        assert raised.value.remedy


@pytest.mark.parametrize("behind", [1, 2, 3, 9])
def test_a_gap_is_noticed(store: ObjectStore, log: CatalogLog, behind: int) -> None:
    for seq in range(1, 3 + behind):
        log.append(entry(seq))
    store.delete(log_key(2))
    with pytest.raises(CatalogCorrupt, match=r"00002\.json is missing"):
        log.check_end(1)
    with pytest.raises(CatalogCorrupt, match="is missing"):
        log.require(2)


def test_only_entries_that_mention_a_name_are_parsed(log: CatalogLog) -> None:
    log.append(entry(1))
    assert log.mentioning(1, ["Dataset/b", "Dataset/a"]) == entry(1)
    assert log.mentioning(1, ["Dataset/aa", "Dataset"]) is None
