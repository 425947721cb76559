"""Texts that are HTML as Markdown, so that `structure.py` reads one notation. Documents are so already: `engines/files/documents.py`.

A value is taken for HTML if it begins with an element that a page or a part of one begins with, ends with a tag, and no line of it is a
heading or a fence of Markdown: a README may begin with HTML, too. Anything else stays as it is.
"""

from __future__ import annotations

import re

_BEGIN = re.compile(
    r"\s*<(?:!doctype html|html|head|body|article|section|main|div|p|h[1-6]|ul|ol|dl|table|blockquote|pre)[\s>]", re.IGNORECASE
)
_MARKDOWN = re.compile(r"^(?:#{1,6}\s|```|~~~)", re.MULTILINE)


def as_markdown(value: str | None) -> str | None:
    """The value, or what is to be read of it. What may explode a parser is left as it is: it is text, with tags in it."""
    if value is None or not _BEGIN.match(value) or not value.rstrip().endswith(">") or _MARKDOWN.search(value):
        return value
    from engines.files import html_text  # not needed for any other text

    return value if html_text.may_explode(value) else html_text.page_of(value).text
