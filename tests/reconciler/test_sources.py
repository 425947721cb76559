"""Sources of specs: one behaviour for git, directories and what is staged; and what only git can meet."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pygit2
import pytest
from pygit2.enums import FileMode
from small_lake import Repository

from reconciler.errors import RevisionUnknown, SourceUnavailable
from reconciler.sources import git
from reconciler.sources.directory import DirectorySource
from reconciler.sources.git import GitSource
from reconciler.sources.source import FileChange, Source
from reconciler.sources.staged import StagedSource

Tree = dict[str, str]
A, B = "specs/a.yaml", "specs/deep/er/b.yaml"


def listing(source: Source, old: str | None = None) -> dict[str, str | None]:
    """What differs, with the texts."""
    changes = source.changes(old, source.revision())
    assert [change.path for change in changes] == sorted(change.path for change in changes)
    return {change.path: None if change.blob is None else source.read(change.blob).decode() for change in changes}


class InGit:
    def __init__(self, folder: Path, *, bare: bool = False) -> None:
        self.repository = Repository(folder / "repo", bare=bare)

    def put(self, files: Mapping[str, str | None]) -> None:
        self.repository.commit(files)

    def open(self) -> Source:
        return GitSource(self.repository.folder)


class InBareGit(InGit):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, bare=True)


class InWorktree(InGit):
    """The commits are made on the branch of a linked worktree."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.repository.commit({"README": "x"})
        self.repository.git.references.create("refs/heads/side", self.repository.git.head.target)
        tree = self.repository.git.add_worktree("side", str(folder / "side"), self.repository.git.references["refs/heads/side"])
        self.path = Path(tree.path)

    def put(self, files: Mapping[str, str | None]) -> None:
        self.repository.commit(files, branch="side")

    def open(self) -> Source:
        return GitSource(self.path)


class InDirectory:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plain"
        (self.folder / "specs").mkdir(parents=True)

    def put(self, files: Mapping[str, str | None]) -> None:
        for path, text in files.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink() if text is None else place.write_text(text)

    def open(self) -> Source:
        return DirectorySource(self.folder)


KINDS: list[Callable[[Path], Any]] = [InGit, InBareGit, InWorktree, InDirectory]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param(tmp_path)


