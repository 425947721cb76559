"""Files of formats that strangers can arm, read by a process of their own: one process a file, so that nothing of one reaches the next.

What comes back is JSON lines in a file without a name, which is gone with its descriptor, and sentences worth a look. A file that is
encrypted, damaged, larger inside than a file of its size may be, or that makes the process end in any way, is refused; the process that
asked notices nothing. Refuses to read anything itself. Next: `parser.py`, the other end; `excel.py` and `documents.py`, who ask.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from engines.errors import FileRefused
from engines.files.report import Report
from engines.files.source import ReadOptions, SourceFile

MEMORY = 2 << 30
"""Bytes of address space for one file."""
SECONDS = 60
"""Of processor time between two rows."""
RATIO, LEAST = 200, 256 << 20
"""A file may unpack to so many times its size, or to so many bytes, whichever is more."""
_ROOT = Path(__file__).resolve().parents[2]
_TAIL = 200


@dataclass(frozen=True, slots=True)
class Parsed:
    """lines: the rows, JSON objects a line, in a file without a name."""

    lines: IO[bytes]
    report: Report

    def as_source(self, shown: str) -> SourceFile:
        """The lines as a file to read, named as the original is. Readable as long as this object lives."""
        return SourceFile(Path(f"/proc/self/fd/{self.lines.fileno()}"), shown, "json", ReadOptions(encoding="utf-8"))


def parse(source: SourceFile, options: Mapping[str, Any]) -> Parsed:
    """The rows of a workbook or a PDF. Blocking. Raises FileRefused, FileUnreadable, OSError where no process can be started."""
    size = source.fingerprint().size
    with source.open_bytes():  # says in words if it cannot be opened
        pass
    lines, said = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads it
    request = {
        "path": str(source.path.resolve()),
        "format": source.format,
        "options": dict(options),
        "output": lines.fileno(),
        "parent": os.getpid(),
        "memory": MEMORY,
        "size": max(LEAST, RATIO * size),
        "seconds": SECONDS,
    }
    with said:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "engines.files.parser", json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=(lines.fileno(),),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)},
            cwd="/",
            check=False,
        )
        if ended.returncode:
            lines.close()
            raise _died(source, ended.returncode, said)
    verdict = json.loads(ended.stdout)
    if "refused" in verdict:
        lines.close()
        reason, remedy = verdict["refused"]
        raise source.refused(None, reason, remedy=remedy)
    return Parsed(lines, Report(tuple(verdict["notes"]), tuple(verdict["columns"])))


def _died(source: SourceFile, code: int, said: IO[bytes]) -> FileRefused:
    """What ended the process, as far as anybody can tell."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        reason = f"takes more than {SECONDS} seconds of processor time for a single page or row"
        return source.refused(None, reason, remedy="Write the file again by another program, or split it.")
    said.seek(0)
    words = said.read().decode(errors="replace").strip().splitlines()
    if words and ("memory allocation" in words[-1] or "MemoryError" in words[-1]):
        return source.refused(None, f"takes more than {MEMORY >> 20} MiB of memory to read", remedy="Split it into smaller files.")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    last = f" ({words[-1][:_TAIL]})" if words else ""
    reason = f"cannot be read: the process that read it {how}{last}"
    return source.refused(None, reason, remedy="The file is damaged, or made to do harm: write it again by another program.")
