"""How a table's data files and profiles stand: whole, damaged, kept in a rescue bucket, or not what the catalog says of them.

Three looks of growing cost. Every visit asks for existence and size, of all objects at once. From the second visit of a process on, each
local file's footer is compared with the catalog's entry, once. A visit after `ask` (`lakectl resync`) reads all of every file, wherever it
is. Former versions and ledgers are looked for at the first visit, after `ask`, and after a reader missed an object of the table.
A footer is believed only if the file has the SHA-256 that the catalog has: then the entry is wrong, and else the file.

It refuses to mend. Next: `plan.py`, which decides how.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from controllers.dataset.standing import Standing
from engines.files.footers import Footer, read_footer
from state.buckets import Buckets
from state.catalog.data_files import DataFile, is_content
from state.catalog.schemas import Schema
from state.catalog.tables import Table
from state.digest_file import sha256_file
from state.errors import BucketUnknown, ObjectMissing, StateError
from state.mirrors import Copy
from state.objects import ObjectInfo, ObjectRef
from state.own_copy import own_copy
from state.reader import ObjectReader


class FileChecks:
    """Thread-safe; blocking. One a process."""

    def __init__(self, buckets: Buckets, objects: ObjectReader) -> None:
        self._buckets = buckets
        self._objects = objects
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._asked: set[str] = set()
        self._missed: set[str] = set()
        self._agreed: set[tuple[str, int, int]] = set()
        self._damaged: dict[str, str] = {}  # etags of objects that were read and are damaged, by key
        self._useless: dict[str, str] = {}  # and of copies

    def ask(self, name: str) -> None:
        """Have every file of this table read at the next look."""
        with self._lock:
            self._asked.add(name)

    def missed(self, name: str) -> None:
        """A reader found an object of this table missing or damaged: its past is looked for at the next look."""
        with self._lock:
            self._missed.add(name)

    def useless(self, copies: tuple[Copy, ...]) -> None:
        """These copies are no better than what they were to replace."""
        with self._lock:
            self._useless |= {copy.key: copy.etag for copy in copies}

    def incomplete(self, table: Table) -> bool:
        """Whether a file is not whole, by the light look."""
        return bool(self._objects.lacking((*(file.ref for file in table.files), *table.past)))

    def look(self, table: Table) -> Standing:
        """How the files stand. Raises what the store raises, but for missing objects and buckets."""
        with self._lock:
            thorough = table.name in self._asked
            self._asked.discard(table.name)
            footers = thorough or table.name in self._seen
            past = thorough or table.name in self._missed or table.name not in self._seen
            self._missed.discard(table.name)
            self._seen.add(table.name)
        # a profile is made again from its file, like a data file; nothing else is read for its sake
        remade = table.origin is None or not table.origin.reads
        held = {file.source for file in table.files} | {binding.digest for binding in table.bindings.values()} if remade else set()
        told = (one for one in table.ledgers if one.kind in ("profile", "said") and is_content(one.source))
        profiles = {one.ref.key: one.ref for one in told if one.source in held}
        besides = table.past if past else tuple(profiles.values())
        lacking = self._objects.lacking((*(file.ref for file in table.files), *besides))
        damaged: set[str] = set()
        corrected: list[DataFile] = []
        schemas: set[Schema] = set()
        for file in table.files:
            found = self._look_at(table, file, whole=file.ref not in lacking, thorough=thorough, footers=footers)
            if found is None:
                damaged.add(file.key)
            elif (found[0] is not file and found[0] != file) or found[1] is not None:
                corrected.append(found[0])
                schemas |= {found[1]} if found[1] is not None else set()
        schema = schemas.pop() if len(schemas) == 1 else None
        unfit = [file.ref for file in table.files if file.key in damaged]
        gone = [ref for ref in table.past if ref in lacking] if past else []
        rescuable = tuple(copy for ref in (*unfit, *gone) if (copy := self._copy(ref)) is not None)
        fetched = {copy.key for copy in rescuable}
        damaged |= {key for key, ref in profiles.items() if ref in lacking and key not in fetched}
        forgotten = frozenset(ref.key for ref in gone) - fetched - profiles.keys()
        return Standing(frozenset(damaged), tuple(corrected), schema, rescuable, forgotten)

    def _look_at(
        self, table: Table, file: DataFile, *, whole: bool, thorough: bool, footers: bool
    ) -> tuple[DataFile, Schema | None] | None:
        """The entry as it should be, and the current schema if that is wrong; None where the file is damaged. whole: by the light look."""
        try:
            enough = whole and not thorough and not (footers and self._unread(file))
            if not enough or file.key in self._damaged:
                info = self._buckets.store(file.ref.bucket).head(file.key)
                if self._damaged.get(file.key) == info.etag:
                    return None
                if not enough:
                    return self._read(table, file, info, sure=whole and not thorough)
        except (ObjectMissing, BucketUnknown):
            return None
        return _there(file), None

    def _unread(self, file: DataFile) -> bool:
        """Whether its footer can be read at no great cost, and was not."""
        return _known(file) not in self._agreed and self._buckets.store(file.ref.bucket).path(file.key) is not None

    def _read(self, table: Table, file: DataFile, info: ObjectInfo, *, sure: bool) -> tuple[DataFile, Schema | None] | None:
        """By its content. sure: the content is read only if the footer and the entry disagree."""
        with own_copy(self._buckets.store(file.ref.bucket), file.key) as path:
            footer = None
            try:
                footer = read_footer(path)
            except FileNotFoundError as error:
                raise ObjectMissing(file.ref.bucket, file.key) from error
            except (OSError, ValueError):
                sure = False
            if sure and footer is not None and not _differs(table, file, footer):
                with self._lock:
                    self._agreed.add(_known(file))
                return _there(file), None
            if footer is None or sha256_file(path) != file.ref.sha256:
                with self._lock:
                    self._damaged[file.key] = info.etag
                return None
        entry = replace(file, lost=False, ref=replace(file.ref, size=info.size))
        if not _differs(table, file, footer):
            with self._lock:
                self._agreed.add(_known(file))
            return entry, None
        return _corrected(table, entry, footer)

    def _copy(self, ref: ObjectRef) -> Copy | None:
        """The copy in the rescue bucket, as far as a light look tells; None for one that was tried in vain."""
        rescue = self._buckets.rescue(ref.bucket)
        if rescue is None:
            return None
        try:
            found = self._buckets.store(rescue).head(ref.key)
        except StateError:
            return None
        if found.size != ref.size or self._useless.get(ref.key) == found.etag:
            return None
        return Copy(ref.key, found.size, found.etag, found.modified, ref.sha256, replaces=True)


def _known(file: DataFile) -> tuple[str, int, int]:
    return file.ref.sha256, file.rows, file.schema_id


def _there(file: DataFile) -> DataFile:
    return replace(file, lost=False) if file.lost else file


def _differs(table: Table, file: DataFile, footer: Footer) -> bool:
    """Rows, or the current columns, which are what readers go by."""
    return footer.rows != file.rows or _other_columns(table, file, footer)


def _other_columns(table: Table, file: DataFile, footer: Footer) -> bool:
    return file.schema_id == table.schema.id and footer.schema.columns != table.columns


def _corrected(table: Table, entry: DataFile, footer: Footer) -> tuple[DataFile, Schema | None]:
    if not _other_columns(table, entry, footer):
        return footer.corrected(entry), None
    schema = Schema(table.next_schema_id, footer.schema.columns, migrations=table.schema.migrations)
    return replace(footer.corrected(entry), schema_id=schema.id), schema
