"""Markdown is cut where its structure says: by headings, never within what fits, and nothing of it is lost."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.embedding.chunking import Chunk, Chunking
from engines.embedding.headings import headings_of
from engines.embedding.registry import open_embedder
from engines.embedding.structure import chunks

MODEL = open_embedder()


def cut(text: str, tokens: int = 40, overlap: int = 4) -> list[Chunk]:
    return list(chunks("k", text, Chunking(tokens, overlap), MODEL))


def texts(text: str, tokens: int = 40) -> list[str]:
    return [chunk.text for chunk in cut(text, tokens)]


def length(text: str) -> int:
    return len(MODEL.offsets(text))


GUIDE = """Before all.

# Guide

First words.

## Install

Run it.

Then look.

Setext
------

Below another notation.

# Reference

The end.
"""


def test_a_section_is_cut_from_the_next_and_begins_with_its_headings() -> None:
    assert texts(GUIDE) == [
        "Before all.",
        "# Guide\n\nFirst words.",
        "# Guide\n## Install\n\nRun it.\n\nThen look.",
        "# Guide\n## Setext\n\nBelow another notation.",
        "# Reference\n\nThe end.",
    ]
    found = cut(GUIDE)
    assert [headings_of(chunk.text) for chunk in found] == [(), ("Guide",), ("Guide", "Install"), ("Guide", "Setext"), ("Reference",)]
    assert [chunk.number for chunk in found] == [0, 1, 2, 3, 4]
    assert [GUIDE[chunk.start :].partition("\n")[0] for chunk in found] == [
        "Before all.",
        "First words.",
        "Run it.",
        "Below another notation.",
        "The end.",
    ]


def test_what_fits_stays_whole() -> None:
    code = "```python\ndef answer():\n\n    return 42\n```"
    item = "- one thing\n  that goes on\n- another thing with some more words to it\n- a third thing with some more words to it"
    found = texts(f"# A\n\nSome words before the code that fill the chunk up to its end, almost.\n\n{code}\n\n{item}\n", 40)
    assert any(code in piece for piece in found)
    assert any("- one thing\n  that goes on" in piece for piece in found)
    assert all(length(piece) <= 42 for piece in found)


def test_a_long_table_is_cut_between_rows_and_each_piece_has_its_head() -> None:
    rows = [f"| name {at} | value {at} |" for at in range(20)]
    found = texts("# T\n\n| name | value |\n|---|---|\n" + "\n".join(rows), 60)
    assert len(found) > 3
    assert all(piece.startswith("# T\n\n| name | value |\n|---|---|\n| name ") for piece in found)
    assert [line for piece in found for line in piece.split("\n")[4:]] == rows


def test_long_code_is_cut_between_lines_within_its_fences() -> None:
    lines = [f"# comment {at}" if at % 2 else f"call(number={at})" for at in range(40)]
    found = texts("~~~sh\n" + "\n".join(lines) + "\n~~~\n", 60)
    assert len(found) > 3
    assert all(piece.startswith("~~~sh\n") and piece.endswith("\n~~~") for piece in found)
    assert [line for piece in found for line in piece.split("\n")[1:-1]] == lines


def test_a_fence_that_is_never_closed_is_closed_in_each_piece() -> None:
    found = texts("```\n" + "word and word\n" * 40, 60)
    assert all(piece.startswith("```\n") and piece.endswith("\n```") for piece in found)


def test_lines_of_code_are_not_taken_for_headings() -> None:
    found = texts("\n".join(f"    # comment number {at}" for at in range(30)), 40)
    assert all(headings_of(piece) == () for piece in found)
    words = "some words and again some words, " * 8
    assert all(headings_of(piece) == () for piece in texts(f"{words}\\\n\\# no heading", 16))
    assert headings_of("\n# seven\n\nwords") == ()


def test_a_long_paragraph_is_cut_as_any_text_and_overlaps() -> None:
    text = " ".join(f"word{at}" for at in range(100))
    found = texts(f"# H\n\n{text}", 40)
    assert all(piece.startswith("# H\n\nword") for piece in found)
    assert all(length(piece) <= 42 for piece in found)
    bodies = [piece.partition("\n\n")[2].split() for piece in found]
    assert all(later[0] in former for former, later in pairwise(bodies))


def test_headings_that_leave_no_room_are_left_off_the_outermost_first() -> None:
    outer = " ".join(["outer"] * 30)
    found = texts(f"# {outer}\n\n## Inner\n\nWords.", 40)
    assert found[-1] == "## Inner\n\nWords."
    assert sum(piece.count("outer") for piece in found) >= 30
    assert all(length(piece) <= 42 for piece in found)


def test_a_heading_with_nothing_below_it_is_a_chunk() -> None:
    assert texts("# A\n\n## B\n\n## C\n\nwords\n\n# D") == ["# A\n## B", "# A\n## C\n\nwords", "# D"]
    assert texts("#\n\nwords") == ["words"]


def test_texts_without_structure_are_paragraphs() -> None:
    assert texts("one line") == ["one line"]
    assert texts("  \n\n ") == []
    assert texts("") == []
    assert texts("one\r\n\r\n# Two\r\nthree") == ["one", "# Two\n\nthree"]


def test_definitions_of_links_are_kept() -> None:
    assert texts("See [a].\n\n[a]: https://example.org/a\n") == ["See [a].\n\n[a]: https://example.org/a"]


@pytest.mark.parametrize("text", ["```" * 400, "|a" * 400 + "\n" + "|-" * 400, "> " * 300 + "deep", "- " * 200 + "deep", "<div>\n" * 90])
def test_strange_texts_lose_nothing(text: str) -> None:
    joined = "".join(texts(text, 32))
    assert set(re.findall(r"\w+", text)) <= set(re.findall(r"\w+", joined))
    assert texts(text, 32)


_WORDS = st.sampled_from(
    ["alpha", "beta", "gamma", "# Title", "## Sub", "```", "- item", "| a | b |", "|---|---|", "> said", "", "    code", "==="]
)


@given(st.lists(_WORDS, max_size=40).map("\n".join), st.integers(8, 64))
def test_every_word_is_in_some_chunk_and_no_chunk_is_too_long(text: str, tokens: int) -> None:
    found = texts(text, tokens)
    assert set(re.findall(r"[a-zA-Z]+", text)) <= set(re.findall(r"[a-zA-Z]+", " ".join(found)))
    # a chunk tokenized by itself may have a token or two more where its lines are joined
    assert all(length(piece) <= tokens + 4 for piece in found)
    assert all(piece.strip() for piece in found)
