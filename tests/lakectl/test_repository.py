"""Commands that work on a repository: init, plan, apply, try, undo. Real git and engines, small data."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml
from datafusion import SessionContext

from reconciler.lakectl.first_spec import dataset_name, first_query, in_shell, in_sql, in_yaml
from reconciler.lakectl.following import Wanted, changed
from reconciler.lakectl.here import Here, read_head
from reconciler.lakectl.observation import Observation
from reconciler.lakectl.specs_here import place_of
from reconciler.lakectl.survey import Survey, survey
from state.status import Status

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

ROOT = Path(__file__).parents[2]
NOTE = "Writes stream processors in Java and keeps them running through every night shift "
PEOPLE = "id,city,note\n" + "".join(f"{n},{'Chicago' if n % 3 else 'Boston'},{NOTE * (n % 2 + 1)}\n" for n in range(12))
DATASET = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {bucket: primary, source: {files: "data/people/*.csv"}}
"""
WORDS_OF_SQL = [
    "table", "lateral", "unnest", "from", "not", "null", "true", "exists", "distinct", "all", "interval", "current_date",
    "struct", "trim", "top",
]  # fmt: skip
BROKEN = DATASET.replace("source:", "sourc:")


def bucket(name: str, path: str) -> str:
    return f"---\napiVersion: lakehouse/v1\nkind: Bucket\nmetadata: {{name: {name}}}\nspec: {{local: {{path: '{path}'}}}}\n"


def git(*words: str, folder: Path | None = None, check: bool = True) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip() if done.returncode == 0 else f"exit {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def made(in_folder: Path, lakectl: Lakectl) -> Path:
    """A new repository with its first commit, and a data file."""
    assert lakectl("init", "--commit").code == 0
    (in_folder / "data/people").mkdir(parents=True)
    (in_folder / "data/people/a.csv").write_text(PEOPLE)
    return in_folder


def commit(folder: Path, name: str, text: str, message: str = "Say it") -> str:
    (folder / "specs" / name).write_text(text)
    git("add", "specs")
    git("commit", "-q", "--no-verify", "-m", message)
    return git("rev-parse", "HEAD")


def nobody(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Git does not know who commits, and may not guess."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_NAME")
        monkeypatch.delenv(f"GIT_{role}_EMAIL")
    git("config", "user.useConfigOnly", "true", folder=folder)


def plain(text: str, folder: Path) -> str:
    """Without what differs from run to run."""
    return text.replace(str(folder), "/here")


