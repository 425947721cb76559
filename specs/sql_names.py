"""Which tables and parameters a SQL text names, told from its words alone.

No parser of SQL is at hand here, and none is needed: the answer only orders resources and wakes derived datasets. What a
query really reads is decided by the query worker. A name after FROM or JOIN counts, unless it is a function, a name of
the query's own WITH, or qualified (`system.events`).

Read next: `specs.kinds.dataset`, which makes references of these names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))|(?P<text>'(?:[^']|'')*(?:'|\Z))|(?P<quoted>"(?:[^"]|"")*")"""
    r"""|(?P<parameter>\$\w+)|(?P<word>[A-Za-z_]\w*)|(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_NOT_TABLES = frozenset({"select", "lateral", "unnest", "values", "where", "on", "using"})
_FROM_FUNCTIONS = frozenset({"extract", "substring", "substr", "trim", "overlay", "position"})
_AFTER_TABLES = frozenset({
    "where", "group", "order", "having", "limit", "offset", "union", "intersect", "except", "on", "using", "select", "window", "qualify",
})  # fmt: skip


def tables_of(sql: str) -> tuple[str, ...]:
    """The dataset names (hyphens for underscores) of the tables that `sql` reads, sorted, each once."""
    tokens = _tokens(sql)
    own = set(_own_names(tokens))
    names = (_name(token) for token in _candidates(tokens))
    return tuple(sorted({name.replace("_", "-") for name in names if name and name not in own}))


def words_of(sql: str) -> tuple[str, ...]:
    """Every word outside strings and comments, keywords and functions among them; quoted ones without their quotes."""
    words = (_name(token) if token.startswith('"') else token for token in _tokens(sql) if re.match(r'["A-Za-z_]', token))
    return tuple(dict.fromkeys(word for word in words if word))


def parameters_of(sql: str) -> tuple[str, ...]:
    """The names of the parameters (`$city`) outside strings and comments, sorted, each once."""
    return tuple(sorted({token[1:] for token in _tokens(sql) if token[0] == "$" and len(token) > 1 and not token[1].isdigit()}))


def normalised(sql: str) -> str:
    """The text without comments and with single spaces: equal for queries that differ in layout only."""
    return " ".join(_tokens(sql))


def _tokens(sql: str) -> list[str]:
    return [match[0] for match in _TOKEN.finditer(sql) if match.lastgroup != "skip"]


def _own_names(tokens: list[str]) -> Iterator[str]:
    """What stands before `AS (`, a list of columns between them or not: the names of the query's WITH."""
    opened = 0
    for i, token in enumerate(tokens):
        if token == "(":
            opened = i
        elif i and token.lower() == "as" and "".join(tokens[i + 1 : i + 2]).lower() in ("(", "not", "materialized"):
            at = opened - 1 if tokens[i - 1] == ")" else i - 1
            if at >= 0:
                yield _name(tokens[at]) or ""


def _candidates(tokens: list[str]) -> list[str]:
    """The single words after FROM, JOIN, or a comma of a FROM list."""
    found: list[str] = []
    functions: list[bool] = []
    listing: list[bool] = [False]
    for i, token in enumerate(tokens):
        word, before = token.lower(), tokens[i - 1].lower() if i else ""
        if token == "(":
            functions.append(before in _FROM_FUNCTIONS)
            listing.append(False)
        elif token == ")" and functions:
            functions.pop()
            listing.pop()
        elif word in _AFTER_TABLES:
            listing[-1] = False
        names = (
            word == "join"
            or (word == "from" and before != "distinct" and not (functions and functions[-1]))
            or (token == "," and listing[-1])
        )
        if names:
            listing[-1] = True
            after = [*tokens[i + 1 : i + 3], "", ""]
            if after[1] not in (".", "("):
                found.append(after[0])
    return found


def _name(token: str) -> str | None:
    if token.startswith('"'):
        return token[1:-1].replace('""', '"')
    if not re.match(r"[A-Za-z_]", token) or token.lower() in _NOT_TABLES:
        return None
    return token.lower()
