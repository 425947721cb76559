"""Work behind: one piece at a time, whose errors reach whoever gives or awaits the next."""

from __future__ import annotations

import threading

import pytest

from engines.files.behind import Behind


def test_one_piece_at_a_time_and_none_begins_before_the_former_is_done() -> None:
    done: list[int] = []
    behind: Behind[int] = Behind()
    for number in range(5):
        assert done == list(range(len(done)))

        def work(number: int = number) -> int:
            done.append(number)
            return number

        behind.start(work)
    assert behind.wait() == 4
    assert done == [0, 1, 2, 3, 4]
    assert behind.wait() is None
    behind.close()


def test_it_goes_on_meanwhile() -> None:
    behind: Behind[bool] = Behind()
    begun, told = threading.Event(), threading.Event()
    behind.start(lambda: begun.set() or told.wait(30))
    assert begun.wait(30)
    told.set()
    assert behind.wait()
    behind.close()


def test_what_a_piece_raised_is_told_once() -> None:
    behind: Behind[None] = Behind()

    def fails() -> None:
        raise OSError(28, "No space left on device")

    behind.start(fails)
    with pytest.raises(OSError, match="No space"):
        behind.start(fails)
    behind.start(fails)
    with pytest.raises(OSError, match="No space"):
        behind.wait()
    assert behind.wait() is None
    behind.start(fails)
    behind.close()
    behind.close()


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    behind: Behind[None] = Behind()
    assert threading.active_count() == before
    behind.start(lambda: None)
    behind.close()
    assert threading.active_count() == before
