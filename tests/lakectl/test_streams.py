"""`lakectl compact`, by a daemon and without one, and `lakectl audit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from state.catalog.catalog import Catalog
from state.catalog.log import WriterId

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
    Catalog.open(lakehouse.store, writer=WriterId("w", 1))
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


ROW = {"reader": "anonymous", "action": "query", "outcome": "done", "duration_ms": 4.25}


class TestAudit:
    """Without a daemon."""

    @pytest.fixture
    def audited(self, here: Lakehouse) -> Lakehouse:
        people = {"statement": "SELECT phone FROM people WHERE id = ?", "tables": ["people"], "columns": {"people": ["id", "phone"]}}
        unknown = {"tables": ["salaries"], "columns": {"salaries": ["*"]}, "columns_known": False, "reason": "table-unknown"}
        here.streams_.append_many(
            "audit",
            [
                ROW | people | {"rows": 1, "profile": "desk", "role": "clerk"},
                ROW | unknown | {"outcome": "refused", "profile": "desk"},
                ROW | {"action": "search", "index": "resumes", "tables": ["people"], "columns": {"people": ["cv"]}, "rows": 10},
                ROW | {"action": "object", "bucket": "lake", "key": "datasets/people/1.parquet", "bytes": 900},
            ],
        )
        here.streams_.flush()
        return here

    def test_who_read_what(self, audited: Lakehouse, golden: Any) -> None:
        golden.check("audit.txt", audited.call("audit").all)

    def test_narrowed(self, audited: Lakehouse) -> None:
        rows = audited.call("audit", "--profile", "desk", "--column", "phone", "-o", "json").document["rows"]
        assert [row["outcome"] for row in rows] == ["refused", "done"]
        assert audited.call("audit", "--table", "people", "--column", "name").err == "no reads\n"
        assert audited.call("audit", "-n", "1").err == "note: there are older ones; raise -n, or narrow them.\n"

    def test_counted(self, audited: Lakehouse, golden: Any) -> None:
        golden.check("audit-counted.txt", audited.call("audit", "--group", "profile,table").all)
        groups = audited.call("audit", "--group", "outcome", "-o", "json").document["groups"]
        assert [(group["outcome"], group["count"], group["p50Ms"]) for group in groups] == [("done", 3, 4.25), ("refused", 1, 4.25)]

    def test_what_cannot_be(self, audited: Lakehouse) -> None:
        said = audited.call("audit", "--outcome", "dun")
        assert (said.code, said.err.splitlines()[0]) == (2, "error: There is no outcome 'dun'.")


class TestAuditVerify:
    @pytest.fixture
    def audited(self, here: Lakehouse) -> Lakehouse:
        here.streams_.append_many("audit", [ROW | {"rows": number} for number in range(5)])
        here.streams_.flush()
        return here

    def tamper(self, audited: Lakehouse, old: bytes, new: bytes) -> None:
        (path,) = audited.root.glob("lake/streams/audit/*/*.jsonl")
        path.write_bytes(path.read_bytes().replace(old, new))

    def test_intact(self, audited: Lakehouse) -> None:
        said = audited.call("audit", "verify")
        assert (said.code, said.out) == (0, "✔  The audit is intact: 5 rows by 1 writer.\n")

    def test_findings(self, audited: Lakehouse, golden: Any) -> None:
        self.tamper(audited, b'"rows":2', b'"rows":9')
        said = audited.call("audit", "verify")
        assert said.code == 1
        golden.check("audit-verify.txt", said.all)
        document = audited.call("audit", "verify", "-o", "json").document
        assert document["intact"] is False
        assert [(found["fault"], found["number"]) for found in document["findings"]] == [("damaged", None), ("edited", 3)]

    def test_a_head_that_was_kept_elsewhere(self, audited: Lakehouse, tmp_path: Path) -> None:
        kept = tmp_path / "head.json"
        kept.write_text(audited.call("audit", "verify", "-o", "json").out)
        assert audited.call("audit", "verify", "--head", str(kept)).code == 0
        for path in [*audited.root.glob("lake/chains/*/*"), *audited.root.glob("lake/streams/audit/*/*")]:
            path.unlink()
        assert audited.call("audit", "verify").code == 0
        said = audited.call("audit", "verify", "--head", str(kept))
        assert said.code == 1
        assert "rows 1 to 5 of this writer were there, says the head that was given" in " ".join(said.out.split())

    @pytest.mark.parametrize("words", [["--head", "/nowhere"], ["nonsense"], ["verify", "--head", "/nowhere"]])
    def test_what_could_not_be_found_out(self, audited: Lakehouse, words: list[str]) -> None:
        assert audited.call("audit", *words).code == 2
