"""`lakectl rebuild`: a lost or damaged catalog is made again, by what the buckets hold and the specs say."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from harness_daemon import BUCKET, Repository

from state import failpoints
from state.catalog.entry import TableCommit
from state.catalog.log import WriterId
from state.catalog.restart import restart
from state.errors import CatalogCorrupt
from state.local_store import LocalStore

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

PEOPLE = "id,city\n" + "".join(f"{n},{'Chicago' if n % 3 else 'Boston'}\n" for n in range(12))
DATASET = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {bucket: primary, source: {files: "data/people/*.csv"}}
"""
UPSERTED = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: orders}
spec: {bucket: primary, source: {files: "data/orders/*.csv"}, primaryKey: [id], write: upsert}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: prices}
spec: {bucket: primary, source: {files: "data/prices/*.csv"}, write: replace}
"""
INDEX = """
apiVersion: lakehouse/v1
kind: Index
metadata: {name: names}
spec: {dataset: people, text: [city]}
"""
MIRRORED = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}, rescue: {bucket: mirror, mirror: true}}
---
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: mirror}
spec: {local: {path: mirror}}
"""
SUSPENDED = "SELECT object, message FROM system.status WHERE reason = 'Suspended' ORDER BY object"
ROWS = """
SELECT 'people' AS dataset, id, city AS text, CAST(NULL AS VARCHAR) AS more FROM people
UNION ALL SELECT 'orders', id, text, more FROM orders
UNION ALL SELECT 'prices', id, text, NULL FROM prices
ORDER BY 1, 2, 3
"""


@pytest.fixture
def made(in_folder: Path) -> Repository:
    """A repository of one bucket, and a data file."""
    return begun(in_folder)


def begun(folder: Path) -> Repository:
    repository = Repository(folder)
    repository.commit(bucket=BUCKET)
    repository.write("data/people/a.csv", PEOPLE)
    return repository


@pytest.fixture(scope="module")
def three_applies(tmp_path_factory: pytest.TempPathFactory, lakectl: Lakectl) -> Path:
    """An appended, an upserted and a replaced table, each of several files and with former contents."""
    made = begun(tmp_path_factory.mktemp("made"))
    made.commit(people=DATASET, orders=UPSERTED)

    def apply() -> None:
        said = lakectl("--repo", str(made.path), "apply")
        assert said.code == 0, said

    for step in ("1,old\n2,old\n", "2,new\n3,new\n"):
        for name in ("orders", "prices"):
            made.write(f"data/{name}/a.csv", "id,text\n" + step)
        apply()
    made.write("data/orders/b.csv", "id,text,more\n3,newest,x\n")
    made.write("data/people/b.csv", PEOPLE.replace("Boston", "Paris"))
    apply()
    return made.path


@pytest.fixture
def lake(three_applies: Path, in_folder: Path) -> Repository:
    """Its copy."""
    shutil.copytree(three_applies, in_folder, dirs_exist_ok=True)
    return Repository(in_folder)


def rows(lakectl: Lakectl) -> list[Any]:
    """All rows of all tables, in one statement: each costs a process."""
    said = lakectl("query", ROWS, "-o", "json")
    assert not said.code, said
    found: list[Any] = said.document["rows"]
    return found


def files(lakectl: Lakectl) -> Any:
    sql = "SELECT dataset, key, sequence, role FROM system.files ORDER BY dataset, key"
    return lakectl("query", sql, "-o", "json").document["rows"]


def columns(lakectl: Lakectl) -> Any:
    return lakectl("query", "SELECT * FROM system.columns ORDER BY dataset, position", "-o", "json").document["rows"]


def test_a_lost_catalog_is_made_from_footers(lake: Repository, lakectl: Lakectl) -> None:
    before, parts, known = rows(lakectl), files(lakectl), columns(lakectl)
    assert Counter(row["dataset"] for row in before) == {"people": 24, "orders": 3, "prices": 2}
    assert lakectl("rebuild", "--yes").err.startswith("error: the catalog in bucket primary can be read")
    shutil.rmtree(lake.path / "lake/catalog")
    said = lakectl("apply")
    assert (said.code, "the catalog of bucket primary is lost" in said.err, "lakectl rebuild" in said.err) == (2, True, True)
    shown = lakectl("rebuild", "-o", "json").document
    assert (shown["done"], [(table["dataset"], table["rows"]) for table in shown["tables"]]) == (
        False,
        [("orders", 5), ("people", 24), ("prices", 2)],
    )
    assert lakectl("rebuild", "--yes").code == 0
    assert rows(lakectl) == before
    assert lakectl("apply").code == 0
    assert (rows(lakectl), files(lakectl), columns(lakectl)) == (before, parts, known)
    assert lakectl("fsck", "--deep").code == 0


