"""Tables of data, progress and logs: what fits, what is cut, what a log line is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.foreground import Progress
from reconciler.lakectl.commands.daemon import _leaves
from reconciler.lakectl.logs import start_log
from reconciler.lakectl.progress import picture, progress_shown
from reconciler.lakectl.result_table import result_table
from reconciler.lakectl.terminal import Terminal, fit, fold, one_line, text_width
from specs.errors import LakehouseError
from state.errors import DiskFull, LeaseLost


def terminal(width: int = 80, **facts: Any) -> Terminal:
    return Terminal(io.StringIO(), io.StringIO(), width=width, **facts)


def shown(answer: dict[str, Any], width: int = 80) -> str:
    screen = terminal(width)
    result_table(answer, screen)
    assert isinstance(screen.out, io.StringIO)
    return screen.out.getvalue()


def answer(*rows: dict[str, Any]) -> dict[str, Any]:
    columns = [{"name": name, "type": "int64" if isinstance(value, int) else "string"} for name, value in rows[0].items()]
    return {"columns": columns, "rows": list(rows), "truncated": False, "versions": {}}


CELLS = st.none() | st.integers() | st.text(max_size=90) | st.booleans() | st.lists(st.integers(), max_size=3)


@given(st.lists(st.fixed_dictionaries({f"c{n}": CELLS for n in range(4)}), min_size=1, max_size=4), st.integers(40, 120))
def test_no_table_is_wider_than_the_terminal(rows: list[dict[str, Any]], width: int) -> None:
    assert all(text_width(line) <= width for line in shown(answer(*rows), width).split("\n"))


def test_many_columns_become_lines() -> None:
    text = shown(answer({f"column_{n}": "some text" for n in range(12)}))
    assert "row 1\ncolumn_0   some text\n" in text


def test_a_cell_is_one_line() -> None:
    assert "two lines\n" in shown(answer({"a": "two\n lines", "b": 1}, {"a": "x", "b": 22})).replace("two lines   1", "two lines\n")


REASON = "no valid JSON: unexpected end of data; a file holds JSON objects: one a line, or in a top-level array of objects"


def test_long_texts_are_told_whole_on_lines_of_their_own() -> None:
    text = shown(answer({"path": "data/a.json", "line": 12_345, "reason": REASON}, {"path": "b", "line": 1, "reason": "no"}), 60)
    assert text.splitlines()[2:6] == [
        "data/a.json  12345  no valid JSON: unexpected end of data; a",
        "                    file holds JSON objects: one a line, or",
        "                    in a top-level array of objects",
        "b                1  no",
    ]


def test_a_table_that_would_be_tall_becomes_lines() -> None:
    row = {"path": "data/a.json", "digest": "d" * 64, "transformation": "e" * 32, "reason": REASON}
    text = shown(answer(row), 60)
    assert text.startswith("row 1\npath            data/a.json\n")
    assert "".join(text.split("reason", 1)[1].split()).startswith("".join(REASON.split()))
    assert "…" not in text


def test_a_text_of_pages_is_cut_and_said_to_be() -> None:
    screen = terminal()
    result_table(answer({"text": "word " * 1000}), screen)
    assert isinstance(screen.out, io.StringIO)
    assert isinstance(screen.err, io.StringIO)
    assert len(screen.out.getvalue().splitlines()) < 20
    assert screen.err.getvalue() == "note: long values are cut off; -o json shows them whole.\n"


@given(st.text(max_size=200), st.integers(2, 30))
def test_folded_text_fits_and_keeps_its_words(text: str, width: int) -> None:
    lines = fold(one_line(text), width)
    assert all(text_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(one_line(text).split())


def test_rows_that_are_lost_are_told_beside_the_answer() -> None:
    screen = terminal()
    result_table({**answer({"n": 0}), "lost": {"job-orders": 1, "people": 20_000}}, screen)
    assert isinstance(screen.err, io.StringIO)
    first, second = screen.err.getvalue().splitlines()
    assert first == "note: the answer lacks 1 row of job-orders that no file has any more; see `lakectl why Dataset/job-orders`."
    assert second.startswith("note: the answer lacks 20,000 rows of people that")


def test_a_result_without_rows_has_its_columns() -> None:
    text = shown({"columns": [{"name": "city", "type": "string"}], "rows": [], "truncated": False, "versions": {}})
    assert text.splitlines() == ["city", "────", "0 rows"]


@given(st.text(max_size=40), st.integers(0, 30))
def test_text_is_fitted_exactly(text: str, width: int) -> None:
    assert one_line(text).isprintable()
    assert text_width(fit(one_line(text), width)) == width
    assert text_width(terminal().cut(text, width)) <= max(width, 1)


def test_progress_names_what_is_at_work() -> None:
    working = tuple((f"Dataset/d{n}", "ingest: 41%" if n else "") for n in range(7))
    lines = picture(Progress(3, 10, working), terminal(60))
    assert "3 of 10 objects ready" in lines[0]
    assert lines[1].split() == ["Dataset/d0", "at", "work"]
    assert lines[-1].strip() == "and 2 more"
    assert max(map(text_width, lines)) <= 60


def test_progress_that_goes_to_and_fro_is_told_once() -> None:
    now = [0.0]
    screen = terminal()
    with progress_shown(screen, lambda: now[0]) as told:
        for second in range(20):
            now[0] = float(second)
            told(Progress(1 + second // 2 % 2, 2, ()))
    assert isinstance(screen.err, io.StringIO)
    assert sorted(screen.err.getvalue().splitlines()) == ["1/2 ready", "2/2 ready"]


def test_progress_in_a_pipe_is_a_line_now_and_then() -> None:
    now = [0.0]
    screen = terminal()
    with progress_shown(screen, lambda: now[0]) as told:
        for second in range(10):
            now[0] = float(second)
            told(Progress(second // 4, 2, (("Dataset/x", "ingest"),)))
            told(Progress(second // 4, 2, (("Dataset/x", "ingest"),)))
    assert isinstance(screen.err, io.StringIO)
    assert screen.err.getvalue().splitlines() == [
        "0/2 ready; Dataset/x: ingest",
        "1/2 ready; Dataset/x: ingest",
        "2/2 ready; Dataset/x: ingest",
    ]


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = before[0], before[1]


def test_log_lines(root_logger: logging.Logger) -> None:
    for form in ("text", "json"):
        screen = terminal()
        start_log(form, "info", screen)
        logging.getLogger("x").warning("the disk is %s", "full")
        logging.getLogger("x").debug("unheard")
        assert isinstance(screen.out, io.StringIO)
        (line,) = screen.out.getvalue().splitlines()
        if form == "json":
            found = json.loads(line)
            assert (found["level"], found["logger"], found["message"]) == ("warning", "x", "the disk is full")
        else:
            assert line.endswith("warning  the disk is full")


def test_a_traceback_is_one_line_of_json(root_logger: logging.Logger) -> None:
    screen = terminal()
    start_log("json", "info", screen)
    try:
        raise ValueError("nobody expected this")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert isinstance(screen.out, io.StringIO)
    (line,) = screen.out.getvalue().splitlines()
    assert "nobody expected this" in json.loads(line)["error"]


def test_errors_of_ours_are_found_in_groups() -> None:
    inner = ExceptionGroup("tasks", [LeaseLost("lost", epoch=1)])
    found = _leaves(ExceptionGroup[LakehouseError]("all", [inner, DiskFull("primary", "x")]))  # type: ignore[list-item]
    assert [type(error) for error in found] == [LeaseLost, DiskFull]
