"""How errors name values: on one line, shortened, so that a file's content never floods a message."""

from __future__ import annotations

_SHOWN = 60


def found(value: object) -> str:
    """A value as an error names it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return quoted(value) if value else "an empty text"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"


def quoted(text: str) -> str:
    """The text between backquotes, on one line and shortened."""
    flat = " ".join(text.split()) if "\n" in text or "\t" in text else text
    return f"`{flat if len(flat) <= _SHOWN else flat[: _SHOWN - 3] + '...'}`"