class TestInit:
    def test_what_is_made(self, in_folder: Path, lakectl: Lakectl, golden: Any) -> None:
        said = lakectl("init")
        golden.check("init.txt", plain(said.all, in_folder))
        assert git("status", "--porcelain").splitlines() == ["?? .gitignore", "?? .schemas/", "?? lakehouse.yaml", "?? specs/"]
        assert (in_folder / "specs/example.yaml").read_text().startswith("# yaml-language-server: $schema=../.schemas/lakehouse.json\n")
        assert lakectl("plan", "--offline").code == 0

    def test_every_local_bucket_that_specs_name_is_ignored(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "specs").mkdir()
        (in_folder / ".gitignore").write_text("*.tmp\nbig/*\n")
        buckets = ("a", "kept/it [1]"), ("b", "big/lake"), ("c", str(in_folder.parent / "outside")), ("d", "kept/it [1]")
        (in_folder / "specs/more.yaml").write_text("".join(bucket(name, path) for name, path in buckets))
        assert lakectl("init").code == 0
        lines = (in_folder / ".gitignore").read_text().splitlines()
        assert [line for line in lines if line.startswith("/")] == ["/kept/it \\[1]/", "/lake/", "/.lakehouse/"]
        for folder in ("kept/it [1]", "lake", "big/lake"):
            (in_folder / folder / "datasets").mkdir(parents=True)
            (in_folder / folder / "datasets/x").write_text("")
        assert not [line for line in git("status", "--porcelain", "-uall").splitlines() if "datasets" in line]

    def test_a_bucket_that_git_would_add_is_warned_of(self, made: Path, lakectl: Lakectl) -> None:
        (made / "specs/more.yaml").write_text(bucket("more", "more") + bucket("away", str(made.parent / "away")))
        git("add", "specs")
        for words in (("plan",), ("plan", "--offline"), ("plan", "--staged", "--offline")):
            warnings = lakectl(*words, "-o", "json").document["warnings"]
            assert warnings == [
                "specs/more.yaml:2: Bucket/more lies in the work tree, and git does not ignore it: add /more/ to .gitignore"
            ]
        (made / ".gitignore").write_text("/lake/\n/more/\n")
        warnings = lakectl("plan", "--offline", "-o", "json").document["warnings"]
        assert warnings == ["git does not ignore the daemon's cache: add /.lakehouse/ to .gitignore"]

    def test_nothing_is_overwritten(self, made: Path, lakectl: Lakectl, golden: Any) -> None:
        before = (made / "lakehouse.yaml").read_text()
        golden.check("init-in-the-way.txt", plain(lakectl("init").all, made))
        assert (made / "lakehouse.yaml").read_text() == before

    def test_one_file_in_the_way_stops_all(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "lakehouse.yaml").write_text("mine\n")
        said = lakectl("init")
        assert (said.code, "lakehouse.yaml exists already" in said.err) == (2, True)
        assert [path.name for path in in_folder.iterdir()] == ["lakehouse.yaml"]

    def test_only_its_own_files_are_committed(self, in_folder: Path, lakectl: Lakectl) -> None:
        git("init", "-q")
        (in_folder / "mine").write_text("half done\n")
        git("add", "mine")
        assert lakectl("init", "--commit").code == 0
        assert git("status", "--porcelain") == "A  mine"

    def test_hooks_and_ignored_files_of_others_stay(self, in_folder: Path, lakectl: Lakectl) -> None:
        git("init", "-q")
        hook = in_folder / ".git/hooks/pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\n")
        (in_folder / ".gitignore").write_text("*.log")
        said = lakectl("init", "-o", "json")
        assert said.document["keptHooks"] == ["pre-commit"]
        assert hook.read_text() == "#!/bin/sh\n"
        assert (in_folder / ".gitignore").read_text().startswith("*.log\n")

    def test_the_example_is_valid_once_uncommented(self, made: Path, lakectl: Lakectl) -> None:
        lines = (made / "specs/example.yaml").read_text().splitlines()
        text = "\n".join(line.removeprefix("# ") for line in lines if line.startswith("# ") and not line.startswith("# yaml"))
        text = "\n".join(line for line in text.splitlines() if not line.startswith("Every "))
        (made / "specs/example.yaml").write_text(text + "\n")
        said = lakectl("plan", "--offline")
        assert (said.code, said.out) == (0, "✔  The specs of the working tree are valid.\n")

    def test_the_hook_stops_errors_only(self, made: Path) -> None:
        (made / "specs/people.yaml").write_text(BROKEN)
        git("add", "specs")
        refused = git("commit", "-q", "-m", "Broken", check=False)
        assert refused.startswith("exit 1")
        assert "unknown field `sourc`" in refused
        (made / "specs/people.yaml").write_text(DATASET)
        git("add", "specs")
        git("commit", "-q", "-m", "Mended")
        (made / "specs/people.yaml").write_text(BROKEN)
        for how in (["-a"], ["specs/people.yaml"]):
            # git commits these from an index of its own
            assert git("commit", "-q", "-m", "Broken", *how, check=False).startswith("exit 1")


class TestPlan:
    def test_changes(self, made: Path, lakectl: Lakectl, golden: Any) -> None:
        (made / "specs/people.yaml").write_text(
            f"{DATASET}---\napiVersion: lakehouse/v1\nkind: Index\nmetadata: {{name: notes}}\nspec: {{dataset: people, text: [note]}}\n"
            "---\napiVersion: lakehouse/v1\nkind: Index\nmetadata: {name: lost}\nspec: {dataset: nobody, text: [note]}\n"
        )
        said = lakectl("plan")
        golden.check("plan.txt", said.all)
        assert said.code == 1
        assert lakectl("plan", "-o", "json").document["changes"] is True

    def test_errors(self, made: Path, lakectl: Lakectl, golden: Any) -> None:
        (made / "specs/people.yaml").write_text(BROKEN)
        golden.check("plan-errors.txt", lakectl("plan").all + lakectl("plan", "--offline").all)

    def test_commits_and_folders(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET)
        assert "Dataset/people" in lakectl("plan", "HEAD", "-o", "json").out
        assert "Dataset/people" not in lakectl("plan", "HEAD~1", "-o", "json").out
        assert "Dataset/people" in lakectl("plan", str(made), "-o", "json").out
        said = lakectl("plan", "nowhere")
        assert (said.code, "names no commit" in said.err) == (2, True)

    def test_after_apply_nothing_is_left(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET)
        assert lakectl("apply").code == 0
        said = lakectl("plan")
        assert (said.code, said.out) == (0, "✔  Nothing to do for the working tree.\n")


