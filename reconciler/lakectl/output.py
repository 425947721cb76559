"""Answers for programs: one document, as JSON or YAML, the same whatever the terminal."""

from typing import Any

from reconciler.lakectl.terminal import Terminal

FORMATS = ("table", "json", "yaml")


def emit(terminal: Terminal, document: Any, form: str) -> None:
    """Writes a document as `json` or `yaml`."""
    terminal.line(render(document, form))


def render(document: Any, form: str) -> str:
    """The text of a document, without a line feed at its end."""
    if form == "json":
        import json

        return json.dumps(document, indent=2, ensure_ascii=False)
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text.rstrip("\n")
