"""The few environment variables of the client. Settings of the lakehouse are read by `reconciler.settings`, at ten times the start-up."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """`url`: LAKEHOUSE_URL. `token`: LAKEHOUSE_TOKEN. `no_color`: NO_COLOR is set to anything, or TERM is dumb.

    `columns`: COLUMNS, if it is a number.

    `index`: GIT_INDEX_FILE, by which git tells its hooks what is about to be committed.
    """

    url: str | None = None
    no_color: bool = False
    columns: int | None = None
    index: Path | None = None
    token: str | None = field(default=None, repr=False)


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """As the process was started."""
    given = os.environ if variables is None else variables
    columns = given.get("COLUMNS", "")
    return Environment(
        url=given.get("LAKEHOUSE_URL") or None,
        no_color=bool(given.get("NO_COLOR")) or given.get("TERM") == "dumb",
        columns=int(columns) if columns.isdigit() and int(columns) > 0 else None,
        token=given.get("LAKEHOUSE_TOKEN") or None,
        index=Path(given["GIT_INDEX_FILE"]) if given.get("GIT_INDEX_FILE") else None,
    )