class TestApply:
    def test_it_converges_and_answers_offline(self, made: Path, lakectl: Lakectl) -> None:
        revision = commit(made, "people.yaml", DATASET)
        said = lakectl("apply", "-o", "json")
        assert (said.code, said.document["converged"], said.document["revision"]) == (0, True, revision)
        assert {row["ready"] for row in said.document["objects"]} == {"True"}
        answer = lakectl("query", "SELECT count(*) AS n FROM people", "-o", "json").document
        assert answer["rows"] == [{"n": 12}]
        assert answer["versions"] == {"people": 1}
        audit = 'SELECT action, statement, tables, "rows", outcome FROM system.audit'
        (row,) = lakectl("query", audit, "-o", "json").document["rows"]
        asked = {"action": "query", "statement": "SELECT count(*) AS n FROM people", "tables": '["people"]', "rows": 1, "outcome": "done"}
        assert row == asked
        assert {row["ready"] for row in lakectl("status", "-o", "json").document["objects"]} == {"Unknown"}
        assert "specs/people.yaml:1" in lakectl("describe", "Dataset/people").out

    def test_reasons_are_told_where_it_does_not(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET.replace("data/people", "data/nothing"))
        said = lakectl("apply")
        assert said.code == 1
        assert "source empty: no file matches data/nothing/*.csv" in " ".join(said.out.split())
        assert "`lakectl why Dataset/people`" in said.out

    def test_what_is_not_committed_is_noted(self, made: Path, lakectl: Lakectl) -> None:
        (made / "specs/people.yaml").write_text(DATASET)
        assert "specs/people.yaml is not committed" in lakectl("apply").err


class TestUndo:
    def test_the_last_commit_of_specs_is_reverted(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET, "Add people")
        (made / "README").write_text("unrelated\n")
        git("add", "README")
        git("commit", "-q", "-m", "Unrelated")
        said = lakectl("undo")
        assert said.code == 0
        assert "“Add people”" in said.out
        assert not (made / "specs/people.yaml").exists()
        assert lakectl("undo", "-o", "json").document["title"] == 'Revert "Add people"'
        assert (made / "specs/people.yaml").exists()

    def test_it_refuses(self, made: Path, lakectl: Lakectl, golden: Any) -> None:
        first = git("rev-parse", "--short=7", "HEAD")
        said = [lakectl("undo").all.replace(first, "FIRST")]
        commit(made, "people.yaml", DATASET)
        (made / "specs/people.yaml").write_text(BROKEN)
        said.append(lakectl("undo").all)
        golden.check("undo-refused.txt", "\n".join(said))

    def test_what_git_refuses_leaves_everything_as_it_was(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET)
        (made / "mine").write_text("half done\n")
        git("add", "mine")
        said = lakectl("undo")
        assert (said.code, "mine is staged" in said.err) == (2, True)
        git("rm", "-q", "--cached", "mine")
        git("config", "commit.gpgSign", "true")
        git("config", "gpg.program", "false")
        said = lakectl("undo")
        assert (said.code, "gpg failed to sign" in said.err) == (2, True)
        assert git("status", "--porcelain").splitlines() == ["?? data/", "?? mine"]
        assert not (made / ".git/REVERT_HEAD").exists()

    def test_other_files_of_the_commit_may_have_changed_since(self, made: Path, lakectl: Lakectl) -> None:
        (made / "README").write_text("People\n")
        git("add", "README")
        commit(made, "people.yaml", DATASET)
        (made / "README").write_text("Persons\n")
        git("commit", "-qam", "Reword")
        said = lakectl("undo")
        assert (said.code, "changed the same lines of README" in said.err) == (2, True)
        assert git("status", "--porcelain") == "?? data/"

    def test_it_needs_nobody_known_to_git(self, made: Path, lakectl: Lakectl, monkeypatch: pytest.MonkeyPatch) -> None:
        commit(made, "people.yaml", DATASET)
        nobody(monkeypatch, made)
        assert lakectl("undo").code == 0
        assert git("log", "-1", "--format=%an") == "lakectl"

    def test_a_conflict_leaves_everything_as_it_was(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET)
        changed = commit(made, "people.yaml", DATASET.replace("primary", "other"), "Change")
        (made / "lakehouse.yaml").write_text("maxPrune: 0.5\n")
        git("commit", "-qam", "Settings", "--no-verify")
        git("revert", "--no-edit", changed)
        head = git("rev-parse", "HEAD")
        # the revert of a revert applies; nothing to conflict with, so a later edit of the same line is made first
        (made / "specs/people.yaml").write_text(DATASET.replace("primary", "third"))
        git("commit", "-qam", "Third", "--no-verify")
        git("commit", "-q", "--allow-empty", "-m", "Empty")
        assert lakectl("undo").code == 0
        assert (made / "specs/people.yaml").read_text() == DATASET
        assert head != git("rev-parse", "HEAD")


