"""What is wanted now: every object of the watched revision, kept up to date by what changed between two revisions.

A document that does not parse leaves the last good one in force: the object keeps its former spec and carries the
error. The last good one is looked up in the file's own past, so that a restart changes nothing. Two documents of one key: the first in
path order stands, the other is an error. What profiles have for themselves (`specs/own.py`) follows from what is written. Nothing here
looks at the world; see `reconciler.loop` for that.
"""

import logging
import threading
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from reconciler.blob_cache import BlobCache
from reconciler.errors import RevisionUnknown
from reconciler.sources.source import FileChange, Source
from specs.digests import digest
from specs.own import KINDS as SAYING_OWN
from specs.own import own_resources
from specs.parse import ParsedFile, SpecError, declared_twice, duplicates, parse_file, policies_meant
from specs.resource import Key, Resource

_log = logging.getLogger(__name__)

SPEC_FILE = "SpecFile"
"""The kind under which a file is listed whose documents cannot even be named."""

_PAST_BLOBS = 20


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as wanted: the spec in force, what is wrong with its document, and since which revision both stand."""

    key: Key
    resource: Resource | None
    errors: tuple[SpecError, ...]
    revision: str

    @property
    def digest(self) -> str:
        """Identifies spec and errors together: equal digests need no second look."""
        return _identity(self.resource, self.errors)


def _identity(resource: Resource | None, errors: tuple[SpecError, ...]) -> str:
    wanted = resource.digest if resource is not None else ""
    return wanted if not errors else f"{wanted}!{digest([str(error) for error in errors])[:12]}"


@dataclass(frozen=True, slots=True)
class WorldChange:
    """What a new revision changed: keys to look at, keys that nobody wants any more, and what both refer or referred to. meant: Datasets
    that documents among them which cannot be read mean, or meant, to govern."""

    revision: str
    changed: frozenset[Key]
    removed: frozenset[Key]
    referred: frozenset[Key]
    meant: frozenset[Key]

    def and_then(self, later: "WorldChange") -> "WorldChange":
        """Both changes as one: what came back is changed, what went away is removed."""
        changed = (self.changed - later.removed) | later.changed
        removed = (self.removed - later.changed) | later.removed
        return WorldChange(later.revision, changed, removed, self.referred | later.referred, self.meant | later.meant)


@dataclass(frozen=True, slots=True)
class _File:
    """One spec file: what its newest content says, and which resources of it are in force; `older` ones are of former contents."""

    errors: tuple[SpecError, ...]
    in_force: Mapping[Key, Resource]
    older: frozenset[Key] = frozenset()


class World:
    """The desired state. Advanced by one thread at a time; `objects` is replaced, never mutated in place.

    Args:
        known_revision: since which revision a digest of an object has been wanted, as an earlier process recorded it.
    """

    def __init__(self, source: Source, cache: BlobCache, known_revision: Callable[[Key, str], str | None]) -> None:
        self._source = source
        self._cache = cache
        self._known_revision = known_revision
        self._files: dict[str, _File] = {}
        self._places: dict[Key, list[str]] = defaultdict(list)
        self._dependents: dict[Key, set[Key]] = defaultdict(set)
        self._linking = threading.Lock()
        self._profiles: set[Key] = set()
        self._own: dict[Key, Key] = {}
        """What profiles have for themselves, and whose it is."""
        self.revision: str | None = None
        self.objects: dict[Key, Desired] = {}

    def advance(self, revision: str) -> WorldChange:
        """Moves to a revision; returns what changed. Blocking. Raises SourceUnavailable, and is then unchanged."""
        changes = self._changes(revision)
        parsed = {change.path: self._parse(change, revision) for change in changes}
        touched: set[Key] = set()
        for change in changes:
            touched |= self._replace(change.path, parsed[change.path])
        objects = dict(self.objects)
        with self._linking:
            for key in touched:
                self._settle(objects, key, revision)
            touched |= self._settle_own(objects, touched, revision)
        before = {key: self.objects.get(key) for key in touched}
        self.objects = objects
        self.revision = revision
        removed = {key for key, was in before.items() if was is not None and key not in self.objects}
        changed = {key for key, was in before.items() if key in self.objects and (was is None or was.digest != self.objects[key].digest)}
        self._cache.save()
        referred = {reference for key in changed | removed for reference in _referred(key, before[key], self.objects.get(key))}
        meant = {dataset for key in changed | removed for one in (before[key], self.objects.get(key)) for dataset in _meant(one)}
        there = self.objects.keys()
        return WorldChange(revision, frozenset(changed), frozenset(removed), frozenset(referred & there), frozenset(meant & there))

    def desired(self, key: Key) -> Desired | None:
        """The object as wanted, None if nobody wants it."""
        return self.objects.get(key)

    def resource(self, key: Key) -> Resource | None:
        """The spec in force, None if nobody wants the object."""
        desired = self.objects.get(key)
        return desired.resource if desired else None

    def resources(self, kind: str | None = None) -> Iterator[Resource]:
        """All specs in force, of one kind if named."""
        for key, desired in self.objects.items():
            if desired.resource is not None and kind in (None, key.kind):
                yield desired.resource

    def of_kind(self, kind: str) -> Iterator[Desired]:
        """Every object of a kind that is wanted."""
        return (desired for key, desired in self.objects.items() if key.kind == kind)

    def dependents(self, key: Key) -> frozenset[Key]:
        """Objects whose specs refer to `key`."""
        with self._linking:
            return frozenset(self._dependents.get(key, ()))

    def generations(self, index: Key) -> Iterator[Resource]:
        """The specs in force of an index's generations, by name."""
        return self.of("IndexGeneration", index)

    def of(self, kind: str, key: Key) -> Iterator[Resource]:
        """The specs in force of a kind that refer to `key`, by name; what profiles have for themselves is of what they have so."""
        for other in sorted(self.dependents(key)):
            resource = self.resource(other) if other.kind == kind and (other not in self._own or key in self._own) else None
            if resource is not None:
                yield resource

    def circle(self, key: Key) -> tuple[Key, ...]:
        """The circle of references that leads from an object back to itself, empty if there is none.

        Depth first; looks only at what is reachable, however long the chain.
        """
        path: list[Key] = [key]
        ahead = [iter(self._references(key))]
        seen: set[Key] = set()
        while ahead:
            reference = next(ahead[-1], None)
            if reference == key:
                return (*path, key)
            if reference is None:
                ahead.pop()
                path.pop()
            elif reference not in seen:
                seen.add(reference)
                path.append(reference)
                ahead.append(iter(self._references(reference)))
        return ()

    def _references(self, key: Key) -> tuple[Key, ...]:
        """What an object waits for. A Bucket waits for none: two may rescue each other."""
        resource = self.resource(key)
        return resource.references if resource is not None and key.kind != "Bucket" else ()

    def _changes(self, revision: str) -> tuple[FileChange, ...]:
        """What differs from the revision in force; against nothing, if that is there no more (a force-push, then a gc)."""
        if self.revision is not None:
            try:
                return self._source.changes(self.revision, revision)
            except RevisionUnknown:
                _log.info("revision %s is gone; everything is compared", self.revision)
        listed = self._source.changes(None, revision)
        there = {change.path for change in listed}
        return (*listed, *(FileChange(path, None) for path in self._files if path not in there))

    def _parse(self, change: FileChange, revision: str) -> _File | None:
        if change.blob is None:
            self._cache.forget(change.path)
            return None
        parsed = self._parsed(change.path, change.blob)
        former = self._former(change.path, revision) if parsed.errors else {}
        in_force = _in_force(parsed, former)
        return _File(parsed.errors, in_force, frozenset(in_force) - {resource.key for resource in parsed.resources})

    def _parsed(self, path: str, blob: str) -> ParsedFile:
        known = self._cache.get(path, blob)
        if known is None and path.endswith(".yml"):
            meant = policies_meant(self._source.read(blob).decode("utf-8", "replace"))
            error = SpecError(path, 1, 1, "spec files end in .yaml, this one would be ignored", "rename it", governs=meant)
            return ParsedFile(path, (), (error,))
        if known is None:
            known = parse_file(path, self._source.read(blob))
            self._cache.put(blob, known)
        twice = duplicates((known,)) if len({resource.key for resource in known.resources}) < len(known.resources) else ()
        return replace(known, errors=(*known.errors, *twice)) if twice else known

    def _former(self, path: str, revision: str) -> dict[Key, Resource]:
        """What of a file was in force before, by its own past; where that does not reach back to a good version, by memory too."""
        past: list[ParsedFile] = []
        for blob in islice(self._source.earlier(path, revision), _PAST_BLOBS):
            past.append(self._parsed(path, blob))
            if not past[-1].errors:
                break
        former: dict[Key, Resource] = {}
        for parsed in reversed(past):
            former = _in_force(parsed, former)
        held = self._files.get(path)
        return former if held is None or (past and not past[-1].errors) else {**held.in_force, **former}

    def _replace(self, path: str, file: _File | None) -> set[Key]:
        """Puts a file's new content in place; returns every key it says, or said, anything about."""
        former = self._files.pop(path, None)
        said, says = _keys(path, former), _keys(path, file)
        for key in said:
            self._places[key].remove(path)
        if file is not None:
            self._files[path] = file
            for key in says:
                insort(self._places[key], path)
        return said | says

    def _settle(self, objects: dict[Key, Desired], key: Key, revision: str) -> None:
        """Recomputes one object from the files that speak of it."""
        places = self._places.get(key)
        if not places:
            self._places.pop(key, None)
        self._put(objects, key, self._desired(key, places, revision) if places else None)

    def _put(self, objects: dict[Key, Desired], key: Key, desired: Desired | None) -> None:
        was = objects.get(key)
        if was is not None and was.resource is not None:
            for reference in was.resource.references:
                self._dependents[reference].discard(key)
        if desired is None:
            objects.pop(key, None)
            return
        if was is not None and was.digest == desired.digest:
            desired = replace(desired, revision=was.revision)
        objects[key] = desired
        if desired.resource is not None:
            for reference in desired.resource.references:
                self._dependents[reference].add(key)

    def _settle_own(self, objects: dict[Key, Desired], touched: Iterable[Key], revision: str) -> set[Key]:
        """Recomputes what profiles have for themselves, if specs changed of which that follows; returns the keys of it, former ones too."""
        kinds = {key.kind for key in touched}
        self._profiles.update(key for key in touched if key.kind == "Profile")
        self._profiles &= objects.keys()
        if kinds.isdisjoint(SAYING_OWN) or not (self._profiles or self._own):
            return set()
        written = {key: desired.resource for key, desired in objects.items() if key not in self._own}

        def of(kind: str, key: Key) -> Iterator[Resource]:
            found = (written.get(other) for other in self._dependents.get(key, ()) if other.kind == kind)
            return (resource for resource in found if resource is not None)

        profiles = [resource for key in sorted(self._profiles) if (resource := written[key]) is not None]
        found = {own.key: (own, profile.key) for profile in profiles for own in own_resources(profile, written.get, of)}
        before, self._own = self._own, {key: profile for key, (_, profile) in found.items()}
        for key in {*before, *found}:
            resource = found[key][0] if key in found else None
            since = resource and self._known_revision(key, resource.digest)
            self._put(objects, key, None if resource is None else Desired(key, resource, (), since or revision))
            if key in before:
                self._dependents[key].discard(before[key])
            if key in found:  # what becomes of it concerns the profile
                self._dependents[key].add(found[key][1])
        return {*before, *found}

    def _desired(self, key: Key, places: list[str], revision: str) -> Desired:
        holders = [path for path in places if key in self._files[path].in_force]
        resource = self._files[holders[0]].in_force[key] if holders else None
        errors = [error for path in places for error in self._files[path].errors if _concerns(error, key, path, self._files[path])]
        if resource is not None:
            errors += [declared_twice(self._files[path].in_force[key], resource.origin) for path in holders[1:]]
        since = self._known_revision(key, _identity(resource, tuple(errors))) or revision
        return Desired(key, resource, tuple(errors), since)


