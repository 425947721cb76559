"""The kinds' controllers over a real lake: what they observe of it, and how they end where the plans' tests cannot see."""

from __future__ import annotations

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index

from state import reasons
from state.status import Status

OTHER = BUCKET.replace("primary", "other").replace("lake}}", "elsewhere}}")


def settled(bench: Bench, *specs: str) -> dict[str, Status]:
    bench.commit(*specs)
    return bench.settle()


class TestDrift:
    @pytest.mark.parametrize("damage", ["delete", "truncate"])
    @pytest.mark.parametrize("write", ["append", "upsert", "replace"])
    def test_a_data_file_is_written_again(self, bench: Bench, damage: str, write: str) -> None:
        specs = (BUCKET, dataset("x", f", primaryKey: [id], write: {write}"))
        bench.write("data/x/1.csv", "id,v\n1,a\n2,b\n")
        bench.write("data/x/2.csv", "id,v\n2,c\n")
        assert settled(bench, *specs)["Dataset/x"].ready == "True"
        table = bench.catalog.table("x")
        assert table is not None
        place = bench.store.path(table.files[0].key)
        assert place is not None
        place.unlink() if damage == "delete" else place.write_bytes(place.read_bytes()[:40])
        assert bench.settle()["Dataset/x"].ready == "True"
        repaired = bench.catalog.table("x")
        assert repaired is not None
        assert repaired.snapshot == table.snapshot
        assert bench.store.head(table.files[0].key).size == table.files[0].ref.size

    def test_builds_and_corpora_are_made_again(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", "text\nhello\nworld\n")
        specs = (BUCKET, dataset("x"), index("i", "x"), generation("g", "i", "hnsw: {m: 4}"))
        assert {status.ready for status in settled(bench, *specs).values()} == {"True"}
        keys = [info.key for info in bench.store.list("indexes/")]
        for key in keys:
            place = bench.store.path(key)
            assert place is not None
            place.unlink()
        assert {status.ready for status in bench.settle().values()} == {"True"}
        assert [info.key for info in bench.store.list("indexes/")] == keys


class TestEvents:
    def test_a_vanished_file_is_said_once_and_its_rows_stay(self, bench: Bench) -> None:
        place = bench.write("data/x/1.csv", "a\n1\n")
        settled(bench, BUCKET, dataset("x"))
        place.unlink()
        assert bench.settle()["Dataset/x"].message.startswith("1 row from 0 files")
        bench.settle()
        (event,) = bench.events(reasons.SOURCE_FILE_GONE)
        assert (event["object"], event["type"]) == ("Dataset/x", "Normal")
        assert event["message"].startswith("data/x/1.csv is gone")

    def test_a_refused_file_names_line_and_reason(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", "a,b\n1,2\n")
        bench.write("data/x/2.csv", "a,b\n1,2\n1,2,3\n")
        status = settled(bench, BUCKET, dataset("x"))["Dataset/x"]
        assert status.reason == reasons.FILE_REFUSED
        assert status.message.startswith("data/x/2.csv:3: ")
        assert "version 1 with 1 row" in status.message
        (event,) = bench.events(reasons.FILE_REFUSED)
        assert event["message"] == status.message

    def test_each_refused_file_is_told_once_and_again_when_it_is_refused_again(self, bench: Bench) -> None:
        for name in ("1", "2", "3"):
            bench.write(f"data/x/{name}.csv", "a,b\n1,2,3\n")
        settled(bench, BUCKET, dataset("x"))
        assert sorted(event["message"][:14] for event in bench.events(reasons.FILE_REFUSED)) == [f"data/x/{n}.csv:2" for n in (1, 2, 3)]
        bench.write("data/x/1.csv", "a,b\n4,5,6\n")
        bench.settle()
        again = bench.events(reasons.FILE_REFUSED)[3:]
        assert {event["message"][:14] for event in again} >= {"data/x/1.csv:2"}


class TestIndexes:
    @pytest.mark.parametrize(
        ("text", "more", "reason", "message"),
        [
            ("nothing", "", reasons.INVALID_SPEC, "text column `nothing` of Dataset/x does not exist; it has n, text"),
            ("n", "", reasons.INVALID_SPEC, "text column `n` of Dataset/x is int64, not string"),
            ("text", ", bucket: missing", reasons.REFERENCE_MISSING, "Bucket/missing is not there"),
            (
                "text",
                ", embed: {model: {ollama: nomic}}",
                reasons.MODEL_UNAVAILABLE,
                "it cannot be embedded: ",
            ),
        ],
    )
    def test_what_cannot_be_indexed(self, bench: Bench, text: str, more: str, reason: str, message: str) -> None:
        bench.write("data/x/1.csv", "n,text\n1,hello\n")
        statuses = settled(bench, BUCKET, dataset("x"), index("i", "x", text, more), generation("g", "i"))
        assert (statuses["Index/i"].reason, statuses["Index/i"].ready) == (reason, "False")
        assert statuses["Index/i"].message.startswith(message)
        waiting = statuses["IndexGeneration/g"]
        assert (waiting.reason, waiting.detail) == (reasons.DEPENDENCY_NOT_READY, {"blockedBy": "Index/i"})

    def test_a_table_without_rows(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", "n,text\n")
        statuses = settled(
            bench, BUCKET, dataset("x", ", columns: {n: string, text: string}"), index("i", "x"), generation("g", "i", "hnsw: {}")
        )
        assert {status.ready for status in statuses.values()} == {"True"}, statuses
        bench.write("data/x/2.csv", "n,text\n1,hello\n")
        assert bench.settle()["Index/i"].message == "g serves 1 chunks of 1 rows"

    def test_in_a_bucket_of_its_own(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", "n,text\n1,hello\n")
        statuses = settled(bench, BUCKET, OTHER, dataset("x"), index("i", "x", more=", bucket: other"))
        assert statuses["Index/i"].ready == "True"
        assert list(bench.buckets.store("other").list("indexes/"))
        assert not list(bench.store.list("indexes/"))

    def test_pinned_and_auto(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", "text\nhello\n")
        specs = (BUCKET, dataset("x"), generation("a", "i"), generation("b", "i", "hnsw: {m: 8}"))

        def serving() -> str | None:
            record = bench.catalog.index("i")
            assert record is not None
            assert record.serving is not None
            return record.serving.generation

        settled(bench, *specs, index("i", "x"))
        assert serving() == "a", "exact search while the corpus is small"
        settled(bench, *specs, index("i", "x", more=", serve: {generation: b}"))
        assert serving() == "b"
        statuses = settled(bench, *specs, index("i", "x", more=", serve: {generation: c}"))
        assert (statuses["Index/i"].reason, serving()) == (reasons.REFERENCE_MISSING, "b")
        assert [event["message"].split(" (")[0] for event in bench.events(reasons.PROMOTED)] == ["serve a", "serve b"]


class TestBuckets:
    def test_a_dataset_waits_for_a_bucket_that_is_declared(self, bench: Bench) -> None:
        from specs.resource import Key

        bench.write("data/x/1.csv", "a\n1\n")
        bench.commit(BUCKET, OTHER, dataset("x", ", bucket: other"))
        bench.reconciler.visit(Key("Dataset", "x"))
        status = bench.by_object()["Dataset/x"]
        assert (status.reason, status.detail["blockedBy"]) == (reasons.DEPENDENCY_NOT_READY, "Bucket/other")
        assert bench.settle()["Dataset/x"].ready == "True"

    def test_the_state_stays_where_it_is(self, bench: Bench) -> None:
        settled(bench, BUCKET)
        status = settled(bench, BUCKET.replace("lake}}", "moved}}"))["Bucket/primary"]
        assert status.reason == reasons.STATE_IMMUTABLE
        assert status.message.startswith("the state has data at the former place")
