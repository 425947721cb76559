"""Faulty data files: refused as a whole, with file, line and reason; the rest is served, and a mended file is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from harness_daemon import wait_for
from harness_shop import Shop, dataset

GOOD = b"id,city\n1,Lima\n2,Oslo\n"
FAULTY = {
    "ragged": (b"id,city\n3,Lagos\n4,Perth,surplus\n", ("bad.csv:3",)),
    "mixed": (b"id,city\n3,Malm\xc3\xb6\n4,Malm\xf6\n", ("bad.csv:3", "encoding")),
    "page": (b"<!doctype html><title>503", ("bad.csv:1", "HTML")),
    "narrower": (b"id,city\nthree,Lagos\n", ("bad.csv:2", "id")),
    "torn": (b'id,city\n3,"Lag', ("bad.csv:2",)),
    "nul": (b"id,city\n3,La\x00gos\n", ("bad.csv:2",)),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_file_is_refused_with_its_line(shared: Shop, name: str) -> None:
    content, words = FAULTY[name]
    rows = f"SELECT count(*) FROM {name}"
    shared.repository.write(f"data/{name}/good.csv", GOOD)
    shared.repository.commit(name, **{name: dataset(name)})
    wait_for(lambda: shared.daemon.value(rows) == 2, "the good file is served")
    shared.repository.write(f"data/{name}/bad.csv", content)
    shared.daemon.wait_status(f"Dataset/{name}", "FileRefused", *words, "stays served", ready="False")
    assert shared.daemon.value(rows) == 2
    assert shared.serves()
    shared.repository.write(f"data/{name}/bad.csv", b"id,city\n3,Lagos\n")
    wait_for(lambda: shared.daemon.value(rows) == 3, "the mended file is served")
    shared.daemon.wait_status(f"Dataset/{name}", "Succeeded", ready="True")


def test_an_empty_file_is_named_and_a_header_alone_adds_nothing(shared: Shop) -> None:
    shared.repository.write("data/hollow/good.csv", GOOD)
    shared.repository.write("data/hollow/header.csv", b"id,city\n")
    empty = shared.repository.write("data/hollow/empty.csv", b"")
    shared.repository.commit("hollow", hollow=dataset("hollow"))
    shared.daemon.wait_status("Dataset/hollow", "FileRefused", "empty.csv", "the file is empty", "stays served", ready="False")
    assert shared.daemon.value("SELECT count(*) FROM hollow") == 2
    empty.unlink()
    shared.daemon.wait_status("Dataset/hollow", "Succeeded", ready="True")


def directory(folder: Path) -> Path:
    (folder / "within.csv").mkdir()
    return folder / "within.csv"


def link_outside(folder: Path) -> Path:
    outside = folder.parents[2] / "outside.csv"
    outside.write_bytes(b"id,city\n9,Elsewhere\n")
    (folder / "link.csv").symlink_to(outside)
    return folder / "link.csv"


def dangling(folder: Path) -> Path:
    (folder / "nowhere.csv").symlink_to(folder / "not-there.csv")
    return folder / "nowhere.csv"


def circle(folder: Path) -> Path:
    (folder / "circle.csv").symlink_to(folder / "circle.csv")
    return folder / "circle.csv"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.csv")
    return folder / "pipe.csv"


NO_FILES = (
    (directory, "directory"),
    (link_outside, "out of the data root"),
    (dangling, "leads nowhere"),
    (circle, "link"),
    (pipe, "neither"),
)


@pytest.mark.parametrize(("make", "words"), NO_FILES)
def test_what_is_no_file_is_named_and_not_read(shared: Shop, make: Callable[[Path], Path], words: str) -> None:
    name = make.__name__.replace("_", "-")
    rows = f"SELECT count(*) FROM {make.__name__}"
    good = shared.repository.write(f"data/{name}/good.csv", GOOD)
    shared.repository.commit(name, **{name: dataset(name)})
    wait_for(lambda: shared.daemon.value(rows) == 2, "the good file is served")
    made = make(good.parent)
    shared.daemon.wait_status(f"Dataset/{name}", "FileRefused", made.name, words, "stays served", ready="False")
    assert shared.daemon.value(rows) == 2
    made.rmdir() if made.is_dir() and not made.is_symlink() else made.unlink()
    shared.daemon.wait_status(f"Dataset/{name}", "Succeeded", ready="True")
