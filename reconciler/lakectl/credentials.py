"""What `lakectl` shows a daemon: a token, and the profile that it is to look as. A token is never a word of the command line.

It comes from `--token-file`, else from the variable LAKEHOUSE_TOKEN. For the daemon of this repository, where that runs on this machine and
for this user, it is otherwise the operator's own, from the file in which that daemon finds it.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.footprint import DaemonAddress
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.http import DaemonClient
from reconciler.lakectl.session import Session
from specs.roles import OPERATOR
from state.errors import SecretsFileRefused
from state.tokens import PROFILE_HEADER

_LISTEN = "0A"
"""TCP_LISTEN, as the kernel's table of sockets has it."""


def client_at(session: Session, url: str) -> DaemonClient:
    """A client of the daemon at an address that was given. Raises UsageInvalid."""
    return DaemonClient(url, headers=_headers(session, given_token(session)))


def client_here(session: Session, address: DaemonAddress, timeout: float) -> DaemonClient:
    """A client of the daemon of this repository. Raises UsageInvalid."""
    token, ours = given_token(session), _is_ours(address)
    if token is None and ours:
        token = _operators_own()
    return DaemonClient(address.url, timeout, _headers(session, token), _refused if ours else _untold)


def given_token(session: Session) -> str | None:
    """Of the file or the variable. Raises UsageInvalid for a file that others can read, or that is none."""
    path = session.token_file
    if path is None:
        return session.token
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageInvalid(f"--token-file {path} cannot be read.", remedy="Name a file that holds nothing but a token.") from error
    if mode & 0o077:
        raise UsageInvalid(f"--token-file {path} can be read by others (its mode is {mode:04o}).", remedy=f"chmod 600 {path}")
    return _one_word(content, f"--token-file {path}")


def _one_word(token: str, place: str) -> str:
    if not token or not token.isprintable() or " " in token:
        raise UsageInvalid(f"{place} holds no token.", remedy="It is one word, without anything else.")
    return token


def _headers(session: Session, token: str | None) -> Mapping[str, str]:
    found = {} if token is None else {"Authorization": f"Bearer {_one_word(token, 'LAKEHOUSE_TOKEN')}"}
    if session.profile is not None:
        found[PROFILE_HEADER] = session.profile
    return found


def _is_ours(address: DaemonAddress) -> bool:
    """Whether nobody but a process of this user on this machine can be meant: a repository may bring the word of a daemon with it, of an
    address where somebody else listens."""
    try:
        parts = urlsplit(address.url)
        host, port = ip_address(parts.hostname or ""), parts.port
        ours = Path("/proc", str(address.pid)).stat().st_uid == os.geteuid()
        return ours and (host.is_loopback or host.is_unspecified) and set(_listeners(port)) == {os.geteuid()}
    except (OSError, ValueError):
        return False


def _listeners(port: int | None) -> Iterator[int]:
    """Whose sockets listen on a port of this machine, as users' numbers."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text("ascii").splitlines()[1:] if table.exists() else ():
            _, local, _, state, _, _, _, user, *_ = line.split()
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield int(user)


def _untold() -> None:
    """What a daemon of somebody else, or of another machine, refuses is not looked into."""


def _refused() -> str | None:
    """What is wrong with the file of secrets, for its owner's eyes; None where nothing is."""
    from state.secrets import SecretsFile, secrets_path
    from state.tokens import TokenFile

    try:
        TokenFile(SecretsFile(secrets_path(os.environ))).current()
    except SecretsFileRefused as error:
        return error.explain()
    return None


def _operators_own() -> str | None:
    from state.secrets import SecretsFile, secrets_path

    try:
        tables = SecretsFile(secrets_path(os.environ)).tokens()
    except SecretsFileRefused:
        return None  # the daemon lets nobody in then, and says so
    own = (table.get("value") for table in tables.values() if table.get("role") == OPERATOR)
    return next((value for value in own if isinstance(value, str)), None)
