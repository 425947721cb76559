"""A text as it is given on the command line: the argument itself, or standard input for `-`."""

import sys

from reconciler.lakectl.errors import UsageInvalid


def given_text(word: str, what: str) -> str:
    """Raises UsageInvalid for what is no UTF-8; `what` names it, as in "the statement"."""
    try:
        # bytes that are no text stand in arguments as lone surrogates, and in standard input as the locale likes
        return sys.stdin.buffer.read().decode() if word == "-" else word.encode().decode()
    except UnicodeError as error:
        raise UsageInvalid(f"{what} is no UTF-8 text.", remedy="Convert it, as with `iconv -t utf-8`.") from error
