"""`lakectl compact`, by a daemon and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Lakehouse

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


@pytest.fixture
def here(lakehouse: Lakehouse) -> Lakehouse:
    """Three segments of failures, and nobody who holds the lease."""
    (lakehouse.root / "specs" / "bucket.yaml").write_text(BUCKET)
    lakehouse.store.put("state.json", lakehouse.id.encode())
    for number in range(3):
        lakehouse.streams_.append("errors", {"bucket": f"b{number}"})
        lakehouse.streams_.flush()
    return lakehouse


class TestCompact:
    def test_here_under_the_lease(self, here: Lakehouse) -> None:
        said = here.call("compact", "errors", "-o", "json")
        assert said.code == 0, said.err
        (row,) = said.document["streams"]
        assert (row["stream"], row["before"]["objects"], row["after"]["objects"]) == ("errors", 3, 1)
        assert row["before"]["events"] == row["after"]["events"] == 3
        assert [event["bucket"] for event in here.streams_.read("errors")] == ["b0", "b1", "b2"]
        assert here.call("compact", "errors").out.startswith("errors: nothing to fold (1 object, ")
        here.hold()  # it was given back

    def test_all(self, here: Lakehouse) -> None:
        assert "errors: 3 objects of " in here.call("compact", "--all").out

    def test_beside_a_daemon_it_is_asked(self, alive: Lakehouse) -> None:
        said = alive.call("compact", "--all", "--timeout", "0", "-o", "json")
        assert (said.code, said.document["outcome"]) == (1, "waiting")
        (request,) = alive.requests.pending()
        assert (request.verb, request.object) == ("compact", "")
        assert "errors" in request.payload["streams"]

    @pytest.mark.parametrize("words", [[], ["errors", "--all"], ["nonsense"]])
    def test_what_cannot_be_asked(self, here: Lakehouse, words: list[str]) -> None:
        assert here.call("compact", *words).code == 2
