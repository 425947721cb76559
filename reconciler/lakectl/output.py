"""Answers for programs: one document, as JSON or YAML, the same whatever the terminal."""

from typing import Any

from reconciler.lakectl.terminal import Terminal

FORMATS = ("table", "json", "yaml")


def emit(terminal: Terminal, document: Any, form: str) -> None:
    """Writes a document as `json` or `yaml`."""
    terminal.line(render(document, form, unicode=terminal.unicode))


def render(document: Any, form: str, *, unicode: bool = True) -> str:
    """The text of a document, without a line feed at its end; without `unicode` in ASCII, and the same document."""
    if form == "json":
        import json

        return json.dumps(document, indent=2, ensure_ascii=not unicode)
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=unicode, width=100)
    return text.rstrip("\n")
