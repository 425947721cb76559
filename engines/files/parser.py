"""The parser: `python -m engines.files.parser REQUEST`, a process of its own for one file of a format that strangers can arm.

Workbooks, PDFs and pages of HTML that look it: a few kilobytes may unpack to gigabytes, loop, or crash a library. So they are read here,
under limits that the kernel keeps: memory, processor time between two rows, and bytes written. Rows go to an open file as JSON, one object
a line; the last word goes to stdout, {"notes": [sentences], "columns": [names]} {"refused": [reason, remedy]} or {"unreadable": [reason]}.
Whatever else ends the process, `untrusted.py`, the other end, turns into a refusal. It has no secret in its environment, asks nobody, and
does not outlive whoever started it. Next: `workbook.py` and `pdf_pages.py`, which read.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from engines.files.report import Refused, Report
from engines.jobs.lifeline import die_with


class Rows:
    """Where a parser writes. Every row renews the processor time, since a long file is no offence and a page that never ends is one."""

    def __init__(self, file: IO[bytes], seconds: int) -> None:
        """seconds: of processor time between two rows."""
        self._file, self._seconds = file, seconds
        self._renewed = 0.0
        self._renew()

    def write(self, row: Mapping[str, Any] | None) -> None:
        """One line; an empty one for None. Raises OSError (EFBIG)."""
        self._file.write(b"\n" if row is None else orjson.dumps(row) + b"\n")
        self._renew()

    def _renew(self) -> None:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        seconds = spent.ru_utime + spent.ru_stime
        if seconds >= self._renewed:  # once a second is enough
            self._renewed = seconds + 1
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1 + self._seconds, hard))


def main(request: Mapping[str, Any]) -> None:
    """request: path, format, options, output (a file descriptor), parent (a process), memory and size in bytes, seconds."""
    die_with(request["parent"])
    _limit(resource.RLIMIT_AS, request["memory"])
    _limit(resource.RLIMIT_FSIZE, request["size"])
    print(json.dumps(_verdict(request)))  # noqa: T201 - it is the protocol


def _verdict(request: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    try:
        with os.fdopen(request["output"], "wb") as file:
            report = _parse(request, Rows(file, request["seconds"]))
        return {"notes": report.notes, "columns": report.columns}
    except Refused as refused:
        return {"refused": [refused.reason, refused.remedy]}
    except MemoryError:
        return {"refused": [f"takes more than {request['memory'] >> 20} MiB of memory to read", "Split it into smaller files."]}
    except OSError as error:
        if error.errno != errno.EFBIG:  # a full disk, or a file that is gone
            return {"unreadable": [error.strerror or str(error)]}
        return {
            "refused": [f"unpacks to more than {request['size'] >> 20} MiB", "Split it into smaller files, if it is what it should be."]
        }


def _limit(what: int, most: int) -> None:
    """Never above what whoever started us allows."""
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _parse(request: Mapping[str, Any], rows: Rows) -> Report:
    path, options = Path(request["path"]), request["options"]
    if request["format"] == "pdf":
        from engines.files import pdf_pages

        return pdf_pages.read(path, options, rows)
    if request["format"] == "html":
        from engines.files import html_text

        page = html_text.page_of(path.read_text("utf-8"))
        rows.write({"title": page.title, "text": page.text})
        return Report()
    from engines.files import workbook

    return workbook.read(path, options, request["size"], rows)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
