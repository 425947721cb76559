"""`lakectl migrate preview`: what it drafts and shows on rows, at 80 columns, and that it changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ollama_server import Model, OllamaServer

from specs.parse import parse_file

if TYPE_CHECKING:
    from conftest import Said

    Lakectl = Callable[..., Said]

FORMER = (
    "person_id,first_name,city,age,zip\nP-1,Ada,Ulm,36,02134\nP-2,Grace,Bonn,85,60601\nP-3,Emmy,Jena,53,02139\nP-4,Joan,Leeds,79,LS1 4\n"
)
LATER = "person_id,full_name,age,email,zip\nP-1,Ada,36.5,a@x.org,02134\nP-2,Grace,85,,60601\nP-3,Emmy,53,,02139\nP-9,Alan,41,,CB2\n"
SPEC = """\
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec:
  source: {files: "data/people/*.csv"}
  primaryKey: [person_id]
  write: upsert
"""


@pytest.fixture
def people(in_folder: Path, lakectl: Lakectl) -> Path:
    assert lakectl("init", "--commit").code == 0
    (in_folder / "data/people").mkdir(parents=True)
    (in_folder / "data/people/1.csv").write_text(FORMER)
    (in_folder / "specs/people.yaml").write_text(SPEC)
    (in_folder / "later.csv").write_text(LATER)
    return in_folder


@pytest.fixture
def table(people: Path, lakectl: Lakectl) -> Path:
    """The same, with its table."""
    subprocess.run(["git", "add", "specs"], check=True)
    subprocess.run(["git", "commit", "-q", "--no-verify", "-m", "People"], check=True)
    assert lakectl("apply").code == 0
    return people


def migrating(folder: Path, text: str) -> None:
    """In the working tree."""
    (folder / "specs/people.yaml").write_text(f"{SPEC}  migrations:\n{text}")


def test_a_file_of_another_shape(table: Path, lakectl: Lakectl, golden: Any) -> None:
    said = lakectl("migrate", "preview", "people", "later.csv")
    golden.check("migrate-file.txt", said.all)
    assert max(map(len, said.out.splitlines())) <= 80
    drafted = re.search(r"migrations:\n.*?\n\n", said.out, re.DOTALL)
    assert drafted is not None
    text = f"{SPEC}  {drafted[0].strip()}\n"
    parsed = parse_file("specs/people.yaml", text.encode())
    assert not parsed.errors, parsed.errors
    assert yaml.safe_load(text)["spec"]["migrations"] == [{"from": 1, "rename": {"first_name": "full_name"}}]


def test_the_next_migration_of_the_working_tree(table: Path, lakectl: Lakectl, golden: Any) -> None:
    migrating(table, "    - from: 1\n      rename: {first_name: name}\n      expression: {decade: age / 10 * 10}\n")
    said = lakectl("migrate", "preview", "Dataset/people", "-n", "2")
    golden.check("migrate-spec.txt", said.all)
    assert lakectl("query", "SELECT first_name FROM people", "-o", "json").code == 0


def test_rows_that_it_does_not_fit(table: Path, lakectl: Lakectl, golden: Any) -> None:
    migrating(table, "    - from: 1\n      cast: {zip: int64}\n      expression: {share: 100 / (age - 85)}\n")
    golden.check("migrate-unfit.txt", lakectl("migrate", "preview", "people").all)


@pytest.mark.parametrize(
    ("migration", "said"),
    [
        ("{from: 1, rename: {nmae: b}}", "`rename` names `nmae`, which schema 1 has not"),
        ("{from: 1, expression: {x: now()}}", "calls now(), which gives something else each time"),
    ],
)
def test_what_is_no_migration_of_the_table(table: Path, lakectl: Lakectl, migration: str, said: str) -> None:
    migrating(table, f"    - {migration}\n")
    found = lakectl("migrate", "preview", "people", "-o", "json")
    assert found.code == 1
    assert said in found.document["unfit"][0]


def test_a_key_that_does_not_follow(table: Path, lakectl: Lakectl) -> None:
    migrating(table, "    - {from: 1, rename: {person_id: pid}}\n")
    found = lakectl("migrate", "preview", "people")
    assert (found.code, found.out) == (2, "")
    assert "`primaryKey` names `person_id`, which `migrations[0]` renames to `pid`; write `pid` for `person_id` in it" in found.err
    assert "`migrations[0]` renames to `pid`" in lakectl("plan").all
    subprocess.run(["git", "add", "specs"], check=True)
    assert subprocess.run(["git", "commit", "-q", "-m", "Rename"], check=False, capture_output=True).returncode == 1


def test_a_replay_begins_at_the_migration(table: Path, lakectl: Lakectl) -> None:
    """What the journal tells before it is by the former names."""
    (table / "data/people/2.csv").write_text("person_id,first_name,city,age,zip\nP-1,Ada K,Ulm,36,02134\n")
    assert lakectl("apply").code == 0
    (table / "specs/people.yaml").write_text(
        f"{SPEC.replace('[person_id]', '[pid]')}  migrations:\n    - {{from: 1, rename: {{person_id: pid, first_name: name}}}}\n"
    )
    subprocess.run(["git", "commit", "-q", "--no-verify", "-am", "Rename"], check=True)
    assert lakectl("apply").code == 0
    refused = lakectl("replay", "people")
    assert (refused.code, refused.out) == (2, "")
    assert "Version 3 of `people` has other columns than those before it" in refused.err
    assert lakectl("replay", "people", "--to", "2").code == 0
    (table / "data/people/3.csv").write_text("pid,name,city,age,zip\nP-1,Ada L,Ulm,36,02134\n")
    assert lakectl("apply").code == 0
    said = lakectl("replay", "people")
    assert (said.code, said.err) == (0, "")
    assert "people version 4 is version 3 and what the journal says since." in said.out


def test_nothing_to_show(table: Path, lakectl: Lakectl) -> None:
    said = lakectl("migrate", "preview", "people")
    assert (said.code, said.out) == (0, "Every migration of Dataset/people is behind its schema 1: nothing waits.\n")
    said = lakectl("migrate", "preview", "people", "data/people/1.csv")
    assert (said.code, said.out) == (0, "data/people/1.csv has the columns of Dataset/people: no migration is needed.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["persons"], "no spec declares Dataset/persons"),
        (["people"], "Dataset/people has no table yet."),
        (["people", "nothing.csv"], "Dataset/people has no table yet."),
    ],
)
def test_mistakes(people: Path, lakectl: Lakectl, words: list[str], said: str) -> None:
    found = lakectl("migrate", "preview", *words)
    assert found.code == 2
    assert said in found.err


def test_a_profiles_chat_model_says_what_was_renamed(people: Path, lakectl: Lakectl) -> None:
    answer = json.dumps({"renamed": {"city": "email"}})
    ollama = OllamaServer(qwen=Model(kind="chat", context=4096, answers=[answer]))
    try:
        (people / "specs/p.yaml").write_text(
            "apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {name: p}\nspec: {datasets: [people], model: {ollama: qwen}}\n"
        )
        with (people / "lakehouse.yaml").open("a") as settings:
            settings.write(f"\nmodels: {{ollama: {{url: '{ollama.url}'}}}}\n")
        subprocess.run(["git", "add", "specs", "lakehouse.yaml"], check=True)
        subprocess.run(["git", "commit", "-q", "--no-verify", "-m", "People"], check=True)
        assert lakectl("apply").code == 0
        said = lakectl("migrate", "preview", "people", "later.csv")
        assert "qwen takes city for email now." in said.all
        ((asked, *_),) = [body["messages"][1:] for body in ollama.bodies("/api/chat") if "lost" in body["messages"][1]["content"]]
        assert json.loads(asked["content"])["lost"] == {"city": "string"}
        assert "Ulm" not in asked["content"]
    finally:
        ollama.close()
