"""HTML -> its text with its structure, written as Markdown, so that whoever cuts texts by headings reads one notation only.

Headings, lists, tables, quotations, code and paragraphs are kept; links are their text, pictures their alternative text. Left out is what
nobody reads: scripts, styles, navigation. Where a page has one <main>, it is the text; else the body is. Never fails: any bytes are HTML to
a browser. Refuses to fetch or run anything. What strangers nest as no person does is to be read apart (`may_explode`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "nav", "head", "select", "button"})
_INLINE = frozenset({
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q", "s",
    "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
})  # fmt: skip
LONG, DEEP, UNCLOSED = 1 << 20, 250, 20
"""Characters, levels and elements up to which a page is harmless."""
_REOPENED = frozenset({"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"})
_TAG = re.compile(r"<(/?)([a-zA-Z]+[1-6]?)")
_NEVER_NESTED = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "p", "li", "dd", "dt", "tr", "td",
    "th", "thead", "tbody", "tfoot", "option",
})  # fmt: skip
"""Elements that have no content, or that the next of their kind ends: many of them are not deep."""
_CELLS = frozenset({"td", "th"})
_LISTS = frozenset({"ul", "ol", "menu"})
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Page:
    """title: of <title>, else of the first heading; None if there is neither."""

    title: str | None
    text: str


def page_of(html: str) -> Page:
    """The title and the text of a document or a fragment. Raises MemoryError."""
    try:
        tree = LexborHTMLParser(html)
    except SelectolaxError as error:  # any bytes are HTML: nothing else fails
        raise MemoryError(str(error)) from error
    mains = tree.css("main")
    root = mains[0] if len(mains) == 1 else tree.body
    writer = _Writer()
    for node, entered in _walk(root) if root is not None else ():
        (writer.enter if entered else writer.leave)(node)
    named = tree.css_first("title")
    title = _SPACE.sub(" ", named.text()).strip() if named is not None else ""
    return Page(title or writer.first_heading, writer.text())


def may_explode(html: str) -> bool:
    """Whether a parser may take far more time or memory than for a page of this length: such a page is read apart (`untrusted.py`).

    Time goes by the square of the depth. An element of _REOPENED that is not closed is opened again in every paragraph after it.
    """
    if len(html) > LONG:
        return True
    depth = reopened = 0
    for closing, name in _TAG.findall(html):
        tag = name.lower()
        step = -1 if closing else 1
        if tag in _REOPENED:
            reopened = max(0, reopened + step)
        if tag not in _NEVER_NESTED:
            depth = max(0, depth + step)
        if depth > DEEP or reopened > UNCLOSED:
            return True
    return False


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every node that counts twice, when it is entered (True) and when it is left."""
    node, entered = root, True
    while True:
        if entered:
            yield node, True
            child = None if node.tag in _SKIPPED else node.child
            if child is not None:
                node = child
                continue
        yield node, False
        if node.mem_id == root.mem_id:
            return
        following = node.next
        node, entered = (following, True) if following is not None else (_parent(node), False)


def _parent(node: LexborNode) -> LexborNode:
    parent = node.parent
    assert parent is not None  # the root ends the walk before
    return parent


class _Writer:
    """Markdown, block by block."""

    def __init__(self) -> None:
        self.first_heading: str | None = None
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._mark = ""
        self._quoted = self._pre = 0
        self._lists: list[int | None] = []
        self._row: list[str] | None = None
        self._first_row = False

    def text(self) -> str:
        self._end_block()
        return _BLANK_LINES.sub("\n\n", "".join(self._blocks)).strip()

    def enter(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "-text":
            self._line.append(node.text_content or "")
        elif tag == "br":
            self._line.append("\n" if self._pre else "\0")
        elif tag == "img":
            self._line.append(node.attributes.get("alt") or "")
        elif tag == "code" and not self._pre:
            self._line.append("`")
        elif tag not in _INLINE and tag is not None and tag not in _SKIPPED:
            self._enter_block(tag)

    def leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag == "code" and not self._pre:
            self._line.append("`")
        elif tag not in _INLINE and tag is not None and tag not in _SKIPPED and tag not in ("-text", "br", "img"):
            self._leave_block(tag)

    def _enter_block(self, tag: str) -> None:
        if tag in _CELLS and self._row is not None:
            self._line = []
            return
        if self._row is not None and tag != "tr":
            self._line.append(" ")  # a block within a cell is no block of its own
            return
        self._end_block()
        if _is_heading(tag):
            self._mark = "#" * int(tag[1]) + " "
        elif tag in _LISTS:
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._mark = self._bullet()
        elif tag == "blockquote":
            self._quoted += 1
        elif tag == "pre":
            self._pre += 1
        elif tag == "table":
            self._first_row = True
        elif tag == "tr":
            self._row = []

    def _leave_block(self, tag: str) -> None:
        if self._row is not None:
            if tag in _CELLS:
                self._row.append(self._taken().replace("\n", " ").replace("|", "\\|"))
                self._line = []
            elif tag == "tr":
                self._end_row(self._row)
            return
        if tag == "pre":
            self._end_code()
            return
        heading = self._end_block()
        if _is_heading(tag) and heading and self.first_heading is None:
            self.first_heading = heading
        elif tag in _LISTS and self._lists:
            self._lists.pop()
            if not self._lists:
                self._blocks.append("\n")
        elif tag == "blockquote":
            self._quoted -= 1
        elif tag == "table":
            self._blocks.append("\n")

    def _bullet(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end_block(self) -> str:
        """Writes what was gathered; gives its text."""
        text = self._taken()
        self._line = []
        if not text:
            return ""
        tight = self._mark.strip() and not self._mark.startswith("#")
        shown = (self._mark or "  " * len(self._lists)) + text
        if self._quoted:
            shown = "\n".join("> " * self._quoted + line for line in shown.split("\n"))
        self._blocks.append(shown + ("\n" if tight else "\n\n"))
        self._mark = ""
        return text

    def _taken(self) -> str:
        return "\n".join(part.strip() for part in _SPACE.sub(" ", "".join(self._line)).replace("``", "").split("\0")).strip()

    def _end_code(self) -> None:
        code = "".join(self._line).strip("\n")
        self._line, self._pre, self._mark = [], max(0, self._pre - 1), ""
        if code.strip():
            self._blocks.append(f"```\n{code}\n```\n\n")

    def _end_row(self, cells: list[str]) -> None:
        self._row = None
        if not any(cells):
            return
        self._blocks.append("| " + " | ".join(cells) + " |\n")
        if self._first_row:
            self._blocks.append("|" + " --- |" * len(cells) + "\n")
            self._first_row = False


def _is_heading(tag: str) -> bool:
    return len(tag) == 2 and tag[0] == "h" and tag[1] in "123456"
