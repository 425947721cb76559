"""Parsed specs are found again by blob and path, and a cache that cannot be used is an empty one."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from small_lake import dataset, documents, index

from reconciler.blob_cache import BlobCache
from specs.parse import ParsedFile, parse_file

PATH = "specs/a.yaml"


def parsed(text: str, path: str = PATH) -> ParsedFile:
    return parse_file(path, text.encode())


GOOD = parsed(documents(dataset("x", ", owner: me"), index("i", "x")))
BAD = parsed(documents(dataset("x"), dataset("y").replace("source", "sauce"), "kind: 5\n"))


@pytest.mark.parametrize("file", [GOOD, BAD], ids=["good", "bad"])
def test_round_trip_through_the_disk(tmp_path: Path, file: ParsedFile) -> None:
    cache = BlobCache(tmp_path / "deep" / "specs.json", "v")
    assert cache.get(PATH, "blob") is None
    cache.put("blob", file)
    assert cache.get(PATH, "blob") == file
    cache.save()
    assert BlobCache(tmp_path / "deep" / "specs.json", "v").get(PATH, "blob") == file


def test_the_same_blob_elsewhere_is_another_entry() -> None:
    cache = BlobCache(None, "v")
    cache.put("blob", GOOD)
    assert cache.get("specs/b.yaml", "blob") is None


def test_another_parser_starts_anew(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", "v")
    cache.put("blob", GOOD)
    cache.save()
    assert BlobCache(tmp_path / "c", "w").get(PATH, "blob") is None


def test_what_is_not_used_any_more_is_left_behind(tmp_path: Path) -> None:
    first = BlobCache(tmp_path / "c", "v")
    for blob in "abc":
        first.put(blob, GOOD)
    first.save()
    second = BlobCache(tmp_path / "c", "v")
    second.get(PATH, "a")
    second.put("d", GOOD)
    second.save()
    third = BlobCache(tmp_path / "c", "v")
    assert [blob for blob in "abcd" if third.get(PATH, blob)] == ["a", "d"]


def test_little_news_is_not_worth_a_write(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", "v")
    for number in range(20):
        cache.put(f"{number}", GOOD)
    cache.save()
    before = (tmp_path / "c").stat().st_mtime_ns, (tmp_path / "c").read_bytes()
    cache.put("20", GOOD)
    cache.save()
    assert ((tmp_path / "c").stat().st_mtime_ns, (tmp_path / "c").read_bytes()) == before
    for number in range(21, 24):
        cache.put(f"{number}", GOOD)
    cache.save()
    assert BlobCache(tmp_path / "c", "v").get(PATH, "20") == GOOD


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    writer = BlobCache(tmp_path / "c", "v")
    writer.put("committed", GOOD)
    writer.save()
    reader = BlobCache(tmp_path / "c", "v", writes=False)
    assert reader.get(PATH, "committed") == GOOD
    reader.put("edited", BAD)
    reader.save()
    assert [blob for blob in ("committed", "edited") if BlobCache(tmp_path / "c", "v").get(PATH, blob)] == ["committed"]


def test_of_a_file_that_is_edited_for_years_the_latest_contents_are_kept(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", "v")
    cache.put("first", GOOD)
    for number in range(300):
        cache.put(f"{number}", GOOD)
        cache.get(PATH, "first")
    cache.save()
    assert cache.get(PATH, "first") == GOOD
    assert cache.get(PATH, "0") is None
    assert len(orjson.loads((tmp_path / "c").read_bytes())[1]) == 21


def test_a_file_that_is_gone_is_let_go(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", "v")
    cache.put("gone", parsed("", "specs/gone.yaml"))
    cache.put("here", GOOD)
    cache.forget("specs/gone.yaml")
    cache.forget("specs/never.yaml")
    cache.save()
    assert list(orjson.loads((tmp_path / "c").read_bytes())[1]) == [f"here {PATH}"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"5", b"null", b"[]", b"[1, 2, 3]", b'{"a": 1, "b": 2}', orjson.dumps([[1, "v"], [1]]),
        orjson.dumps([[1, "v"], {f"blob {PATH}": 5}]), orjson.dumps([[1, "v"], {f"blob {PATH}": ["x", [[1]], []]}]),
        orjson.dumps([[1, "v"], {f"blob {PATH}": ["x", [], [[1, 2]]]}]),
    ],
)  # fmt: skip
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    cache = BlobCache(tmp_path / "c", "v")
    assert cache.get(PATH, "blob") is None
    cache.put("blob", GOOD)
    cache.save()
    assert BlobCache(tmp_path / "c", "v").get(PATH, "blob") == GOOD


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = BlobCache(tmp_path / "file" / "c", "v")
    cache.put("blob", GOOD)
    cache.save()
    assert cache.get(PATH, "blob") == GOOD