def _referred(key: Key, was: Desired | None, is_: Desired | None) -> frozenset[Key]:
    """What a change concerns beside its own object. A reader changes nothing about what it goes on binding."""
    before, after = (frozenset(one.resource.references if one is not None and one.resource is not None else ()) for one in (was, is_))
    return before ^ after if key.kind == "Profile" else before | after


def _meant(desired: Desired | None) -> Iterator[Key]:
    """The Datasets that what cannot be read of it means to govern."""
    for error in desired.errors if desired is not None else ():
        yield from (Key("Dataset", name) for name in error.governs)


def _in_force(parsed: ParsedFile, former: Mapping[Key, Resource]) -> dict[Key, Resource]:
    """What parses, and the former specs of what does not: of the whole file where a document has no name."""
    named = {error.key for error in parsed.errors}
    kept = {key: resource for key, resource in former.items() if None in named or key in named}
    return {**kept, **_first_of_each(parsed)}


def _first_of_each(parsed: ParsedFile) -> dict[Key, Resource]:
    found: dict[Key, Resource] = {}
    for resource in parsed.resources:
        found.setdefault(resource.key, resource)
    return found


def _keys(path: str, file: _File | None) -> set[Key]:
    """Every key a file speaks of: resources in force, named errors, and the file itself where an error has no name."""
    if file is None:
        return set()
    if not file.errors:
        return set(file.in_force)
    named = {error.key for error in file.errors if error.key is not None}
    nameless = any(error.key is None for error in file.errors)
    return set(file.in_force) | named | ({Key(SPEC_FILE, path)} if nameless else set())


def _concerns(error: SpecError, key: Key, path: str, file: _File) -> bool:
    """An error without a name concerns its file, and what the file holds in force only because its document is not to be found."""
    if error.key is None:
        return key in file.older or key == Key(SPEC_FILE, path)
    return error.key == key
