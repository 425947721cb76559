"""No reader is answered by specs that a commit took back: the ref is looked at, and followed, before."""

from __future__ import annotations

import asyncio

import pytest

from engines.errors import ReadersClosed
from reconciler import newest
from reconciler.errors import SourceUnavailable
from reconciler.newest import Newest

pytestmark = pytest.mark.anyio


class Lake:
    """A ref and what is in force; following takes as long as a test wants."""

    def __init__(self, head: str | None, in_force: str | None) -> None:
        self.head, self.revision = head, in_force
        self.followed = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def newest(self) -> Newest:
        return Newest(lambda: self.head, lambda: self.revision, self.follow)

    async def follow(self) -> None:
        await self.gate.wait()
        self.followed += 1
        self.revision = self.head


@pytest.mark.parametrize(("head", "in_force"), [("b", None), ("a", "a"), (None, "dir-1")])
async def test_nothing_is_waited_for_where_nothing_moved(head: str | None, in_force: str | None) -> None:
    lake = Lake(head, in_force)
    assert not await lake.newest().caught_up()
    assert lake.followed == 0


async def test_a_commit_is_followed_first() -> None:
    lake = Lake("b", "a")
    lake.gate.clear()
    asked = asyncio.ensure_future(lake.newest().caught_up())
    done, _ = await asyncio.wait([asked], timeout=0.05)
    assert not done
    lake.gate.set()
    assert await asked
    assert lake.revision == "b"
    assert not await lake.newest().caught_up()


async def test_a_commit_that_is_followed_while_the_ref_is_looked_at_counts() -> None:
    lake = Lake("b", "a")

    def head() -> str | None:
        lake.revision = lake.head
        return lake.head

    assert await Newest(head, lambda: lake.revision, lake.follow).caught_up()
    assert lake.followed == 0


async def test_where_it_cannot_be_followed_in_time_nobody_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "PATIENCE", 0.01)
    lake = Lake("b", "a")
    lake.gate.clear()
    with pytest.raises(ReadersClosed, match="A commit is being read") as closed:
        await lake.newest().caught_up()
    assert closed.value.remedy


async def test_a_repository_that_cannot_be_read_leaves_the_last_specs_in_force() -> None:
    def unreadable() -> str:
        raise SourceUnavailable("it is gone")

    lake = Lake("b", "a")
    assert not await Newest(unreadable, lambda: lake.revision, lake.follow).caught_up()
