"""The README's tour works: its `sh` blocks run in order in one shell, and show what the `text` blocks after them say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARK = "=== block"
PATIENCE = 100
"""Seconds for the whole tour."""

GIT_CONFIG = """\
[user]
    name = Reader
    email = reader@localhost
[init]
    defaultBranch = main
"""


@dataclass(frozen=True)
class Block:
    """Commands, and what they show: lines in order, `…` for anything."""

    line: int
    commands: str
    shown: tuple[str, ...]


def tour() -> Iterator[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("\n## A five-minute tour") : text.index("\n## How it works")]
    offset = text[: text.index(section)].count("\n")
    found = list(re.finditer(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    for number, match in enumerate(found):
        if match[1] == "sh":
            after = found[number + 1] if number + 1 < len(found) else None
            shown = tuple(after[2].splitlines()) if after is not None and after[1] == "text" else ()
            yield Block(offset + section[: match.start()].count("\n") + 1, match[2], shown)


def prepared(tmp_path: Path) -> dict[str, str]:
    """An environment of its own: `lakectl` on the path, nobody's git settings, no settings of Lakehouse."""
    commands = tmp_path / "bin"
    commands.mkdir()
    lakectl = commands / "lakectl"
    lakectl.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m reconciler.lakectl "$@"\n')
    lakectl.chmod(0o755)
    (tmp_path / "gitconfig").write_text(GIT_CONFIG)
    return {
        "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
    }


def run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of bash."""
    process = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"the tour took more than {PATIENCE} seconds:\n{output}")
    return process.returncode, output


def missing(shown: tuple[str, ...], output: str) -> str | None:
    """The first line of `shown` that does not follow in the output; spaces count as one."""
    lines = iter(output.splitlines())
    for line in shown:
        wanted = ".*".join(re.escape(part) for part in re.split("…", " ".join(line.split())))
        if not any(re.fullmatch(wanted, " ".join(found.split())) for found in lines):
            return line
    return None


@pytest.mark.skipif(shutil.which("git") is None or shutil.which("bash") is None, reason="the tour is for readers with git and a shell")
def test_the_tour_works(tmp_path: Path) -> None:
    blocks = list(tour())
    script = "set -e; trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + "".join(
        f"echo '{MARK} {number}'\n{block.commands}" for number, block in enumerate(blocks)
    )
    code, output = run(script, tmp_path, prepared(tmp_path))
    parts = re.split(rf"^{MARK} \d+\n", output, flags=re.MULTILINE)[1:]
    last = blocks[len(parts) - 1]
    assert code == 0, f"README.md:{last.line}: ended with {code}:\n{parts[-1]}"
    assert len(parts) == len(blocks)
    for block, part in zip(blocks, parts, strict=True):
        line = missing(block.shown, part)
        assert line is None, f"README.md:{block.line}: not shown: {line!r}; shown is\n{part}"


@pytest.mark.parametrize(
    ("shown", "output", "expected"),
    [
        ((), "anything", None),
        (("a  b",), "x\na b\n", None),
        (("b", "a"), "a\nb\n", "a"),
        (("… ready",), "12 objects ready\n", None),
        (("ready",), "12 objects ready\n", "ready"),
    ],
)
def test_what_is_shown_is_compared_line_by_line(shown: tuple[str, ...], output: str, expected: str | None) -> None:
    assert missing(shown, output) == expected
