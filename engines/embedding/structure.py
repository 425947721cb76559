"""Markdown into chunks by its structure: a section is cut from the next, and what belongs together stays together.

A chunk is of one section: as many of its paragraphs, list items, tables and code blocks, one after the other, as `tokens` allow. It begins
with the headings that lead to it, as lines of Markdown, and a blank line; so that a model, a reader and `headings.py` know where it stands:

    # Guide
    ## Install

    Run `pip install lakehouse`.

What is longer than a chunk is cut: a table between its rows and code between its lines, with the table's head and the fences repeated; a
text as `chunking.py` cuts it, the only place where chunks overlap. Headings beyond half of `tokens` are left off, the outermost first.
A text without any structure is its paragraphs. Where blocks begin and end is markdown-it's word (CommonMark, with tables); lines that it
gives to none, as definitions of links, are kept as a block. Next: `chunking.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from engines.embedding.chunking import Chunk, Chunking, Tokens, spans
from engines.embedding.headings import headings_of

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_LINE_END = re.compile(r"\r\n|\r|\n")
_LISTS = frozenset({"bullet_list_open", "ordered_list_open"})


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines that belong together: characters from start to end. Cut, each piece of them is between `head` and `foot`, and of the lines
    from `first` to `last`; None: it has no lines that can stand alone."""

    start: int
    end: int
    head: str = ""
    foot: str = ""
    first: int | None = None
    last: int = 0


@dataclass(slots=True)
class _Section:
    """What stands under a heading: its level, and from which character to which it is; 0 before the first. path: it and those above it."""

    level: int
    start: int
    end: int
    path: tuple[tuple[int, str], ...]
    blocks: list[_Block] = field(default_factory=list)

    @property
    def titled(self) -> bool:
        """Whether its heading says anything."""
        return bool(self.path) and self.path[-1][0] == self.level


def chunks(row_key: str, text: str, chunking: Chunking, model: Tokens) -> Iterator[Chunk]:
    """The chunks of one row's Markdown, in order; none for a blank text. `start` is that of what follows the headings."""
    cutter = _Cutter(text, chunking, model)
    for number, (piece, start) in enumerate(cutter.pieces(_sections(text))):
        yield Chunk(row_key, number, piece, start)


def _sections(text: str) -> list[_Section]:
    """In order, those without a block included."""
    lines = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    sections, done = [_Section(0, 0, 0, ())], 0

    def add(first: int, end: int, block: _Block | None = None) -> None:
        """Lines, after those that no block has."""
        nonlocal done
        for begin, stop in ((done, first), (first, end)):
            if text[lines[begin] : lines[stop]].strip():
                whole = _Block(lines[begin], lines[stop])
                sections[-1].blocks.append(block if block is not None and begin == first else whole)
        done = max(done, end)

    tokens = _parser().parse(text)
    for at, token in enumerate(tokens):
        if token.map is None or token.nesting < 0 or not (token.level == 0 or (token.type == "list_item_open" and token.level == 1)):
            continue
        first, end = token.map
        if token.type == "heading_open":
            add(first, first)
            done = end
            sections.append(_opened(sections[-1], int(token.tag[1]), tokens[at + 1].content, (lines[first], lines[end])))
        elif token.type not in _LISTS:
            add(first, end, _block(token, lines, text))
    add(len(lines) - 1, len(lines) - 1)
    return sections


@cache
def _parser() -> MarkdownIt:
    """Of blocks only: what stands within a line is not looked at."""
    from markdown_it import MarkdownIt  # not needed where nothing is cut by structure

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _opened(before: _Section, level: int, title: str, span: tuple[int, int]) -> _Section:
    above = tuple(part for part in before.path if part[0] < level)
    line = " ".join(title.split())
    return _Section(level, *span, (*above, (level, line)) if line else above)


def _block(token: Token, lines: Sequence[int], text: str) -> _Block:
    assert token.map is not None
    first, end = token.map
    start, stop = lines[first], lines[end]
    if token.type == "fence":
        closed = end - first > 1 and text[lines[end - 1] : stop].strip().startswith(token.markup)
        foot = text[lines[end - 1] : stop].rstrip() if closed else token.markup
        return _Block(start, stop, text[start : lines[first + 1]].rstrip(), foot, first + 1, end - closed)
    if token.type == "table_open":
        return _Block(start, stop, text[start : lines[first + 2]].rstrip(), "", first + 2, end)
    if token.type == "code_block":
        return _Block(start, stop, "", "", first, end)
    return _Block(start, stop)


