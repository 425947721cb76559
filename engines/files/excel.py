"""Workbooks, as `workbook.py` reads them in a process of its own: lines of JSON objects, whose line numbers are the rows of the sheet.

Text stays text, since whoever typed a number as text meant it; numbers, days and times are what the workbook says they are. Next:
`untrusted.py` for the process, `json_lines.py` for what the lines become.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from engines.files import inference, untrusted
from engines.files.inference import Evidence
from engines.files.json_lines import JsonReading
from engines.files.source import ColumnPlan, PassedOver, SourceFile


class ExcelReading:
    """One file; see `source.Reading`. Parsed once, by whichever method is called first."""

    def __init__(self, source: SourceFile) -> None:
        """Opens nothing yet."""
        self._source = source
        self.passed_over = PassedOver()
        self._parsed: untrusted.Parsed | None = None
        self._lines: JsonReading | None = None

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """By survey of the whole sheet."""
        return {guess.name: (guess.type, guess.reason) for guess in inference.decide_all(self.evidence().items())}

    def evidence(self) -> Mapping[str, Evidence]:
        """What the sheet shows, by column, in its order. Raises FileRefused."""
        lines, parsed = self._opened()
        found = lines.evidence()
        return {name: found.get(name, Evidence()) for name in parsed.report.columns}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.Reading`."""
        return self._opened()[0].batches(plans)

    def line_of(self, row: int) -> int | None:
        """The row of the sheet."""
        return self._opened()[0].line_of(row)

    def originals(self, rows: Iterable[int]) -> Iterator[tuple[int | None, str]]:
        """A row of the sheet as JSON."""
        return self._opened()[0].originals(rows)

    def progress(self) -> int:
        """Of what was unpacked, bytes taken."""
        return 0 if self._lines is None else self._lines.progress()

    def notes(self) -> tuple[str, ...]:
        """See `source.Reading`."""
        return () if self._parsed is None else self._parsed.report.notes

    def _opened(self) -> tuple[JsonReading, untrusted.Parsed]:
        if self._parsed is None or self._lines is None:
            options = self._source.options
            self._parsed = untrusted.parse(self._source, {"sheet": options.sheet, "header": options.header, "skip": options.skip})
            self._lines = JsonReading(self._parsed.as_source(self._source.shown, options), typed=False)
        return self._lines, self._parsed
