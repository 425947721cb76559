"""The YAML between two lines of dashes at the top of a Markdown file: what its author says about the document, as columns.

What is no mapping, no YAML or larger than LIMIT is text like the rest. Refuses aliases, by which a few lines become gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

LIMIT = 64 << 10
_MAX_DEPTH = 50
_FENCED = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S | re.M)


def split(text: str) -> tuple[Mapping[str, Any], str]:
    """What the front matter says, as texts, lists and objects of these, and the text after it; nothing and the whole text where there
    is none."""
    fenced = _FENCED.match(text, 0, LIMIT)
    if fenced is None:
        return {}, text
    try:
        _check(fenced[1])
        found = yaml.load(fenced[1], yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError):
        return {}, text
    if not isinstance(found, dict):
        return ({}, text[fenced.end() :]) if found is None else ({}, text)
    return {str(name): _plain(value) for name, value in found.items()}, text[fenced.end() :]


def _check(text: str) -> None:
    """Raises YAMLError."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise yaml.YAMLError("too deep")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | set | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