class _Cutter:
    """Cuts one text. lengths are in its model's tokens, as they are in the whole text."""

    def __init__(self, text: str, chunking: Chunking, model: Tokens) -> None:
        self._text = text
        self._chunking = chunking
        self._model = model
        self._lines = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
        self._starts = [start for start, _ in model.offsets(text)]

    def pieces(self, sections: Sequence[_Section]) -> Iterator[tuple[str, int]]:
        """Each with where it begins."""
        heads = [self._headings(section) for section in sections]
        for section, (head, lost), (following, _) in zip(sections, heads, [*heads[1:], ("", [])], strict=True):
            if blocks := [*lost, *section.blocks]:
                yield from self._packed(head, blocks)
            elif head and section.titled and not following.startswith(f"{head}\n"):
                yield head, section.start  # no chunk below it begins with it

    def _packed(self, head: str, blocks: Sequence[_Block]) -> Iterator[tuple[str, int]]:
        room = self._chunking.tokens - self._count(head)
        held: _Block | None = None
        for block in blocks:
            joined = block if held is None else _Block(held.start, block.end)
            if self._length(joined.start, joined.end) <= room:
                held = joined
                continue
            if held is not None:
                yield from self._piece(head, self._text[held.start : held.end], held.start)
            held = block if self._length(block.start, block.end) <= room else None
            if held is None:
                for piece, start in self._cut(block, room):
                    yield from self._piece(head, piece, start)
        if held is not None:
            yield from self._piece(head, self._text[held.start : held.end], held.start)

    def _headings(self, section: _Section) -> tuple[str, list[_Block]]:
        """The lines that lead to a section, as far as there is room; its own as a block of text where there is none."""
        lines = ["#" * level + " " + title for level, title in section.path]
        while lines and self._count("\n".join(lines)) > self._chunking.tokens // 2:
            lines.pop(0)
        lost = [_Block(section.start, section.end)] if section.titled and not lines else []
        return "\n".join(lines), lost

    def _piece(self, head: str, piece: str, start: int) -> Iterator[tuple[str, int]]:
        body = piece.rstrip().lstrip("\r\n")
        if not body.strip():
            return
        begin = start + len(piece) - len(piece.lstrip("\r\n"))
        if head:
            yield f"{head}\n\n{body}", begin
        else:  # what looks like headings and is none, as in code that was cut, must not be taken for them
            yield "\n" + body if headings_of(body) else body, begin

    def _cut(self, block: _Block, room: int) -> Iterator[tuple[str, int]]:
        """Pieces of at most `room` tokens, but for what a line alone has beyond."""
        head, foot = block.head, block.foot
        around = self._count(f"{head}\n\n{foot}") if head else 0
        if block.first is None or block.first >= block.last or around > room // 2:
            yield from self._spans(block.start, block.end, room)
            return
        first = block.first
        while first < block.last:
            last = first + 1
            while last < block.last and self._length(self._lines[first], self._lines[last + 1]) <= room - around:
                last += 1
            start, end = self._lines[first], self._lines[last]
            first = last
            if self._length(start, end) > room - around:
                pieces: Iterator[tuple[str, int]] = self._spans(start, end, room - around)
            else:
                pieces = iter([(self._text[start:end].rstrip(), start)])
            for piece, at in pieces:
                if piece.strip():
                    yield "\n".join(part for part in (head, piece, foot) if part), at

    def _spans(self, start: int, end: int, room: int) -> Iterator[tuple[str, int]]:
        chunking = Chunking(room, min(self._chunking.overlap, room // 2))
        text = self._text[start:end]
        for first, last in spans(text, chunking, self._model):
            yield text[first:last], start + first

    def _length(self, start: int, end: int) -> int:
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def _count(self, text: str) -> int:
        return len(self._model.offsets(text)) if text else 0
