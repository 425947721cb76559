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
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from engines.errors import FileError, FileUnreadable
from engines.files.report import Report
from engines.files.source import UNPACKED_LEAST, UNPACKED_RATIO, ReadOptions, SourceFile

MEMORY = 2 << 30
"""Bytes of address space for one file."""
SECONDS = 60
"""Of processor time between two rows."""
_ROOT = Path(__file__).resolve().parents[2]
_TAIL = 200


class Parsed:
    """The rows, JSON objects a line, in a file without a name, which is there as long as this object is."""

    def __init__(self) -> None:
        """No rows yet. Raises OSError."""
        with tempfile.TemporaryFile() as file:
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)
        self.report = Report()

    def as_source(self, shown: str, options: ReadOptions = ReadOptions()) -> SourceFile:  # noqa: B008 - frozen
        """The lines as a file to read, named and with columns as the original has."""
        return SourceFile(Path(f"/proc/self/fd/{self.descriptor}"), shown, "json", replace(options, encoding="utf-8"))


def parse(source: SourceFile, options: Mapping[str, Any], *, text: str | None = None) -> Parsed:
    """The rows of a workbook, a PDF or an HTML page. Blocking. text: what to read, decoded, if that is not the file's bytes.

    Raises FileRefused, FileUnreadable, OSError where no process can be started.
    """
    size = source.fingerprint().size
    with source.open_bytes():  # says in words if it cannot be opened
        pass
    parsed = Parsed()
    request = {
        "path": str(source.path.resolve()),
        "format": source.format,
        "options": dict(options),
        "output": parsed.descriptor,
        "parent": os.getpid(),
        "memory": MEMORY,
        "size": max(UNPACKED_LEAST, UNPACKED_RATIO * size),
        "seconds": SECONDS,
    }
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
        if text is not None:
            given.write(text.encode())
            given.flush()
            request["path"] = f"/proc/self/fd/{given.fileno()}"
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "engines.files.parser", json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=(parsed.descriptor, given.fileno()),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)},
            cwd="/",
            check=False,
        )
        if ended.returncode:
            raise _died(source, ended.returncode, said)
    verdict = json.loads(ended.stdout)
    if "unreadable" in verdict:
        raise FileUnreadable(source.shown, f"cannot be read: {verdict['unreadable'][0]}")
    if "refused" in verdict:
        reason, remedy = verdict["refused"]
        raise source.refused(None, reason, remedy=remedy)
    parsed.report = Report(tuple(verdict["notes"]), tuple(verdict["columns"]))
    return parsed


def _died(source: SourceFile, code: int, said: IO[bytes]) -> FileError:
    """What ended the process, as far as anybody can tell."""
    if code == -signal.SIGKILL:  # no limit of ours does that
        return FileUnreadable(source.shown, "cannot be read: the process that read it was killed (is the machine out of memory?)")
    if code == -signal.SIGXCPU:
        reason = f"takes more than {SECONDS} seconds of processor time for a single page or row"
        return source.refused(None, reason, remedy="Write the file again by another program, or split it.")
    if code in (-signal.SIGABRT, -signal.SIGTRAP, -signal.SIGILL):  # how libraries end that get no memory
        reason = f"takes more than {MEMORY >> 20} MiB of memory to read, or breaks its parser"
        return source.refused(None, reason, remedy="Split it into smaller files, or write it again by another program.")
    said.seek(0)
    words = said.read().decode(errors="replace").strip().splitlines()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    last = f" ({words[-1][:_TAIL]})" if words else ""
    reason = f"cannot be read: the process that read it {how}{last}"
    return source.refused(None, reason, remedy="The file is damaged, or made to do harm: write it again by another program.")