class TestFollowing:
    def test_only_what_a_commit_changes_is_waited_for(self, made: Path) -> None:
        commit(made, "people.yaml", DATASET)
        commit(made, "others.yaml", DATASET.replace("name: people", "name: others"))
        commit(made, "people.yaml", DATASET.replace("spec: {", "spec: {write: append, "), "Change one, and remove nothing")
        here = Here(made, made)
        one = changed(place_of(here), place_of(here, "HEAD^"))
        assert (list(one.digests), set(one.gone)) == (["Dataset/people"], set())
        back = changed(place_of(here, "HEAD~3"), place_of(here))
        assert (list(back.digests), set(back.gone)) == ([], {"Dataset/people", "Dataset/others"})

    def test_other_objects_do_not_count(self) -> None:
        wanted = Wanted({"Dataset/a": "d1"}, {"Dataset/b"}, all=False)
        ready, other = Status("Dataset/a", "True", "Succeeded", "", digest="d1"), Status("Dataset/c", "False", "FileRefused", "")
        assert wanted.of(Observation("r", (ready, other))).statuses == (ready,)
        assert wanted.visited((ready,))
        assert not wanted.visited((replace(ready, digest="d0"),))
        for left, done in (("Succeeded", False), ("Retained", True)):
            assert wanted.visited((ready, Status("Dataset/b", "True", left, ""))) == done


class TestTry:
    def test_data_in_answer_out(self, in_folder: Path, lakectl: Lakectl, golden: Any) -> None:
        (in_folder / "People 2025.csv").write_text(PEOPLE)
        said = lakectl("try", "People 2025.csv")
        head = git("rev-parse", "--short=7", "HEAD", folder=in_folder / "people-2025")
        golden.check("try.txt", plain(said.all, in_folder).replace(head, "COMMIT1"))
        golden.check("try-spec.yaml", (in_folder / "people-2025/specs/people-2025.yaml").read_text())
        assert git("status", "--porcelain", folder=in_folder / "people-2025") == ""

    def test_a_file_of_another_encoding(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "orte.csv").write_bytes("id;ort\n1;Köln\n2;Nürnberg\n".encode("latin-1"))
        said = lakectl("try", "orte.csv", "-o", "json")
        assert said.document["answer"]["rows"] == [{"id": 1, "ort": "Köln"}, {"id": 2, "ort": "Nürnberg"}]

    def test_a_file_that_cannot_be_read_is_refused_before_anything_is_made(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "torn.csv").write_text('a,b\n1,"2\n')
        said = lakectl("try", "torn.csv")
        assert said.code == 2
        assert "torn.csv:2" in said.err
        assert not (in_folder / "torn").exists()

    def test_names_that_mean_something_else_to_yaml_and_sql(self, in_folder: Path, lakectl: Lakectl) -> None:
        note = "x" * 8 + " is what was said" * 4
        rows = "".join(f'{n},{n % 2},"{note}"\n' for n in range(6))
        (in_folder / "2024.csv").write_text(f'from,"a: b\n# c","note ""1"""\n{rows}')
        said = lakectl("try", "2024.csv")
        assert said.code == 0, said.all
        assert "Index/2024" in said.out
        assert 'SELECT * FROM "2024" LIMIT 5' in said.out
        assert "$EDITOR specs/2024.yaml" in said.out

    def test_a_file_named_like_the_spec_of_the_bucket(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "lakehouse.csv").write_text("x\n1\n")
        assert "$EDITOR specs/data.yaml" in lakectl("try", "lakehouse.csv").out
        assert (in_folder / "lakehouse/specs/data.yaml").exists()

    def test_a_folder_in_the_way(self, in_folder: Path, lakectl: Lakectl) -> None:
        (in_folder / "a.csv").write_text("x\n1\n")
        (in_folder / "a").mkdir()
        (in_folder / "a/b").write_text("mine")
        said = lakectl("try", "a.csv")
        assert (said.code, "exists already" in said.err) == (2, True)


