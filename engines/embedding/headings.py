"""The headings that a chunk cut by structure begins with. Next: `structure.py`, which puts them there."""

from __future__ import annotations

import re

_HEADING = re.compile(r"#{1,6} (.+)")


def headings_of(chunk: str) -> tuple[str, ...]:
    """Those that a chunk of `structure.chunks` begins with, outermost first, without their marks."""
    found = [_HEADING.fullmatch(line) for line in chunk.partition("\n\n")[0].split("\n")]
    return tuple(match[1] for match in found if match) if all(found) else ()


def below_headings(chunk: str) -> str | None:
    """What such a chunk says under its headings; None if it has none."""
    return chunk.partition("\n\n")[2] if chunk.startswith("#") and headings_of(chunk) else None
