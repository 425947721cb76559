"""What globs match below the data root: files with their digests, and what is no source with the reason."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.dataset import files as module
from controllers.dataset.files import Listing, SourceFiles, Unusable
from controllers.dataset.known_digests import KnownDigests


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def write(root: Path, path: str, text: str = "a\n1\n") -> Path:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def paths(listing: Listing) -> list[str]:
    return [file.path for file in listing.files]


def refused(listing: Listing) -> dict[str, str]:
    return {path.path: path.reason for path in listing.unusable}


def test_in_lexical_order_each_once(root: Path) -> None:
    for path in ("d/b.csv", "d/a.csv", "d/B.csv", "d/sub/c.csv", "e/a.tsv"):
        write(root, path)
    files = SourceFiles(root)
    assert paths(files.list(["d/*.csv"])) == ["d/B.csv", "d/a.csv", "d/b.csv"]
    assert paths(files.list(["e/*", "d/**/*.csv", "d/a.csv"])) == ["d/B.csv", "d/a.csv", "d/b.csv", "d/sub/c.csv", "e/a.tsv"]
    assert files.list(["nothing/*.csv", "d/none.csv"]) == Listing()


def test_names_with_a_dot_in_front_are_matched_by_a_dot_alone(root: Path) -> None:
    for path in ("d/a.csv", "d/.b.csv", "d/.git/c.csv", ".e/d.csv"):
        write(root, path)
    files = SourceFiles(root)
    assert paths(files.list(["**/*.csv", "*/*.csv", "d/[.a]*.csv", "d/?b.csv"])) == ["d/a.csv"]
    assert paths(files.list(["d/.*.csv"])) == ["d/.b.csv"]
    assert paths(files.list(["d/.git/*.csv", ".e/*.csv", "d/.b.csv"])) == [".e/d.csv", "d/.b.csv", "d/.git/c.csv"]
    assert paths(files.list(["d/.g*/*.csv"])) == ["d/.git/c.csv"]


def test_facts_of_a_file(root: Path) -> None:
    place = write(root, "d/a.csv", "a\n2\n")
    (file,) = SourceFiles(root).list(["d/*.csv"]).files
    facts = place.stat()
    assert (file.digest, file.size, file.mtime_ns) == (hashlib.sha256(b"a\n2\n").hexdigest(), facts.st_size, facts.st_mtime_ns)
    assert SourceFiles(root).resolve("d/a.csv") == place


@pytest.mark.parametrize(
    ("name", "form", "same"),
    [("csv", None, True), ("xlsx", None, True), ("md", None, False), ("pdf", None, False), ("csv", "text", False), ("md", "csv", True)],
)
def test_a_document_is_its_path_too(root: Path, name: str, form: str | None, same: bool) -> None:
    write(root, f"d/a.{name}")
    write(root, f"d/b.{name}")
    files = SourceFiles(root)
    one, two = files.list(["d/*"], form).files
    assert (one.digest == two.digest) is same
    assert files.list(["d/*"], form).files == (one, two)


@pytest.mark.parametrize("pattern", ["/etc/*.conf", "../*.csv", "d/../../*.csv"])
def test_nothing_outside(root: Path, pattern: str) -> None:
    write(root.parent, "x.csv")
    assert SourceFiles(root).list([pattern]) == Listing()


class TestUnusable:
    def test_is_named_and_the_rest_is_listed(self, root: Path) -> None:
        write(root, "d/a.csv")
        (root / "d/folder.csv").mkdir()
        write(root.parent, "secret.csv")
        (root / "d/out.csv").symlink_to(root.parent / "secret.csv")
        (root / "d/loop.csv").symlink_to("loop.csv")
        (root / "d/dangling.csv").symlink_to("nowhere.csv")
        os.mkfifo(root / "d/pipe.csv")
        write(root, "d/notes.docx")
        listing = SourceFiles(root).list(["d/*"])
        assert paths(listing) == ["d/a.csv"]
        assert refused(listing).keys() == {
            f"d/{name}" for name in ("folder.csv", "out.csv", "loop.csv", "dangling.csv", "pipe.csv", "notes.docx")
        }
        assert "leads out of the data root" in refused(listing)["d/out.csv"]
        assert "leads back to itself" in refused(listing)["d/loop.csv"]
        assert refused(listing)["d/folder.csv"].startswith("is a directory")
        assert "known suffixes are .csv" in refused(listing)["d/notes.docx"]

    def test_any_name_will_do_where_the_spec_says_the_format(self, root: Path) -> None:
        write(root, "d/export")
        write(root, "d/notes.docx")
        assert paths(SourceFiles(root).list(["d/*"], "text")) == ["d/export", "d/notes.docx"]

    def test_what_ends_in_gz_is_named_before(self, root: Path) -> None:
        write(root, "d/a.csv.gz")
        write(root, "d/B.NDJSON.GZ")
        write(root, "d/c.gz")
        listing = SourceFiles(root).list(["d/*"])
        assert paths(listing) == ["d/B.NDJSON.GZ", "d/a.csv.gz"]
        assert "has no format that is read" in refused(listing)["d/c.gz"]

    def test_a_name_that_is_no_text(self, root: Path) -> None:
        write(root, "d/a.csv")
        Path(os.fsdecode(os.fsencode(root / "d") + b"/caf\xe9.csv")).write_text("a\n1\n")
        listing = SourceFiles(root).list(["d/*.csv"])
        assert paths(listing) == ["d/a.csv"]
        assert "rename it" in refused(listing)["d/caf\\udce9.csv"]
        json.dumps(refused(listing)).encode()

    def test_a_folder_that_cannot_be_read_is_not_an_empty_one(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(root, "d/a.csv")
        write(root, "d/closed/b.csv")
        original = os.scandir

        def denied(path: str) -> Iterator[os.DirEntry[str]]:
            if path.endswith("closed"):
                raise PermissionError(13, "Permission denied", path)
            return original(path)

        monkeypatch.setattr("controllers.dataset.globs.os.scandir", denied)
        for pattern in ("d/**/*.csv", "d/*/*.csv", "d/closed/*.csv"):
            assert refused(SourceFiles(root).list([pattern])) == {"d/closed": "cannot be read: Permission denied"}

    def test_what_lakehouse_wrote_is_left_out(self, root: Path) -> None:
        for path in ("a.csv", "lake/datasets/x/b.csv", "deep/er/c.csv"):
            write(root, path)
        (root / "link").symlink_to("lake")
        files = SourceFiles(root, lambda: (root / "lake", root))
        assert paths(files.list(["**/*.csv"])) == ["a.csv", "deep/er/c.csv"]
        assert files.list(["*/datasets/*/*.csv"]).files == ()
        assert "keep source files apart" in refused(files.list(["lake/**/*.csv"]))["lake"]
        assert "keep source files apart" in refused(files.list(["link/datasets/x/*.csv"]))["link/datasets/x/b.csv"]

    def test_a_link_inside_is_followed(self, root: Path) -> None:
        write(root, "d/a.csv")
        (root / "d/b.csv").symlink_to("a.csv")
        first, second = SourceFiles(root).list(["d/*.csv"]).files
        assert first.digest == second.digest

    def test_a_file_that_cannot_be_read(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(root, "d/a.csv")

        def denied(path: str) -> str:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(module, "sha256_file", denied)
        assert SourceFiles(root).list(["d/*"]).unusable == (Unusable("d/a.csv", "cannot be read: Permission denied"),)

    def test_a_file_that_vanishes_meanwhile_is_gone(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(root, "d/a.csv")

        def vanished(path: str) -> str:
            raise FileNotFoundError(2, "No such file", path)

        monkeypatch.setattr(module, "sha256_file", vanished)
        assert SourceFiles(root).list(["d/*"]) == Listing()


def later() -> int:
    """Long after whatever was written."""
    return time.time_ns() + 10**9


class TestHashing:
    @pytest.fixture
    def hashed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        original = module.sha256_file

        def noted(path: str) -> str:
            found.append(Path(path).name)
            return original(path)

        monkeypatch.setattr(module, "sha256_file", noted)
        return found

    def test_only_what_moved(self, root: Path, hashed: list[str]) -> None:
        for name in "abc":
            write(root, f"d/{name}.csv")
        files = SourceFiles(root, clock=later)
        first = files.list(["d/*.csv"])
        hashed.clear()
        assert files.list(["d/*.csv"]) == first
        assert hashed == []
        write(root, "d/b.csv", "a\n22\n")
        assert files.list(["d/*.csv"]) != first
        assert hashed == ["b.csv"]

    def test_another_file_of_the_same_size_and_time(self, root: Path, hashed: list[str]) -> None:
        place = write(root, "d/a.csv", "a\n1\n")
        facts = place.stat()
        files = SourceFiles(root, clock=later)
        (before,) = files.list(["d/*"]).files
        other = write(root, "d/.new", "a\n2\n")
        os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        other.replace(place)
        (after,) = files.list(["d/*.csv"]).files
        assert after.digest != before.digest

    def test_what_was_written_a_moment_ago_may_be_again_without_a_trace(self, root: Path, hashed: list[str]) -> None:
        place = write(root, "d/a.csv")
        now = place.stat().st_ctime_ns
        files = SourceFiles(root, clock=lambda: now)
        for _ in range(2):
            files.list(["d/*.csv"])
        now += 10**9
        for _ in range(2):
            files.list(["d/*.csv"])
        assert hashed == ["a.csv"] * 3

    def test_what_a_former_process_hashed_is_not_hashed_again(self, root: Path, hashed: list[str], tmp_path: Path) -> None:
        def started() -> SourceFiles:
            return SourceFiles(root, clock=later, known=KnownDigests(tmp_path / "cache/digests.json", root))

        for name in "abc":
            write(root, f"d/{name}.csv")
        former = started()
        first = former.list(["d/*.csv"])
        former.save()
        hashed.clear()
        assert started().list(["d/*.csv"]) == first
        assert hashed == []
        write(root, "d/b.csv", "a\n22\n")
        (root / "d/c.csv").unlink()
        files = started()
        assert [file.path for file in files.list(["d/*.csv"]).files] == ["d/a.csv", "d/b.csv"]
        assert hashed == ["b.csv"]
        files.forget(["d/a.csv"])
        files.save()
        hashed.clear()
        started().list(["d/*.csv"])
        assert hashed == ["a.csv"]

    def test_what_was_written_a_moment_ago_is_hashed_by_the_next_process(self, root: Path, hashed: list[str], tmp_path: Path) -> None:
        now = write(root, "d/a.csv").stat().st_ctime_ns
        for _ in range(2):
            files = SourceFiles(root, clock=lambda: now, known=KnownDigests(tmp_path / "digests.json", root))
            files.list(["d/*.csv"])
            files.save()
        assert hashed == ["a.csv"] * 2

    @pytest.mark.parametrize("harm", ["missing", "torn", "edited", "no text", "of another root"])
    def test_a_cache_that_is_none_is_an_empty_one(self, root: Path, hashed: list[str], tmp_path: Path, harm: str) -> None:
        write(root, "d/a.csv")
        place = tmp_path / "digests.json"
        files = SourceFiles(root, clock=later, known=KnownDigests(place, root))
        first = files.list(["d/*.csv"])
        files.save()
        whole = place.read_bytes()
        digest = first.files[0].digest.encode()
        match harm:
            case "missing":
                place.unlink()
            case "torn":
                place.write_bytes(whole[:-9])
            case "edited":
                place.write_bytes(whole.replace(digest, digest[::-1]))
            case "no text":
                place.write_bytes(b"\xff\n[]")
        hashed.clear()
        known = KnownDigests(place, root if harm != "of another root" else tmp_path)
        assert SourceFiles(root, clock=later, known=known).list(["d/*.csv"]) == first
        assert hashed == ["a.csv"]

    def test_a_cache_that_cannot_be_written_costs_nothing_else(self, root: Path, tmp_path: Path) -> None:
        write(root, "d/a.csv")
        (tmp_path / "taken").write_bytes(b"")
        files = SourceFiles(root, clock=later, known=KnownDigests(tmp_path / "taken/digests.json", root))
        assert paths(files.list(["d/*.csv"])) == ["d/a.csv"]
        files.save()

    def test_again_when_told_to_forget(self, root: Path, hashed: list[str]) -> None:
        write(root, "d/a.csv")
        write(root, "e/a.csv")
        files = SourceFiles(root, clock=later)
        files.list(["*/*.csv"])
        hashed.clear()
        files.forget(["d/*.csv"])
        files.list(["*/*.csv"])
        assert hashed == ["a.csv"]
