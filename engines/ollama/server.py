"""Where an Ollama server is, and how it is asked. Plain data, which a job takes with it.

Texts of a lake are sent to a server on this machine only, unless the settings say that another one may be asked: refused here, so that no
caller has to think of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from engines.errors import ServerRefused

URL = "http://127.0.0.1:11434"
_REMEDY = f"Set `models.ollama.url` to a server on this machine, as in {URL}, or `models.ollama.remote: true` if texts may leave it."


@dataclass(frozen=True, slots=True)
class Server:
    """How it is asked.

    Args:
        remote: whether it may be on another machine.
        facts_seconds: for an answer that needs no model; call_seconds: for one batch of embeddings, or the next piece of a chat;
            load_seconds: for a model to be loaded, or to be gone.
        keep_seconds: how long a model stays loaded that nobody asks for.
        context: tokens that a model reads at once, at most; it is sent with every request.
        batch: texts of one request.
    """

    url: str = URL
    remote: bool = False
    facts_seconds: float = 3.0
    call_seconds: float = 120.0
    load_seconds: float = 300.0
    keep_seconds: float = 1800.0
    context: int = 8192
    batch: int = 64

    def __post_init__(self) -> None:
        """Raises ServerRefused."""
        why = unfit(self.url, remote=self.remote)
        if why is not None:
            raise ServerRefused(f"The model server {self.url} is not asked: {why}.", remedy=_REMEDY)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`; JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Server:
        """Raises ServerRefused."""
        return cls(**data)


def unfit(url: str, *, remote: bool) -> str | None:
    """Why this address is not asked; None where it is. Pure: names are not looked up, so that only `localhost` is one of this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        return "it is no address of a server"
    if parts.username is not None or parts.password is not None:
        return "it holds a user or a password"
    return None if remote or _loopback(host) else "it is not on this machine, and texts would leave it"


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
