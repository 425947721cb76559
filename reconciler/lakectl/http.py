"""Talking to a daemon by the standard library: JSON in, JSON out, and problem documents as errors."""

import json
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit

from reconciler.lakectl.errors import DaemonProblem, DaemonUnreachable, UsageInvalid

PREFIX = "urn:lakehouse:problem:"
_ANSWERS: Mapping[str, frozenset[str]] = {
    "/status": frozenset({"objects"}),
    "/events": frozenset({"events"}),
    "/query": frozenset({"rows"}),
    "/search": frozenset({"hits", "ab"}),
    "/storage/bucket-health": frozenset({"buckets"}),
    "/models": frozenset({"models"}),
    "/storage/errors": frozenset({"errors", "groups"}),
    "/catalog/datasets/": frozenset({"columns"}),
    "/hnsw/trials/": frozenset({"trials", "best"}),
    "/access/explain": frozenset({"allowed"}),
    "/access/audit": frozenset({"rows", "groups"}),
    "/policies/test": frozenset({"policies"}),
}
"""What is asked for (with a slash at the end: any name below it), and members of which the answer of a daemon has one."""
_REMEDIES: Mapping[str, str] = {
    "token-refused": 'Use --token-file or LAKEHOUSE_TOKEN; or give the secrets file of this machine a token with `role = "operator"`.',
    "reader-refused": "Leave --as out, or use an operator's token.",
    "route-unknown": "It is for operators' tokens, or for a newer daemon.",
}
"""What to do about a problem with `lakectl`, where the daemon's remedy is for whoever sends requests by hand."""
_ANSWER_SECONDS = 10.0
_QUERY_SECONDS = 600.0


class DaemonClient:
    """One daemon. Blocking; a connection a request, since there are few."""

    def __init__(
        self,
        url: str,
        timeout: float = _ANSWER_SECONDS,
        headers: Mapping[str, str] = MappingProxyType({}),
        closed: Callable[[], str | None] = lambda: None,
    ) -> None:
        """headers: of every request; closed: what helps where the daemon lets nobody in, if that is known here. Raises UsageInvalid for
        what is no http address."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            # what stands before the @ may be a password
            shown = url.rpartition("@")[2]
            raise UsageInvalid(
                f"`{shown}` is no address of a daemon.", remedy="Write it as in http://127.0.0.1:8484, without a name or password."
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port, self._secure = host, port, parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = dict(headers)
        self._closed = closed

    def get(self, path: str, parameters: Mapping[str, str | int | None] | None = None) -> Any:
        """The document at a path; parameters that are None are left out. Raises DaemonUnreachable, DaemonProblem."""
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None, self._timeout)

    def post(self, path: str, document: Mapping[str, Any]) -> Any:
        """The answer to a document; waits as long as the daemon's own limits allow. Raises as `get`."""
        return self._ask("POST", path, json.dumps(document).encode(), _QUERY_SECONDS)

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=timeout)
        headers = {"Accept": "application/json", **self._headers} | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            remedy = "Start it with `lakectl daemon`, or leave out --url and LAKEHOUSE_URL to read the state without one."
            raise DaemonUnreachable(f"no daemon answers at {self.url}: {why.lower()}.", remedy=remedy) from error
        finally:
            connection.close()
        return self._read(path.partition("?")[0], response.status, content)

    def _read(self, path: str, status: int, content: bytes) -> Any:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            document = {}
        slug = str(document.get("type", "")).removeprefix(PREFIX)
        wanted = _ANSWERS.get(path) or next(members for known, members in _ANSWERS.items() if known[-1] == "/" and path.startswith(known))
        known = not wanted.isdisjoint(document) if status < 400 else document.get("type") == PREFIX + slug
        if not known:
            remedy = "Correct --url or LAKEHOUSE_URL, or leave it out to use this repository's daemon."
            raise DaemonUnreachable(f"what answers at {self.url} is no daemon of Lakehouse (status {status}).", remedy=remedy)
        if status < 400:
            return document
        message = str(document.get("detail") or f"the daemon answered with status {status}.")
        known_here = self._closed() if slug == "readers-closed" else None
        raise DaemonProblem(message, type=slug, status=status, remedy=known_here or _REMEDIES.get(slug) or document.get("remedy"))
