"""What every command gets: the terminal, the global options, and the present."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.lakectl.terminal import Terminal

if TYPE_CHECKING:
    from reconciler.lakectl.here import Here


def utc_now() -> datetime:
    """The clock of a real session."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Session:
    """One call of `lakectl`.

    `url` is what --url or LAKEHOUSE_URL said, None if neither did; `index` the index file of a commit under way. `profile` is whom --as
    named, None for the operator; `token_file` what --token-file named; `token` what LAKEHOUSE_TOKEN holds.
    """

    terminal: Terminal
    repo: Path | None = None
    url: str | None = None
    data_root: Path | None = None
    index: Path | None = None
    clock: Callable[[], datetime] = utc_now
    profile: str | None = None
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)

    def here(self) -> "Here":
        """The lakehouse that is meant. Raises NoLakehouse."""
        from reconciler.lakectl.here import find_here  # `lakectl version` asks for none

        return find_here(self.repo, self.data_root)
