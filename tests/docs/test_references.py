"""What the documents name exists: files, links, reasons, routes, kinds and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.lakectl.table import COMMANDS
from specs.registry import KINDS
from state import reasons

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md")))
IN_A_LAKE = (
    ".lakehouse/", "lake/", "data/", "catalog/", "streams/", "chains/", "keys/", "requests/", "lease/", "datasets/", "indexes/", "wal/",
    "specs/people.yaml", "src/", ".venv/",
)  # fmt: skip
"""Paths of a user's repository or bucket, not of this one."""


def words(document: Path) -> list[str]:
    """Everything in backticks outside fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def is_path(word: str) -> bool:
    looks = re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word) is not None and "/" in word
    return (
        looks and re.search("[a-z]", word) is not None and not word.startswith(IN_A_LAKE) and not re.fullmatch(r"[A-Z]\w+/[a-z0-9-]+", word)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_backticks_exist(document: Path) -> None:
    named = {word for word in words(document) if is_path(word)}
    nearby = (ROOT, document.parent)
    assert [word for word in sorted(named) if not any((folder / word).exists() for folder in nearby)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith(("http://", "https://"))]
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in targets:
        path, _, anchor = target.partition("#")
        assert (document.parent / path).exists() if path else anchor in headings, target


def test_reasons_that_ask_for_somebody_are_in_the_operators_page() -> None:
    """Every reason with which code ends an object as Stalled."""
    sources = [path.read_text(encoding="utf-8") for room in ("controllers", "reconciler") for path in (ROOT / room).rglob("*.py")]
    used = {name for source in sources for name in re.findall(r"Stalled\(\s*reasons\.([A-Z_]+)", source)} - {"SUSPENDED"}
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert used
    assert [name for name in sorted(used) if getattr(reasons, name) not in page] == []


def test_reasons_in_the_operators_page_exist() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    table = page[page.index("| reason | what to do |") : page.index("## Requests")]
    listed = {name.strip() for cell in re.findall(r"^\| ([A-Z][\w, ]+) \|", table, re.MULTILINE) for name in cell.split(",")}
    known = {value for name, value in vars(reasons).items() if name.isupper()}
    assert listed
    assert listed <= known


def test_kinds_without_a_controller_are_listed_as_not_built() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    acting = (ROOT / "reconciler" / "kinds.py").read_text(encoding="utf-8")
    built = {kind for kind in KINDS if f'"{kind}":' in acting}
    row = next(line for line in text.splitlines() if line.startswith("| kinds |"))
    assert {word.strip(" |") for word in row.removeprefix("| kinds |").split(",")} == set(KINDS) - built


def test_every_route_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    routes = {route for path in (ROOT / "api").glob("*.py") for route in re.findall(r'"(/[a-z.]+(?:/[a-z{}]+)*)"', path.read_text("utf-8"))}
    assert "/query" in routes
    assert [route for route in sorted(routes) if route not in text] == []


def test_every_command_is_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    listed = text[text.index("- `lakectl`:") :].split(".", 1)[0]
    assert [command.name for command in COMMANDS if command.name not in (*listed.replace(",", " ").split(), "help")] == []


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[0] == "Unreleased"


def test_the_architecture_fits_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 110
