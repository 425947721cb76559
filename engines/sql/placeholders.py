"""The `$names` of a statement or an expression: what stands for values, which are bound and never pasted in. Pure."""

from __future__ import annotations

import re

_TOKENS = re.compile(
    r"""(?<!\w)[eE]'(?:\\.|''|[^'\\])*(?:'|\\?\Z) | '(?:''|[^'])*(?:'|\Z) | "(?:""|[^"])*(?:"|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z)
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z) | (?<![\w$@\#])\$(?P<name>\w+)""",
    re.DOTALL | re.VERBOSE,
)
"""What has no end reaches to that of the text: to look for it again from each sign that may begin it took seconds of a long text."""


def placeholders(sql: str) -> frozenset[str]:
    """Names without the `$`. What stands in quotes or comments is none."""
    return frozenset(found["name"] for found in _TOKENS.finditer(sql) if found["name"])
