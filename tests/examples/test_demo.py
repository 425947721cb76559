"""`make demo` does what it says: a copy of the examples, so that nobody's .demo/ is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
LAKECTL = Path(sys.executable).parent / "lakectl"


@pytest.mark.skipif(not LAKECTL.exists(), reason="the demo needs the project to be installed")
@pytest.mark.parametrize(
    ("options", "shows"),
    [
        ((), ("12 of 12 objects ready",)),
        pytest.param(
            ("--s3",), ("13 of 13 objects ready", "X-Lakehouse-Rescue-Bucket: mirror", "the server is back"), marks=pytest.mark.soak
        ),
    ],
)
def test_the_demo_works_and_leaves_nothing_running(tmp_path: Path, options: tuple[str, ...], shows: tuple[str, ...]) -> None:
    pytest.importorskip("botocore")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "examples" / "demo.py"), *options], capture_output=True, text=True, check=False, timeout=100,
        env={**environment, "COLUMNS": "80"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        *shows,
        "C-000003",
        '["kms/',
        "answering searches after",
        "found by its meaning after",
        "in good order",
    ):
        assert shown in done.stdout
    assert not (tmp_path / ".demo" / ".lakehouse" / "daemon.json").exists()
    assert not list((tmp_path / ".demo").glob("*.pid"))
