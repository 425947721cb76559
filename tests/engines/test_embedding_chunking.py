"""Chunks cover the text, are exact substrings, keep to their size and prefer to end where a reader would."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.embedding.chunking import Chunking, chunks, join, spans
from engines.embedding.registry import open_embedder
from engines.errors import BuildFailed


class Words:
    """A tokenizer whose tokens are words with the space before them, and single characters of anything else."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r" ?\w+|\s|\W", text)]


def cut(text: str, tokens: int, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in chunks("row", text, Chunking(tokens, overlap), Words())]


@pytest.mark.parametrize("text", ["", "   ", "\n\n\t"])
def test_a_blank_text_has_no_chunk(text: str) -> None:
    assert cut(text, 4) == []


def test_a_short_text_is_one_chunk_without_its_outer_space() -> None:
    assert cut("  one two \n", 256) == ["one two"]


def test_a_text_of_just_the_size_is_one_chunk() -> None:
    assert cut("one two three four", 4) == ["one two three four"]


def test_chunks_share_their_overlap() -> None:
    words = " ".join(f"w{number}" for number in range(10))
    assert cut(words, 4, 2) == ["w0 w1 w2 w3", "w2 w3 w4 w5", "w4 w5 w6 w7", "w6 w7 w8 w9"]


def test_a_paragraph_is_preferred_to_a_sentence_and_a_sentence_to_a_word() -> None:
    assert cut("a b c d e f g h i\n\n! j k l m", 12)[0] == "a b c d e f g h i"
    assert cut("a b c d e f g h i. j k l m", 12)[0] == "a b c d e f g h i."
    assert cut("a b c d e f g h i j k l m", 12)[0] == "a b c d e f g h i j k l"


def test_numbers_and_starts_say_where_a_chunk_is() -> None:
    text = "  " + " ".join(f"w{number}" for number in range(100))
    found = list(chunks("row", text, Chunking(16, 4), Words()))
    assert [chunk.number for chunk in found] == list(range(len(found)))
    assert all(text[chunk.start :].startswith(chunk.text) for chunk in found)
    assert all(chunk.row_key == "row" for chunk in found)


@pytest.mark.parametrize(("tokens", "overlap"), [(0, 0), (4, 4), (4, 5), (4, -1)])
def test_an_overlap_that_never_advances_is_refused(tokens: int, overlap: int) -> None:
    with pytest.raises(BuildFailed, match=r"chunk\."):
        Chunking(tokens, overlap)


def test_columns_are_joined_by_a_blank_line() -> None:
    assert join(["title", None, "  ", "body"]) == "title\n\nbody"
    assert join([None, ""]) == ""


texts = st.text(st.sampled_from("ab. \n!é漢😀▁"), max_size=300)


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(1, 24), st.data())
def test_chunks_cover_every_word_and_always_advance(text: str, tokens: int, data: st.DataObject) -> None:
    chunking = Chunking(tokens, data.draw(st.integers(0, tokens - 1)))
    model = open_embedder()
    found = list(spans(text, chunking, model))
    covered = {position for start, end in found for position in range(start, end)}
    assert {position for position, letter in enumerate(text) if not letter.isspace()} <= covered
    assert all(a[0] <= b[0] and a[1] < b[1] for a, b in pairwise(found))
    for start, end in found:
        assert text[start:end] == text[start:end].strip() != ""
        inside = [span for span in model.offsets(text) if span[0] >= start and span[1] <= end]
        # One more where the chunk begins inside a character of several tokens.
        assert len(inside) <= tokens + 8
