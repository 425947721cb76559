"""Datasets whose files are objects of a bucket: found by listing, read once, followed as files are, on every kind of bucket."""

from __future__ import annotations

import gzip
from io import BytesIO
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import BUCKET, Bench, dataset, documents, index
from test_row_sources import Lake

from controllers.dataset import plan as planning
from controllers.dataset.objects import TRIED_AGAIN
from controllers.outcome import Failed, Ready, Stalled, Waiting
from examples.s3_server import S3Server
from state import reasons
from state.buckets import open_store
from state.digest_file import sha256_bytes
from state.errors import BucketUnavailable
from state.lake_keys import LAKE_KEYS
from state.lineage import edges
from state.objects import ObjectInfo, ObjectStore
from state.reader import ObjectReader

ITEMS = "id,city\n1,Boston\n2,Chicago\n"
MORE = "id,city\n3,Austin\n"


def items(more: str = "", source: str = "bucket: landing, prefix: incoming/", name: str = "items") -> str:
    return f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{{source}}}{more}}}\n"


def landing(spec: str) -> str:
    return f"apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: landing}}\nspec: {{{spec}}}\n"


LOCAL = landing("local: {path: landing}")


class Landing(Lake):
    """A lake beside a bucket `landing` that others write to."""

    def __init__(self, bench: Bench, bucket: str) -> None:
        super().__init__(bench)
        self.bucket = bucket

    def want(self, *texts: str) -> None:
        super().want(self.bucket, *texts)
        self.bench.finish("Bucket/landing")

    @property
    def store(self) -> ObjectStore:
        """As whoever puts objects there sees it."""
        return open_store(self.bench.buckets.config("landing"))

    def put(self, key: str, text: str | bytes) -> None:
        self.store.put(key, text if isinstance(text, bytes) else text.encode())

    def restart(self) -> None:
        super().restart()
        self.bench.finish("Bucket/landing")

    def items(self, *columns: str) -> list[tuple[Any, ...]]:
        return sorted(self.rows("items", *(columns or ("id", "city"))))

    def ready(self, name: str = "items") -> Ready:
        outcome = self.settle(name)
        assert isinstance(outcome, Ready), outcome
        return outcome


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of source objects that are read for their digests, in order of reading."""
    keys: list[str] = []
    take = ObjectReader.take

    def counting(self: ObjectReader, bucket: str, key: str) -> tuple[ObjectInfo, str]:
        keys.append(key)
        return take(self, bucket, key)

    monkeypatch.setattr(ObjectReader, "take", counting)
    return keys


@pytest.fixture(params=["local", "memory", "s3"])
def everywhere(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Landing:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        monkeypatch.setenv("LAKEHOUSE_SECRET__KEYS__ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("LAKEHOUSE_SECRET__KEYS__SECRET_ACCESS_KEY", server.secret_key)
        service = f'bucket: lake, endpoint: "{server.endpoint}", credentials: {{secret: keys}}'
        return Landing(bench, landing(f"s3: {{{service}}}, prefix: sources/{token_hex(8)}"))
    return Landing(bench, landing("memory: {}") if request.param == "memory" else LOCAL)


@pytest.fixture
def local(bench: Bench) -> Landing:
    return Landing(bench, LOCAL)


class TestEverywhere:
    def test_objects_are_followed_as_files_are(self, everywhere: Landing, counted: list[str]) -> None:
        lake = everywhere
        lake.want(items())
        outcome = lake.settle("items")
        assert isinstance(outcome, Waiting)
        assert outcome.reason == reasons.SOURCE_EMPTY
        assert "no object in Bucket/landing whose key begins with `incoming/`" in outcome.message
        lake.put("incoming/a.csv", ITEMS)
        lake.put("elsewhere/b.csv", "not,ours\n1,2\n")
        assert lake.ready().message == "2 rows from 1 object, version 1"
        lake.put("incoming/2026/é ü+%20.csv", MORE)
        assert lake.ready().message == "3 rows from 2 objects, version 2"
        assert lake.items() == [(1, "Boston"), (2, "Chicago"), (3, "Austin")]
        assert set(lake.table("items").bindings) == {"landing/incoming/a.csv", "landing/incoming/2026/é ü+%20.csv"}
        lake.put("incoming/a.csv", "id,city\n1,Berlin\n")
        lake.ready()
        assert lake.items() == [(1, "Berlin"), (3, "Austin")]
        assert sorted(counted) == ["incoming/2026/é ü+%20.csv", "incoming/a.csv", "incoming/a.csv"]

    def test_a_copy_adds_nothing_and_a_rename_moves(self, everywhere: Landing) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        lake.ready()
        lake.put("incoming/copy.csv", ITEMS)
        assert lake.ready().message == "2 rows from 2 objects, version 1"
        lake.store.delete("incoming/a.csv")
        assert lake.ready().message == "2 rows from 1 object, version 1"

    def test_an_object_that_is_gone_keeps_its_rows(self, everywhere: Landing) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        lake.ready()
        lake.store.delete("incoming/a.csv")
        assert lake.ready().message == "2 rows from 0 objects and 1 that is gone, version 1"
        (event,) = lake.bench.events(reasons.SOURCE_FILE_GONE)
        assert event["message"].startswith("landing/incoming/a.csv is gone")

    def test_replace_is_exactly_what_is_there(self, everywhere: Landing) -> None:
        lake = everywhere
        lake.want(items(", write: replace"))
        lake.put("incoming/a.csv", ITEMS)
        lake.put("incoming/b.csv", MORE)
        lake.ready()
        lake.store.delete("incoming/a.csv")
        lake.ready()
        assert lake.items() == [(3, "Austin")]

    def test_looking_again_reads_nothing(self, everywhere: Landing, counted: list[str]) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        lake.put("incoming/ragged.csv", "a,b\n1\n")
        assert isinstance(lake.settle("items"), Stalled)
        seen, entries = list(counted), lake.entries()
        assert len(seen) == 2
        for _ in range(3):
            lake.settle("items")
        assert (counted, lake.entries()) == (seen, entries)

    def test_formats_of_documents_and_compression(self, everywhere: Landing) -> None:
        lake = everywhere
        lake.want(
            items(source="bucket: landing, prefix: docs/, format: text", name="docs"),
            items(source="bucket: landing, prefix: gz/, format: csv"),
        )
        lake.put("docs/a.md", "# A title\n\nwords\n")
        lake.put("docs/copy.md", "# A title\n\nwords\n")
        lake.put("gz/a.csv.gz", gzip.compress(ITEMS.encode()))
        lake.ready("docs")
        assert {path for (path,) in lake.rows("docs", "path")} == {"landing/docs/a.md", "landing/docs/copy.md"}, "its path is part of it"
        lake.ready()
        assert lake.items() == [(1, "Boston"), (2, "Chicago")]

    def test_what_is_replaced_between_listing_and_reading(self, everywhere: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        take = ObjectReader.take

        def replaced(self: ObjectReader, bucket: str, key: str) -> tuple[ObjectInfo, str]:
            lake.put(key, MORE)
            return take(self, bucket, key)

        with monkeypatch.context() as patched:
            patched.setattr(ObjectReader, "take", replaced)
            outcome = lake.settle("items")
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.message) == (reasons.INGEST_FAILED, "landing/incoming/a.csv: changed while it was read")
        lake.ready()
        assert lake.items() == [(3, "Austin")]

    def test_what_vanishes_between_listing_and_reading(self, everywhere: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        lake.put("incoming/b.csv", MORE)
        take = ObjectReader.take

        def gone(self: ObjectReader, bucket: str, key: str) -> tuple[ObjectInfo, str]:
            lake.store.delete("incoming/a.csv")
            return take(self, bucket, key)

        monkeypatch.setattr(ObjectReader, "take", gone)
        lake.ready()
        assert lake.items() == [(3, "Austin")]

    def test_what_is_replaced_after_its_digest_was_taken(self, everywhere: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        """In place it is FileChanged and read again; what was copied is read as it was, and again as it is."""
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        take = ObjectReader.take

        def then_replaced(self: ObjectReader, bucket: str, key: str) -> tuple[ObjectInfo, str]:
            found = take(self, bucket, key)
            lake.put(key, MORE)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(ObjectReader, "take", then_replaced)
            lake.visit("items")
        lake.ready()
        assert lake.items() == [(3, "Austin")]

    def test_rows_are_repaired_from_the_object(self, everywhere: Landing) -> None:
        lake = everywhere
        lake.want(items())
        lake.put("incoming/a.csv", ITEMS)
        lake.ready()
        (file,) = lake.table("items").files
        lake.bench.store.delete(file.key)
        if lake.bench.buckets.config("landing").backend != "memory":
            lake.restart()
        lake.ready()
        assert lake.items() == [(1, "Boston"), (2, "Chicago")]


def test_a_restart_reads_nothing(bench: Bench, everywhere: Landing, counted: list[str]) -> None:
    lake = everywhere
    lake.want(items())
    lake.put("incoming/a.csv", ITEMS)
    lake.put("incoming/copy.csv", ITEMS)
    lake.put("incoming/ragged.csv", "a,b\n1\n")
    lake.settle("items")
    assert len(counted) == 3
    if bench.buckets.config("landing").backend == "memory":
        return  # is gone with its process
    entries = lake.entries()
    lake.restart()
    assert isinstance(lake.settle("items"), Stalled)
    assert (len(counted), lake.entries()) == (3, entries)
    lake.ask("items", "resync")
    lake.settle("items")
    assert (len(counted), lake.entries()) == (6, entries), "but where somebody asks for it"
    lake.settle("items")
    assert len(counted) == 6


def test_an_object_that_was_written_again_is_read_once_more_and_remembered(local: Landing, counted: list[str]) -> None:
    local.want(items())
    local.put("incoming/a.csv", ITEMS)
    local.ready()
    local.put("incoming/a.csv", ITEMS)
    assert local.ready().message == "2 rows from 1 object, version 1"
    local.restart()
    local.ready()
    assert len(counted) == 2


def test_several_datasets_read_an_object_once(local: Landing, counted: list[str]) -> None:
    local.want(items(), items(source="bucket: landing", name="all"))
    local.put("incoming/a.csv", ITEMS)
    local.ready()
    assert local.ready("all").message == "2 rows from 1 object, version 1"
    assert counted == ["incoming/a.csv"]


def test_an_upsert_takes_objects_in_order_of_their_keys(local: Landing) -> None:
    local.want(items(", write: upsert, primaryKey: id"))
    local.put("incoming/2.csv", "id,city\n1,Berlin\n")
    local.put("incoming/1.csv", ITEMS)
    local.ready()
    assert [file.sequence for file in local.table("items").files] == [1, 2]
    local.put("incoming/1.csv", ITEMS.replace("Boston", "Austin"))
    local.ready()
    assert local.rows("items", "city")[-1:] == [("Austin",)]  # the other row it said before


@pytest.mark.parametrize("write", ["append", "upsert, primaryKey: id", "replace"])
def test_much_that_is_new_is_taken_in_steps(local: Landing, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local.want(items(f", write: {write}"))
    local.put("incoming/0.csv", ITEMS)
    local.ready()
    monkeypatch.setattr(planning, "STEP_BYTES", 2 * len(MORE))
    for number in range(1, 6):
        local.put(f"incoming/{number}.csv", MORE.replace("3", str(number + 2)))
    before = local.table("items").version
    local.ready()
    assert sorted(local.rows("items", "id")) == [(number,) for number in range(1, 8)]
    assert local.table("items").version - before == (1 if write == "replace" else 3)


def test_quarantine_journal_and_lineage_name_bucket_and_key(local: Landing) -> None:
    local.want(items(", contract: {ranges: {id: {max: 1}}}, write: upsert, primaryKey: id"))
    local.put("incoming/a.csv", ITEMS)
    assert local.ready().detail["quarantine"] == 1
    table = local.table("items")
    (aside,) = [ledger for ledger in table.ledgers if ledger.kind == "quarantine"]
    (row,) = pq.read_table(local.bench.store.path(aside.ref.key), partitioning=None).to_pylist()
    assert (row["source"], row["line"], row["text"]) == ("landing/incoming/a.csv", 3, "2,Chicago")
    state = local.bench.catalog.get("Dataset/items")
    assert state is not None
    origin = next(edge for edge in edges(state) if edge.from_kind == "object")
    assert (origin.from_name, origin.to_name) == ("landing/incoming/a.csv", sha256_bytes(ITEMS.encode()))


def test_together(local: Landing) -> None:
    local.want(items(", publish: together"), items(", publish: together", "bucket: landing, prefix: other/", "others"))
    local.put("incoming/a.csv", ITEMS)
    local.put("other/a.csv", MORE)
    for _ in range(2):
        for name in ("items", "others"):
            local.visit(name)
    assert local.entries() == 2
    assert len([entry for entry in local.bench.catalog.entries() if len(entry.changes) == 2]) == 1


def test_not_watched(local: Landing) -> None:
    local.want(items(", refresh: {watch: false}"))
    local.put("incoming/a.csv", ITEMS)
    local.ready()
    local.put("incoming/b.csv", MORE)
    assert local.ready().message == "2 rows from 1 object, version 1"
    local.ask("items")
    assert local.ready().message == "3 rows from 2 objects, version 2"


class TestBadInput:
    def test_the_bucket_is_not_declared_or_not_open(self, local: Landing) -> None:
        Lake.want(local, items())
        outcome = local.settle("items")
        assert isinstance(outcome, Waiting)
        assert (outcome.reason, outcome.blocked_by) == (reasons.REFERENCE_MISSING, "Bucket/landing")
        Lake.want(local, LOCAL, items())
        assert local.settle("items").reason == reasons.DEPENDENCY_NOT_READY

    def test_the_bucket_is_away(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        local.want(items())
        local.put("incoming/a.csv", ITEMS)

        def away(*_: object) -> None:
            raise BucketUnavailable("landing", "list", "the cable is cut")

        with monkeypatch.context() as patched:
            patched.setattr(local.bench.buckets.store("landing"), "list", away)
            assert local.settle("items").message.endswith("the cable is cut. It is the source: there is nothing to serve yet.")
        local.ready()
        monkeypatch.setattr(local.bench.buckets.store("landing"), "list", away)
        outcome = local.settle("items")
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.message.endswith("It is the source: version 1 stays served.")) == (reasons.BUCKET_UNAVAILABLE, True)
        assert local.items() == [(1, "Boston"), (2, "Chicago")]

    def test_nothing_can_be_read(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        local.want(items())
        local.put("incoming/a.csv", ITEMS)

        def denied(*_: object) -> None:
            raise BucketUnavailable("landing", "get", "denied")

        with monkeypatch.context() as patched:
            patched.setattr(ObjectReader, "take", denied)
            assert local.settle("items").reason == reasons.BUCKET_UNAVAILABLE
        local.ready()

    def test_one_that_cannot_be_read_holds_up_no_other(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        objects = local.bench.kinds.objects
        monkeypatch.setattr(objects, "_monotonic", lambda: now[0])
        local.want(items())
        local.put("incoming/a.csv", ITEMS)
        local.put("incoming/b.csv", MORE)
        take = ObjectReader.take

        def denied(self: ObjectReader, bucket: str, key: str) -> tuple[ObjectInfo, str]:
            if key == "incoming/a.csv":
                raise BucketUnavailable(bucket, "get", "403 Forbidden")
            return take(self, bucket, key)

        with monkeypatch.context() as patched:
            patched.setattr(ObjectReader, "take", denied)
            outcome = local.settle("items")
            assert isinstance(outcome, Stalled)
            assert outcome.message.startswith("landing/incoming/a.csv cannot be read: Bucket landing did not answer (get): 403 Forbidden;")
            assert local.items() == [(3, "Austin")]
        assert isinstance(local.settle("items"), Stalled), "it is not tried all the time"
        now[0] = TRIED_AGAIN + 1
        local.ready()
        assert len(local.items()) == 3

    def test_what_is_listed_under_another_key_than_it_has(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a key that begins with a slash is, by clients that go by paths."""
        local.want(items())
        local.put("incoming/a.csv", ITEMS)
        listed = [*local.store.list("incoming/"), ObjectInfo("incoming/phantom.csv", 3, 0.0, "e")]
        monkeypatch.setattr(local.bench.buckets.store("landing"), "list", lambda *_: iter(listed))
        outcome = local.settle("items")
        assert isinstance(outcome, Stalled)
        assert "landing/incoming/phantom.csv is listed, and nothing is there under this key" in outcome.message
        assert len(local.items()) == 2

    def test_odd_keys_are_named(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        local.want(items())
        local.put("incoming/a.csv", ITEMS)
        odd = [
            "incoming/../x.csv",
            "incoming//y.csv",
            "incoming/z\n.csv",
            f"incoming/{'n' * 300}.csv",
            "incoming/_SUCCESS",
            "incoming/a.docx",
        ]
        listed = [*local.store.list("incoming/"), *(ObjectInfo(key, 3, 0.0, "e") for key in odd)]
        monkeypatch.setattr(local.bench.buckets.store("landing"), "list", lambda *_: iter(listed))
        (resource,) = local.bench.world.resources("Dataset")
        local.settle("items")
        listing, away = local.bench.kinds.objects.look(resource, local.table("items"))
        assert away is None
        assert [one.path for one in listing.unusable] == [f"landing/{key}".replace("\n", "\\n") for key in odd]
        assert [one.reason.partition(";")[0].partition(",")[0] for one in listing.unusable] == [
            "has a key that cannot be read: it has an empty",
            "has a key that cannot be read: it has an empty",
            "has a key that cannot be read: it has control or unprintable characters",
            "has a key that cannot be read: a segment is longer than 255 bytes",
            "has no format that is read",
            "has no format that is read",
        ]
        assert len(local.items()) == 2, "the others are served"

    def test_markers_of_folders_are_no_files_and_an_empty_file_is_one(self, local: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
        local.want(items(", refresh: {watch: true}", "bucket: landing, prefix: in, format: csv"))
        local.put("incoming/v1.0/a.csv", ITEMS)
        local.put("incoming/empty.csv", "")
        real = list(local.store.list("in"))
        marks = [ObjectInfo(key, 0, 0.0, "e") for key in ("incoming", "incoming/nothing", "incoming/v1.0")]
        monkeypatch.setattr(local.bench.buckets.store("landing"), "list", lambda *_: iter([*real, *marks]))
        outcome = local.settle("items")
        assert set(local.table("items").bindings) | set(local.table("items").refusals) == {
            "landing/incoming/v1.0/a.csv",
            "landing/incoming/empty.csv",
        }, outcome

    def test_a_truncated_object_is_refused_and_read_again_when_it_is_whole(self, local: Landing) -> None:
        whole = BytesIO()
        pq.write_table(pa.table({"id": [1, 2], "city": ["Boston", "Chicago"]}), whole)
        local.want(items())
        local.put("incoming/a.parquet", whole.getvalue()[:-20])
        local.put("incoming/b.csv", MORE)
        outcome = local.settle("items")
        assert isinstance(outcome, Stalled)
        assert outcome.message.startswith("landing/incoming/a.parquet: ")
        local.put("incoming/a.parquet", whole.getvalue())
        local.ready()
        assert len(local.items()) == 3


class TestOurOwn:
    def test_all_that_is_written_is_known_as_ours(self, local: Landing) -> None:
        local.bench.write("data/texts/1.csv", "id,text\n1,a red lamp\n")
        local.bench.commit(BUCKET, dataset("texts", ", contract: {ranges: {id: {max: 0}}}, primaryKey: id"), index("words", "texts"))
        local.bench.settle()
        local.ask("texts", "suspend")
        local.bench.streams.flush()
        local.bench.catalog.checkpoint()
        written = [info.key for info in local.bench.store.list()]
        assert written
        assert [key for key in written if not key.startswith(LAKE_KEYS)] == []

    def test_it_is_no_source(self, local: Landing) -> None:
        local.bench.store.put("incoming/a.csv", ITEMS.encode())
        local.want(items(source="bucket: primary"), items(source="bucket: primary, prefix: datasets/", name="eater"))
        assert local.ready().message == "2 rows from 1 object, version 1"
        assert local.ready().message == "2 rows from 1 object, version 1"
        outcome = local.settle("eater")
        assert isinstance(outcome, Stalled)
        assert outcome.message.startswith("primary/datasets/ is where Lakehouse keeps its own")

    def test_nor_where_another_bucket_lies_around_or_within_the_lake(self, local: Landing) -> None:
        around = landing("local: {path: .}, prefix: lake").replace("landing", "around")
        within = landing("local: {path: lake/datasets}").replace("landing", "within")
        local.bench.store.put("incoming/a.csv", ITEMS.encode())
        local.bucket = documents(LOCAL, around, within)
        local.want(items(source="bucket: around"), items(source="bucket: within, prefix: items/", name="eater"))
        for name in ("around", "within"):
            local.bench.finish(f"Bucket/{name}")
        assert local.ready().message == "2 rows from 1 object, version 1"
        assert "is where Lakehouse keeps its own" in local.settle("eater").message

    def test_in_a_bucket_of_others_any_key_is_theirs(self, local: Landing) -> None:
        local.want(items(source="bucket: landing"))
        local.put("datasets/a.csv", ITEMS)
        local.put("probe/1a2b", "first")
        assert local.ready().message == "2 rows from 1 object, version 1"
