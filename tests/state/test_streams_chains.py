"""Chained checksums: what was edited, removed, inserted or cut off is named; a crash, an adoption, a compaction are none of these."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zlib import crc32

import orjson
import pytest

from state.errors import DiskFull, FailpointError
from state.failpoints import arm, disarm
from state.local_store import LocalStore
from state.streams import parquet, verification
from state.streams.chains import Link, head_document, link_hash, parse_head
from state.streams.compaction import Compaction
from state.streams.ids import Ulids, following, preceding
from state.streams.schemas import AUDIT, StreamInvalid
from state.streams.segments import parse_key
from state.streams.stream import Streams
from state.streams.verification import Finding, verify


class Machine:
    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.folder = folder
        self.store = LocalStore(folder / "lake", "lake")
        self.seed = 0
        self.streams = self.process()

    def process(self) -> Streams:
        self.seed += 1
        return Streams(self.store, self.folder / "wal", lambda: self.now, Ulids(lambda: self.now, Random(self.seed).randbytes))

    def read(self, count: int) -> None:
        for number in range(count):
            self.streams.append("audit", {"reader": "anonymous", "rows": number, "versions": {"people": 1}})
            self.now += timedelta(seconds=1)

    def objects(self) -> list[str]:
        return [info.key for info in self.store.list("streams/audit/") if parse_key(info.key)]

    def rewrite(self, change: Callable[[list[bytes]], list[bytes]], at: int = 0) -> None:
        """As one who knows the format would: the name fits the content."""
        segment = parse_key(self.objects()[at])
        assert segment is not None
        if segment.form == "parquet":
            lines = change([line for _, line in parquet.records(self.store.get(segment.key))])
            data = parquet.encode(lines, AUDIT.columns)
        else:
            lines = change(self.store.get(segment.key).splitlines())
            data = b"".join(line + b"\n" for line in lines)
        self.store.delete(segment.key)
        if lines:
            first, last = (orjson.loads(line)["id"] for line in (lines[0], lines[-1]))
            name = f"{first}-{last}-{segment.source}-{len(lines)}-{crc32(data):08x}.{segment.form}"
            self.store.put(f"streams/audit/{segment.month}/{name}", data)

    def findings(self, given: dict[str, Link] | None = None) -> list[tuple[str, int | None]]:
        return [(found.fault, found.number) for found in self.full(given)]

    def full(self, given: dict[str, Link] | None = None) -> tuple[Finding, ...]:
        return verify(self.process(), "audit", given).findings


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(params=["write-ahead", "jsonl", "parquet"])
def held(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    """Ten rows, wherever they lie."""
    machine.read(10)
    if request.param != "write-ahead":
        machine.streams.flush()
    if request.param == "parquet":
        Compaction(machine.streams, lambda: None).run("audit")
    return machine


def test_what_nobody_touched_is_intact(held: Machine) -> None:
    held.streams.sync()
    verdict = verify(held.process(), "audit")
    assert (verdict.rows, verdict.unchecked, verdict.findings) == (10, 0, ())
    (link,) = verdict.head.values()
    assert link.number == 10
    last = list(held.streams.read("audit"))[-1]
    assert last["chain_hash"] == link.hash
    assert parse_head(orjson.dumps({"head": head_document(verdict.head)})) == verdict.head


def test_the_hash_is_what_the_page_says(machine: Machine) -> None:
    machine.read(2)
    one, two = machine.streams.read("audit")
    assert (one["chain_number"], two["chain_number"]) == (1, 2)
    assert link_hash("0" * 64, one) == one["chain_hash"]
    assert link_hash(one["chain_hash"], two) == two["chain_hash"]


def test_nobody_appends_links(machine: Machine) -> None:
    with pytest.raises(StreamInvalid, match="no column chain_number"):
        machine.streams.append("audit", {"chain_number": 1})


@pytest.fixture(params=["jsonl", "parquet"])
def stored(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    """Ten rows in the bucket."""
    machine.read(10)
    machine.streams.flush()
    if request.param == "parquet":
        Compaction(machine.streams, lambda: None).run("audit")
    return machine


class TestTampering:
    def test_an_edit(self, stored: Machine) -> None:
        stored.rewrite(lambda lines: [line.replace(b'"rows":4', b'"rows":0') for line in lines])
        (found,) = stored.full()
        assert (found.fault, found.number) == ("edited", 5)
        assert found.id == list(stored.streams.read("audit"))[4]["id"]
        assert found.key == stored.objects()[0]

    def test_an_edit_with_a_new_hash(self, stored: Machine) -> None:
        def forge(lines: list[bytes]) -> list[bytes]:
            events = [orjson.loads(line) for line in lines]
            events[4]["rows"] = 0
            events[4]["chain_hash"] = link_hash(events[3]["chain_hash"], events[4])
            return [orjson.dumps(event) for event in events]

        stored.rewrite(forge)
        (found,) = stored.full()
        assert (found.fault, found.number) == ("edited", 6)
        assert list(stored.streams.read("audit"))[4]["id"] in found.message

    def test_a_chain_that_was_written_anew(self, stored: Machine) -> None:
        def forge(lines: list[bytes]) -> list[bytes]:
            events, former = [orjson.loads(line) for line in lines], "0" * 64
            events[4]["rows"] = 0
            for event in events:
                former = event["chain_hash"] = link_hash(former, event)
            return [orjson.dumps(event) for event in events]

        stored.rewrite(forge)
        (found,) = stored.full()
        assert (found.fault, found.number) == ("edited", 10)
        assert "written anew" in found.message

    def test_a_row_that_was_removed(self, stored: Machine) -> None:
        stored.rewrite(lambda lines: lines[:4] + lines[5:])
        assert stored.findings() == [("removed", 5)]

    def test_rows_that_were_removed_at_the_beginning(self, stored: Machine) -> None:
        stored.rewrite(lambda lines: lines[3:])
        assert stored.findings() == [("removed", 1)]

    def test_what_was_cut_off(self, stored: Machine) -> None:
        stored.rewrite(lambda lines: lines[:7])
        (found,) = stored.full()
        assert (found.fault, found.number) == ("cut off", 8)
        assert "rows 8 to 10" in found.message

    def test_all_of_it(self, stored: Machine) -> None:
        stored.rewrite(lambda lines: [])
        assert stored.findings() == [("cut off", 1)]

    def test_what_was_cut_off_with_its_heads_shows_against_one_that_was_stored_elsewhere(self, stored: Machine) -> None:
        given = dict(verify(stored.process(), "audit").head)
        stored.rewrite(lambda lines: lines[:7])
        for path in [*stored.folder.glob("wal/heads/*/*.json"), *stored.folder.glob("lake/chains/*/*.json")]:
            path.unlink()
        assert stored.findings() == []
        assert stored.findings(given) == [("cut off", 8)]

    @pytest.mark.parametrize("before", [False, True])
    def test_a_row_that_was_inserted(self, stored: Machine, before: bool) -> None:
        real = list(stored.streams.read("audit"))[4]["id"]
        forged = preceding(real) if before else following(real)
        stored.rewrite(lambda lines: sorted([*lines, orjson.dumps(orjson.loads(lines[4]) | {"id": forged})]))
        (found,) = stored.full()
        assert (found.fault, found.number, found.id) == ("inserted", 5, forged)

    def test_a_row_without_a_place(self, stored: Machine) -> None:
        id_ = stored.process().ids()
        stored.rewrite(lambda lines: sorted([*lines, b'{"id":"%s","rows":9}' % id_.encode()]))
        assert [(found.fault, found.id) for found in stored.full()] == [("inserted", id_)]

    def test_another_row_under_the_same_id(self, stored: Machine) -> None:
        line = next(line for _, line in stored.streams.records("audit")).replace(b"anonymous", b"somebody")
        other = stored.process()
        data = line + b"\n"
        first = orjson.loads(line)["id"]
        stored.store.put(f"streams/audit/2026-03/{first}-{first}-{other.ids()}-1-{crc32(data):08x}.jsonl", data)
        assert "inserted" in [fault for fault, _ in stored.findings()]

    def test_columns_that_say_something_else_than_their_line(self, machine: Machine) -> None:
        machine.read(3)
        machine.streams.flush()
        Compaction(machine.streams, lambda: None).run("audit")
        segment = parse_key(machine.objects()[0])
        assert segment is not None
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(pa.BufferReader(machine.store.get(segment.key)))
        at = table.column_names.index("rows")
        table = table.set_column(at, table.schema.field(at), pa.array([0, 99, 2], pa.int64()))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        machine.store.put(segment.key, sink.getvalue().to_pybytes())
        found = machine.full()
        assert [one.fault for one in found] == ["damaged", "edited"]
        assert found[1].id == table["id"][1].as_py()

    def test_an_object_that_is_no_more(self, stored: Machine) -> None:
        stored.store.put(stored.objects()[0], b"nonsense")
        assert [fault for fault, _ in stored.findings()].count("damaged") == 1

    def test_an_object_that_is_cut_is_told_once(self, stored: Machine) -> None:
        key = stored.objects()[0]
        stored.store.put(key, stored.store.get(key)[:-2])
        assert [fault for fault, _ in stored.findings()].count("damaged") == 1

    def test_many_removals_with_little_patience(self, stored: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification, "PATIENCE", 2)
        stored.rewrite(lambda lines: lines[1:2] + lines[4:])
        assert stored.findings() == [("removed", 1), ("removed", 3)]


class TestTamperingWithAWriteAheadFile:
    """While its process lives, and nothing of it is in the bucket yet. Lines end in the record's JSON, after a checksum of it."""

    @pytest.fixture
    def file(self, machine: Machine) -> Path:
        machine.read(10)
        machine.streams.sync()
        (path,) = machine.folder.glob("wal/*.wal")
        return path

    def rewrite(self, path: Path, change: Callable[[list[bytes]], list[bytes]], *, checksums: bool = True) -> None:
        lines = change(path.read_bytes().splitlines())
        fields = [line.split(b"\t", 3) for line in lines]
        if checksums:
            fields = [[stream, id_, b"%08x" % crc32(json), json] for stream, id_, _, json in fields]
        path.write_bytes(b"".join(b"\t".join(parts) + b"\n" for parts in fields))

    def test_an_edit(self, machine: Machine, file: Path) -> None:
        self.rewrite(file, lambda lines: [line.replace(b'"rows":4', b'"rows":0') for line in lines])
        (found,) = machine.full()
        assert (found.fault, found.number) == ("edited", 5)
        assert file.stem in str(found.key)

    def test_an_edit_that_forgot_the_checksum(self, machine: Machine, file: Path) -> None:
        self.rewrite(file, lambda lines: [line.replace(b'"rows":4', b'"rows":0') for line in lines], checksums=False)
        (found,) = machine.full()
        assert (found.fault, found.number) == ("removed", 5)
        assert file.stem in str(found.key)

    def test_a_row_that_was_removed(self, machine: Machine, file: Path) -> None:
        self.rewrite(file, lambda lines: lines[:2] + lines[3:])
        assert machine.findings() == [("removed", 3)]

    def test_what_was_cut_off(self, machine: Machine, file: Path) -> None:
        os.truncate(file, file.stat().st_size // 2)
        (found,) = machine.full()
        assert found.fault == "cut off"
        assert "says the head on this machine" in found.message


class TestTamperingWithHeads:
    @pytest.fixture
    def head(self, stored: Machine) -> Path:
        """In the bucket. That of this machine is older, as after a crash."""
        (path,) = stored.folder.glob("lake/chains/audit/*.json")
        return path

    def test_one_that_says_more(self, stored: Machine, head: Path) -> None:
        head.write_bytes(orjson.dumps(orjson.loads(head.read_bytes()) | {"number": 12}))
        assert stored.findings() == [("cut off", 11)]

    def test_one_of_another_hash(self, stored: Machine, head: Path) -> None:
        head.write_bytes(orjson.dumps(orjson.loads(head.read_bytes()) | {"hash": "0" * 64}))
        (found,) = stored.full()
        assert (found.fault, found.number) == ("edited", 10)
        assert "another hash than the bucket says" in found.message

    def test_one_that_is_none(self, stored: Machine, head: Path) -> None:
        head.write_bytes(b"")
        (found,) = stored.full()
        assert (found.fault, found.key) == ("damaged", f"chains/audit/{head.name}")


class TestNoTampering:
    def test_adoption_by_another_process(self, machine: Machine) -> None:
        machine.read(3)
        machine.streams._wal.close()
        machine.process().adopt()
        assert machine.findings() == []
        (head,) = machine.process().heads.stored("audit")[0].values()
        assert head.number == 3

    def test_a_crash_between_append_and_head(self, machine: Machine) -> None:
        machine.read(3)
        machine.streams.flush()
        machine.read(2)
        machine.streams._wal.close()
        assert machine.findings() == []
        (head,) = machine.process().heads.stored("audit")[0].values()
        assert head.number == 3

    def test_a_disk_that_was_full_begins_a_new_chain(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine.read(3)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", _full)
            patch.setattr(os, "ftruncate", _full)
            with pytest.raises(DiskFull):
                machine.read(1)
        machine.read(2)
        verdict = verify(machine.process(), "audit")
        assert verdict.findings == ()
        assert sorted(link.number for link in verdict.head.values()) == [2, 4]

    def test_threads_that_race(self, machine: Machine) -> None:
        def append() -> None:
            for _ in range(50):
                machine.streams.append("audit", {"reader": "r"})
                machine.streams.append_lazy("audit", {"reader": "r"})

        threads = [threading.Thread(target=append) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        machine.streams.flush()
        verdict = verify(machine.process(), "audit")
        assert (verdict.rows, verdict.findings) == (800, ())

    @pytest.mark.parametrize("point", ["streams.before-put", "streams.after-put", "streams.before-remove", "compaction.after-put"])
    def test_stopped_between_steps(self, machine: Machine, point: str) -> None:
        machine.read(5)

        def move() -> None:
            machine.streams.flush()
            Compaction(machine.streams, lambda: None).run("audit")

        arm({point: "error"})
        with pytest.raises(FailpointError):
            move()
        disarm()
        assert machine.findings() == []
        machine.streams.flush()
        Compaction(machine.streams, lambda: None).run("audit")
        assert machine.findings() == []


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
