"""The directory of readers: who a request speaks for, as tokens, profiles and policies stand at this very moment.

Without any token whoever reaches the listener is the lake's operator, and may look as a profile by the header X-Lakehouse-Profile; such a
lake listens on loopback only (`daemon.py`). With tokens everybody shows one: it stands for a profile, a role, or both; one of the operator
may look as any profile. Once a process has seen tokens it asks for them until it ends: to remove the last one lets nobody in.

Closed before open: a faulty file of tokens lets nobody in, and as long as specs were not read nobody but the operator is. It refuses to
decide what a reader may see (`engines/reading.py`). Next: `state/tokens.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from engines.errors import ProfileUnknown, ReaderRefused, ReadersClosed, TokenRefused
from engines.profile_reader import reader_of
from engines.reading import ANONYMOUS, NO_RULES, Reader, Rules
from specs.kinds.profile import ProfileSpec, Quota
from state.errors import SecretsFileRefused
from state.tokens import PROFILE_HEADER, Token, Tokens

_HOW = "Send `Authorization: Bearer …` with a token of this lake."
_CLOSED = "Nobody is let in: the file of tokens is refused."
_WHERE = "On its machine `lakectl status` says what is wrong with it, and where; so do the daemon's log and events."
_BEARER = "bearer"


class TokenSource(Protocol):
    """Tokens as they are now."""

    def current(self) -> Tokens:
        """Raises SecretsFileRefused."""


Profiles = Callable[[str], ProfileSpec | None]
"""The spec in force of a profile; None where there is none. From memory."""


async def _abreast() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Known:
    """A reader that was made of a profile, and of what."""

    spec: ProfileSpec
    rules: Rules
    reader: Reader


class Directory:
    """Used by any thread; costs some ten microseconds a question."""

    def __init__(
        self,
        tokens: TokenSource,
        profiles: Profiles,
        *,
        rules: Callable[[], Rules] = lambda: NO_RULES,
        in_force: Callable[[], bool] = lambda: True,
        told: Callable[[str | None], None] = lambda _: None,
        asks: bool = False,
        caught_up: Callable[[], Awaitable[bool]] = _abreast,
    ) -> None:
        """rules: the policies in force; in_force: whether specs have been read, before which nobody is restricted rightly; told: what
        is wrong with the file of tokens, for the operator's eyes, whenever that changes; None where nothing is any more. asks: whether
        tokens are asked for though none was seen here yet. caught_up: see `newest.py`."""
        self._tokens = tokens
        self._profiles = profiles
        self._rules = rules
        self._in_force = in_force
        self._told = told
        self._known: dict[str, _Known] = {}
        self._seen_tokens = asks
        self.caught_up = caught_up
        self._fault: str | None = None

    @property
    def open(self) -> bool:
        """Whether no token is asked for. Raises ReadersClosed."""
        return len(self._current()) == 0 and not self._seen_tokens

    def missing(self) -> Iterable[str]:
        """Why nobody is let in, for `/readyz`; nothing where they are."""
        try:
            self._current()
        except ReadersClosed as error:
            yield str(error)

    def reader_of(self, authorization: str | None, profile: str | None, bucket: str | None = None) -> Reader:
        """Who a request speaks for. authorization: the header of this name; profile: the header X-Lakehouse-Profile; bucket: the only one
        that it is to see.

        Raises TokenRefused, ProfileUnknown, ReaderRefused, ReadersClosed.
        """
        tokens = self._current()
        if not tokens and not self._seen_tokens:
            if authorization is not None:
                raise TokenRefused("No token is known here.", remedy="Leave the header Authorization out.")
            reader = ANONYMOUS if profile is None else self.profile(profile)
        else:
            token = tokens.match(_value(authorization)) if authorization is not None else None
            if token is None:
                raise TokenRefused("A token that is known here is needed.", remedy=_HOW)
            reader = self._of(token, profile)
        return reader if bucket is None else replace(reader, bucket=bucket)

    def current(self, reader: Reader) -> Reader:
        """The same reader under the tokens, the profile and the policies that are in force now.

        Raises TokenRefused where its token is none any more, ProfileUnknown where its profile is none, ReadersClosed.
        """
        if reader.token is None and reader.operator:
            return reader  # of this process itself, or of a lake that asks for no token: whoever holds the machine
        if reader.token is None:
            now = self.profile(reader.profile) if reader.profile is not None else replace(reader, rules=self._in_force_rules())
        else:
            token = self._current().named(reader.token)
            if token is None:
                raise TokenRefused("The token was revoked meanwhile.", remedy=_HOW)
            now = self._of(token, reader.profile)
        return now if now.bucket == reader.bucket else replace(now, bucket=reader.bucket)

    def profile(self, name: str) -> Reader:
        """The reader that a profile is. Raises ProfileUnknown, ReadersClosed."""
        rules, spec = self._in_force_rules(), self._profiles(name)
        if spec is None:
            self._known.pop(name, None)
            raise ProfileUnknown(f"There is no profile {name!r}.")
        known = self._known.get(name)
        if known is None or known.spec is not spec or known.rules is not rules:
            known = self._known[name] = _Known(spec, rules, reader_of(name, spec, rules))
        return known.reader

    def quota(self, name: str) -> Quota | None:
        """What a profile may ask for; None where there is no such profile."""
        spec = self._profiles(name)
        return None if spec is None else spec.quota

    def _of(self, token: Token, profile: str | None) -> Reader:
        if token.operator:
            return replace(ANONYMOUS, token=token.name) if profile is None else replace(self.profile(profile), token=token.name)
        if profile not in (None, token.profile):
            raise ReaderRefused(
                f"This token is of no operator, and may name no other profile by {PROFILE_HEADER}.", remedy="Leave the header out."
            )
        if token.profile is None:
            return Reader(token.name, role=token.role, attributes=token.attributes, rules=self._in_force_rules())
        try:
            of_profile = self.profile(token.profile)
        except ProfileUnknown as error:
            raise TokenRefused("A token that is known here is needed.", profile_unknown=True, remedy=_HOW) from error
        return replace(of_profile, token=token.name, role=token.role or of_profile.role, attributes=token.attributes)

    def _in_force_rules(self) -> Rules:
        if not self._in_force():
            raise ReadersClosed("The specs, by which readers are told apart, have not been read yet.", remedy="Try again in a moment.")
        return self._rules()

    def _current(self) -> Tokens:
        """The tokens now; none at all are told once they were seen."""
        try:
            tokens = self._tokens.current()
        except SecretsFileRefused as error:
            self._note(error.explain())
            raise ReadersClosed(_CLOSED, remedy=_WHERE) from None
        self._note(None)
        self._seen_tokens = self._seen_tokens or len(tokens) > 0
        return tokens

    def _note(self, fault: str | None) -> None:
        if fault != self._fault:
            self._fault = fault
            self._told(fault)


def _value(authorization: str) -> str:
    """What the header gives as a token; nothing, which is no token's value, where it gives none."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == _BEARER else ""
