"""A SQL text without what it says of data: literals become `?`, comments go, all else stays as far as it can be trusted to be no value.

    answered    the engine took it: what is left are keywords, operators, and names of tables and columns
    parsed      it failed, and is SQL: a name in quotes may be a value in the wrong quotes, and becomes `"?"`
    unread      it failed, and may be anything: whatever is no keyword becomes `?`

One pass of one expression, in time that grows with the text alone; where a literal or comment has no end, all to the end of the text is
taken for it. The lexical rules are those of DataFusion's own dialect: a backslash means something in E'…' only, comments nest.
It refuses to parse. Next: `columns_read.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Trust: TypeAlias = Literal["answered", "parsed", "unread"]

LONGEST = 16_384
"""Characters that are looked at; what is longer is cut, and ends in `…`."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)|(?P<comment>/\*)
    |(?P<literal>[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\\?\Z)|(?:[nNbBxXrR]|[uU]&)?'[^']*(?:''[^']*)*(?:'|\Z)
        |(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?:(?P=tag)|\Z)|(?:\d\w*(?:\.\w*)?|\.\d\w*)(?:(?<=[eE])[+-]\d+)?)
    |(?P<quoted>"[^"]*(?:""[^"]*)*(?:"|\Z)|`[^`]*(?:`|\Z))
    |(?P<parameter>[$:@]\w+)|(?P<word>[^\W\d]\w*)|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_RUN = re.compile(r"\?(?:\s*,\s*\?)+")

_KEYWORDS = frozenset({
    "all", "analyze", "and", "any", "as", "asc", "between", "by", "case", "cast", "count", "cross", "current", "desc", "describe",
    "distinct", "else", "end", "escape", "except", "exists", "explain", "extract", "false", "filter", "first", "following", "from", "full",
    "group", "having", "ilike", "in", "inner", "intersect", "interval", "is", "join", "last", "lateral", "left", "like", "limit", "natural",
    "not", "null", "nulls", "offset", "on", "or", "order", "outer", "over", "partition", "preceding", "range", "recursive", "right", "rows",
    "select", "set", "show", "similar", "some", "sum", "table", "then", "to", "true", "try_cast", "unbounded", "union", "unnest", "using",
    "values", "when", "where", "window", "with", "within",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """text: the statement as it may be kept. tokens, depth: of the whole text, how deep brackets nest; cut: whether it was too long."""

    text: str
    tokens: int
    depth: int
    cut: bool


def shape(sql: str, trust: Trust) -> Shape:
    """What may be kept of a SQL text. Never raises."""
    cut = len(sql) > LONGEST
    parts: list[str] = []
    count, depth, deepest, at = 0, 0, 0, 0
    text = sql[:LONGEST]
    while (match := _TOKEN.match(text, at)) is not None:
        kind, at = match.lastgroup, match.end()
        if kind == "comment":
            at, kind = _comment_end(text, at), "space"
        if kind == "space":
            if parts and parts[-1] != " ":
                parts.append(" ")
            continue
        count += 1
        token = match[0]
        depth += (token in "([{") - (token in ")]}")
        deepest = max(deepest, depth)
        parts.append(_kept(kind, token, trust))
    said = _RUN.sub("?, …", "".join(parts).strip())
    return Shape(said + (" …" if cut else ""), count, deepest, cut)


def _kept(kind: str | None, token: str, trust: Trust) -> str:
    if kind in ("literal", "tag"):
        return "?"
    if trust == "unread":
        return token if kind == "other" or token.lower() in _KEYWORDS else "?"
    return '"?"' if kind == "quoted" and trust == "parsed" else token


def _comment_end(text: str, at: int) -> int:
    """Where a comment that began before `at` ends; comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
