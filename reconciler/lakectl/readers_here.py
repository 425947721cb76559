"""Who reads without a daemon: the operator of this machine, or a profile of the specs at HEAD under the policies there."""

import os

from engines.policies.book import PolicyBook
from engines.reading import ANONYMOUS, Reader
from reconciler.blob_cache import BlobCache
from reconciler.directory import Directory
from reconciler.lakectl.session import Session
from reconciler.opening import State
from reconciler.policies import policy_book, profile_of
from reconciler.world import World
from specs.version import PARSER_VERSION
from state.secrets import SecretsFile, secrets_path
from state.tokens import TokenFile


def directory_here(state: State) -> tuple[World, PolicyBook, Directory]:
    """By the specs at HEAD. Raises SourceUnavailable."""
    world = World(state.place.source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(state.place.source.revision())
    book = policy_book(state, world)
    tokens = TokenFile(SecretsFile(secrets_path(os.environ)))
    return world, book, Directory(tokens, lambda name: profile_of(world, name), rules=book.now)


def reader_here(session: Session, state: State) -> tuple[Reader, Directory | None]:
    """Whoever is to read, and where it is known: the operator needs no directory. Raises ProfileUnknown, SourceUnavailable."""
    if session.profile is None:
        return ANONYMOUS, None
    _, _, directory = directory_here(state)
    return directory.profile(session.profile), directory
