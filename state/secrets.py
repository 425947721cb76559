"""Secrets: credentials by name, from a file that only this user can read, or from the environment.

    # /etc/lakehouse/secrets.toml, else ~/.config/lakehouse/secrets.toml; mode 0600
    [archive-keys]
    access_key_id = "…"
    secret_access_key = "…"

    LAKEHOUSE_SECRET__ARCHIVE_KEYS__ACCESS_KEY_ID=…         the same by the environment, for names that the file does not have

The table `tokens` of the file is reserved: see `tokens.py`.

Specs and the catalog hold names, never values. Whoever needs a value asks for it each time, so that a changed file is followed without
a restart. A value is in no `repr`, log, error or pickle. Refuses a file that others could read or write, instead of warning.
Next: `service_clients.py`, which signs requests with them.
"""

from __future__ import annotations

import os
import stat
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from state.errors import SecretFieldMissing, SecretMissing, SecretsFileRefused

SYSTEM_FILE = Path("/etc/lakehouse/secrets.toml")
SECRET_PREFIX = "LAKEHOUSE_SECRET__"
_MODE = 0o600
_TOKENS = "tokens"
_Signature = tuple[int, int, int, int, int, int]


class Secret:
    """The fields of one secret. Shown by name only; two are equal that hold the same."""

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        """fields: names of fields to values, as the provider has them."""
        self.name = name
        self._fields = dict(fields)

    def field(self, name: str) -> str:
        """Raises SecretFieldMissing."""
        value = self._fields.get(name)
        if value is None:
            raise SecretFieldMissing(self.name, name)
        return value

    def optional(self, name: str) -> str | None:
        """The field, or None."""
        return self._fields.get(name)

    def redact(self, text: str) -> str:
        """The text without any of this secret's values: what a server sends back may repeat them."""
        for value in self._fields.values():
            if value:
                text = text.replace(value, "[redacted]")
        return text

    def __eq__(self, other: object) -> bool:
        """The same name and fields."""
        return isinstance(other, Secret) and (self.name, self._fields) == (other.name, other._fields)

    def __hash__(self) -> int:
        """Of the name."""
        return hash(self.name)

    def __repr__(self) -> str:
        """By name."""
        return f"Secret({self.name!r})"

    def __reduce__(self) -> NoReturn:
        """A secret goes to no other process: that one asks for it by name."""
        raise TypeError("a Secret is not pickled")


class SecretsProvider(Protocol):
    """Something that knows secrets by name. Thread-safe; blocking."""

    def find(self, name: str) -> Secret | None:
        """None where it knows no secret of this name. Raises SecretsFileRefused."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file says. tokens: never in a `repr`; lines: see `_headers`."""

    secrets: Mapping[str, Secret]
    tokens: Mapping[str, Mapping[str, Any]] = field(repr=False)
    lines: Mapping[tuple[str, ...], int]


_EMPTY = _Content({}, {}, {})


class SecretsFile:
    """A TOML file of tables of strings, read again when it changed."""

    def __init__(self, path: Path) -> None:
        """path: of the file; one that does not exist knows no secrets, until it does."""
        self.path = path
        self._lock = threading.Lock()
        self._read: tuple[_Signature, _Content] | None = None

    def find(self, name: str) -> Secret | None:
        """See `SecretsProvider`."""
        return self._content().secrets.get(name)

    def tokens(self) -> Mapping[str, Mapping[str, Any]]:
        """The tables under `tokens`, as they are written; the same object as long as the file did not change. Raises SecretsFileRefused."""
        return self._content().tokens

    def refused_token(self, name: str, reason: str, remedy: str) -> SecretsFileRefused:
        """The error for a fault in the table of a token, as it was read last, with its line."""
        lines = {} if self._read is None else self._read[1].lines
        return self._refused(_at(lines.get((_TOKENS, name))) + reason, remedy)

    def check(self) -> None:
        """Raises SecretsFileRefused where the file is there and not as it must be."""
        self._content()

    def _content(self) -> _Content:
        with self._lock:
            try:
                handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                self._read = None
                return _EMPTY
            except OSError as error:
                raise self._refused(_unopened(self.path, error)) from error
            try:
                facts = os.fstat(handle)
                self._judge(facts)
                signature = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode, facts.st_uid)
                if self._read is None or self._read[0] != signature:
                    self._read = (signature, self._parse(os.read(handle, facts.st_size)))
            finally:
                os.close(handle)
            return self._read[1]

    def _judge(self, facts: os.stat_result) -> None:
        """Raises SecretsFileRefused unless it is a regular file of this user that nobody else may touch."""
        if not stat.S_ISREG(facts.st_mode):
            raise self._refused("it is no regular file", f"Put a regular file of mode 0600 in its place: {self.path}")
        if facts.st_uid != os.geteuid():
            raise self._refused(
                f"it belongs to user {facts.st_uid}, and this process runs as {os.geteuid()}", f"chown {os.geteuid()} {self.path}"
            )
        if stat.S_IMODE(facts.st_mode) != _MODE:
            raise self._refused(f"its mode is {stat.S_IMODE(facts.st_mode):04o}, and must be 0600", f"chmod 600 {self.path}")

    def _parse(self, content: bytes) -> _Content:
        try:
            text = content.decode()
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # its message names a place and never repeats the text; its context would
            told = str(error).replace("(at end of document)", f"(at line {len(content.splitlines())}, where it ends)")
            raise self._refused(f"it is no TOML: {told}", "Correct the file.") from None
        except UnicodeDecodeError:
            raise self._refused("it is not UTF-8", "Correct the file.") from None
        tokens, lines = document.pop(_TOKENS, {}), _headers(text)
        if not isinstance(tokens, dict) or not all(isinstance(table, dict) for table in tokens.values()):
            where = _at(lines.get((_TOKENS,)))
            raise self._refused(f"{where}`{_TOKENS}` is no table of tables", f'Write each as [{_TOKENS}.NAME] and a line value = "…".')
        for name, table in document.items():
            if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
                where = _at(lines.get((name,)))
                raise self._refused(
                    f"{where}`{name}` is no table of strings", f'Write it as [{name}] and lines such as access_key_id = "…".'
                )
        return _Content({name: Secret(name, table) for name, table in document.items()}, tokens, lines)

    def _refused(self, reason: str, remedy: str | None = None) -> SecretsFileRefused:
        return SecretsFileRefused(self.path, reason, remedy=remedy)