def test_what_was_suspended_stays_so(lake: Repository, lakectl: Lakectl) -> None:
    for name, more in (("people", ()), ("orders", ("--until", "2100-01-01T00:00:00Z")), ("prices", ())):
        assert lakectl("suspend", f"Dataset/{name}", "--reason", "broken source", *more).code == 0
    assert lakectl("apply").code in (0, 1)
    assert lakectl("resume", "Dataset/prices").code == 0
    assert lakectl("apply").code in (0, 1)
    before = lakectl("query", SUSPENDED, "-o", "json").document["rows"]
    assert len(before) == 2
    shutil.rmtree(lake.path / "lake/catalog")
    shown = lakectl("rebuild", "-o", "json").document["suspended"]
    assert [(held["object"], held["why"], held["until"] is None) for held in sorted(shown, key=lambda held: held["object"])] == [
        ("Dataset/orders", "broken source", False),
        ("Dataset/people", "broken source", True),
    ]
    said = lakectl("rebuild", "--yes")
    assert (said.code, "Dataset/people  stays suspended, by" in said.out) == (0, True)
    lakectl("apply")
    assert lakectl("query", SUSPENDED, "-o", "json").document["rows"] == before


def test_a_suspended_index_is_built_once_it_is_resumed(made: Repository, lakectl: Lakectl) -> None:
    made.commit(people=DATASET, names=INDEX)
    assert lakectl("apply").code == 0
    assert lakectl("suspend", "Index/names", "--reason", "quiet").code == 0
    lakectl("apply")
    shutil.rmtree(made.path / "lake/catalog")
    assert lakectl("fsck").code == 1
    assert lakectl("rebuild", "--yes").code == 0
    lakectl("apply")
    assert lakectl("resume", "Index/names").code == 0
    assert lakectl("apply").code == 0
    assert lakectl("fsck", "--deep").code == 0


def test_what_a_mirror_has_of_the_lost_catalog_goes_aside(lake: Repository, lakectl: Lakectl) -> None:
    lake.commit(bucket=MIRRORED)
    assert lakectl("apply").code == 0
    shutil.copytree(lake.path / "lake/catalog", lake.path / "mirror/catalog", dirs_exist_ok=True)
    shutil.rmtree(lake.path / "lake/catalog")
    assert lakectl("rebuild", "--yes").code == 0
    assert list((lake.path / "mirror/lost").rglob("catalog/log/*.json"))
    assert not list((lake.path / "mirror/catalog").rglob("*.json"))


@pytest.mark.parametrize("point", ["restart.before-delete", "restart.before-entry"])
def test_a_damaged_catalog_and_a_kill_in_between(lake: Repository, lakectl: Lakectl, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(lakectl)
    shutil.rmtree(lake.path / "lake/catalog/checkpoints", ignore_errors=True)
    entries = sorted((lake.path / "lake/catalog/log").iterdir())
    entries[3].write_bytes(b"")
    assert lakectl("apply").code == 2
    monkeypatch.setenv("LAKEHOUSE_FAILPOINTS", f"{point}=error")
    assert lakectl("rebuild", "--yes").code == 2
    failpoints.disarm()
    monkeypatch.delenv("LAKEHOUSE_FAILPOINTS")
    assert lakectl("apply").code == 2, "nothing in between passes for a catalog"
    assert lakectl("rebuild", "--yes").code == 0
    assert lakectl("apply").code == 0
    assert rows(lakectl) == before
    assert len(list((lake.path / "lake/lost").rglob("catalog/log/*.json"))) >= len(entries)


def test_files_that_only_the_rescue_bucket_has_are_fetched_back(lake: Repository, lakectl: Lakectl) -> None:
    before = rows(lakectl)
    lake.commit(bucket=MIRRORED.replace(", mirror: true", ""))
    assert lakectl("apply").code == 0
    shutil.copytree(lake.path / "lake/datasets", lake.path / "mirror/datasets")
    shutil.rmtree(lake.path / "lake/catalog")
    shutil.rmtree(lake.path / "lake/datasets")
    shutil.rmtree(lake.path / "data")
    assert lakectl("rebuild", "--yes").code == 0
    lakectl("apply")
    after = rows(lakectl)
    # what is replaced is what its sources are: none
    kept, found = ([row for row in all_ if row["dataset"] != "prices"] for all_ in (before, after))
    assert found == kept
    assert lakectl("fsck", "--deep", "-o", "json").document["findings"] == []


def test_what_an_older_version_wrote_is_read_again(lake: Repository, lakectl: Lakectl) -> None:
    before = rows(lakectl)
    shutil.rmtree(lake.path / "lake/catalog")
    (old, *_) = sorted((lake.path / "lake/datasets/people").iterdir())
    table = pq.read_table(old, partitioning=None)
    pq.write_table(table.replace_schema_metadata({k: v for k, v in table.schema.metadata.items() if k != b"lakehouse.table"}), old)
    shown = lakectl("rebuild", "--yes", "-o", "json").document
    assert [(left["name"], "older version" in left["reason"]) for left in shown["leftOut"]] == [("Dataset/people", True)]
    assert lakectl("apply").code == 0
    assert rows(lakectl) == before


def test_changes_that_make_no_catalog_touch_neither_the_store_nor_its_mirror(tmp_path: Path) -> None:
    stores = [LocalStore(tmp_path / name, name) for name in ("lake", "mirror")]
    for store in stores:
        store.put("catalog/log/00000000000000000001.json", b"damaged")
    unfit = TableCommit("Dataset/x", "t", "lake", remove=("not-there",))
    with pytest.raises(CatalogCorrupt, match="no file not-there to remove"):
        restart(*stores, WriterId("w", 1), [unfit], run="r", at="2026-11-28T00:00:00.000Z", actor="a", reason="r")
    assert [[info.key for info in store.list()] for store in stores] == [["catalog/log/00000000000000000001.json"]] * 2
