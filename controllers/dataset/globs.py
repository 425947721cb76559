"""Which paths below the data root a glob matches: what `*`, `?`, `[…]` and `**` (any number of folders) stand for.

pathlib's own glob takes a folder that it may not read for an empty one, and an empty folder means that files are gone: here it is told.
It also enters every folder; here those of Lakehouse itself are left out, so that a dataset of `**/*.parquet` does not read what it wrote.
Names that begin with a dot are matched by segments that do, and by no wildcard: they are what editors, shells and copying programs leave.
Links to folders are followed where a segment names or matches them, not by `**`. Digests and formats are `files.py`'s.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import translate
from glob import has_magic


@dataclass(frozen=True, slots=True)
class Match:
    """A path relative to the root. linked: it is a link, or a link was followed on the way."""

    path: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """A path that cannot be looked into, relative to the root, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: a folder, the segments still to match, and whether a link led here."""

    path: str
    ahead: tuple[str, ...]
    linked: bool


def matches(root: str, pattern: str, ours: Collection[str]) -> Iterator[Match | Closed]:
    """In no order, a path perhaps more than once. Nothing above the root is ever matched.

    ours: absolute paths of folders that hold what Lakehouse wrote.
    """
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    if pattern.startswith("/") or ".." in segments or not segments:
        return
    ahead = tuple(segment for at, segment in enumerate(segments) if segment != "**" or segments[at - 1 : at] != ["**"])
    places = [_Place("", ahead, False)]
    while places:
        place = places.pop()
        for found in _step(root, place, ours):
            if isinstance(found, _Place):
                places.append(found)
            else:
                yield found


def _step(root: str, place: _Place, ours: Collection[str]) -> Iterator[Match | Closed | _Place]:
    if place.ahead[0] == "**":
        return _deeper(root, place, ours)
    return _matching(root, place, ours) if has_magic(place.ahead[0]) else _named(root, place, ours)


def _deeper(root: str, place: _Place, ours: Collection[str]) -> Iterator[Match | Closed | _Place]:
    """What follows `**`, here and in every folder below."""
    if place.path or place.ahead[1:]:
        yield from _onwards(_Place(place.path, place.ahead[1:], place.linked))
    for entry in _entries(root, place, ours):
        if isinstance(entry, Closed):
            yield entry
        elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield _Place(_below(place, entry.name), place.ahead, place.linked)


def _matching(root: str, place: _Place, ours: Collection[str]) -> Iterator[Match | Closed | _Place]:
    """The entries that a segment with wildcards matches."""
    expression, hidden = re.compile(translate(place.ahead[0])), place.ahead[0].startswith(".")
    for entry in _entries(root, place, ours):
        if isinstance(entry, Closed):
            yield entry
        elif expression.match(entry.name) is not None and (hidden or not entry.name.startswith(".")):
            yield from _onwards(_Place(_below(place, entry.name), place.ahead[1:], place.linked or entry.is_symlink()))


def _named(root: str, place: _Place, ours: Collection[str]) -> Iterator[Match | Closed | _Place]:
    """The one entry that a segment without wildcards names."""
    path = _below(place, place.ahead[0])
    if f"{root}/{path}" in ours:
        yield Closed(path, "is a folder of Lakehouse's own; keep source files apart from buckets")
        return
    try:
        mode = os.lstat(f"{root}/{path}").st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield Closed(path, f"cannot be read: {error.strerror}")
        return
    yield from _onwards(_Place(path, place.ahead[1:], place.linked or stat.S_ISLNK(mode)))


def _onwards(place: _Place) -> Iterator[Match | _Place]:
    yield place if place.ahead else Match(place.path, place.linked)


def _entries(root: str, place: _Place, ours: Collection[str]) -> Iterator["os.DirEntry[str] | Closed"]:
    """What a folder holds but for what is Lakehouse's own; nothing for what is no folder."""
    folder = f"{root}/{place.path}" if place.path else root
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.path not in ours)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield Closed(place.path or ".", f"cannot be read: {error.strerror}")


def _below(place: _Place, name: str) -> str:
    return f"{place.path}/{name}" if place.path else name
