"""Tokens: who may ask, from the same file as secrets. A table each, by the name under which the audit knows its holder.

    [tokens.ada]
    value = "…"                        # what is sent as `Authorization: Bearer …`; 16 characters or more
    profile = "staffing-recruiter"     # or role = "recruiter", or both: then this role stands instead of the profile's
    attributes = {region = "EU"}       # what policies may compare with

The role `operator` is reserved: its token is one of the lake's operator, and names no profile. Variables of the environment hold no tokens.
A file that changed is followed at the next question, and one with a fault lets nobody in. Of a value only its digest is kept here.
Next: `reconciler/directory.py`, which makes a reader of a token.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from specs.roles import OPERATOR
from state.errors import SecretsFileRefused
from state.secrets import SecretsFile

PROFILE_HEADER = "X-Lakehouse-Profile"
"""The header by which an operator looks as a profile."""
NOBODY = "anonymous"
"""What the audit calls whoever shows no token; no token is called so, since its holder would be told of those reads."""
SHORTEST = 16
_FEWEST_KINDS = 6
_FIELDS = ("value", "profile", "role", "attributes")
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_TAKEN = frozenset({"role", "profile"})
_MAKE_ONE = "Make one with `openssl rand -hex 32`."


@dataclass(frozen=True, slots=True)
class Token:
    """What a token stands for. name: its table's; digest: SHA-256 of its value."""

    name: str
    digest: bytes = field(repr=False)
    profile: str | None = None
    role: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def operator(self) -> bool:
        """Whether it is one of the lake's operator."""
        return self.role == OPERATOR


class Tokens:
    """The tokens at an instant."""

    def __init__(self, by_name: Mapping[str, Token]) -> None:
        self._by_name = MappingProxyType(dict(by_name))

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Token | None:
        """The token of a name."""
        return self._by_name.get(name)

    def match(self, value: str) -> Token | None:
        """The token of a value. Each is compared, and for as long as the others: nothing is told by the time it takes."""
        given, found = _digest(value), None
        for token in self._by_name.values():
            if hmac.compare_digest(given, token.digest):
                found = token
        return found


class TokenFile:
    """The tokens of a secrets file, as it is now. Thread-safe; costs the opening of a local file, and its parse where it changed."""

    def __init__(self, file: SecretsFile) -> None:
        self._file = file
        self.path = file.path
        self._parsed: tuple[Mapping[str, Any], Tokens] | None = None

    def current(self) -> Tokens:
        """Raises SecretsFileRefused, of a fault in any token too."""
        tables = self._file.tokens()
        parsed = self._parsed
        if parsed is None or parsed[0] is not tables:
            parsed = self._parsed = (tables, self._tokens(tables))
        return parsed[1]

    def _tokens(self, tables: Mapping[str, Mapping[str, Any]]) -> Tokens:
        found = {name: self._token(name, table) for name, table in tables.items()}
        first: dict[bytes, str] = {}
        for token in found.values():
            other = first.setdefault(token.digest, token.name)
            if other != token.name:
                raise self._refused(
                    token.name, f"`tokens.{other}` and `tokens.{token.name}` have the same value", "Give each a value of its own."
                )
        return Tokens(found)

    def _token(self, name: str, table: Mapping[str, Any]) -> Token:
        """Never repeats what is in the table but names of fields."""
        if not _NAME.fullmatch(name):
            raise self._refused(name, f"`tokens.{name}` is no name of a token", "Use lower-case letters, digits, hyphens and dots.")
        if name == NOBODY:
            raise self._refused(name, f"`tokens.{name}` is called as the audit calls whoever shows no token", "Give it another name.")
        here = f"`tokens.{name}`"
        for key in table:
            if key not in _FIELDS:
                raise self._refused(name, f"{here} has the unknown field `{key}`", f"Its fields are {', '.join(_FIELDS)}.")
        attributes = table.get("attributes", {})
        if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
            raise self._refused(
                name, f"{here} has attributes that are no table of strings", 'Write them as in attributes = {region = "EU"}.'
            )
        for key in attributes:
            if not _ATTRIBUTE.fullmatch(key) or key in _TAKEN:
                reason = f"{here} has the attribute `{key}`, which no policy could call so"
                raise self._refused(name, reason, "Use letters, digits and underscores, and neither role nor profile.")
        texts = {key: table[key] for key in _FIELDS[:3] if key in table}
        if not all(isinstance(text, str) and text for text in texts.values()):
            raise self._refused(name, f"value, profile and role of {here} are texts, and not empty", 'Write them as in role = "recruiter".')
        token = Token(name, _digest(texts.get("value", "")), texts.get("profile"), texts.get("role"), MappingProxyType(dict(attributes)))
        self._judge(here, texts.get("value"), token)
        return token

    def _judge(self, here: str, value: str | None, token: Token) -> None:
        if value is None:
            raise self._refused(token.name, f"{here} has no value", _MAKE_ONE)
        if not _B64TOKEN.fullmatch(value):
            raise self._refused(token.name, f"the value of {here} has characters that no header of a token has", _MAKE_ONE)
        if len(value) < SHORTEST or len(set(value)) < _FEWEST_KINDS:
            reason = f"the value of {here} is weak: it needs {SHORTEST} characters, and {_FEWEST_KINDS} different ones"
            raise self._refused(token.name, reason, _MAKE_ONE)
        if token.profile is None and token.role is None:
            raise self._refused(
                token.name, f"{here} has neither profile nor role", f'Name one, or write role = "{OPERATOR}" for the lake\'s operator.'
            )
        if token.operator and token.profile is not None:
            reason = f"{here} is the operator's and has a profile"
            raise self._refused(token.name, reason, f"Leave the profile out; it may look as any with the header {PROFILE_HEADER}.")

    def _refused(self, name: str, reason: str, remedy: str) -> SecretsFileRefused:
        return self._file.refused_token(name, reason, remedy)


def _digest(value: str) -> bytes:
    return sha256(value.encode("utf-8", "surrogateescape")).digest()
