"""Faulty specs: each is named with its place, and what was good before stays in force and keeps answering."""

from __future__ import annotations

import pytest
from harness_daemon import wait_for
from harness_shop import Shop, dataset

FAULTY = {
    "malformed": ("kind: Dataset\nmetadata: {name: [", "specs/malformed.yaml"),
    "half-written": ("apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: half-written}\nspec:\n  sour", "half-written"),
    "unknown-field": (
        'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {name: x}\nspec: {source: {files: "a"}, primarykey: [id]}',
        "primaryKey",
    ),
    "huge": ("# " + "x" * (10 << 20), "at most"),
    "binary": ("\x00\x01\x02", "specs/binary.yaml"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_file_is_named_and_nothing_else_suffers(shared: Shop, name: str) -> None:
    text, words = FAULTY[name]
    assert shared.serves()
    shared.repository.commit(name, **{name: text})

    def refused() -> bool:
        rows = shared.daemon.status().values()
        return any(row["reason"] == "InvalidSpec" and f"specs/{name}.yaml" in row["message"] and words in row["message"] for row in rows)

    wait_for(refused, f"{name} is refused, with {words}")
    assert shared.serves()
    (shared.repository.path / f"specs/{name}.yaml").unlink()
    shared.repository.commit("undone")
    shared.daemon.wait_settled()


def test_a_spec_that_turns_faulty_stays_in_force_as_it_was(shared: Shop) -> None:
    good = dataset("turning")
    shared.repository.write("data/turning/1.csv", "a\n1\n2\n")
    shared.repository.commit("good", turning=good)
    wait_for(lambda: shared.daemon.value("SELECT count(*) FROM turning") == 2, "its rows are served")
    shared.repository.commit("half-written", turning=good[: len(good) // 2])
    shared.daemon.wait_status("Dataset/turning", "InvalidSpec", "last good spec stays in force", ready="False")
    shared.repository.write("data/turning/2.csv", "a\n3\n")
    wait_for(lambda: shared.daemon.value("SELECT count(*) FROM turning") == 3, "its files are followed by the last good spec")
    shared.repository.commit("mended", turning=good)
    shared.daemon.wait_status("Dataset/turning", "Succeeded", ready="True")


def test_a_missing_bucket_is_waited_for(shared: Shop) -> None:
    shared.repository.write("data/waiting/1.csv", "a\n1\n")
    shared.repository.commit("a dataset before its bucket", waiting=dataset("waiting", bucket="archive"))
    row = shared.daemon.wait_status("Dataset/waiting", "ReferenceMissing", "Bucket/archive", ready="False")
    assert "declare it" in row["message"]
    assert shared.serves()
    bucket = "apiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {name: archive}\nspec: {local: {path: lake/archive}}\n"
    shared.repository.commit("the bucket", archive=bucket)
    wait_for(lambda: shared.daemon.value("SELECT count(*) FROM waiting") == 1, "its rows are served")
    shared.daemon.wait_status("Dataset/waiting", "Succeeded", ready="True")
