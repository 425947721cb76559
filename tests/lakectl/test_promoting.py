"""`promote` and `rollback` on a repository: a request for whoever reconciles, or a commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

ROOT = Path(__file__).parents[2]

INDEX = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: "data/people/*.csv"}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {name: about}
spec:
  dataset: people  # all of them
  text: [about]
---
apiVersion: lakehouse/v1
kind: IndexGeneration
metadata: {name: about-g1}
spec: {index: about, flat: {}}
"""


def git(*words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # of the hook that checks the specs
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True, env=environment).stdout.strip()


def commit(folder: Path, text: str) -> None:
    (folder / "specs/about.yaml").write_text(text)
    git("add", "specs")
    git("commit", "-q", "--no-verify", "-m", "An index")


@pytest.fixture
def made(in_folder: Path, lakectl: Lakectl) -> Path:
    """A new repository with two rows of data."""
    assert lakectl("init", "--commit").code == 0
    (in_folder / "data/people").mkdir(parents=True)
    (in_folder / "data/people/1.csv").write_text("name,about\nAda,programs\nGrace,compilers\n")
    return in_folder


def test_a_model_is_promoted(made: Path, lakectl: Lakectl) -> None:
    commit(made, INDEX.replace("  text:", "  embed: {also: [{builtin: {dimensions: 64}}]}\n  text:"))
    assert lakectl("apply").code == 0
    said = lakectl("search", "about", "programs", "--ab", "builtin", "builtin-64", "-k", "1")
    assert "builtin (about-g1)                       builtin-64 (about-g1)" in said.out
    assert "overlap of rows    1.000" in said.out
    assert lakectl("promote", "about", "--model", "builtin-64").code == 0
    assert lakectl("apply").code == 0
    assert lakectl("search", "about", "programs", "-o", "json").document["model"] == "builtin-64"
    said = lakectl("rollback", "about", "--write-spec")
    assert (said.code, "another model served before, builtin." in said.err) == (2, True)
    said = lakectl("search", "about", "programs", "--ab", "builtin", "nomic")
    assert (said.code, "neither a model nor a build of a generation nomic; it has builtin-64, builtin, about-g1" in said.err) == (2, True)
    for more in (["about-g1"], ["--write-spec"], ["--model", "builtin"]):
        said = lakectl("promote", "about", *more, "--auto")
        assert (said.code, "--auto goes with neither a GENERATION nor --model nor --write-spec" in " ".join(said.err.split())) == (2, True)
    assert lakectl("promote", "about", "--auto").code == 0
    for more in (["about-g1"], ["--write-spec"]):
        said = lakectl("promote", "about", *more, "--model", "builtin")
        assert (said.code, "name the model under `embed` in the spec" in " ".join(said.err.split())) == (2, True)


def test_the_spec_says_what_serves(made: Path, lakectl: Lakectl) -> None:
    commit(made, INDEX)
    said = lakectl("promote", "about", "about-g1", "--write-spec", "--reason", "measured")
    assert said.code == 0, said.all
    assert "specs/about.yaml says `serve: {generation: about-g1}` since" in said.out
    assert (made / "specs/about.yaml").read_text() == INDEX.replace("  dataset", "  serve: {generation: about-g1}\n  dataset")
    assert git("log", "-1", "--format=%B").splitlines() == ["Serve about-g1 of Index/about", "", "measured"]
    again = lakectl("promote", "about", "about-g1", "--write-spec")
    assert (again.code, "says `serve: {generation: about-g1}` already" in again.err) == (2, True)
    assert lakectl("undo").code == 0
    assert (made / "specs/about.yaml").read_text() == INDEX


def test_what_is_not_declared_or_not_committed_is_left_alone(made: Path, lakectl: Lakectl) -> None:
    commit(made, INDEX)
    said = lakectl("promote", "about", "about-g2", "--write-spec")
    assert (said.code, "did you mean `IndexGeneration/about-g1`" in said.err) == (2, True), said.all
    other = INDEX.partition("---\n")[2].replace("about", "other").replace("[other]", "[about]")
    commit(made, f"{INDEX}---\n{other}")
    said = lakectl("promote", "about", "other-g1", "--write-spec")
    assert (said.code, "IndexGeneration/other-g1 is of Index/other, not of Index/about" in " ".join(said.err.split())) == (2, True)
    (made / "specs/about.yaml").write_text(f"{INDEX}---\n{other}".replace("[about]", "[about]\n  serve: {generation: other-g1}", 1))
    said = lakectl("plan")
    assert "which is of Index/other, not of Index/about; name one of its own" in " ".join(said.all.split())
    commit(made, INDEX)
    (made / "specs/about.yaml").write_text(INDEX + "# mine\n")
    said = lakectl("promote", "about", "about-g1", "--write-spec")
    assert (said.code, "specs/about.yaml is changed and not committed" in said.err) == (2, True)
    assert (made / "specs/about.yaml").read_text() == INDEX + "# mine\n"


def test_a_request_is_kept_for_the_next_daemon(made: Path, lakectl: Lakectl) -> None:
    commit(made, INDEX)
    assert lakectl("apply").code == 0
    said = lakectl("rollback", "about")
    assert (said.code, "queued, not done: nobody is reconciling now" in said.out) == (0, True), said.all
