"""How a text becomes terms: runs of letters, digits and underscores, case-folded. Nothing is stemmed, and no word is left out.

What is frequent weighs little by BM25 itself. Scripts without spaces between words give a term for each run. Next: `bm25.py`.
"""

from __future__ import annotations

import re

_TERM = re.compile(r"\w+")


def terms(text: str) -> list[str]:
    """In their order, repeated as in the text."""
    return _TERM.findall(text.casefold())