def _headers(text: str) -> dict[tuple[str, ...], int]:
    """The lines of tables' headers by their names, from 1, which `tomllib` does not tell. None of a name that has several: a line of a
    string may look like one."""
    found: dict[tuple[str, ...], list[int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.lstrip().startswith("["):
            continue
        try:
            table = tomllib.loads(line.strip())
        except tomllib.TOMLDecodeError:
            continue
        path: list[str] = []
        while isinstance(table, dict) and table:
            ((key, table),) = table.items()
            path.append(key)
        found.setdefault(tuple(path), []).append(number)
    return {name: numbers[0] for name, numbers in found.items() if len(numbers) == 1}


def _at(line: int | None) -> str:
    """How a fault begins whose line is known."""
    return "" if line is None else f"line {line}: "


class EnvironmentSecrets:
    """Secrets in variables `LAKEHOUSE_SECRET__<NAME>__<FIELD>`: in capitals, `-` and `.` as `_`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """environ: looked at when asked, never copied."""
        self._environ = environ

    def find(self, name: str) -> Secret | None:
        """See `SecretsProvider`."""
        prefix = _variable(name)
        fields = {key.removeprefix(prefix).lower(): value for key, value in self._environ.items() if key.startswith(prefix)}
        return Secret(name, fields) if fields else None


class Secrets:
    """What several providers know; the first one that knows a name answers."""

    def __init__(self, providers: Sequence[SecretsProvider], places: str = "no provider") -> None:
        """places: where a missing secret may be put, as an error tells it; {variable}: how its variables begin."""
        self._providers = tuple(providers)
        self._places = places

    def get(self, name: str) -> Secret:
        """Raises SecretMissing, SecretsFileRefused."""
        for provider in self._providers:
            found = provider.find(name)
            if found is not None:
                return found
        raise SecretMissing(name, self._places.format(variable=_variable(name)))


def secrets_path(environ: Mapping[str, str]) -> Path:
    """The file of this machine, or of this user where the machine has none."""
    if SYSTEM_FILE.exists():
        return SYSTEM_FILE
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home(), ".config"))
    return Path(home, "lakehouse", "secrets.toml")


def secrets_here(environ: Mapping[str, str] = os.environ) -> Secrets:
    """What this process may know. Nothing is read before it is asked for."""
    path = secrets_path(environ)
    escaped = str(path).replace("{", "{{").replace("}", "}}")
    places = f"{escaped}, which is read again by itself, or into {{variable}}<FIELD> in the environment of a process that starts anew"
    return Secrets((SecretsFile(path), EnvironmentSecrets(environ)), places)


def check_secrets(environ: Mapping[str, str] = os.environ) -> None:
    """Raises SecretsFileRefused where there is a file that others could read: for a process that is about to rely on it."""
    SecretsFile(secrets_path(environ)).check()


def _variable(name: str) -> str:
    """How the variables of a secret begin."""
    return f"{SECRET_PREFIX}{name.upper().replace('-', '_').replace('.', '_')}__"


def _unopened(path: Path, error: OSError) -> str:
    return "it is a symlink" if path.is_symlink() else f"it cannot be read: {error.strerror}"
