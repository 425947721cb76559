"""Sizes in bytes as people write them: `4GiB` is 4 x 1024^3, `500MB` is 500 x 1000^2, `1024` is bytes."""

from __future__ import annotations

import re
from decimal import Decimal

from specs.errors import SpecInvalid

PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|[KMGT]B|[KMGT]iB)$"
_WHOLE = re.compile(r"^([0-9]+(?:\.[0-9]+)?) ?(B|[KMGT]B|[KMGT]iB)$")
_UNITS: dict[str, int] = (
    {"B": 1} | {f"{p}B": 1000**n for n, p in enumerate("KMGT", 1)} | {f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)}
)


class SizeInvalid(SpecInvalid):
    """A text that is not a size in bytes."""

    slug = "size-invalid"


def parse_size(text: str) -> int:
    """The bytes of `text`. Raises SizeInvalid."""
    match = _WHOLE.fullmatch(text) if len(text) <= 32 else None
    if match is None:
        raise SizeInvalid(f"`{text[:32]}` is not a size.", remedy="Write it with a unit, as in 512MiB or 4GiB.")
    return round(Decimal(match[1]) * _UNITS[match[2]])
