"""`lakectl buckets` and `errors`, by a daemon and without one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from state.catalog.catalog import Catalog
from state.catalog.entry import Suspended
from state.catalog.log import WriterId

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

Lakectl = Callable[..., "Said"]

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def failed(bucket: str, op: str, key: str, minute: int, rescue: str | None = None) -> dict[str, Any]:
    row = {"at": f"2026-03-01T11:{minute:02d}:00.000Z", "bucket": bucket, "op": op, "key": key, "class": "bucket-unavailable"}
    more = {"message": f"Bucket {bucket} did not answer ({op}): connection refused.", "duration_ms": 5.0, "attempt": 3}
    return row | more | {"rescued": rescue is not None, "rescue_bucket": rescue}


@pytest.fixture
def here(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    monkeypatch.chdir(lakehouse.root)
    (lakehouse.root / "specs" / "bucket.yaml").write_text(BUCKET)
    lakehouse.streams_.append_many(
        "errors",
        [
            failed("archive", "get", "datasets/people/1.parquet", 1),
            failed("archive", "get", "datasets/people/2.parquet", 2, "mirror"),
            failed("archive", "put", "indexes/about/builds/x", 3),
        ],
    )
    lakehouse.streams_.flush()
    return lakehouse


class TestErrors:
    def test_listed_and_counted(self, here: Lakehouse, lakectl: Lakectl, golden: Any) -> None:
        golden.check("errors.txt", lakectl("errors").all + lakectl("errors", "--group", "bucket,op").all)

    def test_narrowed(self, here: Lakehouse, lakectl: Lakectl) -> None:
        found = lakectl("errors", "--key", "datasets/", "--op", "get", "-n", "1", "-o", "json").document
        assert [row["key"] for row in found["errors"]] == ["datasets/people/2.parquet"]
        assert found["next"] == found["errors"][0]["id"]
        assert "there are older ones" in lakectl("errors", "-n", "1").err
        assert lakectl("errors", "--bucket", "primary").all == "--- stderr\nno failed operations\n--- exit 0\n"

    @pytest.mark.parametrize(
        ("words", "near"),
        [(("--bucket", "archve"), "archive"), (("--op", "gte"), "get"), (("--class", "unavailable"), "bucket-unavailable")],
    )
    def test_what_no_failure_can_have_is_an_error(self, here: Lakehouse, lakectl: Lakectl, words: tuple[str, str], near: str) -> None:
        said = lakectl("errors", *words)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("error: There is no ")
        assert said.err.endswith(f"Did you mean '{near}'?\n")

    def test_it_fits_whatever_the_names(self, here: Lakehouse, lakectl: Lakectl) -> None:
        key, bucket = f"datasets/{'d' * 63}/{'a' * 32}-0000.parquet", "b" * 63
        row = {**failed(bucket, "get", key, 4), "class": "object-missing", "message": f"{bucket}/{key} does not exist."}
        here.streams_.append_many("errors", [row, {**row, "attempt": 0, "rescued": True, "rescue_bucket": "mirror"}])
        here.streams_.flush()
        said = lakectl("errors", "-n", "2")
        assert max(map(len, said.out.splitlines())) <= 80
        assert said.out.splitlines()[1:4] == [
            f"   datasets/{'d' * 63}/",
            f"   {'a' * 32}-0000.parquet",
            "   does not exist. mirror answered in its place, without asking it again.",
        ]

    def test_what_cannot_be_counted_by(self, here: Lakehouse, lakectl: Lakectl) -> None:
        said = lakectl("errors", "--group", "message")
        assert (said.code, said.err) == (2, "error: Failures cannot be counted by 'message'.\n       They can be by bucket, op, class.\n")


class TestBuckets:
    def test_all_is_well(self, here: Lakehouse, lakectl: Lakectl) -> None:
        said = lakectl("buckets")
        assert said.code == 0
        assert said.out.startswith("primary  ok        put in ")
        (row,) = lakectl("buckets", "-o", "json").document["buckets"]
        assert (row["name"], row["state"], row["problem"]) == ("primary", "ok", None)

    def test_one_that_cannot_be_written(self, here: Lakehouse, lakectl: Lakectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from state.errors import BucketUnavailable
        from state.watched_store import WatchedStore

        def denied(*_: object, **__: object) -> None:
            raise BucketUnavailable("primary", "put", "Permission denied", remedy="Check the folder's owner and permissions.")

        monkeypatch.setattr(WatchedStore, "put", denied)
        said = lakectl("buckets")
        assert said.code == 1
        assert said.out.splitlines()[:2] == [
            "primary  failed    not writable",
            "   Bucket primary did not answer (put): Permission denied. Check the folder's",
        ]


class TestFsck:
    def test_clean_and_with_findings(self, here: Lakehouse, lakectl: Lakectl, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        catalog = Catalog.open(here.store)
        catalog.lead(WriterId("w", 1))
        catalog.commit((Suspended("Dataset/x", "jane", "moving"),), actor="jane", reason="moving")
        assert lakectl("fsck", "--deep").code == 0
        segment = next((here.root / "lake/streams").rglob("*.jsonl"))
        segment.write_bytes(segment.read_bytes()[:-2])
        said = lakectl("fsck", "--deep", "-o", "json")
        assert (said.code, said.document["clean"]) == (1, False)
        (found,) = said.document["findings"]
        assert (found["problem"], found["place"]) == ("segment-damaged", f"primary/{segment.relative_to(here.root / 'lake')}")
        assert lakectl("fsck").code == 0

    def test_a_catalog_that_cannot_be_read_is_a_finding(self, here: Lakehouse, lakectl: Lakectl, golden: Any) -> None:
        here.store.put("catalog/log/00000000000000000001.json", b"")
        golden.check("fsck.txt", lakectl("fsck").all)

    def test_a_catalog_that_is_gone_is_a_finding(self, here: Lakehouse, lakectl: Lakectl, golden: Any) -> None:
        shutil.rmtree(here.root / "lake/catalog")
        golden.check("fsck-lost.txt", lakectl("fsck").all.replace(str(here.root), "HERE"))

    @pytest.mark.parametrize("words", ["status", "why Bucket/primary", "query SELECT+1", "plan", "gc", "reconcile", "events"])
    def test_every_command_says_that_a_lake_is_gone(self, here: Lakehouse, lakectl: Lakectl, words: str) -> None:
        (here.root / "lake").rename(here.root / "away")
        said = lakectl(*[word.replace("+", " ") for word in words.split()])
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"error: the catalog of bucket primary is lost: .lakehouse/state.json knows its state {here.id}")
        assert f"Mount or restore the folder {here.root}/lake, or run `lakectl rebuild`" in said.err
        assert not (here.root / "lake").exists()

    def test_status_says_that_the_catalog_is_gone(self, here: Lakehouse, lakectl: Lakectl) -> None:
        shutil.rmtree(here.root / "lake/catalog")
        here.hold()
        assert "The catalog is lost: `lakectl fsck` says what to do." in lakectl("status").out

    def test_without_a_state(self, in_folder: Path, lakectl: Lakectl) -> None:
        assert lakectl("fsck").code == 2
