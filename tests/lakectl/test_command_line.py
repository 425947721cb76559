"""The command line itself: help, mistakes, start-up. Nothing here needs a lakehouse."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.lakectl.commands.query import parameters
from reconciler.lakectl.environment import read_environment
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.given_text import given_text
from reconciler.lakectl.main import load, parser_of
from reconciler.lakectl.options import count, duration, split
from reconciler.lakectl.table import COMMANDS, NEEDS
from specs.version import VERSION
from state import reasons

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

    Lakectl = Callable[..., Said]

ROOT = Path(__file__).parents[2]


def test_help_of_all(lakectl: Lakectl, golden: Any) -> None:
    golden.check("help.txt", lakectl("--help").all)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_each_command(lakectl: Lakectl, golden: Any, command: Any) -> None:
    said = lakectl(command.name, "--help")
    golden.check(f"help-{command.name}.txt", said.all)
    assert NEEDS[command.needs] in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out == lakectl("help", command.name).out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_are_calls_that_parse(command: Any) -> None:
    module = load(command)
    assert module.EXAMPLES.strip()
    parser = parser_of(command, module)
    for line in module.EXAMPLES.strip().splitlines():
        words = line.split(" && ")[-1].split(" | ")[0].split()
        if words[0] == "lakectl" and not any(mark in line for mark in ('"', "'", "<", ">", "$", "--repo", "&")):
            parser.read(words[2:])


MISTAKES = (
    ["statsu"],
    ["status", "--wacth"],
    ["status", "-o", "jsn"],
    ["status", "a", "b"],
    ["describe"],
    ["wait"],
    ["wait", "--all", "Dataset/x"],
    ["wait", "--for", "happiness", "--all"],
    ["wait", "--for", "condition=Stalled=maybe", "--all"],
    ["wait", "--timeout", "soon", "--all"],
    ["suspend", "Dataset/x"],
    ["suspend", "Dataset/x", "--reason", "r", "--until", "tomorrow"],
    ["suspend", "Dataset/x", "--reason", "r", "--until", "2020-01-01"],
    ["reconcile", "--files"],
    ["query", " "],
    ["query", "SELECT 1", "-p", "x"],
    ["explain", "Datset"],
    ["explain", "dataset.sorce"],
    ["schema", "exprt", "x"],
    ["daemon", "--listen", "here"],
    ["reconcile", "Index/resumes", "--files"],
    ["--url", "ftp://x", "status"],
    ["--url", "http://[::1", "status"],
    ["--url", "http://127.0.0.1:99999", "status"],
    ["--url", "http://ann:secret@127.0.0.1", "status"],
    ["--url", "http://127.0.0.1:1", "status"],
    ["--repo", "/nowhere", "status"],
    ["try", "/nowhere.csv"],
    ["try", "/etc/passwd", "--name", "p"],
    ["help", "nothing"],
)


def test_mistakes_are_told_in_one_sentence_with_a_way_out(lakectl: Lakectl, golden: Any, in_folder: Path) -> None:
    said = [(words, lakectl(*words)) for words in MISTAKES]
    golden.check("mistakes.txt", "\n".join(f"$ lakectl {' '.join(words)}\n{answer.all}" for words, answer in said))
    assert all(answer.code == 2 and not answer.out for _, answer in said)


def test_outside_of_any_repository(lakectl: Lakectl, in_folder: Path) -> None:
    said = lakectl("status")
    assert said.code == 2
    assert "is in no git repository" in said.err
    assert "lakectl init" in said.err


def test_without_a_command_help_is_shown_and_it_is_an_error(lakectl: Lakectl) -> None:
    assert lakectl().code == 2
    assert lakectl().out == lakectl("--help").out


def test_globals_stand_before_or_after_the_command(alive: Lakehouse, lakectl: Lakectl) -> None:
    root = str(alive.root)
    assert lakectl("status", "--repo", root).out == lakectl("--repo", root, "status").out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["status"], ([], "status", [])),
        (["--repo", "x", "status", "-o", "json"], (["--repo", "x"], "status", ["-o", "json"])),
        (["--repo=x", "query", "-"], (["--repo=x"], "query", ["-"])),
        (["--no-color"], (["--no-color"], None, [])),
        (["--url"], (["--url"], None, [])),
    ],
)
def test_split(words: list[str], found: Any) -> None:
    assert split(words) == found


def test_version(lakectl: Lakectl) -> None:
    assert lakectl("version").out == f"lakectl {VERSION}\n"
    assert lakectl("--version").out == f"lakectl {VERSION}\n"
    assert lakectl("version", "-o", "json").document["version"] == VERSION


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("2h", 7200), ("1h30m", 5400), ("90", 90), ("0.5", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "1x", ""])
def test_no_durations(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5"])
def test_no_counts(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        count(text)


def test_parameters_are_json_where_they_can_be() -> None:
    given = [
        "a=5",
        "b=Chicago",
        'c="05"',
        "d=05",
        "e=true",
        "f=[1]",
        'l=["a", 2]',
        "m=[[1]]",
        "g=x=y",
        "h=null",
        "i=NaN",
        "j=-Infinity",
        "k=1e999",
    ]
    found = {"a": 5, "b": "Chicago", "c": "05", "d": "05", "e": True, "f": [1], "l": ["a", 2], "m": "[[1]]", "g": "x=y", "h": None}
    found |= {"i": "NaN", "j": "-Infinity", "k": "1e999"}
    assert parameters(given) == found
    with pytest.raises(UsageInvalid):
        parameters(["1a=2"])


def test_the_environment() -> None:
    assert read_environment({}) == read_environment({"COLUMNS": "wide", "NO_COLOR": ""})
    found = read_environment({"COLUMNS": "120", "NO_COLOR": "1", "LAKEHOUSE_URL": "http://x"})
    assert (found.columns, found.no_color, found.url) == (120, True, "http://x")
    assert read_environment({"TERM": "dumb"}).no_color


def loaded(words: list[str], folder: Path) -> set[str]:
    """Top-level packages that a call has imported."""
    program = "import sys; from reconciler.lakectl.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_encoding_lacks_is_escaped(alive: Lakehouse, encoding: str) -> None:
    alive.put("Dataset/zürich", reasons.SUCCEEDED, "3 rows, 中")

    def said(*words: str) -> str:
        program = [sys.executable, "-m", "reconciler.lakectl", "--repo", str(alive.root), *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
        return subprocess.run(program, capture_output=True, check=True, env=environment).stdout.decode(encoding)

    assert "3 rows, \\u4e2d" in said("status", "Dataset/zürich")
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        (row,) = read(said("status", "Dataset/zürich", "-o", form))["objects"]
        assert (row["name"], row["message"]) == ("zürich", "3 rows, 中")


def test_what_is_given_must_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for content, text in ((b"SELECT '\xc3\xbc'", "SELECT 'ü'"), (b"SELECT '\xfc'", None)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
        if text is not None:
            assert given_text("-", "it") == text
        else:
            with pytest.raises(UsageInvalid, match="it is no UTF-8 text"):
                given_text("-", "it")
    assert given_text("ü", "it") == "ü"
    with pytest.raises(UsageInvalid):
        given_text("\udcff", "it")


HEAVY = {"pydantic", "pyarrow", "numpy", "datafusion", "obstore", "pygit2", "aiohttp", "anyio", "rich", "yaml", "asyncio"}


def test_quick_commands_import_nothing_heavy(alive: Lakehouse) -> None:
    assert not loaded(["version"], ROOT) & (HEAVY | {"json", "http", "orjson", "state"})
    assert not loaded(["status"], alive.root) & (HEAVY | {"http"})
    assert not loaded(["status", "-o", "json"], alive.root) & HEAVY


def test_completion_knows_every_command(lakectl: Lakectl) -> None:
    script = lakectl("completion", "bash").out
    assert f"subparsers=({' '.join(command.name for command in COMMANDS)})" in script
    assert "--since" in script
    assert lakectl("completion", "zsh").out.startswith("#compdef lakectl")


def test_explanations(lakectl: Lakectl, golden: Any) -> None:
    topics = ([], ["index.chunk"], ["FileRefused"], ["bucket"])
    golden.check("explain.txt", "\n".join(lakectl("explain", *topic).all for topic in topics))
    settings = lakectl("explain", "settings").out
    assert "\nlisten  text, default 127.0.0.1:8484\n" in f"\n{settings}"
    assert "  queryRows  whole number" in settings
    assert "  querySeconds  duration, default 30s" in settings
    known = lakectl("explain", "reasons", "-o", "json").document
    assert known["Succeeded"].startswith("The world matches")
    assert len(known) > 50


def test_schemas_are_exported(lakectl: Lakectl, in_folder: Path) -> None:
    said = lakectl("schema", "export", "out/schemas", "-o", "json").document
    assert "lakehouse.json" in said["files"]
    assert (in_folder / "out/schemas/Dataset.json").is_file()
    assert lakectl("schema", "export", "out/schemas").code == 0