@pytest.mark.parametrize(("text", "name"), [("People 2025", "people-2025"), ("__x__", "x"), ("Ünïcode", "n-code"), ("a" * 80, "a" * 63)])
def test_dataset_names(text: str, name: str) -> None:
    assert dataset_name(text) == name


@pytest.mark.parametrize("word", WORDS_OF_SQL)
def test_words_of_sql_are_quoted_as_names(word: str) -> None:
    session = SessionContext()
    session.register_record_batches(word, [[pa.record_batch({word: ["a", "a", None]})]])
    asked = session.sql(first_query(word, Survey((), (), None, word, None))).to_pydict()
    assert asked == {word: ["a", None], "row_count": [2, 1]}
    assert in_sql("orders") == "orders"


@pytest.mark.parametrize(
    "text", ["notes", "2024", "true", "no", "1e5", "2024-01-01", "a b", 'a "b"', "a\nb", "#", "-", "ünï", "\x7f", "😀", "a: b"]
)
def test_names_in_yaml(text: str) -> None:
    assert yaml.safe_load(f"{{x: {in_yaml(text)}, y: [{in_yaml(text)}]}}") == {"x": text, "y": [text]}
    assert in_yaml("notes") == "notes"


@pytest.mark.parametrize("text", ["SELECT a", 'SELECT "a"', "it's", "$HOME `id` \\", "a!b"])
def test_words_of_the_shell(text: str) -> None:
    assert shlex.split(in_shell(text)) == [text]


def test_surveys(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    found = survey(path)
    assert (found.text, found.group, found.notes) == ("note", "city", ())
    assert [(column.name, column.type) for column in found.columns] == [("id", "int64"), ("city", "string"), ("note", "string")]
    assert first_query("people", found).startswith("SELECT city, count(*)")
    odd = Survey((), (), None, 'my "City"', None)
    assert '"my ""City"""' in first_query("2025-q1", odd)
    assert 'FROM "2025_q1"' in first_query("2025-q1", odd)


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_head_is_read_from_every_kind_of_repository(made: Path, packed: bool) -> None:
    """Without libgit2, which takes longer to import than `lakectl status` may."""
    commit(made, "people.yaml", DATASET)
    git("worktree", "add", "-q", "../beside", "-b", "other")
    beside = made.parent / "beside"
    git("commit", "-q", "--allow-empty", "-m", "Further", folder=beside)
    git("clone", "-q", "--bare", ".", "../bare.git")
    if packed:
        git("pack-refs", "--all")
    assert read_head(made) == git("rev-parse", "HEAD")
    assert read_head(beside) == git("rev-parse", "other") != read_head(made)
    assert read_head(made.parent / "bare.git") == read_head(made)
    git("checkout", "-q", "--detach", folder=beside)
    assert read_head(beside) == git("rev-parse", "other")


def test_commits_may_be_waited_for_by_any_name(made: Path, lakectl: Lakectl) -> None:
    revision = commit(made, "people.yaml", DATASET)
    assert lakectl("apply").code == 0
    for name, code in (("HEAD", 0), (revision[:8], 0), ("HEAD~1", 1), ("nowhere", 2)):
        assert lakectl("wait", "--for", "deleted", "Dataset/none", "--revision", name, "--timeout", "0").code == code, name


class TestGc:
    def test_shown_and_removed(self, made: Path, lakectl: Lakectl) -> None:
        commit(made, "people.yaml", DATASET)
        assert lakectl("apply").code == 0
        (needed,) = (made / "lake/datasets/people").glob("*.parquet")
        stray = needed.with_name("stray.parquet")
        stray.write_text("rows")
        assert lakectl("gc").all.splitlines()[0] == "Nothing is to be removed."
        os.utime(stray, (1, 1))
        said = lakectl("gc")
        assert said.out.splitlines()[0] == "4 bytes  primary/datasets/people/stray.parquet"
        (item,) = lakectl("gc", "-o", "json").document["items"]
        assert item == {"bucket": "primary", "key": "datasets/people/stray.parquet", "bytes": 4, "owner": "Dataset/people"}
        assert (said.code, said.out.splitlines()[-1]) == (0, "Nothing refers to 1 object (0.0 MB). `lakectl gc --yes` removes them.")
        assert lakectl("fsck", "-o", "json").document["findings"][0]["mend"] == "lakectl gc --yes"
        document = lakectl("gc", "--yes", "-o", "json").document
        assert (document["outcome"], document["found"], document["left"]) == ("done", [{"bucket": "primary", "objects": 1, "bytes": 4}], [])
        assert list(needed.parent.glob("*.parquet")) == [needed]
        assert lakectl("fsck", "--deep").code == 0