class TestEverySource:
    def test_lists_spec_files_at_any_depth(self, place: Any) -> None:
        place.put({A: "one", B: "two", "specs/c.yml": "three", "specs/notes.md": "x", "other/d.yaml": "x", "e.yaml": "x"})
        assert listing(place.open()) == {A: "one", B: "two", "specs/c.yml": "three"}

    def test_tells_what_differs(self, place: Any) -> None:
        place.put({A: "one", B: "two", "specs/deep/c.yaml": "same"})
        source = place.open()
        old = source.revision()
        listing(source)
        place.put({A: "changed", B: None, "specs/new.yaml": "new"})
        assert source.revision() != old
        assert listing(source, old) == {A: "changed", B: None, "specs/new.yaml": "new"}

    def test_nothing_differs_where_nothing_changed(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        old = source.revision()
        place.put({"README": "y"})
        assert listing(source, old) == {}

    def test_a_file_becomes_a_folder_and_back(self, place: Any) -> None:
        place.put({"specs/x.yaml": "file"})
        source = place.open()
        first = source.revision()
        place.put({"specs/x.yaml": None})
        place.put({"specs/x.yaml/y.yaml": "inside"})
        second = source.revision()
        assert listing(source, first) == {"specs/x.yaml": None, "specs/x.yaml/y.yaml": "inside"}
        place.put({"specs/x.yaml/y.yaml": None})
        if isinstance(place, InDirectory):
            (place.folder / "specs/x.yaml").rmdir()
        place.put({"specs/x.yaml": "file"})
        assert listing(source, second) == {"specs/x.yaml/y.yaml": None, "specs/x.yaml": "file"}

    def test_a_rename_is_a_removal_and_an_addition_of_the_same_blob(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        old = source.revision()
        (was,) = source.changes(None, old)
        place.put({A: None, B: "one"})
        assert source.changes(old, source.revision()) == (FileChange(A, None), FileChange(B, was.blob))

    def test_settings(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        assert source.settings(source.revision()) is None
        place.put({"lakehouse.yaml": "maxPrune: 1"})
        assert source.settings(source.revision()) == b"maxPrune: 1"

    def test_a_forgotten_revision_is_unknown(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        with pytest.raises(RevisionUnknown):
            source.changes("0" * 40, source.revision())

    def test_a_new_revision_that_cannot_be_read_is_not_an_empty_one(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        with pytest.raises(SourceUnavailable):
            source.changes(source.revision(), "0" * 40)

    def test_something_is_watched(self, place: Any) -> None:
        place.put({A: "one"})
        assert all(watched.path.is_dir() for watched in place.open().watched())
        assert place.open().watched()

    def test_a_source_that_vanishes_is_unavailable(self, place: Any) -> None:
        place.put({A: "one"})
        source = place.open()
        old = source.revision()
        folder = place.folder if isinstance(place, InDirectory) else place.repository.folder
        folder.rename(folder.with_name("away"))
        with pytest.raises((SourceUnavailable, RevisionUnknown)):
            source.changes(None, source.revision())
        folder.with_name("away").rename(folder)
        assert source.revision() == old


class TestNamesAndDepths:
    """What a file system or a commit may hold and a text may not."""

    def opened(self, folder: Path) -> Mapping[str, Source]:
        repository = Repository(folder)
        index = pygit2.Repository(str(folder)).index
        index.add_all()
        index.write()
        repository.commit_tree(index.write_tree())
        return {"git": GitSource(folder), "directory": DirectorySource(folder), "staged": StagedSource(folder)}

    @pytest.mark.parametrize("kind", ["git", "directory", "staged"])
    def test_names_that_are_not_utf8_are_shown_with_escapes(self, tmp_path: Path, kind: str) -> None:
        for name in (b"specs/caf\xe9.yaml", b"specs/f\xff/x.yaml", "specs/\u00e9.yaml".encode()):
            path = tmp_path / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name.encode("utf-8", "backslashreplace").decode())
        source = self.opened(tmp_path)[kind]
        assert listing(source) == {
            "specs/caf\\xe9.yaml": "caf\\udce9.yaml",
            "specs/f\\xff/x.yaml": "x.yaml",
            "specs/\u00e9.yaml": "\u00e9.yaml",
        }

    @pytest.mark.parametrize("kind", ["git", "directory", "staged"])
    def test_linked_settings_are_refused(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "specs").mkdir()
        (tmp_path / "lakehouse.yaml").symlink_to("shared.yaml")
        source = self.opened(tmp_path)[kind]
        with pytest.raises(SourceUnavailable, match=r"lakehouse\.yaml.* is a link, which is not followed"):
            source.settings(source.revision())

    def test_trees_of_any_depth(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        first = repository.commit({A: "1"})
        git, (name, *above) = repository.git, ["x.yaml", *["d"] * 1_500, "specs"]
        entry, mode = git.create_blob(b"deep"), FileMode.BLOB
        for folder in above:
            builder = git.TreeBuilder()
            builder.insert(name, entry, mode)
            entry, mode, name = builder.write(), FileMode.TREE, folder
        builder = git.TreeBuilder()
        builder.insert(name, entry, mode)
        repository.commit_tree(builder.write())
        assert listing(GitSource(tmp_path), first) == {A: None, f"specs/{'d/' * 1_500}x.yaml": "deep"}


class TestGit:
    def test_head_and_other_names(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        first, second = repository.commit({A: "1"}), repository.commit({A: "2"})
        side = repository.commit({A: "3"}, branch="side")
        assert GitSource(tmp_path).revision() == second
        assert GitSource(tmp_path, "side").revision() == side
        source = GitSource(tmp_path)
        assert (source.resolve("HEAD~1"), source.resolve(first[:9]), source.resolve("refs/heads/side")) == (first, first, side)

    @pytest.mark.parametrize("name", ["nothing", "HEAD~9", "0" * 40, "", "a..b", ":x", "main^{tree}"])
    def test_a_name_that_is_no_commit(self, tmp_path: Path, name: str) -> None:
        Repository(tmp_path).commit({A: "1"})
        with pytest.raises(RevisionUnknown, match="names no commit"):
            GitSource(tmp_path).resolve(name)

    def test_a_repository_without_a_commit(self, tmp_path: Path) -> None:
        Repository(tmp_path)
        with pytest.raises(RevisionUnknown) as caught:
            GitSource(tmp_path).revision()
        assert caught.value.remedy == "Make the first: git add --all && git commit."

    def test_no_repository(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnavailable, match="is in no git repository"):
            GitSource(tmp_path / "nowhere")

    def test_found_from_a_folder_inside(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        repository.commit({A: "1"})
        (tmp_path / "data/deep").mkdir(parents=True)
        assert GitSource(tmp_path / "data/deep").root == tmp_path

    def test_roots(self, tmp_path: Path) -> None:
        assert InWorktree(tmp_path).open().root == tmp_path / "side"
        assert InBareGit(tmp_path / "other").open().root is None

    def test_links_and_submodules_are_neither_followed_nor_read(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        commit = repository.commit({A: "1"})
        links = {"specs/link.yaml": "../README", "specs/folder": ".."}
        repository.commit_tree(repository.tree({A: "1"}, links, {"specs/module.yaml": commit}))
        source = GitSource(tmp_path)
        assert listing(source) == {A: "1"}
        old = source.revision()
        repository.commit({"specs/link.yaml": "a file now"})
        assert listing(source, old) == {"specs/link.yaml": "a file now"}

    def test_specs_that_are_a_file_or_a_link(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        repository.commit({"specs": "a file"})
        assert listing(GitSource(tmp_path)) == {}
        repository.commit_tree(repository.tree({}, {"specs": "elsewhere"}))
        assert listing(GitSource(tmp_path)) == {}

    def test_the_branch_is_deleted_and_comes_back(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        repository.commit({A: "1"})
        source = GitSource(tmp_path, "side")
        with pytest.raises(RevisionUnknown):
            source.revision()
        made = repository.commit({A: "2"}, branch="side")
        assert source.revision() == made
        repository.git.references.delete("refs/heads/side")
        with pytest.raises(RevisionUnknown):
            source.revision()

    def test_a_force_push_whose_former_commit_was_collected(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        old = repository.commit({A: "1"})
        source = GitSource(tmp_path)
        assert listing(source) == {A: "1"}
        repository.commit({A: "2"}, orphan=True)
        assert listing(source, old) == {A: "2"}
        (tmp_path / ".git/objects" / old[:2] / old[2:]).unlink()
        fresh = GitSource(tmp_path)
        with pytest.raises(RevisionUnknown):
            fresh.changes(old, fresh.revision())
        assert listing(fresh) == {A: "2"}

    def test_objects_that_are_lost(self, tmp_path: Path) -> None:
        Repository(tmp_path).commit({A: "1"})
        shutil.rmtree(tmp_path / ".git/objects")
        with pytest.raises((SourceUnavailable, RevisionUnknown)):
            listing(GitSource(tmp_path))

    def test_the_past_of_a_file(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        for text in ("0", None, "1", "1b", "1b", "2"):
            repository.commit({A: text, "README": f"{text}"})
        source = GitSource(tmp_path)
        repository.commit({"README": "last"})
        past = [source.read(blob).decode() for blob in source.earlier(A, source.revision())]
        assert past == ["2", "1b", "1"], "back to where the file was not there"

    def test_the_past_may_be_read_while_it_is_walked(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        for text in "123":
            repository.commit({A: text})
        source = GitSource(tmp_path)
        found: list[bytes] = []
        walk = threading.Thread(
            target=lambda: found.extend(source.read(blob) for blob in source.earlier(A, source.revision())), daemon=True
        )
        walk.start()
        walk.join(10)
        assert found == [b"2", b"1"]

    def test_what_is_unchanged_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        repository = Repository(tmp_path)
        files = {f"specs/{n // 100:03}/{n:05}.yaml": f"{n % 50}" for n in range(10_000)}
        repository.commit(files)
        source = GitSource(tmp_path)
        old = source.revision()
        assert len(source.changes(None, old)) == 10_000
        read: list[str] = []

        def noted(tree: pygit2.Tree | None) -> dict[str, pygit2.Object]:
            read.extend([] if tree is None else [str(tree.id)])
            return original(tree)

        original = git._entries
        monkeypatch.setattr(git, "_entries", noted)
        repository.commit({"README": "unrelated"})
        assert source.changes(old, source.revision()) == ()
        assert read == []
        old = source.revision()
        repository.commit({"specs/042/04242.yaml": "other"})
        (change,) = source.changes(old, source.revision())
        assert change.path == "specs/042/04242.yaml"
        assert len(read) == 4, "specs and one folder below it, before and after"

    def test_blobs_that_are_none(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        commit = repository.commit({A: "1"})
        source = GitSource(tmp_path)
        for blob in ("0" * 40, commit, "no id"):
            with pytest.raises(SourceUnavailable):
                source.read(blob)


class TestDirectory:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnavailable):
            DirectorySource(tmp_path / "nothing")

    def test_a_vanished_specs_folder_is_not_an_empty_one(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        source = place.open()
        source.revision()
        (place.folder / "specs").rename(place.folder / "away")
        with pytest.raises(SourceUnavailable):
            source.revision()

    def test_settings_are_part_of_the_revision(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        source = place.open()
        old = source.revision()
        place.put({"lakehouse.yaml": "maxPrune: 1"})
        assert source.revision() != old

    def test_a_revision_that_was_overtaken_is_unknown(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        source = place.open()
        first = source.revision()
        for text in ("22", "333", "4444", "55555"):
            place.put({A: text})
            source.revision()
        with pytest.raises(RevisionUnknown):
            source.changes(first, source.revision())

    def test_has_no_past(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        assert list(place.open().earlier(A, "x")) == []

    @pytest.mark.parametrize("call", ["read_bytes", "stat"])
    def test_unreadable_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1", "specs/shut.yaml": "1"})
        original = getattr(Path, call)

        def shut(path: Path, *args: Any, **options: Any) -> Any:
            if path.name == "shut.yaml":
                raise PermissionError(13, "Permission denied", str(path))
            return original(path, *args, **options)

        monkeypatch.setattr(Path, call, shut)
        with pytest.raises(SourceUnavailable, match=r"shut\.yaml: Permission denied"):
            place.open().revision()

    def test_what_is_no_file_is_not_read(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1", "shared/x.yaml": "1"})
        (place.folder / "specs/loop.yaml").symlink_to("loop.yaml")
        (place.folder / "specs/x.yaml").symlink_to("../shared/x.yaml")
        (place.folder / "specs/shared").symlink_to("../shared")
        os.mkfifo(place.folder / "specs/pipe.yaml")
        assert listing(place.open()) == {A: "1"}

    def test_a_linked_specs_folder_is_refused(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        (place.folder / "specs").rename(place.folder / "away")
        (place.folder / "specs").symlink_to("away")
        with pytest.raises(SourceUnavailable, match="specs is a link, which is not followed"):
            place.open().revision()

    def test_texts_of_former_revisions_are_let_go(self, tmp_path: Path) -> None:
        place = InDirectory(tmp_path)
        place.put({A: "1"})
        source = place.open()
        (first,) = source.changes(None, source.revision())
        for text in ("22", "333", "4444", "55555"):
            place.put({A: text})
            source.revision()
        with pytest.raises(SourceUnavailable):
            source.read(str(first.blob))
        assert listing(source) == {A: "55555"}


class TestStaged:
    def test_what_is_in_the_index(self, tmp_path: Path) -> None:
        repository = Repository(tmp_path)
        repository.commit({A: "committed"})
        staged = pygit2.Repository(str(tmp_path)).index
        for path, text in {A: "staged", "lakehouse.yaml": "maxPrune: 1", "specs/x.md": "x"}.items():
            repository.write(path, text)
            staged.add(path)
        (tmp_path / "specs/link.yaml").symlink_to("a.yaml")
        staged.add("specs/link.yaml")
        staged.write()
        repository.write(A, "not staged")
        source = StagedSource(tmp_path)
        assert listing(source) == {A: "staged"}
        assert source.settings("staged") == b"maxPrune: 1"
        assert (source.root, source.watched(), list(source.earlier(A, "staged"))) == (tmp_path, (), [])

    def test_no_repository(self, tmp_path: Path) -> None:
        with pytest.raises(SourceUnavailable):
            StagedSource(tmp_path)
