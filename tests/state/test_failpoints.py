"""Failpoints do nothing until armed, and then exactly what they were armed for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from state import failpoints
from state.errors import FailpointError


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


def test_names_are_registered_and_harmless() -> None:
    name = failpoints.declare("test.somewhere")
    assert name in failpoints.declared()
    failpoints.hit(name)


def test_an_error_is_raised_once_at_the_hit_that_was_asked_for() -> None:
    failpoints.arm({"test.a": "error@3", "test.b": "error"})
    assert failpoints.armed() == {"test.a": "error@3", "test.b": "error"}
    failpoints.hit("test.a")
    failpoints.hit("test.c")
    failpoints.hit("test.a")
    with pytest.raises(FailpointError, match=r"test\.a"):
        failpoints.hit("test.a")
    failpoints.hit("test.a")
    assert failpoints.armed() == {"test.b": "error"}


@pytest.mark.parametrize("action", ["", "sleep", "kill@", "kill@x", "error@-1", "kill@0"])
def test_what_is_no_action_is_refused(action: str) -> None:
    with pytest.raises(ValueError, match="is no action"):
        failpoints.arm({"test.a": action})
