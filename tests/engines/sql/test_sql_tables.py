from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.errors import TableUnknown
from engines.reading import TableName
from engines.sql.source import ArrowTable, Folder, LakeTable
from engines.sql.tables import RESCUED_FOR, CatalogTables
from engines.sql.views import ViewSweep, view_name
from state.catalog.tables import Table
from state.errors import ObjectCorrupt, ObjectMissing
from state.failures import BucketFailure
from state.objects import Found, ObjectRef


@pytest.fixture
def orders(lake: Any) -> Any:
    lake.create("job-orders", {"id": "int64", "v": "string"}, ["id"])
    lake.add("job-orders", [{"id": 1, "v": "a"}])
    lake.add("job-orders", [{"id": 2, "v": "a"}])
    lake.add("job-orders", [{"id": 2, "v": "b"}], "delta")
    return lake


def test_hyphens_are_underscores_and_the_rest_is_unknown(orders: Any) -> None:
    orders.system["events"] = pa.table({"id": ["a"]})
    known = {name: orders.resolver.resolve(TableName(name)) for name in ("job_orders", "job-orders", "system.events")}
    assert [type(source) for source in known.values()] == [LakeTable, LakeTable, ArrowTable]
    assert {name: source.name for name, source in known.items()} == {name: name for name in known}
    for name in ("Job_Orders", "orders", "system.nothing", "other.events", "information_schema.tables", "public.job_orders", ""):
        assert orders.resolver.resolve(TableName(name)) is None
    assert orders.resolver.names() == [
        TableName(name) for name in ("job_orders", "system.cache", "system.events", "system.journal", "system.models", "system.quarantine")
    ]


@pytest.mark.parametrize("table", [Table("later", 0, "primary"), None], ids=["without columns", "without files"])
def test_a_dataset_that_holds_nothing_says_what_to_do(lake: Any, table: Table | None) -> None:
    lake.tables["later"] = table
    with pytest.raises(TableUnknown, match="holds nothing yet") as caught:
        lake.resolver.resolve(TableName("later"))
    assert caught.value.remedy == "`lakectl why Dataset/later` tells what it waits for."


def test_a_view_links_each_file_where_it_belongs(orders: Any) -> None:
    source = orders.source("job_orders")
    links = {str(path.relative_to(orders.views)): path.resolve() for path in orders.views.rglob("*.parquet")}
    top = view_name(orders.tables["job-orders"])
    files = [(orders.root / "lake" / file.key).resolve() for file in orders.tables["job-orders"].files]
    assert links == {
        f"{top}/base/00000000.parquet": files[0],
        f"{top}/touched/00000000.parquet": files[1],
        f"{top}/deltas/__sequence=3/00000000.parquet": files[2],
    }
    assert (source.base, source.merged) == (Folder(str(orders.views / top / "base"), 1), str(orders.views / top / "merged.arrow"))
    assert source.version == 4


def test_other_files_or_other_bytes_are_another_view(orders: Any) -> None:
    table = orders.tables["job-orders"]
    orders.replace("job-orders", version=9)
    assert view_name(orders.tables["job-orders"]) == view_name(table)
    orders.add("job-orders", [{"id": 1, "v": "z"}], "delta")
    assert view_name(orders.tables["job-orders"]) != view_name(table)


def test_links_are_not_looked_at_again_unless_asked_and_then_mended(orders: Any) -> None:
    source = orders.source("job_orders")
    link = Path(source.base.path) / "00000000.parquet"
    target = link.readlink()
    link.unlink()
    assert orders.source("job_orders") is source
    assert not link.is_symlink()
    assert orders.resolver.resolve(TableName("job_orders"), fresh=True) == source
    assert link.readlink() == target
    link.unlink()
    link.symlink_to("/nowhere")
    orders.resolver.resolve(TableName("job_orders"), fresh=True)
    assert link.readlink() == target


def test_a_view_of_rescued_files_is_looked_at_again_after_a_while(orders: Any) -> None:
    now, told = [0.0], list[BucketFailure]()
    failure: BucketFailure | None = BucketFailure(datetime.now(UTC), "far", "get", "a", "bucket-unavailable", "down", 5.0, 3, "mirror")

    class Rescued:
        def find(self, ref: ObjectRef) -> Found:
            return Found(orders.reader.find(ref).path, failure)

        def again(self, failure: BucketFailure) -> None:
            told.append(failure)

    resolver = CatalogTables(orders, Rescued(), orders, orders.views, lambda: now[0])
    rescued = resolver.resolve(TableName("job_orders"))
    assert isinstance(rescued, LakeTable)
    assert (rescued.rescues, told) == (("mirror",), []), "whoever found the files told of it"
    for _ in range(2):
        assert resolver.resolve(TableName("job_orders")) is rescued
    assert told == [failure, failure], "each time, once for all files"
    failure = None
    now[0] = RESCUED_FOR + 1
    back = resolver.resolve(TableName("job_orders"))
    assert isinstance(back, LakeTable)
    assert back.rescues == ()
    now[0] *= 100
    assert resolver.resolve(TableName("job_orders")) is back
    assert len(told) == 2


def test_a_damaged_and_a_lost_file_are_named(orders: Any) -> None:
    file = orders.root / "lake" / orders.tables["job-orders"].files[0].key
    data = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(data[:-1])
    with pytest.raises(ObjectCorrupt):
        orders.source("job_orders")
    file.unlink()
    with pytest.raises(ObjectMissing):
        orders.source("job_orders")


def test_a_view_that_no_table_needs_goes_after_a_while(orders: Any) -> None:
    sweep = ViewSweep(orders.views, grace=60.0)
    assert sweep.run(orders.tables.values(), 0.0) == 0
    old = view_name(orders.tables["job-orders"])
    orders.source("job_orders")
    orders.add("job-orders", [{"id": 3, "v": "c"}], "delta")
    orders.source("job_orders")
    assert [sweep.run(orders.tables.values(), now) for now in (100.0, 159.0, 160.0, 161.0)] == [0, 0, 1, 0]
    assert [path.name for path in orders.views.iterdir()] == [view_name(orders.tables["job-orders"])]
    assert not (orders.views / old).exists()
    assert orders.store.head(orders.tables["job-orders"].files[0].key).size > 0
