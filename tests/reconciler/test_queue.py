"""The queue keeps client-go's invariants; time is told by the tests."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from reconciler.queue import WorkQueue
from specs.resource import Key

A, B, C = (Key("Dataset", name) for name in "abc")
MAX_AGE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its first wait; what it returned, or None if it waits (it is then closed)."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    return None


def taken(queue: WorkQueue) -> Key | None:
    """The next key if there is one now. A coroutine that has to wait asks for the running loop, and there is none."""
    try:
        key: Key | None = drive(queue.get())
    except RuntimeError:
        return None
    return key


def all_of(queue: WorkQueue) -> list[Key]:
    keys = []
    while (key := taken(queue)) is not None:
        keys.append(key)
        queue.done(key)
    return keys


def test_first_in_first_out() -> None:
    queue = WorkQueue(Clock())
    for key in (B, A, C):
        queue.add(key)
    assert all_of(queue) == [B, A, C]


def test_additions_coalesce() -> None:
    queue = WorkQueue(Clock())
    for key in (A, B, A, A, B):
        queue.add(key)
    assert queue.depth == 2
    assert all_of(queue) == [A, B]


def test_added_while_processed_is_queued_once_more_when_done() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    assert taken(queue) == A
    for _ in range(3):
        queue.add(A)
    assert taken(queue) is None
    assert (queue.depth, queue.processing, queue.idle) == (0, frozenset({A}), False)
    queue.done(A)
    assert all_of(queue) == [A]
    assert queue.idle


def test_changes_go_before_resyncs() -> None:
    queue = WorkQueue(Clock(), MAX_AGE)
    queue.add(A, resync=True)
    queue.add(B)
    assert (queue.depth, queue.changes) == (2, 1)
    assert all_of(queue) == [B, A]


def test_a_resync_that_waited_long_enough_goes_first() -> None:
    clock = Clock()
    queue = WorkQueue(clock, MAX_AGE)
    queue.add(A, resync=True)
    queue.add(B)
    queue.add(C)
    clock.now += MAX_AGE - 0.1
    assert taken(queue) == B
    clock.now += 0.1
    assert taken(queue) == A
    assert taken(queue) == C


def test_a_resync_asked_for_again_does_not_grow_younger() -> None:
    clock = Clock()
    queue = WorkQueue(clock, MAX_AGE)
    queue.add(A, resync=True)
    clock.now += MAX_AGE
    queue.add(A, resync=True)
    queue.add(B)
    assert taken(queue) == A


@pytest.mark.parametrize("first", [True, False])
def test_a_change_overtakes_the_resync_of_its_key(first: bool) -> None:
    queue = WorkQueue(Clock())
    queue.add(B, resync=True)
    queue.add(A, resync=first)
    queue.add(A, resync=not first)
    assert all_of(queue) == [A, B]


def test_what_was_added_while_processed_keeps_its_lane() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    taken(queue)
    queue.add(A, resync=True)
    queue.add(B)
    queue.done(A)
    assert all_of(queue) == [B, A]
    queue.add(A)
    taken(queue)
    queue.add(A, resync=True)
    queue.add(A)
    queue.done(A)
    assert queue.changes == 1


class TestLater:
    def test_not_before_it_is_due(self) -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add_after(A, 5)
        assert queue.delayed == {A}
        assert queue.idle
        clock.now += 4.9
        assert taken(queue) is None
        clock.now += 0.1
        assert taken(queue) == A
        assert queue.delayed == frozenset()

    @pytest.mark.parametrize("order", [(5.0, 2.0), (2.0, 5.0)])
    def test_the_earliest_wins_and_the_other_is_forgotten(self, order: tuple[float, float]) -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        for seconds in order:
            queue.add_after(A, seconds)
        clock.now += 2
        assert all_of(queue) == [A]
        clock.now += 10
        assert all_of(queue) == []

    def test_forgotten(self) -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add_after(A, 1)
        queue.forget(A)
        assert queue.delayed == frozenset()
        clock.now += 2
        assert all_of(queue) == []
        queue.add_after(A, 1)
        clock.now += 1
        assert all_of(queue) == [A]

    def test_due_while_it_is_processed(self) -> None:
        clock = Clock()
        queue = WorkQueue(clock)
        queue.add(A)
        assert taken(queue) == A
        queue.add_after(A, 1)
        clock.now += 1
        assert taken(queue) is None
        queue.done(A)
        assert all_of(queue) == [A]


class TestWaiting:
    """On a real loop: who waits is woken, and closing wakes everybody."""

    @asynccontextmanager
    async def waiter(self, queue: WorkQueue) -> AsyncIterator[asyncio.Task[Key]]:
        task = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not task.done()
        try:
            yield task
        finally:
            task.cancel()

    @pytest.mark.parametrize("ask", [lambda queue: queue.add(A), lambda queue: queue.add_after(A, 0.01)])
    def test_an_addition_wakes(self, ask: Callable[[WorkQueue], None]) -> None:
        async def scenario() -> None:
            queue = WorkQueue(asyncio.get_running_loop().time)
            async with self.waiter(queue) as task:
                ask(queue)
                assert await asyncio.wait_for(task, 5) == A

        asyncio.run(scenario())

    def test_done_wakes(self) -> None:
        async def scenario() -> None:
            queue = WorkQueue(asyncio.get_running_loop().time)
            queue.add(A)
            await queue.get()
            async with self.waiter(queue) as task:
                queue.add(A)
                queue.done(A)
                assert await asyncio.wait_for(task, 5) == A

        asyncio.run(scenario())

    def test_one_addition_is_one_key(self) -> None:
        async def scenario() -> None:
            queue = WorkQueue(asyncio.get_running_loop().time)
            async with self.waiter(queue) as one, self.waiter(queue) as other:
                queue.add(A)
                done, _ = await asyncio.wait((one, other), timeout=5, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0)
                assert [task.result() for task in done] == [A]
                assert one.done() != other.done()

        asyncio.run(scenario())

    def test_closing_ends_everybody_and_takes_nothing_in(self) -> None:
        async def scenario() -> None:
            queue = WorkQueue(asyncio.get_running_loop().time)
            async with self.waiter(queue) as one, self.waiter(queue) as other:
                queue.close()
                found = await asyncio.gather(one, other, return_exceptions=True)
                assert [type(error) for error in found] == [asyncio.CancelledError] * 2
            queue.add(A)
            queue.add_after(A, 0)
            assert (queue.depth, queue.delayed) == (0, frozenset())
            with pytest.raises(asyncio.CancelledError):
                await queue.get()

        asyncio.run(scenario())


def test_what_is_processed_when_it_closes_is_not_queued_again() -> None:
    queue = WorkQueue(Clock())
    queue.add(A)
    taken(queue)
    queue.add(A)
    queue.close()
    queue.done(A)
    assert (queue.depth, queue.processing) == (0, frozenset())


class QueueAgainstModel(RuleBasedStateMachine):
    """The model has three plain sets; the queue must hand out what it would."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = WorkQueue(self.clock, MAX_AGE)
        self.changes: OrderedDict[Key, None] = OrderedDict()
        self.resyncs: OrderedDict[Key, float] = OrderedDict()
        self.processing: set[Key] = set()
        self.again: dict[Key, bool] = {}
        self.due: dict[Key, float] = {}

    def _add(self, key: Key, resync: bool) -> None:
        if key in self.processing:
            self.again[key] = self.again.get(key, True) and resync
        elif not resync:
            self.resyncs.pop(key, None)
            self.changes.setdefault(key, None)
        elif key not in self.changes:
            self.resyncs.setdefault(key, self.clock.now)

    @rule(key=st.sampled_from([A, B, C]), resync=st.booleans())
    def add(self, key: Key, resync: bool) -> None:
        self.queue.add(key, resync=resync)
        self._add(key, resync)

    @rule(key=st.sampled_from([A, B, C]), seconds=st.integers(1, 20))
    def add_after(self, key: Key, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self.due[key] = min(self.due.get(key, 1e9), self.clock.now + seconds)

    @rule(key=st.sampled_from([A, B, C]))
    def forget(self, key: Key) -> None:
        self.queue.forget(key)
        self.due.pop(key, None)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(target=held)
    def get(self) -> Key | None:
        for due in sorted((key for key, at in self.due.items() if at <= self.clock.now), key=lambda key: self.due[key]):
            del self.due[due]
            self._add(due, False)
        old = bool(self.resyncs) and (not self.changes or self.clock.now - next(iter(self.resyncs.values())) >= MAX_AGE)
        lane = self.resyncs if old else self.changes
        expected = next(iter(lane)) if lane else None
        key = taken(self.queue)
        if key != expected and key in lane:
            # two retries that are due at the same instant may come in either order
            expected = key
        assert key == expected
        if key is not None:
            assert key not in self.processing, "never twice at once"
            del lane[key]
            self.processing.add(key)
        return key

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.processing)))
        self.queue.done(key)
        self.processing.remove(key)
        if key in self.again:
            self._add(key, self.again.pop(key))

    @invariant()
    def agrees(self) -> None:
        assert self.queue.processing == self.processing
        assert self.queue.depth == len(self.changes) + len(self.resyncs)
        assert self.queue.changes == len(self.changes)
        assert self.queue.delayed == self.due.keys()
        assert self.queue.idle == (not self.changes and not self.resyncs and not self.processing)


TestQueueAgainstModel = QueueAgainstModel.TestCase


@given(workers=st.integers(1, 4), additions=st.lists(st.sampled_from([A, B, C]), max_size=30))
def test_workers_never_share_a_key_and_lose_none(workers: int, additions: list[Key]) -> None:
    """Every addition is followed by a visit that begins after it."""

    async def scenario() -> None:
        queue = WorkQueue(asyncio.get_running_loop().time)
        busy: set[Key] = set()
        visited: dict[Key, int] = {}
        asked: dict[Key, int] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in busy
                busy.add(key)
                visited[key] = asked[key]
                await asyncio.sleep(0)
                busy.remove(key)
                queue.done(key)
                visits.set()

        visits = asyncio.Event()
        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for number, key in enumerate(additions):
            asked[key] = number
            queue.add(key)
            if number % 3 == 0:
                await asyncio.sleep(0)
        while not queue.idle:
            visits.clear()
            await visits.wait()
        assert visited == asked
        queue.close()
        for ending in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ending, asyncio.CancelledError)

    asyncio.run(scenario())
